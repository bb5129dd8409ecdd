//! How many attempts, and when.

use std::time::Duration;

use buttress_core::{Class, Outcome};
use buttress_retry::{Budget, Constant, Ratio, Stop};
use tower::{Layer, ServiceExt};

use crate::{
    DOWN, Failed, LONG, OK, Told, Upstream, ask, attempts, log, ms, protocol, retry, second, stop,
    until,
};

#[tokio::test(start_paused = true)]
async fn r1_no_more_attempts_than_allowed_the_first_counted() {
    for allowed in [1, 2, 3, 7] {
        let upstream = Upstream::new([DOWN]);
        let (told, observer) = log();
        let layer = retry(protocol()).max_attempts(attempts(allowed));
        let service = layer.on_event(observer).layer(upstream.clone());
        let failed = service.oneshot(ask()).await.unwrap_err();
        assert_eq!((failed.call, upstream.calls()), (allowed, allowed as usize));
        assert_eq!(stop(&told), Stop::Attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn r1_several_endpoints_stay_together_within_an_allowance_that_they_share() {
    let allowance = Budget::new(Ratio::new(1, u32::MAX).unwrap()).reserve(4);
    let endpoints: Vec<_> = (0..3).map(|_| Upstream::new([DOWN])).collect();
    for endpoint in &endpoints {
        let layer = retry(protocol()).max_attempts(attempts(10));
        let service = layer.budget(allowance.clone()).layer(endpoint.clone());
        assert!(service.oneshot(ask()).await.is_err());
    }
    let calls: usize = endpoints.iter().map(Upstream::calls).sum();
    assert_eq!(calls, 3 + 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_retried_follows_from_the_class() {
    for class in Class::ALL {
        let upstream = Upstream::new([Outcome::new(class), OK]);
        let service = retry(protocol()).layer(upstream.clone());
        let _ = service.oneshot(ask()).await;
        let expected = if class.again() { 2 } else { 1 };
        assert_eq!(upstream.calls(), expected, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn r8_the_servers_word_overrides_the_class_and_the_users_word_both() {
    let never = Outcome::new(Class::Unavailable).with_should_retry(false);
    let again = Outcome::new(Class::Invalid).with_should_retry(true);
    for (outcome, calls) in [(never, 1), (again, 3)] {
        let upstream = Upstream::new([outcome]);
        let service = retry(protocol()).layer(upstream.clone());
        assert!(service.oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), calls);

        // For one request of two the user says the contrary.
        let upstream = Upstream::new([outcome]);
        let layer = retry(protocol())
            .decide_with(|ask: &crate::Ask, outcome| (ask.number == 7).then(|| !outcome.again()));
        let service = layer.layer(upstream.clone());
        let mut seven = ask();
        seven.number = 7;
        assert!(service.clone().oneshot(seven).await.is_err());
        let contrary = upstream.calls();
        assert_eq!(contrary, 4 - calls);
        assert!(service.oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), contrary + calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worthless_reply_is_a_failure_to_a_classifier_that_says_so() {
    use buttress_core::{Plain, ProtocolExt};
    use tower::service_fn;

    let empty = |result: Result<&String, &Failed>| {
        let empty = result.is_ok_and(String::is_empty);
        empty.then(|| Outcome::new(Class::Unavailable))
    };
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let service = retry(Plain.classify_with(empty)).layer(service_fn(move |(): ()| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(Ok(match call {
            0 | 1 => String::new(),
            _ => "hello".into(),
        }))
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn r8_a_hint_is_waited_for_and_one_above_the_cap_ends_the_call_at_once() {
    let hinted = |hint| DOWN.with_retry_after(hint);
    let upstream = Upstream::new([hinted(ms(300)), hinted(ms(5000)), OK]);
    let service = retry(protocol()).layer(upstream.clone());
    assert!(service.oneshot(ask()).await.is_ok());
    // A floor: the first is shorter than the backoff.
    assert_eq!(upstream.times(), [ms(0), ms(1000), ms(6000)]);

    for hint in [ms(20_001), LONG, Duration::MAX] {
        let upstream = Upstream::new([hinted(hint), OK]);
        let (told, observer) = log();
        let service = retry(protocol()).on_event(observer).layer(upstream.clone());
        let failed = service.oneshot(ask()).await.unwrap_err();
        assert_eq!(failed.outcome, hinted(hint), "the error, with its hint");
        assert_eq!((upstream.calls(), stop(&told)), (1, Stop::Hint));
        assert_eq!(upstream.start.elapsed(), ms(0));
    }
}

#[tokio::test(start_paused = true)]
async fn r8_a_hint_past_the_deadline_ends_the_call_at_once() {
    let upstream = Upstream::new([DOWN.with_retry_after(ms(3000)), OK]);
    let (told, observer) = log();
    let service = retry(protocol()).on_event(observer).layer(upstream.clone());
    assert!(service.oneshot(until(ms(2500))).await.is_err());
    assert_eq!(upstream.start.elapsed(), ms(0));
    assert_eq!(stop(&told), Stop::Deadline);
}

#[tokio::test(start_paused = true)]
async fn r9_no_wait_goes_past_the_deadline_nor_past_the_time_allowed() {
    for budget in [0, 1, 999, 1000, 1001, 1002, 1999, 2001, 2002, 5000] {
        // Waits at 0 and at 1000, a second each, and two milliseconds for the timer to be late.
        let expected = match budget {
            0..=1001 => 1,
            1002..=2001 => 2,
            _ => 3,
        };
        let upstream = Upstream::new([DOWN]);
        let service = retry(protocol()).layer(upstream.clone());
        assert!(service.oneshot(until(ms(budget))).await.is_err());
        assert_eq!(upstream.calls(), expected, "a deadline of {budget} ms");
        assert!(upstream.start.elapsed() <= ms(budget));

        let upstream = Upstream::new([DOWN]);
        let (told, observer) = log();
        let layer = retry(protocol()).max_elapsed(ms(budget));
        let service = layer.on_event(observer).layer(upstream.clone());
        assert!(service.oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), expected, "{budget} ms in all");
        let why = if expected < 3 {
            Stop::Elapsed
        } else {
            Stop::Attempts
        };
        assert_eq!(stop(&told), why);
    }
}

#[tokio::test(start_paused = true)]
async fn r9_a_wait_that_is_no_whole_number_of_milliseconds_ends_in_time() {
    let nanos = Duration::from_nanos;
    for delay in [nanos(1), nanos(1_500_000), nanos(999_999_999)] {
        for spare in [nanos(0), nanos(1), ms(1), ms(2), ms(3)] {
            tokio::time::advance(nanos(300_001)).await;
            let upstream = Upstream::new([DOWN, OK]);
            let layer = retry(protocol()).backoff(Constant::new(delay));
            let _ = layer
                .layer(upstream.clone())
                .oneshot(until(delay + spare))
                .await;
            let last = *upstream.times().last().unwrap();
            assert!(last <= delay + spare, "{delay:?} + {spare:?}: {last:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d1_the_deadline_of_a_request_bounds_attempts_and_backoff_together() {
    let upstream = Upstream::new([DOWN]);
    let layer = retry(protocol()).max_attempts(attempts(1000));
    let service = layer.layer(upstream.clone());
    assert!(service.oneshot(until(ms(10_500))).await.is_err());
    assert_eq!(
        (upstream.calls(), upstream.start.elapsed()),
        (11, ms(10_000))
    );
}

#[tokio::test(start_paused = true)]
async fn d7_zero_and_overflowing_durations_are_defined() {
    // No time at all: one attempt, also where nothing would be waited.
    for backoff in [second(), Constant::NONE] {
        let upstream = Upstream::new([DOWN]);
        let layer = retry(protocol()).backoff(backoff).max_elapsed(ms(0));
        assert!(layer.layer(upstream.clone()).oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), 1);
    }
    // More than a clock can count: no bound.
    let upstream = Upstream::new([DOWN]);
    let layer = retry(protocol()).max_elapsed(Duration::MAX);
    assert!(layer.layer(upstream.clone()).oneshot(ask()).await.is_err());
    assert_eq!(upstream.calls(), 3);
    // No wait between attempts: all at once.
    let upstream = Upstream::new([DOWN]);
    let layer = retry(protocol()).backoff(Constant::NONE);
    assert!(layer.layer(upstream.clone()).oneshot(ask()).await.is_err());
    assert_eq!(upstream.times(), [ms(0); 3]);
    // A wait that never ends passes any deadline.
    let upstream = Upstream::new([DOWN]);
    let layer = retry(protocol()).backoff(Constant::new(Duration::MAX));
    assert!(
        layer
            .layer(upstream.clone())
            .oneshot(until(LONG / 1024))
            .await
            .is_err()
    );
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_knows_its_number_also_where_another_layer_counted_before() {
    let upstream = Upstream::new([DOWN]);
    let service = retry(protocol()).layer(upstream.clone());
    assert!(service.clone().oneshot(ask()).await.is_err());
    let mut fourth = ask();
    fourth.info.attempt = 4;
    assert!(service.oneshot(fourth).await.is_err());
    let seen = upstream.seen.lock().unwrap();
    let numbers: Vec<_> = seen.iter().map(|seen| seen.ask.info.attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn the_events_tell_what_was_waited_and_why_it_ended() {
    let upstream = Upstream::new([DOWN, Outcome::new(Class::Throttled), OK]);
    let (told, observer) = log();
    let service = retry(protocol()).on_event(observer).layer(upstream);
    assert_eq!(service.oneshot(ask()).await, Ok(3));
    assert_eq!(
        *told.lock().unwrap(),
        [
            Told::Again(1, Class::Unavailable, ms(1000)),
            Told::Again(2, Class::Throttled, ms(1000)),
            Told::Done(3, Class::Success, ms(2000), Stop::Settled),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_backoff_that_ends_ends_the_call() {
    let upstream = Upstream::new([DOWN]);
    let (told, observer) = log();
    let once = |_: Class, _: u64| std::iter::once(ms(10));
    let layer = retry(protocol()).max_attempts(attempts(9)).backoff(once);
    let service = layer.on_event(observer).layer(upstream.clone());
    assert!(service.oneshot(ask()).await.is_err());
    assert_eq!(
        (upstream.times(), stop(&told)),
        (vec![ms(0), ms(10)], Stop::Backoff)
    );
}
