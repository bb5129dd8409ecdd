//! Budget, fallback, health checks.

use std::{
    future::{Ready as Answer, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Class, Outcome, Trail};
use buttress_failover::{Failover, FailoverEvent, Stop};
use buttress_retry::{Budget, Constant, Ratio, RetryLayer};
use futures_util::FutureExt;
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::{
    Ask, DOWN, Failed, OK, Ready, Told, Upstream, accounted, ask, count, failover, log, ms, named,
    protocol, secs, stop,
};

#[tokio::test(start_paused = true)]
async fn r1_all_endpoints_together_stay_within_the_allowance_that_they_share() {
    let allowance = Budget::new(Ratio::new(1, u32::MAX).unwrap()).reserve(4);
    let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [DOWN]));
    let retry = RetryLayer::new(protocol())
        .max_attempts(count(3))
        .backoff(Constant::NONE)
        .budget(allowance.clone());
    let endpoints = upstreams
        .each_ref()
        .map(|upstream| retry.layer(upstream.clone()));
    let (told, observer) = log();
    let service = Failover::new(protocol(), endpoints)
        .budget(allowance)
        .on_event(observer);
    let (ask, ledger) = accounted();
    assert!(service.oneshot(ask).await.is_err());
    // Three attempts at the first, of which two were paid for; going on, and one more.
    let calls = upstreams.each_ref().map(Upstream::calls);
    assert_eq!((calls, stop(&told)), ([3, 2, 0], Stop::Budget));
    assert_eq!(ledger.attempts(), 5);
}

#[tokio::test(start_paused = true)]
async fn r1_without_an_allowance_each_endpoint_has_its_own_attempts() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [DOWN]));
    let retry = RetryLayer::new(protocol())
        .max_attempts(count(3))
        .backoff(Constant::NONE);
    let endpoints = upstreams
        .each_ref()
        .map(|upstream| retry.layer(upstream.clone()));
    assert!(
        Failover::new(protocol(), endpoints)
            .oneshot(ask())
            .await
            .is_err()
    );
    assert_eq!(upstreams.each_ref().map(Upstream::calls), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_costs_nothing_and_what_is_not_made_is_given_back() {
    let budget = Budget::new(Ratio::new(1, u32::MAX).unwrap()).reserve(3);
    let upstreams = [
        Upstream::new("a", [Outcome::new(Class::Refused)]),
        Upstream::new("b", [DOWN]),
        Upstream::new("c", [OK]),
    ];
    let service = failover(protocol(), &upstreams)
        .budget(budget.clone())
        .ready_within(secs(1));
    upstreams[2].set_ready(Ready::Never);
    let mut call = tokio_test::task::spawn(service.clone().oneshot(ask()));
    assert!(call.poll().is_pending());
    assert_eq!(budget.balance(), 2, "paid for the third alone");
    drop(call);
    assert_eq!(budget.balance(), 3, "which was not called");
    upstreams[2].set_ready(Ready::Yes);
    assert_eq!(service.oneshot(ask()).await, Ok("c"));
    assert!(budget.balance() >= 2);
}

#[tokio::test(start_paused = true)]
async fn the_fallback_answers_when_every_endpoint_is_spent_and_is_marked() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [DOWN]));
    for (most, spent) in [(5, 3), (2, 2)] {
        let (told, observer) = log();
        let service = failover(protocol(), &upstreams)
            .max_attempts(count(most))
            .fallback(move |ask: Ask, trail: Trail| async move {
                assert_eq!((ask.number, trail.tried().len()), (7, spent));
                Ok("sorry")
            })
            .on_event(observer);
        let (mut ask, ledger) = accounted();
        ask.number = 7;
        assert_eq!(service.oneshot(ask).await, Ok("sorry"));
        assert_eq!(ledger.trail().len(), spent);
        let told = told.lock().unwrap();
        let done = Told::Done {
            endpoint: None,
            variant: None,
            attempts: spent as u32,
            class: Class::Success,
            failed: spent,
            stop: Stop::Fallback,
        };
        assert_eq!(told.last(), Some(&done));
    }
}

#[tokio::test(start_paused = true)]
async fn the_fallback_is_not_asked_about_what_no_endpoint_would_serve() {
    for class in [Class::Invalid, Class::Unfit, Class::Interrupted] {
        let upstreams = [Upstream::new("a", [Outcome::new(class)])];
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let service = failover(protocol(), &upstreams).fallback(move |_: Ask, _| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok("sorry") }
        });
        assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_fails_leaves_the_first_real_failure_as_the_answer() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [DOWN]));
    let last = upstreams[1].clone();
    // A service is a fallback too.
    let service = failover(protocol(), &upstreams)
        .max_attempts(count(1))
        .fallback(move |ask: Ask, _| last.clone().oneshot(ask));
    assert_eq!(service.clone().oneshot(ask()).await.unwrap_err().at, "a");
    assert_eq!(upstreams[1].calls(), 1);
    upstreams[1].set(OK);
    assert_eq!(service.oneshot(ask()).await, Ok("b"));
}

/// Over one endpoint that is down, and another, with a check a minute or so.
fn checked(
    upstreams: &[Upstream; 2],
) -> (
    crate::Log,
    impl tower::Service<Ask, Response = &'static str, Error = crate::Failed, Future: Send> + Clone,
) {
    let (told, observer) = log();
    let service = Failover::over(protocol(), named(upstreams))
        .unwrap()
        .cool_down(secs(600), secs(6000))
        .ramp(Duration::ZERO)
        .seed(1)
        .on_event(observer)
        .health_check(secs(60), |info| Ask {
            number: info.name().len() as u64,
            ..Ask::default()
        });
    (told, service)
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_goes_well_ends_the_cool_down() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let (told, service) = checked(&upstreams);
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    upstreams[0].set(OK);
    // Give or take a half.
    sleep(secs(29)).await;
    assert_eq!(upstreams[0].calls(), 1);
    sleep(secs(62)).await;
    assert_eq!((upstreams[0].calls(), upstreams[0].last().number), (2, 1));
    assert_eq!(service.clone().oneshot(ask()).await, Ok("a"));
    sleep(secs(6000)).await;
    assert_eq!(upstreams[0].calls(), 3, "no further check");
    let told = told.lock().unwrap();
    assert!(told.contains(&Told::Checked("a".into(), Class::Success)));
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_fails_makes_the_cool_down_longer_and_they_are_jittered() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let (told, service) = checked(&upstreams);
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    sleep(secs(1000)).await;
    // It would have ended by now.
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    let times = upstreams[0].times();
    assert!((11..34).contains(&times.len()), "{}", times.len());
    let gaps: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        gaps.iter()
            .all(|gap| (ms(30_000)..ms(90_002)).contains(gap)),
        "{gaps:?}"
    );
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*most - *least > secs(10), "{gaps:?}");
    let checked = Told::Checked("a".into(), Class::Unavailable);
    let told = told.lock().unwrap();
    assert_eq!(
        told.iter().filter(|told| **told == checked).count(),
        times.len() - 1
    );
}

#[tokio::test(start_paused = true)]
async fn health_checks_end_with_the_last_clone_of_the_service() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let (_, service) = checked(&upstreams);
    assert_eq!(service.oneshot(ask()).await, Ok("b"));
    let calls = upstreams[0].calls();
    for _ in 0..10 {
        sleep(secs(100)).await;
    }
    assert_eq!(upstreams[0].calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_health_check_unless_it_was_asked_for() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let service = Failover::over(protocol(), named(&upstreams)).unwrap();
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    sleep(secs(600)).await;
    assert_eq!(upstreams[0].calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_asked_to_be_left_alone_is_not_checked_before_that_time() {
    let throttled = Outcome::new(Class::Throttled).with_retry_after(secs(300));
    let upstreams = [Upstream::new("a", [throttled]), Upstream::new("b", [OK])];
    let (_, service) = checked(&upstreams);
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    advance(secs(299)).await;
    sleep(ms(500)).await;
    assert_eq!(upstreams[0].calls(), 1);
}

/// An endpoint that is well while it is checked. When the check is over that went well, it is called
/// once more, as the instance goes that was checked.
#[derive(Clone, Default)]
struct Relapses {
    down: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    as_it_goes: Hook,
}

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl Service<Ask> for Relapses {
    type Response = &'static str;
    type Error = Failed;
    type Future = Answer<Result<&'static str, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let (checked, down) = (ask.number == 1, self.down.load(Ordering::Relaxed));
        self.checks.fetch_add(checked.into(), Ordering::Relaxed);
        ready(match down && !checked {
            false => Ok("well"),
            true => Err(Failed {
                outcome: DOWN,
                at: "a",
                call: 0,
            }),
        })
    }
}

impl Drop for Relapses {
    fn drop(&mut self) {
        let act = self.as_it_goes.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cools_down_again_while_its_check_ends_is_checked_again() {
    let node = Relapses::default();
    let (place, next) = (node.as_it_goes.clone(), Hook::default());
    let act = next.clone();
    let service = Failover::new(protocol(), [node.clone()])
        .cool_down(secs(600), secs(6000))
        .seed(1)
        .on_event(move |event| {
            if let FailoverEvent::Checked { .. } = event {
                *place.lock().unwrap() = act.lock().unwrap().take();
            }
        })
        .health_check(secs(60), |_| Ask {
            number: 1,
            ..Ask::default()
        });
    node.down.store(true, Ordering::Relaxed);
    let again = service.clone();
    *next.lock().unwrap() = Some(Box::new(move || {
        let call = again.oneshot(ask());
        assert!(call.now_or_never().expect("at once").is_err());
    }));
    assert!(service.clone().oneshot(ask()).await.is_err());
    // Each check comes half a minute to a minute after what was before it.
    sleep(secs(60)).await;
    assert_eq!(node.checks.load(Ordering::Relaxed), 1);
    assert!(
        node.as_it_goes.lock().unwrap().is_none(),
        "it was called again"
    );
    sleep(secs(200)).await;
    assert!(node.checks.load(Ordering::Relaxed) > 1, "nobody checks it");
}
