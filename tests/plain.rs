//! The words over a plain closure service, with an error enum of the user's own.

mod toys;

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_core::{
    CallInfo, Class, Fault, Money, Outcome, Plain, ProtocolExt, Reason, Refused, Usage, check,
};
use buttress_failover::Failover;
use buttress_rate_limit::Cost;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use toys::{breaker, charged, metrics::MetricsLayer, permit::PermitLayer, retry, tokens};

#[derive(Debug, PartialEq)]
enum ApiError {
    Down,
    Refused(Refused),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Down => None,
            Self::Refused(refused) => Some(refused),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for ApiError {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[derive(Clone, Debug, Default)]
struct Ask {
    prompt: &'static str,
    info: CallInfo,
}

#[derive(Clone, Debug, PartialEq)]
struct Reply {
    text: &'static str,
    tokens: u64,
}

const REPLY: Reply = Reply {
    text: "hello",
    tokens: 7,
};

/// What a user of plain services writes once: where a request carries its info, and what a reply
/// says of its usage.
macro_rules! protocol {
    () => {
        Plain
            .carry_with(|ask: &Ask| &ask.info, |ask: &mut Ask| &mut ask.info)
            .classify_with(|result: Result<&Reply, &ApiError>| {
                let reply = result.ok()?;
                let cost = Money::from_pico(2).times(reply.tokens);
                Some(
                    Outcome::SUCCESS
                        .with_usage(Usage::new(0, reply.tokens))
                        .with_cost(cost),
                )
            })
    };
}

fn ask(prompt: &'static str) -> Ask {
    Ask {
        prompt,
        info: CallInfo::new(),
    }
}

/// An upstream that fails so many times, and counts how often it was called.
#[derive(Clone)]
struct Upstream {
    failures: u32,
    calls: Arc<AtomicU32>,
}

fn upstream(failures: u32, calls: &Arc<AtomicU32>) -> Upstream {
    Upstream {
        failures,
        calls: calls.clone(),
    }
}

impl Service<Ask> for Upstream {
    type Response = Reply;
    type Error = ApiError;
    type Future = Ready<Result<Reply, ApiError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Ask) -> Self::Future {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        ready(if call < self.failures {
            Err(ApiError::Down)
        } else {
            Ok(REPLY)
        })
    }
}

#[tokio::test]
async fn every_layer_sees_the_usage_and_the_caller_gets_its_own_types() {
    let calls = Arc::default();
    let protocol = protocol!();
    let (limit, attempts, requests) = (
        tokens(protocol, 100, |_: &Ask| Cost::tokens(50, 0)),
        MetricsLayer::attempt(protocol),
        MetricsLayer::request(protocol),
    );
    let stack = ServiceBuilder::new()
        .layer(requests.clone())
        .layer(retry(protocol))
        .layer(breaker(protocol))
        .layer(limit.clone())
        .layer(PermitLayer::new(protocol, 1))
        .layer(attempts.clone())
        .service(upstream(1, &calls));
    let reply = check::<Ask, _>(stack).oneshot(ask("hi")).await;

    assert_eq!(reply, Ok(REPLY));
    assert_eq!(attempts.classes(), [Class::Unavailable, Class::Success]);
    let seen = requests.seen().outcomes;
    assert_eq!(seen.len(), 1);
    // The first attempt did not tell what it used: the sum is not exact.
    assert_eq!(seen[0].usage, Some(Usage::new(0, 7).estimated()));
    assert_eq!(seen[0].cost, Some(Money::from_pico(14)));
    // Its reservation stands; the second was settled.
    assert_eq!(charged(&limit), 57);
}

#[tokio::test]
async fn an_inner_refusal_is_not_retried_and_comes_out_as_the_users_own_error() {
    let calls = Arc::default();
    let protocol = protocol!();
    let attempts = MetricsLayer::attempt(protocol);
    let stack = ServiceBuilder::new()
        .layer(retry(protocol))
        .layer(attempts.clone())
        .layer(tokens(protocol, 10, |_: &Ask| Cost::tokens(50, 0)))
        .service(upstream(0, &calls));
    let error = stack.oneshot(ask("hi")).await.unwrap_err();

    assert_eq!(error, ApiError::Refused(Refused::new(Reason::Oversized)));
    assert_eq!(attempts.classes(), [Class::Refused]);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn failover_goes_on_where_one_endpoint_refuses() {
    let (one, other) = (Arc::default(), Arc::default());
    let protocol = protocol!();
    let endpoint = |permits, calls: &Arc<AtomicU32>| {
        ServiceBuilder::new()
            .layer(retry(protocol))
            .layer(PermitLayer::new(protocol, permits))
            .service(upstream(0, calls))
    };
    let stack = Failover::new(protocol, [endpoint(0, &one), endpoint(1, &other)]);

    assert_eq!(stack.oneshot(ask("hi")).await, Ok(REPLY));
    assert_eq!(
        (one.load(Ordering::Relaxed), other.load(Ordering::Relaxed)),
        (0, 1)
    );
}

#[tokio::test]
async fn r13_a_retry_inside_a_retry_stands_down() {
    // Where requests carry nothing, it is found on the way in; where they do, across waits too.
    async fn attempts<P>(protocol: P) -> u32
    where
        P: buttress_core::Carry<Ask> + buttress_core::Replay<Ask> + Clone,
        P: buttress_core::Classify<Reply, ApiError> + buttress_core::Track<Reply>,
    {
        let calls = Arc::default();
        let stack = ServiceBuilder::new()
            .layer(retry(protocol.clone()))
            .layer(retry(protocol))
            .service(upstream(u32::MAX, &calls));
        assert_eq!(stack.oneshot(ask("hi")).await, Err(ApiError::Down));
        calls.load(Ordering::Relaxed)
    }

    assert_eq!(attempts(Plain).await, 3);
    assert_eq!(attempts(protocol!()).await, 3);
}

#[tokio::test]
async fn r13_another_stack_called_inside_still_retries() {
    let calls = Arc::default();
    let inner = ServiceBuilder::new()
        .layer(retry(Plain))
        .service(upstream(2, &calls));
    let outer = ServiceBuilder::new()
        .layer(retry(Plain))
        .service(service_fn(move |_: Ask| {
            inner.clone().oneshot(ask("another"))
        }));

    assert_eq!(outer.oneshot(ask("hi")).await, Ok(REPLY));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn requests_that_cannot_be_copied_are_sent_once() {
    struct Unique;

    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let stack = ServiceBuilder::new()
        .layer(retry(Plain.once()))
        .service(service_fn(move |_: Unique| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>(ApiError::Down) }
        }));

    assert_eq!(
        check::<Unique, _>(stack).oneshot(Unique).await,
        Err(ApiError::Down)
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn one_call_serves_all_who_ask_the_same() {
    let calls = Arc::default();
    let layer = CacheLayer::new(protocol!(), |ask: &Ask| Keyed::of(ask.prompt));
    let cache = layer.layer(upstream(0, &calls));
    let (one, other) = tokio::join!(
        cache.clone().oneshot(ask("hi")),
        cache.clone().oneshot(ask("hi"))
    );

    assert_eq!((one, other), (Ok(REPLY), Ok(REPLY)));
    assert_eq!(cache.oneshot(ask("hi")).await, Ok(REPLY));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_error_of_a_shared_call_reaches_the_others_as_a_refusal_of_its_class() {
    let calls = Arc::default();
    let slow = ServiceBuilder::new()
        .map_future(|call| async {
            tokio::task::yield_now().await;
            call.await
        })
        .service(upstream(1, &calls));
    let layer = CacheLayer::new(protocol!(), |ask: &Ask| Keyed::of(ask.prompt));
    let cache = layer.layer(slow);
    let (one, other) = tokio::join!(
        cache.clone().oneshot(ask("hi")),
        cache.clone().oneshot(ask("hi"))
    );

    // One gets the error itself, whoever drove the call when it failed.
    let ((Err(ApiError::Down), Err(ApiError::Refused(refused)))
    | (Err(ApiError::Refused(refused)), Err(ApiError::Down))) = (one, other)
    else {
        panic!("one error and one refusal")
    };
    assert_eq!(
        (refused.reason(), refused.class()),
        (Reason::Coalesced, Class::Unavailable)
    );
}

#[tokio::test]
async fn t8_an_open_breaker_neither_waits_for_the_inner_service_nor_calls_it() {
    let breaker = breaker(Plain);
    let calls = Arc::default();
    let mut service = ServiceBuilder::new()
        .layer(breaker.clone())
        .service(upstream(3, &calls));
    for _ in 0..3 {
        assert_eq!(
            service.ready().await.unwrap().call(ask("hi")).await,
            Err(ApiError::Down)
        );
    }
    let (mut mock, mut handle) = tower_test::mock::pair::<Ask, Reply>();
    handle.allow(0);
    assert!(
        tokio::time::timeout(std::time::Duration::ZERO, mock.ready())
            .await
            .is_err()
    );

    let refusing = ServiceBuilder::new()
        .layer(breaker)
        .map_err(|_| ApiError::Down)
        .service(mock);
    let error = refusing.oneshot(ask("hi")).await.unwrap_err();
    assert_eq!(error, ApiError::Refused(Refused::new(Reason::CircuitOpen)));
}
