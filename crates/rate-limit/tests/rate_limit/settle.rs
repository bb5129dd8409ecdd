//! What is charged in the end.

use std::{num::NonZeroU32, time::Duration};

use buttress_core::{Class, Outcome, Plain, Reason, Refused, Usage};
use buttress_http::{Http, TrackLayer};
use buttress_rate_limit::{
    Algorithm, Cost, Gcra, LimitedBy, Limiter, Quotas, Rate, RateLimitEvent, RateLimitLayer,
    SlidingCounter, SlidingLog, Unit,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::{Instant, advance};
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{Ask, No, SECOND, Upstream, ask, log, minute, protocol, requests, tokens};

fn left(limiter: &Limiter) -> u64 {
    limiter.remaining(&(), Unit::Tokens).unwrap()
}

/// Of a thousand, a call that reserved 100 and ended so leaves so many.
async fn after(outcome: Outcome) -> (u64, u64) {
    let limiter = Limiter::new(tokens(1_000).and_requests(minute(10)));
    let layer = RateLimitLayer::new(protocol(), limiter.clone()).cost(|ask: &Ask| ask.cost);
    let reply = layer
        .layer(Upstream::default())
        .oneshot(ask(100).ending(outcome))
        .await;
    assert!(reply.is_ok());
    (
        left(&limiter),
        limiter.remaining(&(), Unit::Requests).unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn l6_the_charge_is_what_was_used() {
    const SOME: Usage = Usage::new(30, 12);
    for (outcome, charged) in [
        // Learned: exactly that, less or more than was reserved.
        (Outcome::SUCCESS.with_usage(SOME), (42, 1)),
        (Outcome::SUCCESS.with_usage(Usage::new(400, 100)), (500, 1)),
        (Outcome::new(Class::Interrupted).with_usage(SOME), (42, 1)),
        // Paid for by another call.
        (Outcome::SUCCESS.with_usage(SOME.unbilled()), (0, 1)),
        // Nothing learned: the estimate stands.
        (Outcome::SUCCESS, (100, 1)),
        (Outcome::new(Class::Unavailable), (100, 1)),
        (Outcome::new(Class::Interrupted), (100, 1)),
        (Outcome::new(Class::Cancelled), (100, 1)),
        (Outcome::new(Class::Unfit), (100, 1)),
        // Learned in part: it stands too, unless that is already more.
        (
            Outcome::new(Class::Cancelled).with_usage(SOME.estimated()),
            (112, 1),
        ),
        (
            Outcome::new(Class::Cancelled).with_usage(Usage::new(300, 5).estimated()),
            (305, 1),
        ),
        // Certainly unused.
        (Outcome::new(Class::Unavailable).not_sent(), (0, 0)),
        (Outcome::new(Class::Unstarted), (0, 0)),
        (Outcome::new(Class::Throttled), (0, 0)),
        (Outcome::new(Class::Denied), (0, 0)),
        (Outcome::new(Class::Invalid), (0, 0)),
        (Outcome::new(Class::Refused), (0, 0)),
        // The same of one's own handler: it was called.
        (Outcome::new(Class::Throttled).worked_on(), (0, 1)),
        (Outcome::new(Class::Denied).worked_on(), (0, 1)),
        (Outcome::new(Class::Invalid).worked_on(), (0, 1)),
        (Outcome::new(Class::Unavailable).worked_on(), (100, 1)),
        (Outcome::SUCCESS.worked_on().with_usage(SOME), (42, 1)),
    ] {
        let (tokens, requests) = after(outcome).await;
        assert_eq!((1_000 - tokens, 10 - requests), charged, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn l6_what_was_delivered_is_charged_where_that_is_wished() {
    let limiter = Limiter::new(tokens(1_000));
    let layer = RateLimitLayer::new(protocol(), limiter.clone())
        .cost(|ask: &Ask| ask.cost)
        .charge_delivered();
    let part = Outcome::new(Class::Cancelled).with_usage(Usage::new(30, 3).estimated());
    let reply = layer
        .layer(Upstream::default())
        .oneshot(ask(100).ending(part))
        .await;
    assert!(reply.is_ok());
    assert_eq!(left(&limiter), 967);
}

#[tokio::test(start_paused = true)]
async fn l6_a_refusal_from_below_gives_everything_back() {
    let limiter = Limiter::new(tokens(1_000).and_requests(minute(10)));
    let layer = RateLimitLayer::new(protocol(), limiter.clone()).cost(|ask: &Ask| ask.cost);
    let refusing = service_fn(|_: Ask| async {
        Err::<crate::Said, _>(No::from(Refused::new(Reason::CircuitOpen)))
    });
    assert!(layer.layer(refusing).oneshot(ask(100)).await.is_err());
    assert_eq!(left(&limiter), 1_000);
    assert_eq!(limiter.remaining(&(), Unit::Requests), Some(10));
}

#[tokio::test(start_paused = true)]
async fn l6_a_call_dropped_before_the_inner_service_was_ready_used_nothing() {
    let limiter = Limiter::new(tokens(1_000));
    let inner = busy();
    let layer = RateLimitLayer::new(protocol(), limiter.clone()).cost(|ask: &Ask| ask.cost);
    let mut call = spawn(layer.layer(inner).oneshot(ask(100)));
    assert!(call.poll().is_pending());
    assert_eq!(left(&limiter), 900);
    drop(call);
    assert_eq!(left(&limiter), 1_000);
}

/// A service that is never ready.
fn busy() -> impl Service<Ask, Response = crate::Said, Error = No> + Clone {
    #[derive(Clone)]
    struct Busy;
    impl Service<Ask> for Busy {
        type Response = crate::Said;
        type Error = No;
        type Future = std::future::Pending<Result<crate::Said, No>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), No>> {
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Ask) -> Self::Future {
            panic!("it was never ready")
        }
    }
    Busy
}

#[tokio::test(start_paused = true)]
async fn t5_a_streamed_call_is_settled_at_the_end_of_its_body() {
    type BoxError = Box<dyn std::error::Error + Send + Sync>;
    let (told, observer) = log();
    let limiter = Limiter::new(requests(10));
    let streaming = service_fn(|_: http::Request<Full<Bytes>>| async {
        let frames = futures_util::stream::iter([
            Ok::<_, BoxError>(http_body::Frame::data(Bytes::from("hello"))),
            Ok(http_body::Frame::data(Bytes::from("you"))),
        ]);
        Ok::<_, BoxError>(http::Response::new(StreamBody::new(frames)))
    });
    let layer = (
        RateLimitLayer::new(Http, limiter.clone()).on_event(observer),
        TrackLayer::default(),
    );
    let service = layer.layer(streaming);
    for whole in [true, false] {
        told.lock().unwrap().clear();
        let mut reply = service
            .clone()
            .oneshot(http::Request::default())
            .await
            .unwrap();
        assert_eq!(*told.lock().unwrap(), ["admitted"]);
        reply.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(*told.lock().unwrap(), ["admitted"]);
        if whole {
            reply.into_body().collect().await.unwrap();
        } else {
            drop(reply);
        }
        assert_eq!(*told.lock().unwrap(), ["admitted", "settled"]);
    }
}

#[tokio::test(start_paused = true)]
async fn t11_each_call_is_told_once_in_the_end() {
    let (told, observer) = log();
    let layer = RateLimitLayer::new(protocol(), tokens(100))
        .cost(|ask: &Ask| ask.cost)
        .wait(30 * SECOND)
        .on_event(observer);
    let service = layer.layer(Upstream::default());
    let said = || std::mem::take(&mut *told.lock().unwrap());

    assert!(service.clone().oneshot(ask(100)).await.is_ok());
    assert_eq!(said(), ["admitted", "settled"]);
    drop(service.clone().call(ask(1)));
    assert_eq!(said(), ["left"]);
    let mut waits = spawn(service.clone().oneshot(ask(50)));
    assert!(waits.poll().is_pending());
    drop(waits);
    assert_eq!(said(), ["queued", "left"]);
    assert!(service.clone().oneshot(ask(51)).await.is_err());
    assert_eq!(said(), ["limited"]);
    assert!(service.clone().oneshot(ask(50)).await.is_ok());
    assert_eq!(said(), ["queued", "admitted", "settled"]);
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_of_a_callback_takes_nothing_along() {
    use futures_util::FutureExt;
    use std::panic::AssertUnwindSafe;

    for place in ["key", "cost", "admitted", "limits", "settled"] {
        let fuse = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let blow = move |here: &str| {
            let blown = here == place && fuse.swap(false, std::sync::atomic::Ordering::Relaxed);
            assert!(!blown, "on purpose");
        };
        let (key, cost, limits, event) = (blow.clone(), blow.clone(), blow.clone(), blow);
        let layer = RateLimitLayer::new(protocol(), tokens(1_000))
            .key(move |ask: &Ask| {
                key("key");
                ask.key
            })
            .cost(move |ask: &Ask| {
                cost("cost");
                ask.cost
            })
            .limits(move |_: &crate::Said| {
                limits("limits");
                None
            })
            .on_event(move |told| match told {
                RateLimitEvent::Admitted { .. } => event("admitted"),
                RateLimitEvent::Settled { .. } => event("settled"),
                _ => {}
            });
        let service = layer.layer(Upstream::default());
        let first = AssertUnwindSafe(async { service.clone().oneshot(ask(100)).await });
        assert!(first.catch_unwind().await.is_err(), "{place}");
        let charged = match place {
            // The call was made, and nothing was learned of it.
            "limits" | "settled" => 100,
            _ => 0,
        };
        let left = layer.store().remaining(&0, Unit::Tokens);
        assert_eq!(left, Some(1_000 - charged), "{place}");
        assert!(service.oneshot(ask(100)).await.is_ok(), "{place}");
    }
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let layer = RateLimitLayer::new(Plain, requests(1));
    let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, No>(n) }));
    is_sync(&service);
    is_send(&service.call(1));
}

#[tokio::test(start_paused = true)]
async fn l6_a_reservation_that_is_dropped_goes_back_and_one_that_is_settled_is_charged() {
    let limiter = Limiter::new(tokens(1_000));
    drop(limiter.reserve(&(), Cost::tokens(1_000, 0)).unwrap());
    assert_eq!(left(&limiter), 1_000);
    let reservation = limiter.reserve(&(), Cost::tokens(500, 0)).unwrap();
    assert_eq!(reservation.cost(), Cost::tokens(500, 0));
    reservation.settle(Cost::tokens(500, 700));
    assert_eq!(left(&limiter), 0);
    // 200 too much: those are waited for first.
    advance(12 * SECOND).await;
    assert_eq!(left(&limiter), 0);
    advance(6 * SECOND).await;
    assert_eq!(left(&limiter), 100);
}

#[tokio::test(start_paused = true)]
async fn l6_what_is_given_back_again_and_again_does_not_use_the_quota_up() {
    // Of one that is counted so finely that its places go round every few bursts.
    let rate = Rate::per_day(NonZeroU32::MIN).allow_burst(16_000.try_into().unwrap());
    let limiter = Limiter::new(Quotas::requests(rate));
    let cost = Cost {
        requests: 50,
        ..Cost::NONE
    };
    for round in 0..2_000 {
        let mut calls = Vec::new();
        for _ in 0..20 {
            calls.push(limiter.reserve(&(), cost).expect("nothing is used"));
        }
        // The last one first, which is the worst.
        while let Some(call) = calls.pop() {
            drop(call);
        }
        let left = limiter.remaining(&(), Unit::Requests).unwrap();
        // Within an eighth of a burst it is not told who came first.
        assert!(left >= 14_000, "{left} are left after {round} rounds");
    }
}

#[tokio::test(start_paused = true)]
async fn l6_a_usage_that_cannot_be_leaves_a_debt_of_an_hour_and_no_more() {
    const HOUR: u32 = 3_600;
    let garbage = Outcome::SUCCESS.with_usage(Usage::new(u64::MAX, u64::MAX));
    for (longest, seconds) in [(None, HOUR), (Some(120 * SECOND), 120), (Some(SECOND), 60)] {
        // One a second, and 60 at once.
        let limiter = Limiter::new(tokens(60));
        let limiter = match longest {
            Some(time) => limiter.longest_debt(time),
            None => limiter,
        };
        let layer = RateLimitLayer::new(protocol(), limiter.clone()).cost(|ask: &Ask| ask.cost);
        let service = layer.layer(Upstream::default());
        service.oneshot(ask(60).ending(garbage)).await.unwrap();
        // The reservation of a minute, that debt, and a second for one token.
        let limited = limiter.check(&(), Cost::tokens(1, 0)).unwrap_err();
        assert_eq!(limited.wait(), Some((seconds + 1) * SECOND));
    }
    // What can be is charged, also where it is more than the burst.
    let limiter = Limiter::new(tokens(60));
    let reservation = limiter.reserve(&(), Cost::tokens(60, 0)).unwrap();
    reservation.settle(Cost::tokens(u64::from(HOUR) + 60, 0));
    let limited = limiter.check(&(), Cost::tokens(1, 0)).unwrap_err();
    assert_eq!(limited.wait(), Some((HOUR + 1) * SECOND));
}

#[tokio::test(start_paused = true)]
async fn l6_calls_that_say_no_tokens_wait_for_the_debt_that_they_make() {
    // No cost function: each turns out to have used 100 of 1000 a minute.
    let limiter = Limiter::new(requests(1_000).and_tokens(minute(1_000)));
    let layer = RateLimitLayer::new(protocol(), limiter.clone());
    let outcome = Outcome::SUCCESS.with_usage(Usage::new(60, 40));
    let mut admitted = 0;
    let mut refused = Vec::new();
    for _ in 0..100 {
        let call = layer.layer(Upstream::default());
        match call.oneshot(ask(0).ending(outcome)).await {
            Ok(_) => admitted += 1,
            Err(No(no)) => refused.push(no),
        }
    }
    // The eleventh finds the quota full, and no debt; it makes one of six seconds.
    assert_eq!((admitted, refused.len()), (11, 89));
    for no in refused {
        assert_eq!(no.reason(), Reason::Limited);
        assert_eq!(no.retry_after(), Some(6 * SECOND));
    }
    assert_eq!(limiter.remaining(&(), Unit::Requests), Some(989));
    assert_eq!(left(&limiter), 0);
    let standing = limiter.standing(&())[1];
    assert_eq!(standing.full_in, 66 * SECOND);
}

/// A limiter that is in debt by so many tokens of sixty a minute.
fn in_debt<A: Algorithm>(quotas: Quotas, by: u64) -> Limiter<(), A> {
    let limiter = Limiter::new(quotas).counting::<A>();
    let call = limiter.reserve(&(), Cost::tokens(60, 0)).unwrap();
    call.settle(Cost::tokens(60, by));
    limiter
}

#[tokio::test(start_paused = true)]
async fn l2_who_takes_no_tokens_is_admitted_when_the_debt_is_paid_and_not_before() {
    async fn waits<A: Algorithm>() {
        // One quota, several, and none that counts what the call costs.
        for quotas in [
            tokens(60),
            tokens(60).and_requests(minute(600)),
            requests(600)
                .and_output_tokens(minute(60))
                .and_tokens(minute(60)),
        ] {
            let limiter = in_debt::<A>(quotas, 20);
            let take = || {
                let taken = limiter.reserve(&(), Cost::REQUEST);
                taken.map(|taken| taken.keep())
            };
            let limited = take().unwrap_err();
            assert_eq!(limited.by(), LimitedBy::Quota(Unit::Tokens));
            assert_eq!(limiter.check(&(), Cost::REQUEST), Err(limited));
            let wait = limited.wait().unwrap();
            advance(wait - Duration::from_nanos(1)).await;
            let limited = take().unwrap_err();
            assert_eq!(limited.wait(), Some(Duration::from_nanos(1)));
            advance(Duration::from_nanos(1)).await;
            // As often as one likes: it is full, and not in debt.
            for _ in 0..3 {
                take().unwrap();
            }
        }
    }
    waits::<Gcra>().await;
    waits::<SlidingLog>().await;
    waits::<SlidingCounter>().await;
}

#[tokio::test(start_paused = true)]
async fn l6_a_call_without_tokens_waits_in_line_until_the_debt_is_paid() {
    let limiter = in_debt::<Gcra>(tokens(60), 20);
    let layer = RateLimitLayer::new(protocol(), limiter).wait(60 * SECOND);
    let start = Instant::now();
    let reply = layer.layer(Upstream::default()).oneshot(ask(0)).await;
    assert!(reply.is_ok());
    // To the millisecond of tokio's timers.
    assert_eq!(start.elapsed(), 20 * SECOND);

    // By key, and only that key.
    let limiter = Limiter::keyed(tokens(60));
    let owes = limiter.reserve(&1, Cost::tokens(60, 0)).unwrap();
    owes.settle(Cost::tokens(60, 20));
    let layer =
        RateLimitLayer::new(protocol(), Quotas::none()).limiter(limiter, |ask: &Ask| ask.key);
    for (key, admitted) in [(1, false), (2, true)] {
        let call = layer.layer(Upstream::default()).oneshot(ask(0).of(key));
        assert_eq!(call.await.is_ok(), admitted, "{key}");
    }
}
