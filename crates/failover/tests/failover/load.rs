//! The least loaded, and endpoints that are slow or not ready.

use std::time::Duration;

use buttress_core::{Class, Outcome};
use buttress_failover::{LeastLoaded, Stop};
use buttress_retry::{Budget, Ratio};
use tokio::time::{Instant, advance};
use tower::ServiceExt;

use crate::{
    DOWN, Failed, OK, Ready, Told, Upstream, ask, count, failover, log, ms, protocol, secs, stop,
};

#[tokio::test(start_paused = true)]
async fn f8_an_endpoint_that_fails_fast_does_not_attract_load() {
    let upstreams = [
        Upstream::new("failing", [DOWN]),
        Upstream::slow("slow", [(ms(800), OK)]),
        Upstream::slow("slow too", [(ms(800), OK)]),
    ];
    // No cool-down: what keeps calls away is its load alone.
    let service = failover(protocol(), &upstreams).strategy(LeastLoaded);
    for _ in 0..300 {
        assert!(service.clone().oneshot(ask()).await.is_ok());
    }
    // 240 s: it is asked again when its penalty of 10 s has decayed to less than what the others take.
    let calls = upstreams[0].calls();
    assert!((5..30).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn f8_nor_does_one_whose_failures_say_nothing_of_its_health() {
    for class in [Class::Throttled, Class::Refused, Class::Denied] {
        let upstreams = [
            Upstream::new("failing", [Outcome::new(class)]),
            Upstream::slow("slow", [(ms(800), OK)]),
        ];
        let service = failover(protocol(), &upstreams)
            .strategy(LeastLoaded)
            .max_attempts(count(1));
        let mut failed = 0;
        for _ in 0..300 {
            failed += u32::from(service.clone().oneshot(ask()).await.is_err());
        }
        assert!(failed < 30, "{class}: {failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_faster_and_the_idler_endpoint_gets_more() {
    let upstreams = [
        Upstream::slow("fast", [(ms(100), OK)]),
        Upstream::slow("slow", [(ms(900), OK)]),
    ];
    let service = failover(protocol(), &upstreams).strategy(LeastLoaded);
    for _ in 0..100 {
        assert!(service.clone().oneshot(ask()).await.is_ok());
    }
    assert!(upstreams[0].calls() > 90, "one call at a time");
    // Many at once: each gets what it can do.
    let before = upstreams.each_ref().map(Upstream::calls);
    let calls = (0..100).map(|_| service.clone().oneshot(ask()));
    futures_util::future::join_all(calls).await;
    let slow = upstreams[1].calls() - before[1];
    // Its 900 ms were some ten seconds ago, and look like a third of it: so a quarter, not a tenth.
    assert!((15..30).contains(&slow), "{slow}");
    let states = service.handle().states();
    assert!(states.iter().all(|state| state.in_flight() == 0));
    assert!(states[1].latency().unwrap() > states[0].latency().unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_until_its_callers_leave_looks_slow() {
    let upstreams = [
        Upstream::slow("hangs", [(secs(3600), OK)]),
        Upstream::slow("slow", [(ms(900), OK)]),
    ];
    let service = failover(protocol(), &upstreams).strategy(LeastLoaded);
    let mut left = 0;
    for _ in 0..50 {
        let call = service.clone().oneshot(ask());
        left += u32::from(tokio::time::timeout(secs(5), call).await.is_err());
    }
    // What 5 s were looks like less than 900 ms only 17 s later.
    assert!((1..12).contains(&left), "{left}");
    let states = service.handle().states();
    assert!(states.iter().all(|state| state.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn f10_an_endpoint_that_is_not_ready_is_passed_over_in_time() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set_ready(Ready::Never);
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams)
        .ready_within(ms(20))
        .on_event(observer);
    let start = Instant::now();
    assert_eq!(service.oneshot(ask()).await, Ok("b"));
    // A timer counts whole milliseconds, and rounds up.
    let waited = start.elapsed();
    assert!((ms(20)..=ms(21)).contains(&waited), "{waited:?}");
    let told = told.lock().unwrap();
    assert_eq!(told[0], Told::Passed("a".into(), waited));
    assert!(matches!(
        &told[1],
        Told::Done {
            attempts: 1,
            stop: Stop::Settled,
            ..
        }
    ));
    assert_eq!(upstreams[0].calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn f10_with_no_time_at_all_only_what_is_ready_at_once_is_asked() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set_ready(Ready::Never);
    let service = failover(protocol(), &upstreams).ready_within(Duration::ZERO);
    // A timer would wait for the next whole millisecond.
    advance(Duration::from_micros(300)).await;
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(ask()).await, Ok("b"));
    assert_eq!(start.elapsed(), Duration::ZERO);
    upstreams[1].set_ready(Ready::Never);
    let error = service.oneshot(ask()).await.unwrap_err();
    assert_eq!(error.outcome.class, Class::Refused);
}

#[tokio::test(start_paused = true)]
async fn f10_an_endpoint_that_uses_up_the_turn_of_its_task_is_passed_over_too() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set_ready(Ready::Busy);
    let service = failover(protocol(), &upstreams).ready_within(ms(20));
    let call = tokio::spawn(service.oneshot(ask()));
    // Nothing sleeps while it is busy: the clock goes on by hand.
    for _ in 0..100 {
        advance(ms(1)).await;
    }
    assert!(call.is_finished(), "it is waited for still");
    assert_eq!(call.await.unwrap(), Ok("b"));
}

#[tokio::test(start_paused = true)]
async fn f10_a_call_that_waits_for_an_endpoint_does_not_hold_up_the_others() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set_ready(Ready::Never);
    let service = failover(protocol(), &upstreams).ready_within(secs(60));
    let waits = tokio::spawn(service.clone().oneshot(ask()));
    tokio::task::yield_now().await;
    let start = Instant::now();
    service.handle().set_weight("a", 0).unwrap();
    assert_eq!(service.oneshot(ask()).await, Ok("b"));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(waits.await.unwrap(), Ok("b"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_for_readiness() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[0].set_ready(Ready::Never);
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams)
        .ready_within(secs(60))
        .on_event(observer);
    let (mut ask, start) = (ask(), Instant::now());
    ask.info.deadline = Some((start + secs(1)).into_std());
    let error = service.oneshot(ask).await.unwrap_err();
    assert_eq!(error.outcome.class, Class::Refused);
    assert_eq!(
        (start.elapsed().as_secs(), stop(&told)),
        (1, Stop::Deadline)
    );
    assert_eq!(upstreams[1].calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_while_it_becomes_ready_has_failed() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    let broken = Failed {
        outcome: DOWN,
        at: "readiness of a",
        call: 0,
    };
    upstreams[0].set_ready(Ready::Failing(broken.clone()));
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams).on_event(observer);
    let (ask, ledger) = crate::accounted();
    assert_eq!(service.clone().oneshot(ask).await, Ok("b"));
    assert_eq!(ledger.attempts(), 1, "one call was made");
    assert_eq!(
        told.lock().unwrap()[0],
        Told::Failed("a".into(), Class::Unavailable)
    );
    upstreams[1].set(DOWN);
    assert_eq!(service.oneshot(crate::ask()).await, Err(broken));
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_become_ready_costs_nothing() {
    let upstreams = ["a", "b", "c", "d"].map(|name| Upstream::new(name, [OK]));
    let broken = Ready::Failing(Failed {
        outcome: DOWN,
        at: "readiness",
        call: 0,
    });
    // The first failed in its call, so another attempt is paid for: once.
    upstreams[0].set(DOWN);
    upstreams[1].set_ready(broken.clone());
    upstreams[2].set_ready(broken);
    upstreams[3].set(DOWN);
    let budget = Budget::new(Ratio::new(1, u32::MAX).unwrap()).reserve(10);
    let service = failover(protocol(), &upstreams).budget(budget.clone());
    assert!(service.oneshot(ask()).await.is_err());
    assert_eq!((upstreams[3].calls(), budget.balance()), (1, 9));
}

#[tokio::test(start_paused = true)]
async fn f5_an_endpoint_that_is_taken_away_while_it_is_waited_for_is_not_called() {
    for removed in [false, true] {
        let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
        upstreams[0].set_ready(Ready::Never);
        let (told, observer) = log();
        let service = failover(protocol(), &upstreams)
            .ready_within(secs(60))
            .on_event(observer);
        let mut call = tokio_test::task::spawn(service.clone().oneshot(ask()));
        assert!(call.poll().is_pending());
        match removed {
            true => service.handle().remove("a").unwrap(),
            false => service.handle().set_weight("a", 0).unwrap(),
        }
        upstreams[0].set_ready(Ready::Yes);
        assert_eq!(call.poll(), std::task::Poll::Ready(Ok("b")), "{removed}");
        assert_eq!(upstreams[0].calls(), 0);
        assert_eq!(told.lock().unwrap()[0], Told::Passed("a".into(), secs(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn f5_where_what_is_left_has_no_weight_every_endpoint_is_spent() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [DOWN]));
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams).on_event(observer);
    service.handle().set_weight("b", 0).unwrap();
    assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
    assert_eq!((upstreams[1].calls(), stop(&told)), (0, Stop::Spent));
}
