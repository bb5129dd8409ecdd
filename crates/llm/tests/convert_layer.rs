//! The layer that converts: what it sends, and that it keeps the Service contract.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use buttress_core::{Class, Completion, Event as _, Fact, Outcome, Report, settle};
use buttress_http::{Body, BoxError, ByStatus, Http, TrackLayer};
use buttress_llm::{
    Dialect::{self, Anthropic, Gemini, OpenAi},
    convert::{ConvertError, ConvertEvent, ConvertLayer},
};
use buttress_testing::probe::{self, Probe, Traffic};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Req = Request<Full<Bytes>>;

const CHAT: &str = r#"{"model":"m", "max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
const UNFIT: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"1":2}}"#;
const HELLO: &str = r#"{"id":"1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;

/// What arrived at the endpoint.
#[derive(Debug)]
struct Arrived {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

type Place = Arc<Mutex<Option<Arrived>>>;

/// What arrives at an endpoint behind this layer. It always answers the same.
async fn send(layer: ConvertLayer, request: Req) -> Result<Arrived, ConvertError> {
    let (arrived, client) = endpoint();
    let stack = layer.layer(TrackLayer::new(ByStatus).layer(client));
    let result = stack.oneshot(request).await;
    let arrived = arrived.lock().unwrap().take();
    match result {
        Ok(_) => Ok(arrived.unwrap()),
        Err(error) => {
            assert!(arrived.is_none(), "what is refused is not sent");
            Err(*error.downcast().unwrap())
        }
    }
}

fn endpoint() -> (
    Place,
    impl Service<Req, Response = Response<Full<Bytes>>, Error = BoxError, Future: Send> + Clone + Send,
) {
    let arrived = Arc::new(Mutex::new(None));
    let to = arrived.clone();
    let client = service_fn(move |request: Req| {
        let (head, body) = request.into_parts();
        *to.lock().unwrap() = Some(Arrived {
            uri: head.uri,
            headers: head.headers,
            body: body.into_inner().unwrap_or_default(),
        });
        let response = Response::builder().header("content-type", "application/json");
        async { Ok::<_, BoxError>(response.body(Full::from(HELLO))?) }
    });
    (arrived, client)
}

fn request(path: &str, body: &'static str) -> Req {
    Request::post(path).body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn a_request_goes_to_the_path_of_the_other_dialect_with_its_own_headers() {
    let mut sent = request(
        "https://u:canary@h:1/v1/chat/completions?api-key=canary",
        CHAT,
    );
    let length = CHAT.len().to_string();
    for (name, value) in [
        ("authorization", "Bearer canary"),
        ("cookie", "canary"),
        ("openai-organization", "canary"),
        ("openai-beta", "canary"),
        ("anthropic-version", "canary"),
        ("anthropic-beta", "canary"),
        ("content-length", &length),
        ("content-type", "text/plain"),
        ("transfer-encoding", "chunked"),
        ("accept-encoding", "gzip"),
        ("idempotency-key", "1"),
        ("traceparent", "2"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let arrived = send(ConvertLayer::new(OpenAi, Anthropic).model("other"), sent);
    let arrived = arrived.await.unwrap();
    assert_eq!(arrived.uri, "https://h:1/v1/messages");
    let mut headers: Vec<_> = (arrived.headers.iter())
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    let length = arrived.body.len().to_string();
    assert_eq!(
        headers,
        [
            ("accept-encoding", "identity"),
            ("anthropic-version", "2023-06-01"),
            ("content-length", &length),
            ("content-type", "application/json"),
            ("idempotency-key", "1"),
            ("traceparent", "2"),
        ]
    );
    assert!(arrived.body.starts_with(br#"{"model":"other","#));
}

#[tokio::test]
async fn a_model_is_named_in_the_body_or_in_the_path_as_each_dialect_has_it() {
    const GEMINI: &str = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    const STREAM: &str = "/v1beta/models/g:streamGenerateContent?alt=sse&key=canary";
    let always = |caller, endpoint| ConvertLayer::new(caller, endpoint).model("other");
    let by = |caller, endpoint| {
        ConvertLayer::new(caller, endpoint)
            .models(|asked: &str| (asked == "m").then(|| "by-name".to_owned()))
    };
    for (layer, path, body, uri, model) in [
        (
            always(Gemini, OpenAi),
            STREAM,
            GEMINI,
            "/v1/chat/completions",
            r#"{"model":"other","messages":[{"#,
        ),
        (
            by(Gemini, Anthropic).without_version(),
            STREAM,
            GEMINI,
            "/messages",
            r#"{"model":"g","#,
        ),
        (
            ConvertLayer::new(OpenAi, Gemini),
            "/",
            CHAT,
            "/v1beta/models/m:generateContent",
            r#"{"contents""#,
        ),
        (
            by(Anthropic, Gemini),
            "/v1/messages",
            CHAT,
            "/v1beta/models/by-name:generateContent",
            r#"{"contents""#,
        ),
        // Within one dialect.
        (
            always(OpenAi, OpenAi),
            "/x/chat/completions?y",
            CHAT,
            "/x/chat/completions?y",
            r#"{"model":"other", "max"#,
        ),
        (
            by(OpenAi, OpenAi),
            "/",
            CHAT,
            "/",
            r#"{"model":"by-name", "max"#,
        ),
        (by(Gemini, Gemini), STREAM, GEMINI, STREAM, GEMINI),
        (
            always(Gemini, Gemini),
            STREAM,
            GEMINI,
            "/v1beta/models/other:streamGenerateContent?alt=sse&key=canary",
            GEMINI,
        ),
    ] {
        let name = format!("{layer:?}");
        let arrived = send(layer, request(path, body)).await.unwrap();
        assert_eq!(arrived.uri, uri, "{name}");
        assert!(arrived.body.starts_with(model.as_bytes()), "{name}");
        if path == STREAM && uri != STREAM && model != GEMINI {
            let text = std::str::from_utf8(&arrived.body).unwrap();
            assert!(text.contains(r#""stream":true"#), "{name}");
        }
    }
}

#[tokio::test]
async fn within_one_dialect_every_byte_stays_as_it_came_whatever_it_is() {
    for (dialect, path, body) in [
        (OpenAi, "/v1/chat/completions?key=k", "{ no JSON"),
        (OpenAi, "/v1/embeddings", r#"{"model" : "e"}"#),
        (Anthropic, "/v1/messages", CHAT),
        (Gemini, "/v1beta/models/g:streamGenerateContent", "[]"),
    ] {
        let mut sent = request(path, body);
        let headers = sent.headers_mut();
        headers.insert("authorization", "Bearer mine".parse().unwrap());
        headers.insert("anthropic-beta", "x".parse().unwrap());
        let before = headers.clone();
        let layer = ConvertLayer::new(dialect, dialect).on_event(|event| panic!("{event:?}"));
        let arrived = send(layer, sent).await.unwrap();
        assert_eq!(arrived.uri, path);
        assert_eq!(arrived.headers, before);
        assert!(arrived.body == body);
    }
    // Nor is what is no chat given another name.
    let told = Arc::new(AtomicU64::new(0));
    let to = told.clone();
    let layer = ConvertLayer::new(OpenAi, OpenAi)
        .model("other")
        .on_event(move |event| {
            assert!(matches!(event, ConvertEvent::Refused { .. }));
            to.fetch_add(1, Ordering::Relaxed);
        });
    let sent = request("/v1/embeddings", r#"{"model" : "e"}"#);
    assert!(send(layer.clone(), sent).await.unwrap().body == r#"{"model" : "e"}"#);
    // What cannot be read cannot be renamed, and would be refused there.
    let error = send(layer, request("/v1/chat/completions", "{"))
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_cannot_be_said_is_told_with_the_member_and_what_is_left_out_as_well() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let to = told.clone();
    let layer = |caller, endpoint| {
        let to = to.clone();
        ConvertLayer::new(caller, endpoint).on_event(move |event| {
            let mut line = event.name().to_owned();
            event.facts(&mut |name, fact: Fact<'_>| line += &format!(" {name}={fact}"));
            match event {
                ConvertEvent::Sent { left_out } => line += &format!(" {left_out:?}"),
                ConvertEvent::Refused { error } => line += &format!(" {:?}", error.field()),
                _ => {}
            }
            to.lock().unwrap().push(line);
        })
    };
    let array = "/v1beta/models/g:streamGenerateContent";
    for (caller, endpoint, path, body, class, line) in [
        (
            OpenAi,
            Anthropic,
            "/",
            r#"{"model":"m","store":true,"messages":[{"role":"user","content":"Hi"}]}"#,
            Class::Success,
            r#"convert.sent left_out=1 ["store"]"#,
        ),
        (
            OpenAi,
            Anthropic,
            "/",
            UNFIT,
            Class::Unfit,
            r#"convert.refused class=unfit Some("logit_bias")"#,
        ),
        (
            OpenAi,
            Anthropic,
            "/v1/embeddings",
            CHAT,
            Class::Unfit,
            r#"convert.refused class=unfit Some("path")"#,
        ),
        (
            OpenAi,
            Anthropic,
            "/",
            "{",
            Class::Invalid,
            "convert.refused class=invalid None",
        ),
        (
            OpenAi,
            Anthropic,
            "/",
            "",
            Class::Invalid,
            "convert.refused class=invalid None",
        ),
        (
            OpenAi,
            Gemini,
            "/",
            r#"{"model":"../x","messages":[{"role":"user","content":"Hi"}]}"#,
            Class::Invalid,
            r#"convert.refused class=invalid Some("model")"#,
        ),
        (
            Gemini,
            OpenAi,
            array,
            "{}",
            Class::Unfit,
            r#"convert.refused class=unfit Some("alt")"#,
        ),
        (
            Gemini,
            OpenAi,
            "/v1beta/models/g:countTokens",
            "{}",
            Class::Unfit,
            r#"convert.refused class=unfit Some("path")"#,
        ),
    ] {
        let sent = send(layer(caller, endpoint), request(path, body)).await;
        let found = sent.map_or_else(|error| error.class(), |_| Class::Success);
        assert_eq!(found, class, "{path} {body}");
        assert_eq!(
            told.lock().unwrap().pop().as_deref(),
            Some(line),
            "{path} {body}"
        );
        assert!(told.lock().unwrap().is_empty());
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Outcome>>>);

impl Report for Seen {
    fn report(&mut self, outcome: &Outcome) {
        self.0.lock().unwrap().push(*outcome);
    }
}

#[tokio::test]
async fn a_reply_that_is_none_is_the_endpoints_failure() {
    // It is OpenAI's, and comes from Anthropic.
    let (_, client) = endpoint();
    let stack =
        ConvertLayer::new(OpenAi, Anthropic).layer(TrackLayer::new(Anthropic).layer(client));
    let seen = Seen::default();
    let mut result = stack.oneshot(request("/", CHAT)).await;
    settle(&Http, &mut result, Completion::new(seen.clone()));
    let response = result.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(br#"{"error":{"#));
    let seen = seen.0.lock().unwrap();
    assert_eq!(
        seen.iter().map(|seen| seen.class).collect::<Vec<_>>(),
        [Class::Unavailable]
    );
}

#[tokio::test(start_paused = true)]
async fn t4_a_call_that_is_dropped_while_its_reply_is_read_takes_that_with_it() {
    let held = Arc::new(());
    let body = Stalls(Some(Bytes::from_static(br#"{"id":"#)), held.clone());
    let client = service_fn(move |_: Req| {
        let response = Response::builder().header("content-type", "application/json");
        let response = response.body(body.clone());
        async { Ok::<_, BoxError>(response?) }
    });
    let track = TrackLayer::new(Anthropic).peek_bytes(0);
    let mut stack = ConvertLayer::new(OpenAi, Anthropic).layer(track.layer(client));
    let before = Arc::strong_count(&held);
    let mut call = Box::pin(stack.ready().await.unwrap().call(request("/", CHAT)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(Arc::strong_count(&held), before + 1);
    drop(call);
    assert_eq!(
        Arc::strong_count(&held),
        before,
        "the endpoint's reply is gone"
    );
}

/// One frame, and then nothing ever.
#[derive(Clone)]
struct Stalls(
    Option<Bytes>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl http_body::Body for Stalls {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.0.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Pending,
        }
    }
}

// ===== The contract =====

/// Between two of the same dialect, replies pass as they come.
fn same() -> Probe {
    let layer = || (ConvertLayer::new(OpenAi, OpenAi), TrackLayer::new(ByStatus));
    Probe::http(layer, |_| request("/v1/chat/completions", CHAT)).decides_in_call()
}

/// A request is converted, and its stream is.
fn other() -> Probe {
    let layer = || {
        (
            ConvertLayer::new(OpenAi, Anthropic),
            TrackLayer::new(ByStatus),
        )
    };
    let traffic = Traffic::http(|_| request("/v1/chat/completions", CHAT)).replies(|reply| {
        let status = if reply.is_fault() { 503 } else { 200 };
        let response = Response::builder().status(status);
        let response = response.header("content-type", "text/event-stream");
        response.body(reply.into_body()).unwrap()
    });
    Probe::http_with(layer, traffic).decides_in_call()
}

/// Every request is refused.
fn refusing() -> Probe {
    let layer = || {
        (
            ConvertLayer::new(OpenAi, Anthropic),
            TrackLayer::new(ByStatus),
        )
    };
    Probe::http(layer, |_| request("/v1/chat/completions", UNFIT)).decides_in_call()
}

macro_rules! contract {
    ($($name:ident: $check:ident of $($probe:ident),+;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $($probe().$check().await;)+
        }
    )*};
}

contract! {
    t1_the_instance_that_was_readied_is_called: t1 of same, other;
    t2_the_inner_readiness_error_comes_back: t2 of same, other, refusing;
    t3_nothing_stays_reserved: t3 of same, other, refusing;
    t4_a_dropped_future_leaves_nothing_behind: t4 of same, other;
    t5_slots_follow_the_body: t5 of same;
    t6_nobody_sleeps_through_a_wake: t6 of same, other;
    t7_clones_are_alike: t7 of same, other;
    t8_a_refusal_leaves_the_inner_service_alone: t8 of refusing;
    t9_a_panic_poisons_nothing: t9 of same, other;
    t10_the_same_calls_give_the_same_result: t10 of same, other;
    the_contract_is_kept: contract of same;
}

#[tokio::test(start_paused = true)]
async fn t8_what_was_reserved_stays_with_the_instance_that_refuses() {
    let (inner, mut upstream) = probe::pair::<Req, Response<Body<Full<Bytes>>>, BoxError>();
    let mut stack = ConvertLayer::new(OpenAi, Anthropic).layer(inner);
    let ready = stack.ready().await.unwrap();
    assert!(ready.call(request("/", UNFIT)).await.is_err());
    assert_eq!((upstream.calls(), upstream.reserved()), (0, 1));
    // And the next call uses it.
    let polls = upstream.ready_polls();
    let reply = tokio::spawn(stack.ready().await.unwrap().call(request("/", CHAT)));
    upstream.next_call().await.fail("no".into());
    assert!(reply.await.unwrap().is_err());
    assert_eq!(upstream.ready_polls(), polls + 1);
    drop(stack);
    assert_eq!(upstream.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_costs_one_call() {
    let (_, client) = endpoint();
    let left = AtomicU64::new(1);
    let layer = ConvertLayer::new(Anthropic, OpenAi).on_event(move |_| {
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
        {
            panic!("on purpose");
        }
    });
    let mut stack = layer.layer(TrackLayer::new(OpenAi).layer(client));
    let ready = stack.ready().await.unwrap();
    let call = std::panic::AssertUnwindSafe(|| drop(ready.call(request("/", CHAT))));
    assert!(std::panic::catch_unwind(call).is_err());
    let response = stack
        .ready()
        .await
        .unwrap()
        .call(request("/", CHAT))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn t11_each_call_is_told_once() {
    let count = Arc::new(AtomicU64::new(0));
    let told = count.clone();
    let layer = move || {
        let told = told.clone();
        let layer = ConvertLayer::new(OpenAi, Anthropic).on_event(move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        });
        (layer, TrackLayer::new(ByStatus))
    };
    let traffic = Traffic::http(|_| request("/", CHAT)).replies(|reply| {
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(reply.into_body()).unwrap()
    });
    let probe = Probe::http_with(layer, traffic);
    probe
        .counts(move || count.load(Ordering::Relaxed))
        .t11()
        .await;
}

#[tokio::test]
async fn layer_and_service_pass_between_threads_and_calls_can_be_spawned() {
    fn shared<T: Send + Sync + Clone + std::fmt::Debug + 'static>(_: &T) {}
    let layer = ConvertLayer::new(OpenAi, Anthropic);
    shared(&layer);
    let (_, client) = endpoint();
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(TrackLayer::new(Dialect::Anthropic))
        .service(client);
    let status = tokio::spawn(async move {
        let response = stack.oneshot(request("/", CHAT)).await;
        response.unwrap().status()
    });
    assert_eq!(status.await.unwrap(), StatusCode::BAD_GATEWAY);
}
