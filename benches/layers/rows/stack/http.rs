use std::{
    future::{Ready, ready},
    time::Duration,
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_failover::Failover;
use buttress_http::{Body, BoxError, Http, TrackLayer};
use buttress_llm::{CredentialsLayer, Dialect, OpenAi, Secret};
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::RateLimitLayer;
use buttress_retry::RetryLayer;
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, service_fn};
use tower_service::Service;

use super::super::{
    http::{Hello, asked, row},
    metrics::install,
    plain::quotas,
};
use crate::row::Group;

type Ask = Request<Full<Bytes>>;

/// What each layer makes of the one below.
trait Calls:
    Service<Ask, Response = Response<Body<Full<Bytes>>>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Calls for S where
    S: Service<Ask, Response = Response<Body<Full<Bytes>>>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A chat completion as OpenAI sends it, with what it used.
const CHAT: &[u8] = br#"{"id":"chatcmpl-C8Zw0bUttre55","object":"chat.completion","created":1790000000,"model":"gpt-bench","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}"#;

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Hello).at_most(0),
        row("track", || TrackLayer::default().layer(Hello)).at_most(0),
        row("and attempt timeouts", || timeouts(track())).at_most(1),
        row("and attempt metrics", || metered(timeouts(track()))).at_most(2),
        row("and rate limit", || limited(metered(timeouts(track())))).at_most(3),
        row("and breaker", || {
            guarded(limited(metered(timeouts(track()))))
        })
        .at_most(4),
        row("and retry", || endpoint(timeouts(track()))),
        row("and failover of two", || of_two(timeouts(track()))),
        row("and total timeout", || {
            total().layer(of_two(timeouts(track())))
        }),
        row("and request metrics: the whole stack", || {
            requests(total().layer(of_two(timeouts(track()))))
        }),
        row("the whole stack, a hit of its cache", || {
            requests(total().layer(cached(of_two(timeouts(track())))))
        }),
        asked("a chat", CHAT.len(), || service_fn(chat)),
        asked("a chat, credentials, its usage read", CHAT.len(), judged),
        asked(
            "a chat, the whole stack with credentials, its usage read",
            CHAT.len(),
            || requests(total().layer(of_two(timeouts(judged())))),
        ),
    ];
    Group {
        name: "the whole stack, over http, with metrics",
        rows,
    }
}

fn track() -> impl Calls {
    TrackLayer::default().layer(Hello)
}

fn timeouts(inner: impl Calls) -> impl Calls {
    TimeoutLayer::new(Http)
        .first_content(Duration::from_secs(10))
        .idle(Duration::from_secs(5))
        .layer(inner)
}

fn metered(inner: impl Calls) -> impl Calls {
    install();
    MetricsLayer::attempt(Http).layer(inner)
}

fn limited(inner: impl Calls) -> impl Calls {
    RateLimitLayer::new(Http, quotas()).layer(inner)
}

fn guarded(inner: impl Calls) -> impl Calls {
    CircuitBreakerLayer::new(Http).layer(inner)
}

fn endpoint(inner: impl Calls) -> impl Calls {
    RetryLayer::new(Http).layer(guarded(limited(metered(inner))))
}

fn of_two(inner: impl Calls) -> impl Calls {
    Failover::new(Http, [endpoint(inner.clone()), endpoint(inner)])
}

fn total() -> TimeoutLayer<Http> {
    TimeoutLayer::new(Http).total(Duration::from_secs(60))
}

fn cached(inner: impl Calls) -> impl Calls {
    let key = |ask: &Ask| Keyed::of(ask.uri().path());
    CacheLayer::new(Http, key).layer(inner)
}

fn requests(inner: impl Calls) -> impl Calls {
    MetricsLayer::request(Http).layer(inner)
}

fn chat(_: Ask) -> Ready<Result<Response<Full<Bytes>>, BoxError>> {
    let mut response = Response::new(Full::new(Bytes::from_static(CHAT)));
    let json = http::HeaderValue::from_static("application/json");
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, json);
    ready(Ok(response))
}

fn judged() -> impl Calls {
    let secret = Secret::new("sk-0123456789").expect("a secret");
    let tracked = TrackLayer::new(OpenAi).layer(service_fn(chat));
    CredentialsLayer::new(Dialect::OpenAi, secret).layer(tracked)
}
