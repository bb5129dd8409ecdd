//! How long an endpoint is left alone, and how it comes back.

use std::time::Duration;

use buttress_core::{Class, Outcome};
use buttress_failover::Failover;
use tokio::time::advance;
use tower::ServiceExt;

use crate::{DOWN, OK, Told, Upstream, ask, log, ms, named, protocol, secs};

fn two() -> [Upstream; 2] {
    [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])]
}

#[tokio::test(start_paused = true)]
async fn f2_a_cool_down_lasts_base_times_failures_and_at_most_the_cap() {
    let upstreams = two();
    let (told, observer) = log();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(10), secs(35))
        .ramp(Duration::ZERO)
        .on_event(observer);
    let mut expected = Vec::new();
    for (n, cooled) in [10, 20, 30, 35, 35, 35].into_iter().enumerate() {
        assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
        assert_eq!(upstreams[0].calls(), n + 1);
        expected.push(Told::Cooling("a".into(), secs(cooled), n as u32 + 1, true));
        // Until a moment before its end it is left alone, and from then on it is not.
        advance(secs(cooled) - ms(1)).await;
        assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
        assert_eq!(upstreams[0].calls(), n + 1);
        advance(ms(1)).await;
    }
    let told = told.lock().unwrap();
    let cooling: Vec<_> = told
        .iter()
        .filter(|told| matches!(told, Told::Cooling(..)))
        .cloned()
        .collect();
    assert_eq!(cooling, expected);
}

#[tokio::test(start_paused = true)]
async fn f2_a_success_ends_the_row() {
    let upstreams = two();
    let (told, observer) = log();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(10), secs(35))
        .ramp(Duration::ZERO)
        .on_event(observer);
    for outcome in [DOWN, DOWN, OK, DOWN] {
        upstreams[0].set(outcome);
        assert!(service.clone().oneshot(ask()).await.is_ok());
        advance(secs(60)).await;
    }
    let told = told.lock().unwrap();
    let times: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Told::Cooling(_, time, ..) => Some(time.as_secs()),
            _ => None,
        })
        .collect();
    assert_eq!(times, [10, 20, 10]);
}

#[tokio::test(start_paused = true)]
async fn f2_of_a_hint_and_the_cool_down_the_later_end_counts() {
    for (hint, cooled) in [(3, 10), (30, 30), (5000, 600)] {
        let upstreams = two();
        upstreams[0].set(DOWN.with_retry_after(secs(hint)));
        let service = Failover::over(protocol(), named(&upstreams))
            .unwrap()
            .cool_down(secs(10), secs(35))
            .ramp(Duration::ZERO);
        assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
        upstreams[0].set(OK);
        advance(secs(cooled) - ms(1)).await;
        assert_eq!(service.clone().oneshot(ask()).await, Ok("b"), "{hint}");
        advance(ms(1)).await;
        assert_eq!(service.oneshot(ask()).await, Ok("a"), "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn f2_an_earlier_end_does_not_shorten_a_later_one() {
    let upstreams = [
        Upstream::slow(
            "a",
            [
                (secs(1), DOWN.with_retry_after(secs(100))),
                (secs(2), DOWN.with_retry_after(secs(1))),
            ],
        ),
        Upstream::new("b", [OK]),
    ];
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(5), secs(5))
        .ramp(Duration::ZERO);
    let (one, other) = tokio::join!(
        service.clone().oneshot(ask()),
        service.clone().oneshot(ask())
    );
    assert_eq!((one, other), (Ok("b"), Ok("b")));
    upstreams[0].set(OK);
    advance(secs(98)).await;
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    advance(secs(1)).await;
    assert_eq!(service.oneshot(ask()).await, Ok("a"));
}

#[tokio::test(start_paused = true)]
async fn f2_failures_of_calls_that_were_under_way_together_are_one() {
    let upstreams = [
        Upstream::slow("a", [(secs(1), DOWN)]),
        Upstream::new("b", [OK]),
    ];
    let (told, observer) = log();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(10), secs(100))
        .on_event(observer);
    let calls = (0..50).map(|_| service.clone().oneshot(ask()));
    let replies = futures_util::future::join_all(calls).await;
    assert!(replies.iter().all(|reply| *reply == Ok("b")));
    let told = told.lock().unwrap();
    let cooling: Vec<_> = told
        .iter()
        .filter(|told| matches!(told, Told::Cooling(..)))
        .collect();
    assert_eq!(cooling, [&Told::Cooling("a".into(), secs(10), 1, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_from_before_the_recovery_changes_nothing() {
    let upstreams = [
        Upstream::slow("a", [(secs(60), DOWN), (secs(1), DOWN), (ms(1), OK)]),
        Upstream::new("b", [OK]),
    ];
    let (told, observer) = log();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(10), secs(100))
        .ramp(Duration::ZERO)
        .on_event(observer);
    let slow = tokio::spawn(service.clone().oneshot(ask()));
    tokio::task::yield_now().await;
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    advance(secs(10)).await;
    assert_eq!(service.clone().oneshot(ask()).await, Ok("a"));
    assert_eq!(slow.await.unwrap(), Ok("b"));
    assert_eq!(service.oneshot(ask()).await, Ok("a"));
    let told = told.lock().unwrap();
    let cooled = told.iter().filter(|told| matches!(told, Told::Cooling(..)));
    assert_eq!(cooled.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_says_that_an_endpoint_does_not_work_cools_it_down() {
    for (outcome, cools) in [
        (DOWN, true),
        (Outcome::new(Class::Throttled), true),
        (
            Outcome::new(Class::Throttled).with_retry_after(secs(1)),
            true,
        ),
        (
            Outcome::new(Class::Throttled).with_retry_after(Duration::ZERO),
            false,
        ),
        (Outcome::new(Class::Unstarted), false),
        (
            Outcome::new(Class::Refused).with_retry_after(secs(9)),
            false,
        ),
        (Outcome::new(Class::Unfit), false),
        (Outcome::new(Class::Invalid), false),
        (Outcome::new(Class::Denied), false),
        (Outcome::new(Class::Cancelled), false),
    ] {
        let upstreams = two();
        upstreams[0].set(outcome);
        let service = Failover::over(protocol(), named(&upstreams)).unwrap();
        let _ = service.clone().oneshot(ask()).await;
        let cooling = service.handle().states()[0].cooling().is_some();
        assert_eq!(cooling, cools, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_refused_rests_wherever_it_is_used() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set(Outcome::new(Class::Denied));
    let [a, b, c] = named(&upstreams);
    let endpoints = [a.credential("x"), b.credential("x"), c.credential("y")];
    let service = Failover::over(protocol(), endpoints).unwrap();
    assert_eq!(service.clone().oneshot(ask()).await, Ok("c"));
    let cooling: Vec<_> = service
        .handle()
        .states()
        .iter()
        .map(|state| state.cooling().is_some())
        .collect();
    assert_eq!(cooling, [true, true, false]);
    assert_eq!(service.oneshot(ask()).await, Ok("c"));
    assert_eq!(upstreams.each_ref().map(Upstream::calls), [1, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn f2_calls_that_are_denied_together_are_one_failure_wherever_the_credential_is_used() {
    let upstreams = [
        Upstream::slow("a", [(secs(1), Outcome::new(Class::Denied))]),
        Upstream::new("b", [OK]),
        Upstream::new("c", [OK]),
    ];
    let [a, b, c] = named(&upstreams);
    let endpoints = [a.credential("x"), b.credential("x"), c.credential("y")];
    let service = Failover::over(protocol(), endpoints)
        .unwrap()
        .cool_down(secs(10), secs(100));
    let calls = (0..50).map(|_| service.clone().oneshot(ask()));
    let replies = futures_util::future::join_all(calls).await;
    assert!(replies.iter().all(|reply| *reply == Ok("c")));
    let states = service.handle().states();
    let cooling: Vec<_> = states.iter().map(|state| state.cooling()).collect();
    assert_eq!(cooling, [Some(secs(10)), Some(secs(10)), None]);
}

#[tokio::test(start_paused = true)]
async fn f9_an_endpoint_that_comes_back_gets_its_calls_little_by_little() {
    let upstreams = two();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(5), secs(5))
        .ramp(secs(10))
        .seed(1);
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    upstreams[0].set(OK);
    advance(secs(5)).await;
    let mut shares = Vec::new();
    for _ in 0..10 {
        let mut served = 0;
        for _ in 0..1000 {
            served += u32::from(service.clone().oneshot(ask()).await == Ok("a"));
        }
        shares.push(served);
        advance(secs(1)).await;
    }
    // At the beginning of each second of the ramp: a sixteenth, then tenth by tenth.
    let expected = [62, 100, 200, 300, 400, 500, 600, 700, 800, 900];
    for (share, expected) in shares.iter().zip(expected) {
        assert!(share.abs_diff(expected) < 50, "{shares:?}");
    }
    for _ in 0..100 {
        assert_eq!(service.clone().oneshot(ask()).await, Ok("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_tried_all_the_same_when_nothing_else_is_left() {
    let upstreams = two();
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .cool_down(secs(5), secs(5));
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    upstreams[0].set(OK);
    upstreams[1].set(Outcome::new(Class::Refused));
    advance(secs(5)).await;
    for _ in 0..100 {
        assert_eq!(service.clone().oneshot(ask()).await, Ok("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn as_a_last_resort_what_cools_down_is_tried_the_soonest_first() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [DOWN]));
    for last_resort in [true, false] {
        let service = Failover::over(protocol(), named(&upstreams))
            .unwrap()
            .cool_down(secs(10), secs(100))
            .last_resort(last_resort);
        let before = upstreams.each_ref().map(Upstream::calls);
        // c fails alone, and again: it cools down for longer. Then b, then a.
        let handle = service.handle();
        handle.set_weight("a", 0).unwrap();
        handle.set_weight("b", 0).unwrap();
        assert!(service.clone().oneshot(ask()).await.is_err());
        advance(secs(1)).await;
        handle.set_weight("b", 1).unwrap();
        handle.set_weight("c", 0).unwrap();
        assert!(service.clone().oneshot(ask()).await.is_err());
        advance(secs(1)).await;
        handle.set_weight("a", 1).unwrap();
        handle.set_weight("b", 0).unwrap();
        assert!(service.clone().oneshot(ask()).await.is_err());
        for name in ["b", "c"] {
            handle.set_weight(name, 1).unwrap();
        }
        let (ask, ledger) = crate::accounted();
        let error = service.clone().oneshot(ask).await.unwrap_err();
        let names: Vec<_> = ledger
            .trail()
            .iter()
            .map(|tried| tried.endpoint.to_string())
            .collect();
        let calls = upstreams.each_ref().map(Upstream::calls);
        if last_resort {
            assert_eq!(
                (names, error.at),
                (["c", "b", "a"].map(Into::into).to_vec(), "c")
            );
        } else {
            assert!(names.is_empty());
            assert_eq!(error.outcome.retry_after, Some(secs(8)));
            assert_eq!(calls, before.map(|calls| calls + 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_as_the_last_resort_ends_the_cool_down() {
    let upstreams = [Upstream::new("a", [DOWN, OK])];
    let service = Failover::over(protocol(), named(&upstreams))
        .unwrap()
        .ramp(Duration::ZERO);
    assert!(service.clone().oneshot(ask()).await.is_err());
    assert!(service.handle().states()[0].cooling().is_some());
    assert_eq!(service.clone().oneshot(ask()).await, Ok("a"));
    assert!(service.handle().states()[0].cooling().is_none());
}
