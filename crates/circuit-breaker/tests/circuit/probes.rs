//! What an open circuit does to find out whether its endpoint is back.

use std::panic::AssertUnwindSafe;

use buttress_circuit_breaker::{Cause, CircuitBreaker, Policy, Ratio, State, Wait};
use buttress_core::{Class, Outcome};
use futures_util::FutureExt;
use tokio::time::{Duration, advance};

use crate::{Ask, Told, after, all, begin, call, count, log, say, secs};

/// Open.
fn open(policy: Policy) -> CircuitBreaker {
    let breaker = CircuitBreaker::new(policy);
    all(&breaker, Class::Unavailable, 1);
    assert_eq!(breaker.state(), State::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn b4_an_open_circuit_says_when_to_come_back_and_keeps_to_it() {
    let breaker = open(after(1));
    for left in (1..=10).rev() {
        assert_eq!(breaker.next_probe(), Some(secs(left)));
        let refused = begin(&breaker).err().unwrap();
        assert_eq!(refused.retry_after(), Some(secs(left)));
        assert_eq!(refused.reason(), buttress_core::Reason::CircuitOpen);
        assert_eq!(refused.class(), Class::Refused);
        advance(secs(1)).await;
    }
    assert_eq!(breaker.next_probe(), Some(Duration::ZERO));
    assert_eq!(breaker.state(), State::Open, "until somebody comes");
    let probe = begin(&breaker).unwrap();
    assert_eq!(
        (breaker.state(), breaker.next_probe()),
        (State::HalfOpen, None)
    );
    // Nobody knows when a probe ends.
    assert_eq!(begin(&breaker).err().unwrap().retry_after(), None);
    probe.end(Class::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn b5_at_most_k_probes_are_under_way_and_a_dropped_one_frees_its_place() {
    let breaker = open(after(1).probes(count(3)));
    advance(secs(10)).await;
    let mut flying: Vec<_> = (0..3).map(|_| begin(&breaker).unwrap()).collect();
    for _ in 0..10 {
        assert!(begin(&breaker).is_err());
        // Dropped, panicked, or of a class that says nothing: its place is free, and no more.
        drop(flying.pop());
        let panicked = AssertUnwindSafe(call(&breaker, Ask::Panic)).catch_unwind();
        assert!(panicked.now_or_never().unwrap().is_err());
        assert_eq!(say(&breaker, Outcome::new(Class::Unfit)), Ok(()));
        flying.push(begin(&breaker).unwrap());
        let probes = breaker.snapshot().probes.unwrap();
        assert_eq!(
            (probes.in_flight, probes.succeeded, probes.failed),
            (3, 0, 0)
        );
    }
    flying.clear();
    assert_eq!(
        breaker.state(),
        State::HalfOpen,
        "it never closes by itself"
    );
}

#[tokio::test(start_paused = true)]
async fn b5_at_most_k_probes_are_counted() {
    let breaker = open(after(1).probes(count(3)));
    advance(secs(10)).await;
    let slow = begin(&breaker).unwrap();
    all(&breaker, Class::Success, 2);
    // Two have said something and one is under way: there is no fourth.
    assert!(begin(&breaker).is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    slow.end(Class::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn b6_probes_that_vanish_are_replaced_after_their_time() {
    let (told, observer) = log();
    let policy = after(1).probes(count(2)).probe_timeout(secs(30));
    let breaker = open(policy.on_event(observer));
    advance(secs(10)).await;
    for episode in 0..5 {
        for _ in 0..2 {
            std::mem::forget(begin(&breaker).unwrap());
        }
        advance(secs(29)).await;
        assert!(begin(&breaker).is_err(), "{episode}");
        advance(secs(1)).await;
    }
    let late = begin(&breaker).unwrap();
    all(&breaker, Class::Success, 1);
    late.end(Class::Success);
    assert_eq!(breaker.state(), State::Closed);
    let told = told.lock().unwrap();
    let lost = Told::Changed(State::HalfOpen, State::HalfOpen, Cause::ProbesLost, None);
    assert_eq!(told.iter().filter(|told| **told == lost).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn b6_a_probe_that_was_given_up_for_lost_counts_no_more() {
    let breaker = open(after(1).probe_timeout(secs(30)));
    advance(secs(10)).await;
    let (lost, other) = (begin(&breaker).unwrap(), secs(30));
    advance(other).await;
    let probe = begin(&breaker).unwrap();
    lost.end(Class::Success);
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.end(Class::Unavailable);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn b7_an_outcome_of_an_older_generation_changes_nothing() {
    let breaker = CircuitBreaker::new(after(2));
    let old: Vec<_> = (0..6).map(|_| begin(&breaker).unwrap()).collect();
    let mut old = old.into_iter();
    all(&breaker, Class::Unavailable, 2);
    let open = breaker.snapshot();
    old.next().unwrap().end(Class::Unavailable);
    old.next().unwrap().end(Class::Success);
    assert_eq!(breaker.snapshot(), open);
    advance(secs(10)).await;
    let probe = begin(&breaker).unwrap();
    let half_open = breaker.snapshot();
    old.next().unwrap().end(Class::Unavailable);
    old.next().unwrap().end(Class::Success);
    drop(old.next().unwrap());
    assert_eq!(breaker.snapshot(), half_open);
    probe.end(Class::Success);
    // Closed again: a failure of before does not count either.
    all(&breaker, Class::Unavailable, 1);
    old.next().unwrap().end(Class::Unavailable);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().consecutive_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn b7_probes_of_an_episode_that_is_over_take_no_place_and_give_none_back() {
    let breaker = open(after(1).probes(count(2)));
    advance(secs(10)).await;
    let (first, late) = (begin(&breaker).unwrap(), begin(&breaker).unwrap());
    first.end(Class::Unavailable);
    advance(secs(10)).await;
    let _held = (begin(&breaker).unwrap(), begin(&breaker).unwrap());
    drop(late);
    assert!(begin(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn b8_each_change_is_told_once() {
    let (told, observer) = log();
    let policy = after(2)
        .wait(Wait::exponential(secs(10), secs(60)))
        .on_event(observer);
    let breaker = CircuitBreaker::new(policy);
    all(&breaker, Class::Unavailable, 2);
    assert!(begin(&breaker).is_err());
    advance(secs(10)).await;
    all(&breaker, Class::Unavailable, 1);
    assert!(begin(&breaker).is_err());
    advance(secs(20)).await;
    let probe = begin(&breaker).unwrap();
    assert!(begin(&breaker).is_err());
    probe.end(Class::Success);
    all(&breaker, Class::Success, 10);
    let expected = [
        (
            State::Closed,
            State::Open,
            Cause::ConsecutiveFailures,
            Some(10),
        ),
        (State::Open, State::HalfOpen, Cause::Waited, None),
        (State::HalfOpen, State::Open, Cause::ProbesFailed, Some(20)),
        (State::Open, State::HalfOpen, Cause::Waited, None),
        (State::HalfOpen, State::Closed, Cause::Recovered, None),
    ];
    let expected =
        expected.map(|(from, to, cause, wait)| Told::Changed(from, to, cause, wait.map(secs)));
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(breaker.snapshot().generation, 5);
}

#[tokio::test(start_paused = true)]
async fn b9_a_failed_probe_waits_longer_and_a_recovery_starts_over() {
    let policy = after(1).wait(Wait::exponential(secs(10), secs(60)));
    let breaker = CircuitBreaker::new(policy);
    for _ in 0..3 {
        for wait in [10, 20, 40, 60, 60] {
            assert_eq!(say(&breaker, Outcome::new(Class::Unavailable)), Ok(()));
            assert_eq!(breaker.next_probe(), Some(secs(wait)));
            advance(secs(wait)).await;
        }
        all(&breaker, Class::Success, 1);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn b9_durations_saturate() {
    let endless = Wait::exponential(Duration::MAX, Duration::MAX);
    let breaker = open(after(1).wait(endless).probe_timeout(Duration::MAX));
    advance(secs(1 << 40)).await;
    let refused = begin(&breaker).err().unwrap();
    // A time that no clock reaches is not told.
    assert_eq!((refused.retry_after(), breaker.next_probe()), (None, None));
    breaker.reset();
    all(&breaker, Class::Success, 1);
    let breaker = open(
        after(1)
            .wait(Wait::fixed(secs(0)))
            .probe_timeout(Duration::MAX),
    );
    std::mem::forget(begin(&breaker).unwrap());
    advance(secs(1 << 40)).await;
    assert!(begin(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn b15_a_slow_success_from_before_the_trip_does_not_close_the_circuit() {
    let breaker = CircuitBreaker::new(after(1));
    let slow = begin(&breaker).unwrap();
    all(&breaker, Class::Unavailable, 1);
    advance(secs(10)).await;
    let _hangs = begin(&breaker).unwrap();
    slow.end(Class::Success);
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(begin(&breaker).is_err());
}

#[tokio::test(start_paused = true)]
async fn recovery_by_rate_is_decided_as_soon_as_it_is_certain() {
    let share = Ratio::percent::<60>();
    let policy = || after(1).probes(count(5)).recovery(share);
    for (sequence, expected) in [
        ("SSS", State::Closed),
        ("ESSE", State::HalfOpen),
        ("ESSES", State::Closed),
        ("EE", State::HalfOpen),
        ("EEE", State::Open),
        ("SESEE", State::Open),
    ] {
        let breaker = open(policy());
        advance(secs(10)).await;
        for letter in sequence.chars() {
            let class = match letter {
                'S' => Class::Success,
                _ => Class::Unavailable,
            };
            all(&breaker, class, 1);
        }
        assert_eq!(breaker.state(), expected, "{sequence}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_recovery_nothing_is_left_of_what_was_counted() {
    let breaker = CircuitBreaker::new(after(2));
    all(&breaker, Class::Unavailable, 2);
    advance(secs(10)).await;
    all(&breaker, Class::Success, 1);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
    all(&breaker, Class::Unavailable, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_seed_draws_the_same_waits_and_another_one_others() {
    let waits = async |seed: u64| {
        let wait = Wait::exponential(secs(10), secs(600)).jitter(Ratio::percent::<50>());
        let breaker = CircuitBreaker::new(after(1).wait(wait).seed(seed));
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(say(&breaker, Outcome::new(Class::Unavailable)), Ok(()));
            let next = breaker.next_probe().unwrap();
            waits.push(next);
            advance(next + Duration::from_millis(1)).await;
        }
        waits
    };
    assert_eq!(waits(1).await, waits(1).await);
    assert_ne!(waits(1).await, waits(2).await);
}
