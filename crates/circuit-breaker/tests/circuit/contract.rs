//! T1 to T11, by the probe.

use std::{
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use buttress_circuit_breaker::{
    CircuitBreaker, CircuitBreakerLayer, CircuitBreakers, KeyedCircuitBreakerLayer, Policy, Ratio,
    State, Wait, Window,
};
use buttress_core::{Class, Classify, Outcome, Plain, ProtocolExt, Reason, Refuse, Refused, Track};
use buttress_http::{Http, Judge, Meter, TrackLayer};
use buttress_testing::probe::{self, Probe, Reply};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::{after, count, secs};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn protocol()
-> impl Classify<Reply, BoxError> + Track<Reply> + Refuse<Reply, BoxError> + Clone + Send + 'static
{
    Plain.classify_with(|result: Result<&Reply, &BoxError>| {
        let fault = result.is_ok_and(Reply::is_fault);
        fault.then(|| Outcome::new(Class::Unavailable))
    })
}

fn layer() -> CircuitBreakerLayer<
    impl Classify<Reply, BoxError> + Track<Reply> + Refuse<Reply, BoxError> + Clone + Send + 'static,
> {
    CircuitBreakerLayer::new(protocol()).policy(after(5).seed(7))
}

/// Closed, and open after five failures in a row.
fn plain() -> Probe {
    Probe::new(layer, |n: u64| n)
}

/// Due: two calls at once are let through as probes.
fn half_open() -> Probe {
    Probe::new(
        || {
            let layer = CircuitBreakerLayer::new(protocol()).policy(due().probes(count(2)));
            trip(&layer.handle());
            layer
        },
        |n: u64| n,
    )
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || {
        let breaker = CircuitBreakerLayer::new(Http).policy(after(5).seed(7));
        (breaker, TrackLayer::default())
    };
    Probe::http(layer, request)
}

/// With a circuit for each key.
fn keyed() -> Probe {
    let layer = || {
        let many = NonZeroUsize::new(2).unwrap();
        let breakers = CircuitBreakers::new(many, |_: &u64| after(5).seed(7));
        KeyedCircuitBreakerLayer::new(protocol(), &breakers, |n: &u64| n % 2)
    };
    Probe::new(layer, |n: u64| n).decides_in_call()
}

/// With every condition and setting there is.
fn full() -> Probe {
    let layer = || {
        let half = Ratio::percent::<50>();
        let policy = Policy::failure_rate(half, Window::calls::<4>())
            .or_failure_rate(half, Window::secs::<30>())
            .or_slow_rate(half, secs(20), Window::secs::<30>())
            .or_consecutive_failures(count(5))
            .minimum_calls(count(100))
            .wait(Wait::exponential(secs(1), secs(9)).jitter(half))
            .probes(count(2))
            .recovery(half)
            .probe_timeout(secs(5))
            .open_on_throttled(secs(9))
            .name("full")
            .seed(7)
            .on_event(|_| {});
        CircuitBreakerLayer::new(protocol()).policy(policy)
    };
    Probe::new(layer, |n: u64| n)
}

/// Every reply says nothing of its endpoint, so that each probe gives its place to the next.
#[derive(Clone, Copy)]
struct SaysNothing;

impl Judge for SaysNothing {
    fn head(&self, _: &http::response::Parts) -> Outcome {
        Outcome::new(Class::Invalid)
    }

    fn meter(&self, _: &http::response::Parts) -> Option<Box<dyn Meter>> {
        None
    }
}

/// Opens after one failure, and probes at once.
fn due() -> Policy {
    after(1)
        .wait(Wait::fixed(secs(0)))
        .probe_timeout(secs(1 << 40))
}

/// One failure.
fn trip(breaker: &CircuitBreaker) {
    let failing = tower::service_fn(|()| async { Err::<(), _>(BoxError::from("down")) });
    let mut service = CircuitBreakerLayer::new(Plain)
        .breaker(breaker)
        .layer(failing);
    let failed = service.ready().now_or_never().unwrap().unwrap().call(());
    assert!(failed.now_or_never().unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn t1_a_call_is_made_by_the_instance_that_was_readied() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t1().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_unchanged() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t2().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_a_readied_clone_that_is_dropped_holds_no_probe() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t3().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind_and_its_probe_is_free() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t4().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t5_the_place_of_a_probe_follows_the_body() {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || {
        let breaker = CircuitBreakerLayer::new(Http).policy(due().probes(count(2)));
        trip(&breaker.handle());
        (breaker, TrackLayer::new(SaysNothing))
    };
    Probe::http(layer, request).slots(2).t5().await;
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t6().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t7_clones_and_services_of_one_layer_share_a_circuit_and_hold_no_lock() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t7().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t8_a_refusal_neither_waits_for_the_inner_service_nor_calls_it() {
    half_open().t8().await;
    let open = || {
        let layer = CircuitBreakerLayer::new(protocol()).policy(after(1));
        trip(&layer.handle());
        layer
    };
    Probe::new(open, |n: u64| n).t8().await;
    let forced = || {
        let layer = layer();
        layer.handle().force_open();
        layer
    };
    Probe::new(forced, |n: u64| n).t8().await;
    let keyed = || {
        let many = NonZeroUsize::new(2).unwrap();
        let breakers = CircuitBreakers::new(many, |(): &()| after(1));
        let failing = tower::service_fn(|_: u64| async { Err::<Reply, _>(BoxError::from("down")) });
        let first = KeyedCircuitBreakerLayer::new(protocol(), &breakers, |_: &u64| ());
        let failed = first.layer(failing).oneshot(1).now_or_never();
        assert!(failed.unwrap().is_err());
        KeyedCircuitBreakerLayer::new(protocol(), &breakers, |_: &u64| ())
    };
    Probe::new(keyed, |n: u64| n).decides_in_call().t8().await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_below_poisons_nothing_and_frees_the_probe() {
    for probe in [plain(), full(), half_open(), http(), keyed()] {
        probe.t9().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_seed_gives_the_same_waits() {
    plain().t10().await;
    http().t10().await;
    keyed().t10().await;
}

#[tokio::test(start_paused = true)]
async fn t8_what_poll_ready_decided_binds_the_next_call() {
    let (inner, mut upstream) = probe::pair::<u64, u64, BoxError>();
    let layer = CircuitBreakerLayer::new(Plain);
    let breaker = layer.handle();
    let mut service = layer.layer(inner);
    breaker.force_open();
    assert!(spawn(service.ready()).poll().is_ready());
    breaker.reset();
    // It stays ready, and asks nobody: it was not readied for this call.
    assert!(spawn(service.ready()).poll().is_ready());
    assert_eq!(upstream.ready_polls(), 0);
    assert!(refused(service.call(1)).is_some());
    // The next one is another.
    let mut call = spawn(service.ready().await.unwrap().call(2));
    assert!(call.poll().is_pending());
    assert!(upstream.next_call().await.reply(2));
    assert!(matches!(call.poll(), Poll::Ready(Ok(2))));
}

#[tokio::test(start_paused = true)]
async fn t8_a_service_that_was_readied_before_the_circuit_opened_refuses_and_stays_ready() {
    let (inner, upstream) = probe::pair::<u64, u64, BoxError>();
    let layer = CircuitBreakerLayer::new(Plain);
    let breaker = layer.handle();
    let mut service = layer.layer(inner);
    assert!(spawn(service.ready()).poll().is_ready());
    breaker.force_open();
    assert!(refused(service.call(1)).is_some());
    let polls = upstream.ready_polls();
    assert!(spawn(service.ready()).poll().is_ready());
    assert!(refused(service.clone().call(1)).is_some());
    assert_eq!((upstream.calls(), upstream.ready_polls()), (0, polls));
    breaker.reset();
    // The decision of the clone is not that of the service, nor the other way round.
    let mut clone = service.clone();
    assert!(refused(service.call(1)).is_some());
    assert!(spawn(clone.ready()).poll().is_ready());
    assert!(spawn(clone.call(2)).poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_frees_the_probe_and_spoils_nothing() {
    for fuse in 0..4 {
        let told = AtomicU64::new(0);
        let policy = due().on_event(move |_| {
            let number = told.fetch_add(1, Ordering::Relaxed);
            assert!(number != fuse, "on purpose");
        });
        let layer = CircuitBreakerLayer::new(Plain).policy(policy);
        let breaker = layer.handle();
        let service = layer.layer(tower::service_fn(|n: u64| async move {
            match n {
                0 => Err(BoxError::from("down")),
                _ => Ok(n),
            }
        }));
        // It opens, probes and recovers, and one of them panics.
        let mut panics = 0;
        for n in 0..4 {
            let call = AssertUnwindSafe(service.clone().oneshot(n)).catch_unwind();
            panics += u64::from(call.await.is_err());
        }
        assert_eq!(panics, u64::from(fuse < 3), "{fuse}");
        assert_eq!(breaker.state(), State::Closed, "{fuse}");
    }
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let mut service =
        CircuitBreakerLayer::new(Plain).layer(tower::service_fn(|n: u64| async move {
            Ok::<_, BoxError>(n)
        }));
    is_sync(&service);
    is_send(&service.call(1));
}

#[tokio::test(start_paused = true)]
async fn t7_a_call_by_reference_is_awaited_in_a_task_that_is_spawned() {
    type Ask = http::Request<Bytes>;
    let many = NonZeroUsize::new(2).unwrap();
    let breakers = CircuitBreakers::new(many, |_: &String| after(5));
    let path = |ask: &Ask| ask.uri().path().to_owned();
    let service = tower::ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(Http))
        .layer(KeyedCircuitBreakerLayer::new(Http, &breakers, path))
        .layer(TrackLayer::default())
        .service_fn(|ask: Ask| async {
            Ok::<_, BoxError>(http::Response::new(http_body_util::Full::new(
                ask.into_body(),
            )))
        });
    let task = tokio::spawn(async move {
        let (service, ask) = (&service, &Ask::default());
        let reply = service.clone().oneshot(ask.clone()).await;
        reply.map(|reply| reply.status())
    });
    assert_eq!(task.await.unwrap().unwrap(), 200);
    assert_eq!(breakers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t11_every_outcome_is_counted_once_by_each_circuit_it_passes() {
    let half = Ratio::percent::<50>();
    let circuit = || CircuitBreaker::new(Policy::failure_rate(half, Window::calls::<100>()));
    let (outer, inner) = (circuit(), circuit());
    let service = tower::ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(Plain).breaker(&outer))
        .layer(CircuitBreakerLayer::new(Plain).breaker(&inner))
        .service_fn(|n: u64| async move {
            match n {
                0 => Ok(n),
                1 => Err(BoxError::from("down")),
                2 => Err(BoxError::from(Refused::new(Reason::Limited))),
                3 => panic!("on purpose"),
                _ => std::future::pending().await,
            }
        });
    let counted = |breaker: &CircuitBreaker| {
        let counts = breaker.snapshot().rates[0];
        (counts.calls, counts.bad)
    };
    for (n, expected) in [
        (0, (1, 0)),
        (1, (2, 1)),
        (2, (2, 1)),
        (3, (2, 1)),
        (4, (2, 1)),
    ] {
        let call = AssertUnwindSafe(service.clone().oneshot(n)).catch_unwind();
        drop(call.now_or_never());
        assert_eq!(
            (counted(&outer), counted(&inner)),
            (expected, expected),
            "{n}"
        );
    }
}

/// How a future that is ready at once was refused.
fn refused<T>(call: impl Future<Output = Result<T, BoxError>>) -> Option<Refused> {
    let result = call.now_or_never().expect("it is there at once");
    Refused::find(&*result.err()?)
}
