//! Who waits, for how long, and in which order.

use std::time::Duration;

use buttress_core::{Class, Outcome, Reason};
use buttress_rate_limit::{Cost, Limiter, RateLimitLayer};
use tokio::time::{Instant, advance};
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt};

use crate::{Ask, SECOND, Upstream, ask, ms, protocol, requests, size, tokens};

macro_rules! service {
    ($limiter:expr, $upstream:expr) => {
        RateLimitLayer::new(protocol(), $limiter)
            .key(|ask: &Ask| ask.key)
            .cost(|ask: &Ask| ask.cost)
            .wait(60 * SECOND)
            .queue(size(5))
            .layer($upstream.clone())
    };
}

#[tokio::test(start_paused = true)]
async fn l7_those_who_wait_are_admitted_in_their_order_however_large() {
    let (upstream, start) = (Upstream::default(), Instant::now());
    let service = service!(tokens(60), upstream);
    service.clone().oneshot(ask(60)).await.unwrap();
    // A large one first, then small ones for which there would be enough at once.
    let calls: Vec<_> = [50, 1, 1, 2]
        .map(|tokens| {
            let mut call = spawn(service.clone().oneshot(ask(tokens)));
            assert!(call.poll().is_pending());
            call
        })
        .into_iter()
        .collect();
    // Nor does one overtake that comes when there is enough for it.
    advance(10 * SECOND).await;
    assert!(spawn(service.clone().oneshot(ask(1))).poll().is_pending());
    for call in calls {
        call.await.unwrap();
    }
    let seen: Vec<_> = upstream.seen(start).into_iter().map(|(at, _)| at).collect();
    assert_eq!(seen, [0, 50, 51, 52, 54].map(|seconds| seconds * SECOND));
}

#[tokio::test(start_paused = true)]
async fn l7_a_waiter_that_leaves_consumes_nothing_and_wakes_the_next() {
    let upstream = Upstream::default();
    let service = service!(tokens(60), upstream);
    service.clone().oneshot(ask(60)).await.unwrap();
    let mut large = spawn(service.clone().oneshot(ask(50)));
    let mut small = spawn(service.clone().oneshot(ask(1)));
    assert!(large.poll().is_pending() && small.poll().is_pending());
    advance(30 * SECOND).await;
    assert!(large.poll().is_pending() && small.poll().is_pending());
    drop(large);
    assert!(small.is_woken());
    assert!(small.poll().is_ready());
    // 30 came, 1 was taken.
    for n in 0..29 {
        assert!(
            spawn(service.clone().oneshot(ask(1))).poll().is_ready(),
            "{n}"
        );
    }
    assert!(spawn(service.clone().oneshot(ask(1))).poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn l7_a_line_does_not_hold_up_other_keys() {
    let upstream = Upstream::default();
    let service = service!(tokens(60), upstream);
    service.clone().oneshot(ask(60)).await.unwrap();
    let mut waits = spawn(service.clone().oneshot(ask(1)));
    assert!(waits.poll().is_pending());
    assert!(
        spawn(service.clone().oneshot(ask(60).of(1)))
            .poll()
            .is_ready()
    );
}

#[tokio::test(start_paused = true)]
async fn l7_what_goes_back_is_there_for_the_first_in_line_at_once() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Some(told)));
    // The first call holds everything, and turns out to have used nothing.
    let upstream = tower::service_fn(move |_: Ask| {
        let told = told.lock().unwrap().take();
        async move {
            let outcome = match told {
                Some(told) => told.await.unwrap(),
                None => Outcome::SUCCESS,
            };
            let limits = None;
            Ok::<_, crate::No>(crate::Said { outcome, limits })
        }
    });
    let service = service!(tokens(60), upstream);
    let mut holds = spawn(service.clone().oneshot(ask(60)));
    assert!(holds.poll().is_pending());
    let (mut first, mut second) = (
        spawn(service.clone().oneshot(ask(40))),
        spawn(service.clone().oneshot(ask(20))),
    );
    assert!(first.poll().is_pending() && second.poll().is_pending());
    tell.send(Outcome::new(Class::Denied)).unwrap();
    assert!(holds.is_woken() && holds.poll().is_ready());
    assert!(first.is_woken() && !second.is_woken());
    assert!(first.poll().is_ready());
    assert!(second.is_woken() && second.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn l8_who_would_wait_too_long_is_refused_at_once_with_that_wait() {
    let upstream = Upstream::default();
    let service = service!(tokens(60), upstream);
    service.clone().oneshot(ask(60)).await.unwrap();
    let mut first = spawn(service.clone().oneshot(ask(50)));
    assert!(first.poll().is_pending());
    // 50 s for those before it, and 11 for its own.
    let refused = service.clone().oneshot(ask(11)).await.unwrap_err().0;
    assert_eq!(refused.reason(), Reason::Limited);
    assert_eq!(refused.retry_after(), Some(61 * SECOND));
    let mut just = spawn(service.clone().oneshot(ask(10)));
    assert!(just.poll().is_pending());
    assert!(first.await.is_ok() && just.await.is_ok());
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn l8_nobody_waits_past_the_deadline_of_the_request() {
    let upstream = Upstream::default();
    let service = service!(tokens(60), upstream);
    service.clone().oneshot(ask(60)).await.unwrap();
    let start = Instant::now();
    let refused = service
        .clone()
        .oneshot(ask(5).until(ms(4_999)))
        .await
        .unwrap_err()
        .0;
    assert_eq!(
        (refused.retry_after(), start.elapsed()),
        (Some(5 * SECOND), ms(0))
    );
    service
        .clone()
        .oneshot(ask(5).until(5 * SECOND))
        .await
        .unwrap();
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn l8_a_wait_that_grows_too_long_meanwhile_ends_in_time() {
    let limiter = Limiter::keyed(tokens(60));
    let upstream = Upstream::default();
    let service = RateLimitLayer::new(protocol(), buttress_rate_limit::Quotas::none())
        .limiter(limiter.clone(), |ask: &Ask| ask.key)
        .cost(|ask: &Ask| ask.cost)
        .wait(10 * SECOND)
        .layer(upstream.clone());
    service.clone().oneshot(ask(60)).await.unwrap();
    let start = Instant::now();
    let (mut first, mut second) = (
        spawn(service.clone().oneshot(ask(5))),
        spawn(service.clone().oneshot(ask(5))),
    );
    assert!(first.poll().is_pending() && second.poll().is_pending());
    limiter.pause(&0, 100 * SECOND);
    let refused = first.await.unwrap_err().0;
    assert_eq!(
        (refused.retry_after(), start.elapsed()),
        (Some(95 * SECOND), 5 * SECOND)
    );
    let refused = second.await.unwrap_err().0;
    assert_eq!(
        (refused.retry_after(), start.elapsed()),
        (Some(95 * SECOND), 5 * SECOND)
    );
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_is_an_answer() {
    let service = service!(requests(60), Upstream::default());
    for _ in 0..60 {
        service.clone().oneshot(ask(0)).await.unwrap();
    }
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut call = spawn(service.clone().oneshot(ask(0)));
            assert!(call.poll().is_pending());
            call
        })
        .collect();
    let refused = service.clone().oneshot(ask(0)).await.unwrap_err().0;
    assert_eq!(refused.reason(), Reason::QueueFull);
    assert_eq!(refused.retry_after(), Some(6 * SECOND));
    drop(waiting);
    let mut call = spawn(service.clone().oneshot(ask(0)));
    assert!(call.poll().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_refuses_at_once_stands_in_no_line() {
    let (limiter, upstream) = (Limiter::new(tokens(60)), Upstream::default());
    let layer = RateLimitLayer::new(protocol(), limiter.clone()).cost(|ask: &Ask| ask.cost);
    let (waits, refuses) = (layer.clone().wait(600 * SECOND), layer);
    let (waits, refuses) = (waits.layer(upstream.clone()), refuses.layer(upstream));
    let taken = limiter.reserve(&(), Cost::tokens(60, 0)).unwrap();
    taken.keep();
    let mut large = spawn(waits.oneshot(ask(60)));
    assert!(large.poll().is_pending());
    advance(10 * SECOND).await;
    assert!(refuses.clone().oneshot(ask(10)).await.is_ok());
    let refused = refuses.oneshot(ask(10)).await.unwrap_err().0;
    assert_eq!(refused.retry_after(), Some(10 * SECOND));
    advance(59 * SECOND).await;
    assert!(large.poll().is_pending());
}

#[test]
fn l7_threads_that_wait_are_all_admitted_and_none_is_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let upstream = Upstream::default();
        // A thousand a second, half of which goes back.
        let rate = buttress_rate_limit::Rate::per_second(crate::count(2_000));
        let rate = rate.allow_burst(10_u64.try_into().unwrap());
        let service = RateLimitLayer::new(protocol(), buttress_rate_limit::Quotas::requests(rate))
            .wait(Duration::from_secs(60))
            .layer(upstream.clone());
        let calls: Vec<_> = (0..400)
            .map(|n| {
                let outcome = if n % 2 == 0 {
                    Outcome::SUCCESS
                } else {
                    Outcome::new(Class::Denied)
                };
                tokio::spawn(service.clone().oneshot(ask(0).ending(outcome)))
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(upstream.calls(), 400);
    });
}
