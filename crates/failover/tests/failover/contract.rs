//! T1 to T11, by the probe: a failover is probed with a single endpoint.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress_core::{
    Carry, Class, Classify, Outcome, Plain, ProtocolExt, Reason, Refuse, Refused, Replay, Track,
};
use buttress_failover::{
    AnyService, Endpoint, Failover, FailoverEvent, LeastLoaded, Next, StrategyExt, Variant,
    Variants,
};
use buttress_http::{Http, TrackLayer};
use buttress_retry::Budget;
use buttress_testing::probe::{self, Probe, Promise, Reply};
use bytes::Bytes;
use tokio_test::task::spawn;
use tower::{Service, ServiceExt};
use tower_layer::layer_fn;

use crate::{DOWN, OK, Upstream, ask, count, failover, log, protocol as own, secs, stop};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn protocol() -> impl Classify<Reply, BoxError>
+ Track<Reply>
+ Refuse<Reply, BoxError>
+ Carry<u64>
+ Replay<u64>
+ Clone
+ Send
+ Sync
+ 'static {
    Plain.classify_with(|result: Result<&Reply, &BoxError>| {
        let fault = result.is_ok_and(Reply::is_fault);
        fault.then(|| Outcome::new(Class::Unavailable))
    })
}

/// Over replies some of which are failures.
fn plain() -> Probe {
    let failover = |inner| {
        Failover::new(protocol(), [inner])
            .ready_within(Duration::MAX)
            .seed(7)
    };
    Probe::new(move || layer_fn(failover), |n: u64| n)
}

/// With a type-erased endpoint whose load is known.
fn erased() -> Probe {
    let failover = |inner| {
        Failover::new(protocol(), [AnyService::new(inner)])
            .strategy(LeastLoaded)
            .ready_within(Duration::MAX)
            .seed(7)
    };
    Probe::new(move || layer_fn(failover), |n: u64| n)
}

/// With every setting there is, but for health checks: these go on without a caller.
fn full() -> Probe {
    let failover = |inner| {
        let endpoint = Endpoint::new("only", inner)
            .weight(3)
            .credential("one")
            .context(1_000);
        let variants = [Variant::new("half", "only", 500)];
        let otherwise = LeastLoaded.among(|_: &u64, endpoints| endpoints.retain(|_| true));
        let strategy = Variants::new(|n: &u64| Some(*n), variants, otherwise).unwrap();
        Failover::over(protocol(), [endpoint])
            .unwrap()
            .strategy(strategy)
            .decide_with(|_: &u64, _, _| None)
            .max_attempts(count(3))
            .ready_within(Duration::MAX)
            .cool_down(secs(1), secs(9))
            .longest_hint(secs(9))
            .ramp(secs(1))
            .last_resort(true)
            .on_unfit(Next::LargerContext)
            .budget(Budget::default())
            .always_tell()
            .seed(7)
            .on_event(|_| {})
    };
    Probe::new(move || layer_fn(failover), |n: u64| n)
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || {
        let failover = |inner| {
            Failover::new(Http, [inner])
                .strategy(LeastLoaded)
                .ready_within(Duration::MAX)
                .seed(7)
        };
        (layer_fn(failover), TrackLayer::default())
    };
    Probe::http(layer, request)
}

#[tokio::test(start_paused = true)]
async fn t1_the_instance_that_is_called_was_readied() {
    plain().t1().await;
    full().t1().await;
    erased().t1().await;
    http().t1().await;
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_unchanged() {
    plain().t2().await;
    full().t2().await;
    erased().t2().await;
    http().t2().await;
}

#[tokio::test(start_paused = true)]
async fn t3_nothing_is_reserved_before_the_call() {
    plain().t3().await;
    full().t3().await;
    erased().t3().await;
    http().t3().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind() {
    plain().t4().await;
    full().t4().await;
    erased().t4().await;
    http().t4().await;
}

#[tokio::test(start_paused = true)]
async fn t5_a_reply_keeps_its_slot_to_its_end() {
    http().t5().await;
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    plain().t6().await;
    full().t6().await;
    erased().t6().await;
    http().t6().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_behave_alike_and_hold_no_lock() {
    plain().t7().await;
    full().t7().await;
    erased().t7().await;
    http().t7().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_share_what_is_known_of_the_endpoints() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let service = Failover::over(own(), crate::named(&upstreams)).unwrap();
    let other = service.clone();
    assert_eq!(service.oneshot(ask()).await, Ok("b"));
    assert_eq!(other.oneshot(ask()).await, Ok("b"));
    assert_eq!((upstreams[0].calls(), upstreams[1].calls()), (1, 2));
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let mut service = failover(own(), &[Upstream::new("a", [OK])]);
    is_sync(&service);
    is_send(&service.call(ask()));
    let mut service = Failover::new(own(), [AnyService::new(service)]);
    is_sync(&service);
    is_send(&service.call(ask()));
}

/// It refuses where no endpoint is left; what is below refuses through it.
#[tokio::test(start_paused = true)]
async fn t8_a_refusal_from_below_is_passed_on_without_another_call_or_wait() {
    for probe in [plain(), erased()] {
        let verdict = probe.verdict().await;
        let skipped: Vec<_> = verdict
            .skipped()
            .iter()
            .map(|(promise, _)| *promise)
            .collect();
        assert!(verdict.is_kept(), "{verdict}");
        assert_eq!(skipped, [Promise::T5, Promise::T8]);
    }
    let (inner, mut upstream) = probe::pair::<u64, u64, BoxError>();
    let mut service = Failover::new(Plain, [inner]);
    let mut call = spawn(service.ready().await.unwrap().call(1));
    assert!(call.poll().is_pending());
    let polls = upstream.ready_polls();
    upstream.set_ready(false);
    let refusal = Refused::new(Reason::Limited).into();
    assert!(upstream.next_call().await.fail(refusal));
    let Poll::Ready(Err(error)) = call.poll() else {
        panic!("the refusal is passed on at once")
    };
    assert!(error.is::<Refused>());
    assert_eq!((upstream.calls(), upstream.ready_polls()), (1, polls));
}

#[tokio::test(start_paused = true)]
async fn t8_its_own_refusal_neither_asks_nor_waits_for_an_endpoint() {
    let (inner, mut upstream) = probe::pair::<u64, u64, BoxError>();
    let throttled = Plain.classify_with(|result: Result<&u64, &BoxError>| {
        let outcome = Outcome::new(Class::Throttled).with_retry_after(Duration::from_secs(9));
        result.is_err().then_some(outcome)
    });
    let service = Failover::new(throttled, [inner]);
    let mut call = spawn(service.clone().oneshot(1));
    assert!(call.poll().is_pending());
    assert!(upstream.next_call().await.fail("slow down".into()));
    assert!(matches!(call.poll(), Poll::Ready(Err(_))));
    let polls = upstream.ready_polls();
    upstream.set_ready(false);
    let Poll::Ready(Err(error)) = spawn(service.oneshot(1)).poll() else {
        panic!("it refuses at once")
    };
    let refused = Refused::find(&*error).unwrap();
    assert_eq!(refused.reason(), Reason::NoEndpoint);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(9)));
    assert_eq!((upstream.calls(), upstream.ready_polls()), (1, polls));
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_below_poisons_nothing() {
    plain().t9().await;
    full().t9().await;
    erased().t9().await;
    http().t9().await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_of_a_callback_ends_that_call_alone() {
    use buttress_failover::Ordered;
    use futures_util::FutureExt;

    for place in ["failed", "cooling", "done", "decide", "choose", "fallback"] {
        let fuse = Arc::new(AtomicU64::new(0));
        let blow = move |here: &str| {
            let first = here == place && fuse.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(!first, "on purpose");
        };
        let (event, decide, choose, fallback) = (blow.clone(), blow.clone(), blow.clone(), blow);
        let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [DOWN])];
        let service = Failover::over(own(), crate::named(&upstreams))
            .unwrap()
            .strategy(Ordered.among(move |_: &crate::Ask, _| choose("choose")))
            .decide_with(move |_: &crate::Ask, _, _| {
                decide("decide");
                None
            })
            .fallback(move |_: crate::Ask, _| {
                fallback("fallback");
                async { Ok("fallback") }
            })
            .on_event(move |told| match told {
                FailoverEvent::Failed { .. } => event("failed"),
                FailoverEvent::Cooling { .. } => event("cooling"),
                _ => event("done"),
            });
        let first = AssertUnwindSafe(service.clone().oneshot(ask()));
        assert!(first.catch_unwind().await.is_err(), "{place}");
        assert_eq!(service.oneshot(ask()).await, Ok("fallback"), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_while_another_panic_unwinds_does_not_end_the_process() {
    use futures_util::FutureExt;
    use tower::service_fn;

    let down =
        service_fn(|_: crate::Ask| async { panic!("on purpose") as Result<&str, crate::Failed> });
    let service = Failover::new(own(), [down]).on_event(|_| panic!("so is this"));
    // Dropped by the panic, and not by who catches it.
    let call = AssertUnwindSafe(async { service.oneshot(ask()).await });
    let panicked = call.catch_unwind().await.unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"));
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_seed_gives_the_same_choices() {
    plain().t10().await;
    http().t10().await;

    let choices = |seed| async move {
        let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [OK]));
        let service = failover(own(), &upstreams).strategy(LeastLoaded).seed(seed);
        let mut served = String::new();
        for _ in 0..50 {
            served += service.clone().oneshot(ask()).await.unwrap();
        }
        served
    };
    assert_eq!(choices(3).await, choices(3).await);
    assert_ne!(choices(3).await, choices(4).await);
}

#[tokio::test(start_paused = true)]
async fn t11_every_call_is_told_once_however_it_ends() {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let layer = move || {
        let count = Arc::clone(&counter);
        layer_fn(move |inner| {
            let count = Arc::clone(&count);
            Failover::new(protocol(), [inner])
                .ready_within(Duration::MAX)
                .on_event(move |event| {
                    if let FailoverEvent::Done { .. } = event {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
        })
    };
    let probe = Probe::new(layer, |n: u64| n);
    let read = move || count.load(Ordering::Relaxed);
    probe.counts(read).t11().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_told_as_dropped_was_dropped() {
    let (told, observer) = log();
    let upstreams = [Upstream::slow("a", [(Duration::from_secs(1), OK)])];
    let service = failover(own(), &upstreams).on_event(observer);
    let mut call = spawn(service.oneshot(ask()));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(stop(&told), buttress_failover::Stop::Dropped);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_dropped_before_it_was_polled_is_told_once() {
    let (told, observer) = log();
    let upstreams = [Upstream::new("a", [OK])];
    let mut service = failover(own(), &upstreams).on_event(observer);
    drop(service.call(ask()));
    assert_eq!(stop(&told), buttress_failover::Stop::Dropped);
    assert_eq!((told.lock().unwrap().len(), upstreams[0].calls()), (1, 0));
}
