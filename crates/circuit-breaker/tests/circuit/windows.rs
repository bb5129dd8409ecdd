//! What is counted, and when that opens a circuit.

use std::{num::NonZeroU16, panic::AssertUnwindSafe};

use buttress_circuit_breaker::{Cause, CircuitBreaker, Policy, Ratio, State, Wait, Window};
use buttress_core::{Class, Outcome};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::advance;

use crate::{Ask, Failed, Told, after, all, begin, call, count, log, say, secs};

const HALF: Ratio = Ratio::percent::<50>();

/// The sliding windows of resilience4j (Apache-2.0): `CountBasedSlidingWindowTest`,
/// `SlidingTimeWindowMetricsTest` and `CircuitBreakerMetricsTest`, as data.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/r4j_windows.json")).unwrap()
}

/// A circuit that never opens, and counts what it is told.
fn observer(window: Window) -> CircuitBreaker {
    let breaker = CircuitBreaker::new(Policy::failure_rate(HALF, window));
    breaker.observe_only();
    breaker
}

fn counted(breaker: &CircuitBreaker) -> (u64, u64) {
    let counts = breaker.snapshot().rates[0];
    (counts.calls, counts.bad)
}

/// `S` went well, `E` failed.
fn outcomes(sequence: &str) -> impl Iterator<Item = Class> {
    sequence.chars().map(|letter| match letter {
        'S' => Class::Success,
        'E' => Class::Unavailable,
        _ => panic!("found {letter:?}, expected S or E"),
    })
}

#[test]
fn b3_count_windows_are_those_of_resilience4j() {
    let vectors = vectors();
    for case in vectors["count_window_10_min_10"].as_array().unwrap() {
        let breaker = observer(Window::calls::<10>());
        let sequence = case["seq"].as_str().unwrap();
        outcomes(sequence).for_each(|class| all(&breaker, class, 1));
        let (calls, failed) = counted(&breaker);
        let expected = ["buffered", "failed"].map(|name| case[name].as_u64().unwrap());
        assert_eq!([calls, failed], expected, "{sequence}");
        // There, a rate of fewer calls than the minimum of ten is -1.
        let rate = breaker.snapshot().rates[0].rate().unwrap() * 100.0;
        let rate = if calls < 10 { -1.0 } else { rate };
        assert!((rate - case["rate"].as_f64().unwrap()).abs() < 1e-4);
    }
    for case in vectors["count_window_4_rates"].as_array().unwrap() {
        let breaker = observer(Window::calls::<4>());
        let rates = case["rates_after_each"].as_array().unwrap();
        let sequence = case["seq"].as_str().unwrap();
        assert_eq!(sequence.len(), rates.len());
        for (class, expected) in outcomes(sequence).zip(rates) {
            all(&breaker, class, 1);
            let rate = breaker.snapshot().rates[0].rate().unwrap() * 100.0;
            assert!((rate - expected.as_f64().unwrap()).abs() < 1e-4, "{rate}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b3_time_windows_are_those_of_resilience4j() {
    let vectors = vectors();
    let five = || {
        let window = Window::last_in(secs(5), NonZeroU16::new(5).unwrap()).unwrap();
        (observer(window), tokio::time::Instant::now())
    };
    let (breaker, start) = five();
    for step in vectors["time_window_5s_1s_buckets"].as_array().unwrap() {
        let at = secs(1).mul_f64(step["t"].as_f64().unwrap());
        advance(at - start.elapsed()).await;
        outcomes(step["outcome"].as_str().unwrap()).for_each(|class| all(&breaker, class, 1));
        let expected = ["total", "failed"].map(|name| step[name].as_u64().unwrap());
        assert_eq!(<[u64; 2]>::from(counted(&breaker)), expected, "{step}");
    }
    // Three calls at once, which are seen until their bucket is five seconds old.
    let (breaker, start) = five();
    all(&breaker, Class::Success, 3);
    for step in vectors["clear"].as_array().unwrap() {
        let at = secs(1).mul_f64(step["t"].as_f64().unwrap());
        advance(at - start.elapsed()).await;
        assert_eq!(
            counted(&breaker).0,
            step["total"].as_u64().unwrap(),
            "{step}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn b1_below_the_minimum_of_calls_it_never_trips() {
    for window in [Window::calls::<100>(), Window::secs::<30>()] {
        let ratio = Ratio::percent::<1>();
        let breaker = CircuitBreaker::new(Policy::failure_rate(ratio, window));
        assert_eq!(breaker.snapshot().rates[0].rate(), None, "of no calls");
        all(&breaker, Class::Unavailable, 19);
        assert_eq!(breaker.state(), State::Closed);
        all(&breaker, Class::Unavailable, 1);
        assert_eq!(breaker.state(), State::Open);
    }
    // A window that is smaller than the minimum has to be full.
    let breaker = CircuitBreaker::new(Policy::failure_rate(HALF, Window::calls::<5>()));
    all(&breaker, Class::Unavailable, 4);
    assert_eq!(breaker.state(), State::Closed);
    all(&breaker, Class::Unavailable, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn b2_it_trips_at_the_very_call_that_brings_the_rate_to_the_threshold() {
    for (part, whole) in [(1, 3), (2, 5), (1, 2), (7, 10), (1, 1), (1, 100)] {
        for size in 1..=30_u32 {
            let policy = || {
                let window = Window::last_calls(size).unwrap();
                let ratio = Ratio::new(part, whole).unwrap();
                Policy::failure_rate(ratio, window).minimum_calls(count(u32::MAX))
            };
            // The window is full of successes, which failures then take the places of.
            let breaker = CircuitBreaker::new(policy());
            all(&breaker, Class::Success, size);
            let needed = (size * part).div_ceil(whole);
            all(&breaker, Class::Unavailable, needed - 1);
            assert_eq!(breaker.state(), State::Closed, "{part}/{whole} of {size}");
            all(&breaker, Class::Unavailable, 1);
            assert_eq!(breaker.state(), State::Open, "{part}/{whole} of {size}");
            // They come first, and what fills the window is a success.
            if needed < size {
                let breaker = CircuitBreaker::new(policy());
                all(&breaker, Class::Unavailable, needed);
                all(&breaker, Class::Success, size - needed - 1);
                assert_eq!(breaker.state(), State::Closed, "{part}/{whole} of {size}");
                all(&breaker, Class::Success, 1);
                assert_eq!(breaker.state(), State::Open, "{part}/{whole} of {size}");
            }
        }
    }
}

#[test]
fn b2_a_run_of_failures_trips_at_its_last() {
    let (told, observer) = log();
    let breaker = CircuitBreaker::new(after(3).on_event(observer));
    for _ in 0..5 {
        all(&breaker, Class::Unavailable, 2);
        all(&breaker, Class::Success, 1);
    }
    all(&breaker, Class::Interrupted, 2);
    assert_eq!(breaker.state(), State::Closed);
    all(&breaker, Class::Unavailable, 1);
    let cause = Cause::ConsecutiveFailures;
    let opened = Told::Changed(State::Closed, State::Open, cause, Some(secs(10)));
    assert_eq!(*told.lock().unwrap(), [opened]);
    assert_eq!(breaker.snapshot().consecutive_failures, 3);
}

#[tokio::test(start_paused = true)]
async fn conditions_combine_and_the_first_that_holds_opens() {
    let policy = || {
        Policy::failure_rate(HALF, Window::calls::<10>())
            .or_consecutive_failures(count(4))
            .or_slow_rate(HALF, secs(1), Window::calls::<4>())
            .or_failure_rate(Ratio::percent::<90>(), Window::secs::<60>())
            .minimum_calls(count(4))
    };
    let breaker = CircuitBreaker::new(policy());
    for class in outcomes("ESES") {
        all(&breaker, class, 1);
    }
    assert_eq!(breaker.snapshot().cause, Some(Cause::FailureRate));
    let breaker = CircuitBreaker::new(policy());
    all(&breaker, Class::Success, 10);
    all(&breaker, Class::Unavailable, 4);
    assert_eq!(breaker.snapshot().cause, Some(Cause::ConsecutiveFailures));
    let breaker = CircuitBreaker::new(policy());
    all(&breaker, Class::Success, 2);
    for expected in [State::Closed, State::Open] {
        let slow = begin(&breaker).unwrap();
        advance(secs(2)).await;
        slow.end(Class::Success);
        assert_eq!(breaker.state(), expected);
    }
    assert_eq!(breaker.snapshot().cause, Some(Cause::SlowRate));
    let bad: Vec<u64> = breaker
        .snapshot()
        .rates
        .iter()
        .map(|rate| rate.bad)
        .collect();
    assert_eq!(bad, [0, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_slow_if_it_took_longer_than_the_limit_and_not_if_as_long() {
    let policy = Policy::slow_rate(HALF, secs(1), Window::calls::<1>()).wait(Wait::fixed(secs(5)));
    let breaker = CircuitBreaker::new(policy);
    // A failure that came fast is none of its business.
    all(&breaker, Class::Unavailable, 1);
    for (millis, class, expected) in [
        (1000, Class::Success, State::Closed),
        (1001, Class::Cancelled, State::Closed),
        (1001, Class::Unavailable, State::Open),
    ] {
        let call = begin(&breaker).unwrap();
        advance(std::time::Duration::from_millis(millis)).await;
        call.end(class);
        assert_eq!(breaker.state(), expected, "{millis} {class}");
    }
    // A probe that is slow has failed.
    advance(secs(5)).await;
    let probe = begin(&breaker).unwrap();
    advance(secs(2)).await;
    probe.end(Class::Success);
    assert_eq!(breaker.snapshot().cause, Some(Cause::ProbesFailed));
}

#[tokio::test(start_paused = true)]
async fn b10_a_neutral_outcome_touches_no_count() {
    let neutral = Class::ALL
        .into_iter()
        .filter(|class| class.health() == buttress_core::Health::Neutral);
    let policy = Policy::failure_rate(Ratio::percent::<100>(), Window::calls::<4>())
        .or_failure_rate(Ratio::percent::<100>(), Window::secs::<4>())
        .or_slow_rate(Ratio::percent::<100>(), secs(0), Window::calls::<4>())
        .or_consecutive_failures(count(4))
        .minimum_calls(count(4));
    let breaker = CircuitBreaker::new(policy);
    all(&breaker, Class::Unavailable, 3);
    let before = breaker.snapshot();
    assert_eq!((before.rates[0].calls, before.rates[0].bad), (3, 3));
    for class in neutral {
        all(&breaker, class, 10);
        assert_eq!(breaker.snapshot(), before, "{class}");
    }
    let throttled = Outcome::new(Class::Throttled).with_retry_after(secs(60));
    assert_eq!(say(&breaker, throttled), Ok(()));
    drop(begin(&breaker).unwrap());
    let panicked = AssertUnwindSafe(call(&breaker, Ask::Panic)).catch_unwind();
    assert!(panicked.now_or_never().unwrap().is_err());
    assert_eq!(breaker.snapshot(), before);
    // And what it does not count, it does not interrupt either.
    all(&breaker, Class::Unavailable, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn b12_idle_for_longer_than_the_window_is_a_cold_start() {
    let policy = Policy::failure_rate(HALF, Window::secs::<30>()).minimum_calls(count(10));
    let breaker = CircuitBreaker::new(policy);
    for idle in [30, 31, 3600, 1 << 40] {
        all(&breaker, Class::Unavailable, 9);
        advance(secs(idle)).await;
        assert_eq!(counted(&breaker), (0, 0), "{idle}");
        all(&breaker, Class::Unavailable, 1);
        assert_eq!(
            (breaker.state(), counted(&breaker)),
            (State::Closed, (1, 1))
        );
        advance(secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_lets_go_bucket_by_bucket() {
    let breaker = observer(Window::secs::<10>());
    for second in 1..=30_u64 {
        all(&breaker, Class::Unavailable, 1);
        assert_eq!(counted(&breaker).0, second.min(10));
        advance(secs(1)).await;
    }
    for left in (0..9).rev() {
        advance(secs(1)).await;
        assert_eq!(counted(&breaker).0, left);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_its_meaning_through_the_circuit() {
    let breaker = CircuitBreaker::new(after(1));
    let said = Outcome::new(Class::Unavailable).with_retry_after(secs(3));
    let result = call(&breaker, Ask::Now(said)).await;
    assert_eq!(result, Err(Failed::Said(said)));
}
