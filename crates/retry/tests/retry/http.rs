//! Over http.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Class, Ledger, Outcome, Progress, Replay};
use buttress_http::{
    Attempts, BoxError, ByStatus, Http, Judge, Meter, ReplayBody, ReplayLayer, TrackLayer,
};
use buttress_retry::{Constant, RetryEvent, RetryLayer, Stop};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::{log, ms, stop};

type Headers = &'static [(&'static str, &'static str)];

/// What the upstream says to one request.
#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Headers,
    body: &'static [&'static str],
}

/// Reads every request to its end, and says what it is told to.
#[derive(Clone)]
struct Upstream {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    times: Arc<Mutex<Vec<Duration>>>,
    start: Instant,
    /// How many bodies live.
    open: Arc<AtomicUsize>,
}

struct Body {
    lines: VecDeque<&'static str>,
    open: Arc<AtomicUsize>,
}

/// A line is content, an error, or the end.
#[derive(Clone)]
struct Lines;

struct LineMeter(Option<Outcome>);

fn reply(status: u16, headers: Headers) -> Reply {
    Reply {
        status,
        headers,
        body: &[],
    }
}

const GOOD: Reply = Reply {
    status: 200,
    headers: &[],
    body: &["content", "end"],
};

fn upstream(replies: impl IntoIterator<Item = Reply>) -> Upstream {
    Upstream {
        replies: Arc::new(Mutex::new(replies.into_iter().collect())),
        requests: Arc::default(),
        times: Arc::default(),
        start: Instant::now(),
        open: Arc::default(),
    }
}

fn post() -> Request<Full<Bytes>> {
    Request::post("/chat")
        .header("idempotency-key", "k-1")
        .body(Full::from("hello"))
        .unwrap()
}

impl Upstream {
    fn calls(&self) -> usize {
        self.times.lock().unwrap().len()
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn tracked(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<buttress_http::Body<Body>>,
        Error = BoxError,
    > + Clone {
        ServiceBuilder::new()
            .layer(TrackLayer::new(Lines))
            .service(self.clone())
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            let text = String::from_utf8(body.to_vec())?;
            this.requests.lock().unwrap().push((parts.headers, text));
            this.times.lock().unwrap().push(this.start.elapsed());
            let reply = this.replies.lock().unwrap().pop_front();
            let reply = reply.expect("a call that the test does not expect");
            let mut response = Response::builder().status(reply.status);
            for (name, value) in reply.headers {
                response = response.header(*name, *value);
            }
            this.open.fetch_add(1, Ordering::Relaxed);
            let body = Body {
                lines: reply.body.iter().copied().collect(),
                open: this.open,
            };
            Ok(response.body(body)?)
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let line = self.lines.pop_front();
        Poll::Ready(line.map(|line| Ok(Frame::data(Bytes::from_static(line.as_bytes())))))
    }
}

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        let good = parts.status == StatusCode::OK;
        good.then(|| -> Box<dyn Meter> { Box::new(LineMeter(None)) })
    }
}

impl Meter for LineMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        match data.as_ref() {
            b"content" => return Progress::Content,
            b"error" => self.0 = Some(Outcome::new(Class::Unavailable)),
            b"end" => self.0 = Some(Outcome::SUCCESS),
            _ => {}
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn r8_a_hint_in_milliseconds_comes_before_one_in_seconds_and_a_malformed_one_is_none() {
    let rows: [(Headers, u64); 7] = [
        (&[("retry-after-ms", "1500"), ("retry-after", "7")], 1500),
        (&[("retry-after", "7")], 7000),
        (&[("retry-after-ms", "soon"), ("retry-after", "7")], 7000),
        (&[("retry-after", "soon")], 100),
        (&[("retry-after", "-1")], 100),
        (&[("retry-after-ms", "NaN")], 100),
        (&[], 100),
    ];
    for (headers, expected) in rows {
        let upstream = upstream([reply(429, headers), GOOD]);
        let layer = RetryLayer::new(Http).backoff(Constant::new(ms(100)));
        let response = layer
            .layer(upstream.tracked())
            .oneshot(post())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            upstream.times.lock().unwrap()[1],
            ms(expected),
            "{headers:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn r8_a_hint_that_is_too_long_or_malformed_never_hides_the_reply() {
    const HINTS: [(Headers, Stop); 5] = [
        (&[("retry-after", "21")], Stop::Hint),
        (&[("retry-after", "1000000000")], Stop::Hint),
        (&[("retry-after-ms", "20001")], Stop::Hint),
        (&[("retry-after", "-5")], Stop::Attempts),
        (&[("retry-after", "Monday or so")], Stop::Attempts),
    ];
    for (headers, stopped) in HINTS {
        let upstream = upstream([(); 3].map(|()| reply(429, headers)));
        let (told, observer) = log();
        let layer = RetryLayer::new(Http).on_event(observer);
        let response = layer.layer(upstream.tracked()).oneshot(post()).await;
        let response = response.unwrap();
        let (name, value) = headers[0];
        assert_eq!(
            (response.status().as_u16(), &response.headers()[name]),
            (429, &HeaderValue::from_static(value))
        );
        assert_eq!(stop(&told), stopped, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn r8_x_should_retry_overrides_the_status() {
    let no = reply(503, &[("x-should-retry", "false")]);
    let yes = reply(400, &[("x-should-retry", "true")]);
    for (first, calls) in [(no, 1), (yes, 2)] {
        let upstream = upstream([first, GOOD]);
        let service = RetryLayer::new(Http).layer(upstream.tracked());
        assert!(service.oneshot(post()).await.is_ok());
        assert_eq!(upstream.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn r10_an_error_is_retried_before_the_first_content_and_never_after() {
    let says = |body| Reply { body, ..GOOD };
    let upstream = upstream([
        says(&["role", "error"]),
        says(&["role", "content", "error"]),
        GOOD,
    ]);
    let service = RetryLayer::new(Http).layer(upstream.tracked());
    let response = service.oneshot(post()).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "rolecontenterror");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn r11_a_replayed_body_is_the_same_byte_for_byte() {
    let chunks: Vec<Bytes> = (0..200)
        .map(|n: u32| Bytes::from(format!("chunk {n};")))
        .collect();
    let expected: String = chunks
        .iter()
        .map(|chunk| str::from_utf8(chunk).unwrap())
        .collect();
    let frames = chunks
        .into_iter()
        .map(|chunk| Ok::<_, io::Error>(Frame::data(chunk)));
    let body = StreamBody::new(tokio_stream::iter(frames));
    let upstream = upstream([reply(503, &[]), reply(503, &[]), GOOD]);
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(Http))
        .layer(TrackLayer::new(Lines))
        .service(upstream.clone());
    let request = Request::post("/").body(body).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    let requests = upstream.requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|(_, body)| *body == expected));
}

#[tokio::test(start_paused = true)]
async fn r11_a_body_over_its_cap_is_sent_once_and_whole() {
    let text = "x".repeat(1000);
    let frames: Vec<_> = (0..10)
        .map(|_| Ok::<_, io::Error>(Frame::data(Bytes::from(text.clone()))))
        .collect();
    let body = StreamBody::new(tokio_stream::iter(frames));
    let upstream = upstream([reply(503, &[])]);
    let (told, observer) = log();
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(5000))
        .layer(RetryLayer::new(Http).on_event(observer))
        .layer(TrackLayer::new(Lines))
        .service(upstream.clone());
    let request = Request::post("/").body(body).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 503);
    assert_eq!(upstream.requests.lock().unwrap()[0].1.len(), 10_000);
    assert_eq!(stop(&told), Stop::NotCopied);
}

#[tokio::test(start_paused = true)]
async fn r12_the_failed_response_is_dropped_before_the_wait_and_none_leaks() {
    let upstream = upstream([reply(503, &[]), reply(503, &[]), GOOD]);
    let watched = upstream.clone();
    let layer = RetryLayer::new(Http).on_event(move |event| {
        let again = matches!(event, RetryEvent::Again { .. });
        assert_eq!(watched.open(), usize::from(!again));
    });
    let service = layer.layer(upstream.tracked());
    let mut call = spawn(service.oneshot(post()));
    assert!(call.poll().is_pending());
    assert_eq!(upstream.open(), 0, "waiting");
    let response = call.await.unwrap();
    assert_eq!((upstream.calls(), upstream.open()), (3, 1));
    drop(response);
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn r13_an_idempotency_key_stays_the_same_over_attempts() {
    let upstream = upstream([reply(503, &[]), reply(503, &[]), GOOD]);
    let service = RetryLayer::new(Http).layer(upstream.tracked());
    assert!(service.oneshot(post()).await.is_ok());
    let requests = upstream.requests.lock().unwrap();
    let keys: Vec<_> = requests
        .iter()
        .map(|(headers, _)| &headers["idempotency-key"])
        .collect();
    assert_eq!(keys, ["k-1"; 3]);
}

#[tokio::test(start_paused = true)]
async fn r14_a_post_is_repeated_unless_told_otherwise() {
    let post = || Request::post("/").body(Full::from("hello")).unwrap();
    let careful = Http.idempotent_only();
    assert!(!Replay::<Request<Full<Bytes>>>::safe(&careful, &post()));
    let first = upstream([reply(503, &[]), GOOD]);
    let service = RetryLayer::new(careful).layer(first.tracked());
    assert_eq!(service.oneshot(post()).await.unwrap().status(), 503);
    let second = upstream([reply(503, &[]), GOOD]);
    let service = RetryLayer::new(Http).layer(second.tracked());
    assert_eq!(service.oneshot(post()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn r15_a_delivered_response_says_its_attempts_and_so_does_the_callers_handle() {
    let bad = || reply(503, &[]);
    for (replies, attempts, status) in [
        (vec![GOOD], 1, 200),
        (vec![bad(), GOOD], 2, 200),
        (vec![bad(), bad(), bad()], 3, 503),
    ] {
        let upstream = upstream(replies);
        let handle = Ledger::new();
        let mut info = buttress_core::CallInfo::new();
        info.ledger = Some(handle.clone());
        let mut request = post();
        request.extensions_mut().insert(info);
        let service = RetryLayer::new(Http).layer(upstream.tracked());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), Attempts::of(&response)),
            (status, attempts)
        );
        assert_eq!(handle.attempts(), attempts);
    }
}

#[test]
fn a_replayed_request_is_one_that_a_retry_takes() {
    fn copies<B>() -> bool
    where
        Http: Replay<Request<B>>,
    {
        true
    }
    assert!(copies::<ReplayBody<Full<Bytes>>>() && copies::<Full<Bytes>>());
}
