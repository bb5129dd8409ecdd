//! Over streamed replies: nothing after the first content, evidence on the reply, and no credential
//! that goes astray.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{CallInfo, Carry, Class, Ledger, Outcome, Trail};
use buttress_failover::{
    AnyService, Endpoint, Failover, LeastLoaded, Ordered, Stop, Strategy, Weighted,
};
use buttress_http::{
    Attempts, Body, BoxError, ByStatus, Http, Judge, Meter, ReplayBody, ReplayLayer, TrackLayer,
};
use buttress_retry::{Constant, RetryLayer};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION, response::Parts};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};

use crate::{count, log, stop};

type Req = Request<Full<Bytes>>;
type Chunks = futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;
type Reply = Response<Body<StreamBody<Chunks>>>;

/// A chunk a line: `text` is content, `error` an error, `end` the terminator.
#[derive(Clone)]
struct Lines;

struct LineMeter(Option<Outcome>);

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::new(LineMeter(None)))
    }
}

impl Meter for LineMeter {
    fn chunk(&mut self, data: &Bytes) -> buttress_core::Progress {
        match data.as_ref() {
            b"text" => return buttress_core::Progress::Content,
            b"error" => self.0 = Some(Outcome::new(Class::Unavailable)),
            b"end" => self.0 = Some(Outcome::SUCCESS),
            _ => {}
        }
        buttress_core::Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.0
    }

    fn usage(&self) -> Option<buttress_core::Usage> {
        None
    }

    fn cost(&self) -> Option<buttress_core::Money> {
        None
    }
}

/// What an upstream was sent: authorization and a marker in the extensions.
type Seen = Arc<Mutex<Vec<(Option<HeaderValue>, Option<&'static str>)>>>;

/// An endpoint whose own stack writes its credential into the request.
fn endpoint(
    status: u16,
    chunks: &'static [&'static str],
    key: &'static str,
) -> (
    Seen,
    impl Service<Req, Response = Reply, Error = BoxError, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static,
) {
    let seen = Seen::default();
    let write = Arc::clone(&seen);
    let client = service_fn(move |request: Req| {
        let marker = request.extensions().get::<&'static str>().copied();
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        write.lock().unwrap().push((authorization, marker));
        let frames: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
        *response.status_mut() = status.try_into().unwrap();
        async { Ok::<_, BoxError>(response) }
    });
    let stack = ServiceBuilder::new()
        .layer(MapRequestLayer::new(move |mut request: Req| {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(key));
            request.extensions_mut().insert(key);
            request
        }))
        .layer(TrackLayer::new(Lines))
        .service(client);
    (seen, stack)
}

fn request() -> Req {
    Request::post("/v1/chat/completions")
        .body(Full::from("{}"))
        .unwrap()
}

async fn text(reply: Reply) -> String {
    let mut body = reply.into_body();
    let mut text = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    text
}

const WHOLE: &[&str] = &["ping", "text", "text", "end"];

#[tokio::test(start_paused = true)]
async fn f4_before_the_first_content_another_endpoint_takes_over() {
    let faults: [(u16, &[&str]); 4] = [
        (503, &["busy"]),
        (200, &["ping", "error"]),
        (200, &["ping"]),
        (429, &["error"]),
    ];
    for (status, chunks) in faults {
        let (one, first) = endpoint(status, chunks, "a");
        let (other, second) = endpoint(200, WHOLE, "b");
        let service = Failover::new(Http, [AnyService::new(first), AnyService::new(second)]);
        let reply = service.oneshot(request()).await.unwrap();
        assert_eq!(reply.status(), 200);
        assert_eq!(text(reply).await, "pingtexttextend");
        assert_eq!(
            (one.lock().unwrap().len(), other.lock().unwrap().len()),
            (1, 1)
        );
    }
}

/// A reply that breaks off after its first content, from the first of two.
async fn breaks_off<C>(strategy: C, chunks: &'static [&'static str])
where
    C: Strategy<Req> + Clone,
{
    let (one, first) = endpoint(200, chunks, "a");
    let (other, second) = endpoint(200, WHOLE, "b");
    let (told, observer) = log();
    let service = Failover::new(Http, [AnyService::new(first), AnyService::new(second)])
        .strategy(strategy)
        .on_event(observer);
    // Whichever is drawn: only the first is of interest.
    let handle = service.handle();
    handle.set_weight("2", 0).unwrap();
    let reply = service.clone().oneshot(request()).await.unwrap();
    handle.set_weight("2", 1).unwrap();
    assert!(handle.states()[0].cooling().is_none(), "{chunks:?}");
    assert_eq!(text(reply).await, chunks.concat());
    assert_eq!(
        (one.lock().unwrap().len(), other.lock().unwrap().len()),
        (1, 0)
    );
    // It is known, though.
    assert!(handle.states()[0].cooling().is_some(), "{chunks:?}");
    assert_eq!(handle.states()[0].in_flight(), 0);
    let told = told.lock().unwrap();
    let cooling = crate::Told::Cooling("1".into(), Duration::from_secs(5), 1, true);
    assert_eq!(told.last(), Some(&cooling));
}

#[tokio::test(start_paused = true)]
async fn f4_after_the_first_content_nothing_is_sent_elsewhere() {
    for chunks in [&["text", "error"][..], &["text"]] {
        breaks_off(Ordered, chunks).await;
        breaks_off(Weighted, chunks).await;
        breaks_off(LeastLoaded, chunks).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f2_a_reply_that_ends_well_or_is_left_cools_nothing_down() {
    for leaves in [false, true] {
        let (_, first) = endpoint(200, WHOLE, "a");
        let service = Failover::new(Http, [first]);
        let reply = service.clone().oneshot(request()).await.unwrap();
        if leaves {
            drop(reply);
        } else {
            assert_eq!(text(reply).await, "pingtexttextend");
        }
        assert!(service.handle().states()[0].cooling().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn f2_replies_that_break_off_together_are_one_failure() {
    let (_, first) = endpoint(200, &["text", "error"], "a");
    let (told, observer) = log();
    let service = Failover::new(Http, [first]).on_event(observer);
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(service.clone().oneshot(request()).await.unwrap());
    }
    for reply in replies {
        text(reply).await;
    }
    let told = told.lock().unwrap();
    let cooled = |told: &&crate::Told| matches!(told, crate::Told::Cooling(..));
    assert_eq!(told.iter().filter(cooled).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_reply_broke_off_is_asked_whether_it_works_again() {
    let (_, first) = endpoint(200, &["text", "error"], "a");
    let (_, second) = endpoint(200, WHOLE, "b");
    let (told, observer) = log();
    let service = Failover::new(Http, [AnyService::new(first), AnyService::new(second)])
        .cool_down(Duration::from_secs(60), Duration::from_secs(60))
        .on_event(observer)
        .health_check(Duration::from_secs(1), |_| request());
    let reply = service.clone().oneshot(request()).await.unwrap();
    text(reply).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = told.lock().unwrap();
    let checked = crate::Told::Checked("1".into(), Class::Success);
    assert!(told.contains(&checked), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_outgrown_what_is_kept_of_it_goes_nowhere_else() {
    type Long = Request<ReplayBody<StreamBody<Chunks>>>;
    for (cap, stopped, calls) in [(1, Stop::NotCopied, 0), (100, Stop::Settled, 1)] {
        let reads = |status: u16| {
            let calls = Arc::new(Mutex::new(0));
            let count = Arc::clone(&calls);
            let client = service_fn(move |request: Long| {
                *count.lock().unwrap() += 1;
                async move {
                    let sent = request.into_body().collect().await?.to_bytes();
                    assert_eq!(sent, "ten bytes!");
                    let mut response = Response::new(Full::<Bytes>::from("reply"));
                    *response.status_mut() = status.try_into()?;
                    Ok::<_, BoxError>(response)
                }
            });
            let stack = ServiceBuilder::new().layer(TrackLayer::default());
            (calls, AnyService::new(stack.service(client)))
        };
        let ((one, first), (other, second)) = (reads(503), reads(200));
        let (told, observer) = log();
        let service = ServiceBuilder::new()
            .layer(ReplayLayer::new().max_bytes(cap))
            .service(Failover::new(Http, [first, second]).on_event(observer));
        // Of no known length: how long it is shows as it is sent.
        let parts =
            ["ten ", "bytes!"].map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
        let stream = futures_util::stream::iter(Vec::from(parts));
        let request = Request::new(StreamBody::new(stream));
        assert!(service.oneshot(request).await.is_ok());
        assert_eq!(stop(&told), stopped);
        assert_eq!((*one.lock().unwrap(), *other.lock().unwrap()), (1, calls));
    }
}

#[tokio::test(start_paused = true)]
async fn f6_no_credential_of_one_endpoint_reaches_another() {
    let (one, first) = endpoint(503, &[], "key of a");
    let (other, second) = endpoint(429, &[], "key of b");
    let (last, third) = endpoint(200, WHOLE, "key of c");
    let endpoints = [
        Endpoint::new("a", AnyService::new(first)),
        Endpoint::new("b", AnyService::new(second)),
        Endpoint::new("c", AnyService::new(third)),
    ];
    // And none to the fallback, which comes after all of them.
    let at_last = Seen::default();
    let write = Arc::clone(&at_last);
    let service = Failover::over(Http, endpoints)
        .unwrap()
        .max_attempts(count(3))
        .fallback(move |request: Req, _| {
            let marker = request.extensions().get::<&'static str>().copied();
            let authorization = request.headers().get(AUTHORIZATION).cloned();
            write.lock().unwrap().push((authorization, marker));
            async { Err("spent".into()) }
        });
    let reply = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(text(reply).await, "pingtexttextend");
    for (seen, key) in [(one, "key of a"), (other, "key of b"), (last, "key of c")] {
        let key = (Some(HeaderValue::from_static(key)), Some(key));
        assert_eq!(*seen.lock().unwrap(), [key]);
    }
    service.handle().set_weight("c", 0).unwrap();
    let reply = service.oneshot(request()).await;
    assert!(
        reply.is_ok_and(|reply| reply.status() == 503),
        "the first real status"
    );
    assert_eq!(*at_last.lock().unwrap(), [(None, None)]);
}

#[tokio::test(start_paused = true)]
async fn the_reply_says_where_the_call_went_and_how_many_attempts_it_took() {
    let (_, first) = endpoint(503, &["busy"], "a");
    let (_, second) = endpoint(200, WHOLE, "b");
    let retry = RetryLayer::new(Http)
        .max_attempts(count(2))
        .backoff(Constant::NONE);
    let stack = |service| ServiceBuilder::new().layer(retry.clone()).service(service);
    let endpoints = [
        Endpoint::new("a", stack(AnyService::new(first))),
        Endpoint::new("b", stack(AnyService::new(second))),
    ];
    let service = Failover::over(Http, endpoints).unwrap();
    let (mut request, ledger) = (request(), Ledger::new());
    let mut info = CallInfo::new();
    info.ledger = Some(ledger.clone());
    Http.set_info(&mut request, info);
    let reply = service.oneshot(request).await.unwrap();
    assert_eq!(Attempts::of(&reply), 3);
    let trail = reply.extensions().get::<Trail>().unwrap();
    let text = "a: unavailable: 503 Service Unavailable, b: success";
    assert_eq!(trail.to_string(), text);
    assert_eq!(ledger.trail(), trail.tried());
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_the_first_endpoint_says_nothing_unless_it_is_to() {
    for always in [false, true] {
        let (_, first) = endpoint(200, WHOLE, "a");
        let mut service = Failover::over(Http, [Endpoint::new("a", first)]).unwrap();
        if always {
            service = service.always_tell();
        }
        let (mut request, ledger) = (request(), Ledger::new());
        let mut info = CallInfo::new();
        info.ledger = Some(ledger.clone());
        Http.set_info(&mut request, info);
        let reply = service.oneshot(request).await.unwrap();
        assert!(ledger.trail().is_empty(), "it has failed over nowhere");
        let trail = reply.extensions().get::<Trail>().map(ToString::to_string);
        let told = always.then(|| "a: success".into());
        assert_eq!(trail, told);
    }
}

#[tokio::test(start_paused = true)]
async fn f7_the_first_status_and_hint_reach_the_caller_with_the_evidence_of_all() {
    let (_, first) = endpoint(503, &["first"], "a");
    let (_, second) = endpoint(500, &["second"], "b");
    let (told, observer) = log();
    let service =
        Failover::new(Http, [AnyService::new(first), AnyService::new(second)]).on_event(observer);
    let reply = service.oneshot(request()).await.unwrap();
    assert_eq!(reply.status(), 503);
    let trail = reply.extensions().get::<Trail>().unwrap().to_string();
    assert_eq!(
        trail,
        "1: unavailable: 503 Service Unavailable, 2: unavailable: 500 \
         Internal Server Error"
    );
    assert_eq!(
        (text(reply).await.as_str(), stop(&told)),
        ("first", Stop::Spent)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_kept_holds_no_permit_of_its_endpoint() {
    use buttress_core::{Completion, Report, settle};

    struct Permit(Arc<Mutex<Vec<Class>>>);

    impl Report for Permit {
        fn report(&mut self, outcome: &Outcome) {
            self.0.lock().unwrap().push(outcome.class);
        }
    }

    let ended = Arc::new(Mutex::new(Vec::new()));
    let (_, first) = endpoint(503, &["busy", "still"], "a");
    let over = Arc::clone(&ended);
    let held = service_fn(move |request: Req| {
        let (first, permit) = (first.clone(), Completion::new(Permit(Arc::clone(&over))));
        async move {
            let mut result = first.oneshot(request).await;
            settle(&Http, &mut result, permit);
            result
        }
    });
    // The other one fails too, once it is told to.
    let (go, wait) = tokio::sync::watch::channel(false);
    let (_, second) = endpoint(500, &[], "b");
    let waits = service_fn(move |request: Req| {
        let (mut wait, second) = (wait.clone(), second.clone());
        async move {
            wait.wait_for(|go| *go).await.map_err(BoxError::from)?;
            second.oneshot(request).await
        }
    });
    let service = Failover::new(Http, [AnyService::new(held), AnyService::new(waits)]);
    let mut call = tokio_test::task::spawn(service.oneshot(request()));
    assert!(call.poll().is_pending());
    assert_eq!(*ended.lock().unwrap(), [Class::Unavailable]);
    go.send(true).unwrap();
    let reply = call.await.unwrap();
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.body().size_hint().exact(), Some(9));
    assert_eq!(text(reply).await, "busystill", "and is whole still");
    assert_eq!(ended.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fallbacks_reply_is_marked() {
    let (_, first) = endpoint(503, &["busy"], "a");
    let service = Failover::new(Http, [first])
        .fallback(|_: Req, _| async { Ok::<Reply, BoxError>(Response::new(Body::ready("later"))) });
    let reply = service.oneshot(request()).await.unwrap();
    let trail = reply.extensions().get::<Trail>().unwrap();
    assert!(trail.is_fallback());
    assert_eq!(
        trail.to_string(),
        "1: unavailable: 503 Service Unavailable, fallback"
    );
    assert_eq!(text(reply).await, "later");
}

/// Fails before it can be called.
#[derive(Clone)]
struct Broken;

impl Service<Req> for Broken {
    type Response = Reply;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("broken".into()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        panic!("it was never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_acted_on_and_must_not_be_twice_goes_nowhere() {
    let protocol = Http.idempotent_only();
    let (one, first) = endpoint(503, &["busy"], "a");
    let (other, second) = endpoint(200, WHOLE, "b");
    let second = AnyService::new(second);
    let (told, observer) = log();
    let service = Failover::new(protocol, [AnyService::new(first), second.clone()]);
    let reply = service.on_event(observer).oneshot(request()).await.unwrap();
    assert_eq!((reply.status().as_u16(), stop(&told)), (503, Stop::Unsafe));
    assert_eq!(
        (one.lock().unwrap().len(), other.lock().unwrap().len()),
        (1, 0)
    );
    // But what failed to become ready was sent nothing.
    let service = Failover::new(protocol, [AnyService::new(Broken), second]);
    let reply = service.oneshot(request()).await.unwrap();
    assert_eq!(text(reply).await, "pingtexttextend");
}

#[tokio::test(start_paused = true)]
async fn t7_a_call_with_a_fallback_is_awaited_in_a_task_that_is_spawned() {
    let (_, first) = endpoint(503, &["busy"], "a");
    let service = Failover::new(Http, [AnyService::new(first)])
        .decide_with(|_: &Req, _, _| None)
        .fallback(|_: Req, _| async { Ok::<Reply, BoxError>(Response::new(Body::ready("later"))) });
    let service = AnyService::new(service);
    let task = tokio::spawn(async move {
        let (service, request) = (&service, &request());
        service.clone().oneshot(request.clone()).await
    });
    assert_eq!(text(task.await.unwrap().unwrap()).await, "later");
}
