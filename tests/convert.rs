//! A failover over endpoints of different dialects: whichever answers, the caller reads its own.

mod toys;

use std::{error::Error, fmt, num::NonZeroU32};

use buttress_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Policy};
use buttress_core::{Class, Refused, Sent, Usage};
use buttress_failover::{Endpoint, Failover, FailoverEvent, Handle, Next};
use buttress_http::{
    Body, BoxError, BoxErrorLayer, Http, TrackLayer, client::Client, client::ResponseBody,
};
use buttress_llm::{
    CredentialsLayer, Dialect, Secret,
    convert::{ConvertError, ConvertLayer, ConvertService},
    fold,
};
use buttress_testing::{Fault, Provider, Reply, Running};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use toys::metrics::MetricsLayer;

type Req = Request<Full<Bytes>>;
type Res = Response<Body<ResponseBody>>;
type Endpoints = ConvertService<BoxCloneSyncService<Req, Res, BoxError>>;

fn provider(dialect: Dialect) -> Provider {
    match dialect {
        Dialect::Anthropic => Provider::anthropic(),
        Dialect::Gemini => Provider::gemini(),
        _ => Provider::openai(),
    }
}

/// A stack for callers of one dialect over an endpoint of any: the type is the same.
fn endpoint(
    caller: Dialect,
    dialect: Dialect,
    provider: &Running,
    breaker: &CircuitBreaker,
) -> Endpoints {
    let layer = match caller == dialect {
        true => ConvertLayer::new(caller, dialect),
        false => ConvertLayer::new(caller, dialect).model("model-2"),
    };
    let client = Client::direct(provider.origin()).unwrap();
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(Http).breaker(breaker))
        .layer(CredentialsLayer::new(
            dialect,
            Secret::new("sk-ours").unwrap(),
        ))
        .layer(TrackLayer::new(dialect))
        .layer(BoxErrorLayer)
        .service(client);
    layer.layer(BoxCloneSyncService::new(stack))
}

/// One that trips at the first failure.
fn breaker() -> CircuitBreaker {
    CircuitBreaker::new(Policy::consecutive_failures(NonZeroU32::MIN))
}

/// The request of a caller, without its host.
fn ask(provider: &Running, stream: bool) -> Req {
    let ask = provider.ask("model-1", "Say hello").key("sk-the-callers");
    let ask = if stream { ask.streamed() } else { ask };
    let mut request = ask.request();
    let path = request.uri().path_and_query().cloned().unwrap();
    *request.uri_mut() = path.into();
    request
}

/// What the caller reads: a whole reply, also of a stream.
async fn read(dialect: Dialect, stream: bool, response: Res) -> Value {
    assert_eq!(response.status(), 200);
    let kind = if stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    let told = response.headers()["content-type"].to_str().unwrap();
    assert!(told.starts_with(kind), "{told}");
    let data = response.into_body().collect().await.unwrap().to_bytes();
    let data = if stream {
        fold::whole(dialect, &data).unwrap()
    } else {
        data
    };
    serde_json::from_slice(&data).unwrap()
}

/// Its text, and how many tokens it says that it took.
fn said(dialect: Dialect, reply: &Value) -> (&str, u64, u64) {
    let (text, usage, input, output) = match dialect {
        Dialect::Anthropic => (
            &reply["content"][0]["text"],
            &reply["usage"],
            "input_tokens",
            "output_tokens",
        ),
        Dialect::Gemini => (
            &reply["candidates"][0]["content"]["parts"][0]["text"],
            &reply["usageMetadata"],
            "promptTokenCount",
            "candidatesTokenCount",
        ),
        _ => (
            &reply["choices"][0]["message"]["content"],
            &reply["usage"],
            "prompt_tokens",
            "completion_tokens",
        ),
    };
    let count = |name| usage[name].as_u64().unwrap();
    (text.as_str().unwrap(), count(input), count(output))
}

/// Of any caller's dialect, with an endpoint of it that is down, and one of another that works.
async fn fails_over(caller: Dialect, other: Dialect, stream: bool) {
    let down = provider(caller).reply(Fault::ConnectRefused).start();
    let down = down.await.unwrap();
    let works = provider(other).reply(Reply::text("Hello there"));
    let works = works.start().await.unwrap();
    let [one, two] = [breaker(), breaker()];
    let failover = Failover::new(
        Http,
        [
            endpoint(caller, caller, &down, &one),
            endpoint(caller, other, &works, &two),
        ],
    );
    let metrics = MetricsLayer::request(Http);
    let response = metrics.layer(failover).oneshot(ask(&down, stream)).await;
    let reply = read(caller, stream, response.unwrap()).await;

    let billed = works.log().billed();
    let expected = ("Hello there", billed.input, billed.output);
    assert_eq!(said(caller, &reply), expected, "{caller} {other} {stream}");
    let seen = metrics.seen();
    assert_eq!(seen.outcomes.len(), 1, "once, at the end");
    assert_eq!(seen.outcomes[0].class, Class::Success);
    let usage = Usage::new(billed.input, billed.output);
    assert_eq!(
        seen.outcomes[0].usage,
        Some(usage),
        "{caller} {other} {stream}"
    );
    assert_eq!(seen.first_contents, 1, "{caller} {other} {stream}");

    let sent = works.log().last().unwrap();
    assert_eq!((sent.model(), sent.streamed()), (Some("model-2"), stream));
    let has =
        |part: &'static str| move |value: &HeaderValue| value.to_str().unwrap().contains(part);
    let values = || sent.headers().values();
    assert!(!values().any(has("sk-the-callers")) && values().any(has("sk-ours")));
    works.finish();
}

#[tokio::test]
async fn a_failover_from_any_dialect_to_any_other_answers_in_the_callers_whole_or_streamed() {
    for caller in Dialect::ALL {
        for other in Dialect::ALL {
            for stream in [false, true] {
                if caller != other {
                    fails_over(caller, other, stream).await;
                }
            }
        }
    }
}

/// An endpoint of OpenAI's that is down, and one of Anthropic's.
async fn down_and_anthropic(
    script: impl Into<buttress_testing::Script>,
    breaker: &CircuitBreaker,
) -> (Running, Running, Failover<Http, Endpoints>) {
    let down = Provider::openai().reply(Fault::ConnectRefused).start();
    let down = down.await.unwrap();
    let other = Provider::anthropic().reply(script).lenient();
    let other = other.start().await.unwrap();
    let endpoints = [
        Endpoint::new(
            "openai",
            endpoint(Dialect::OpenAi, Dialect::OpenAi, &down, &self::breaker()),
        ),
        Endpoint::new(
            "anthropic",
            endpoint(Dialect::OpenAi, Dialect::Anthropic, &other, breaker),
        ),
    ];
    (down, other, Failover::over(Http, endpoints).unwrap())
}

fn cooling<S>(handle: &Handle<S>) -> Vec<bool> {
    let states = handle.states();
    states
        .iter()
        .map(|state| state.cooling().is_some())
        .collect()
}

#[tokio::test]
async fn what_the_other_dialect_cannot_say_is_unfit_and_the_endpoint_is_as_healthy_as_before() {
    let breaker = breaker();
    let (down, other, failover) = down_and_anthropic(Reply::text("Hello"), &breaker).await;
    let handle = failover.handle();
    let metrics = MetricsLayer::request(Http);
    let mut stack = metrics.layer(failover);
    let body = json!({
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"50256": -100},
    });
    let request = Request::post("/v1/chat/completions").body(Full::from(body.to_string()));
    let error = stack.ready().await.unwrap().call(request.unwrap()).await;
    let error = error.unwrap_err().downcast::<ConvertError>().unwrap();
    assert_eq!(error.field(), Some("logit_bias"));
    assert_eq!(metrics.classes(), [Class::Unfit]);
    assert_eq!(metrics.seen().outcomes[0].sent, Sent::No);
    assert_eq!(cooling(&handle), [true, false]);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
    assert_eq!(other.log().received(), 0, "it was not sent");

    // What it can say, it is asked.
    let response = stack.ready().await.unwrap().call(ask(&down, false)).await;
    let reply = read(Dialect::OpenAi, false, response.unwrap()).await;
    assert_eq!(said(Dialect::OpenAi, &reply).0, "Hello");
}

#[tokio::test]
async fn what_one_endpoint_cannot_say_goes_on_to_the_next_if_the_failover_says_so() {
    let anthropic = Provider::anthropic().lenient().start().await.unwrap();
    let openai = Provider::openai().reply(Reply::text("Hello"));
    let openai = openai.start().await.unwrap();
    let [one, two] = [breaker(), breaker()];
    let endpoints = [
        endpoint(Dialect::OpenAi, Dialect::Anthropic, &anthropic, &one),
        endpoint(Dialect::OpenAi, Dialect::OpenAi, &openai, &two),
    ];
    let (events, told) = std::sync::mpsc::channel();
    let failover = Failover::new(Http.idempotent_only(), endpoints)
        .on_unfit(Next::Any)
        .on_event(move |event| {
            if let FailoverEvent::Failed { tried, .. } = event {
                events.send(tried.to_string()).unwrap();
            }
        });
    let request = openai
        .ask("m", "Hi")
        .with("logit_bias", json!({"1": 2}))
        .request();
    let (mut head, body) = request.into_parts();
    head.uri = head.uri.path_and_query().cloned().unwrap().into();
    // A `POST` that must not be acted on twice goes on, since it was not sent.
    let response = failover
        .oneshot(Request::from_parts(head, body))
        .await
        .unwrap();
    let reply = read(Dialect::OpenAi, false, response).await;
    assert_eq!(said(Dialect::OpenAi, &reply).0, "Hello");
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("cannot be converted"), "{}", told[0]);
    assert_eq!(
        (anthropic.log().received(), openai.log().received()),
        (0, 1)
    );
}

#[tokio::test]
async fn an_error_of_the_other_endpoint_is_told_in_the_callers_envelope_and_keeps_its_class() {
    let breaker = breaker();
    let limited = Reply::error(429).retry_after("7");
    let (down, other, failover) = down_and_anthropic(limited, &breaker).await;
    let handle = failover.handle();
    let response = failover.oneshot(ask(&down, false)).await;
    // The first real failure is the answer: the connection that was refused.
    assert!(response.is_err());
    let states = handle.states();
    let asked = states[1].cooling().unwrap().as_secs_f64();
    assert!((6.0..=7.0).contains(&asked), "{asked}");

    let alone = endpoint(Dialect::OpenAi, Dialect::Anthropic, &other, &breaker);
    let metrics = MetricsLayer::request(Http);
    let response = metrics
        .layer(alone)
        .oneshot(ask(&down, true))
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        body["error"]["message"].is_string() && body.get("type").is_none(),
        "{body}"
    );
    assert_eq!(metrics.classes(), [Class::Throttled]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_interrupted_and_its_usage_an_estimate() {
    let broken = provider(Dialect::Anthropic).reply(Fault::Reset { after: 2 });
    let broken = broken.start().await.unwrap();
    let openai = Provider::openai().lenient().start().await.unwrap();
    let metrics = MetricsLayer::request(Http);
    let stack = endpoint(Dialect::OpenAi, Dialect::Anthropic, &broken, &breaker());
    let response = metrics
        .layer(stack)
        .oneshot(ask(&openai, true))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    let seen = metrics.seen();
    assert_eq!((seen.outcomes.len(), seen.first_contents), (1, 1));
    assert_eq!(seen.outcomes[0].class, Class::Interrupted);
    assert!(seen.outcomes[0].usage.is_some_and(|usage| !usage.exact));
}

/// An error of one's own, for which nothing is boxed.
#[derive(Debug)]
enum ApiError {
    Refused(Refused),
    Convert(ConvertError),
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ConvertError> for ApiError {
    fn from(error: ConvertError) -> Self {
        Self::Convert(error)
    }
}

impl buttress_core::Fault for ApiError {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the API failed")
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Convert(error) => Some(error),
        }
    }
}

#[tokio::test]
async fn an_error_of_ones_own_is_known_by_its_source() {
    let client = service_fn(|_: Req| async {
        Ok::<_, ApiError>(Response::new(Full::<Bytes>::from("never asked")))
    });
    let metrics = MetricsLayer::request(Http);
    let stack = ServiceBuilder::new()
        .layer(metrics.clone())
        .layer(CircuitBreakerLayer::new(Http))
        .layer(ConvertLayer::new(Dialect::OpenAi, Dialect::Gemini))
        .layer(TrackLayer::new(Dialect::Gemini))
        .service(client);
    for (path, body, class, field) in [
        ("/v1/embeddings", "{}", Class::Unfit, Some("path")),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"1":2}}"#,
            Class::Unfit,
            Some("logit_bias"),
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":{}}"#,
            Class::Invalid,
            Some("messages"),
        ),
        ("/v1/chat/completions", "{", Class::Invalid, None),
    ] {
        let request = Request::post(path).body(Full::from(body)).unwrap();
        let error = stack.clone().oneshot(request).await.unwrap_err();
        let ApiError::Convert(error) = error else {
            panic!("it is one of the layer's");
        };
        assert_eq!(error.field(), field, "{body}");
        let outcome = *metrics.seen().outcomes.last().unwrap();
        assert_eq!((outcome.class, outcome.sent), (class, Sent::No), "{body}");
    }
}
