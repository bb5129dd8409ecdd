//! T1 to T11, by the probe.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{
    Carry, Class, Classify, Outcome, Plain, ProtocolExt, Reason, Refused, Replay, Track,
};
use buttress_http::{Http, TrackLayer};
use buttress_retry::{RetryEvent, RetryLayer};
use buttress_testing::probe::{self, Probe, Promise, Reply};
use bytes::Bytes;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::{DOWN, OK, Upstream, ask, log, protocol as own, retry, stop};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn protocol() -> impl Classify<Reply, BoxError>
+ Track<Reply>
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
    Probe::new(|| RetryLayer::new(protocol()).seed(7), |n: u64| n)
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || (RetryLayer::new(Http).seed(7), TrackLayer::default());
    Probe::http(layer, request)
}

#[tokio::test(start_paused = true)]
async fn t1_the_first_attempt_is_made_by_the_instance_that_was_readied() {
    plain().t1().await;
    http().t1().await;
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_is_final_and_unchanged() {
    plain().t2().await;
    http().t2().await;
}

#[tokio::test(start_paused = true)]
async fn t3_a_readied_clone_that_is_dropped_gives_back_what_was_reserved_below() {
    plain().t3().await;
    http().t3().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind() {
    plain().t4().await;
    http().t4().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_call_dropped_while_it_waits_gets_its_payment_back() {
    let budget = buttress_retry::Budget::default().reserve(5);
    let upstream = Upstream::new([DOWN]);
    let service = retry(own()).budget(budget.clone()).layer(upstream.clone());
    for _ in 0..10 {
        let mut call = spawn(service.clone().oneshot(ask()));
        assert!(call.poll().is_pending());
        assert_eq!(budget.balance(), 4);
        drop(call);
        assert_eq!(budget.balance(), 5);
    }
    assert_eq!(upstream.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn t5_a_failed_reply_is_gone_before_the_wait_and_a_good_one_keeps_its_slot_to_its_end() {
    http().t5().await;
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    plain().t6().await;
    http().t6().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_and_services_of_one_layer_behave_alike_and_hold_no_lock() {
    plain().t7().await;
    http().t7().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_of_a_layer_share_its_budget() {
    let layer = retry(own()).budget(buttress_retry::Budget::default().reserve(1));
    let (one, other) = (Upstream::new([DOWN]), Upstream::new([DOWN]));
    assert!(layer.layer(one.clone()).oneshot(ask()).await.is_err());
    let other_layer = layer.clone();
    assert!(
        other_layer
            .layer(other.clone())
            .oneshot(ask())
            .await
            .is_err()
    );
    assert_eq!((one.calls(), other.calls()), (2, 1));
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let mut service = retry(own()).layer(Upstream::new([OK]));
    is_sync(&service);
    is_send(&service.call(ask()));
}

/// A retry refuses nothing itself: what is below refuses through it.
#[tokio::test(start_paused = true)]
async fn t8_a_refusal_from_below_is_passed_on_without_another_call_or_wait() {
    let verdict = plain().verdict().await;
    let skipped: Vec<_> = verdict
        .skipped()
        .iter()
        .map(|(promise, _)| *promise)
        .collect();
    assert!(verdict.is_kept(), "{verdict}");
    assert_eq!(skipped, [Promise::T5, Promise::T8]);

    let (inner, mut upstream) = probe::pair::<u64, u64, BoxError>();
    let mut service = RetryLayer::new(Plain).layer(inner);
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
async fn t9_a_panic_below_poisons_nothing() {
    plain().t9().await;
    http().t9().await;
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_while_another_panic_unwinds_does_not_end_the_process() {
    use futures_util::FutureExt;

    let down = tower::service_fn(|_: crate::Ask| async {
        panic!("on purpose") as Result<u32, crate::Failed>
    });
    let service = RetryLayer::new(own())
        .on_event(|_| panic!("so is this"))
        .layer(down);
    // Dropped by the panic, and not by who catches it.
    let call = AssertUnwindSafe(async { service.oneshot(ask()).await });
    let panicked = call.catch_unwind().await.unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"));
}

/// Pays for everything, and takes nothing back.
#[derive(Clone)]
struct Gruff;

impl buttress_core::RetryBudget for Gruff {
    fn deposit(&self) {}

    fn withdraw(&self, _: Class) -> Option<buttress_core::Withdrawn> {
        Some(buttress_core::Withdrawn::new(1))
    }

    fn unspent(&self, _: buttress_core::Withdrawn) {
        panic!("so is this");
    }
}

/// Fails, and is then not ready in the worst way.
#[derive(Clone)]
struct Once(bool);

impl Service<crate::Ask> for Once {
    type Response = u32;
    type Error = crate::Failed;
    type Future = std::future::Ready<Result<u32, crate::Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), crate::Failed>> {
        assert!(!self.0, "on purpose");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: crate::Ask) -> Self::Future {
        self.0 = true;
        std::future::ready(Err(crate::Failed {
            outcome: DOWN,
            call: 1,
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn t9_a_budget_that_panics_while_another_panic_unwinds_does_not_end_the_process() {
    use futures_util::FutureExt;

    let service = RetryLayer::new(own()).budget(Gruff).layer(Once(false));
    // Dropped by the panic, and not by who catches it.
    let call = AssertUnwindSafe(async { service.oneshot(ask()).await });
    let panicked = call.catch_unwind().await.unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"));
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_of_a_callback_ends_that_call_alone() {
    use futures_util::FutureExt;

    for place in ["again", "done", "decide", "backoff"] {
        let budget = buttress_retry::Budget::default().reserve(9);
        let fuse = Arc::new(AtomicU64::new(0));
        let blow = move |here: &str| {
            let first = here == place && fuse.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(!first, "on purpose");
        };
        let (event, decide, backoff) = (blow.clone(), blow.clone(), blow);
        let layer = RetryLayer::new(own())
            .budget(budget.clone())
            .backoff(move |_: Class, _: u64| {
                backoff("backoff");
                std::iter::repeat(crate::ms(10))
            })
            .decide_with(move |_: &crate::Ask, _| {
                decide("decide");
                None
            })
            .on_event(move |told| match told {
                RetryEvent::Again { .. } => event("again"),
                _ => event("done"),
            });
        let upstream = Upstream::new([DOWN, OK, DOWN, OK]);
        let service = layer.layer(upstream.clone());
        let first = AssertUnwindSafe(service.clone().oneshot(ask()));
        assert!(first.catch_unwind().await.is_err(), "{place}");
        assert!(service.oneshot(ask()).await.is_ok(), "{place}");
        // What was not spent is back: one for each retry that was made.
        let retries = upstream.calls() as u32 - 2;
        assert_eq!(budget.balance(), 9 - retries, "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_seed_gives_the_same_waits() {
    plain().t10().await;
    http().t10().await;
}

#[tokio::test(start_paused = true)]
async fn t11_every_call_is_told_once_however_it_ends() {
    let count = Arc::new(AtomicU64::new(0));
    let layer = |count: &Arc<AtomicU64>| {
        let count = Arc::clone(count);
        RetryLayer::new(protocol()).on_event(move |event| {
            if let RetryEvent::Done { .. } = event {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let counter = Arc::clone(&count);
    let probe = Probe::new(move || layer(&counter), |n: u64| n);
    let read = move || count.load(Ordering::Relaxed);
    probe.counts(read).t11().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_told_as_dropped_was_dropped() {
    let (told, observer) = log();
    let service = retry(own()).on_event(observer).layer(Upstream::new([DOWN]));
    let mut call = spawn(service.oneshot(ask()));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(stop(&told), buttress_retry::Stop::Dropped);
}
