//! A call that goes well over a full window of the same touches nothing. Nobody can tell.

use buttress_circuit_breaker::{CircuitBreaker, Policy, Ratio, State, Window};
use buttress_core::Class;
use fastrand::Rng;
use tokio::time::advance;

use crate::{Told, all, begin, count, log, secs};

/// All calls that ever ended: whether they failed, and how many seconds they took.
#[derive(Default)]
struct Naive {
    calls: Vec<(bool, u64)>,
    held: bool,
    would_open: usize,
}

impl Naive {
    /// All and bad ones of the last so many.
    fn counts(&self, window: usize, bad: impl Fn(&(bool, u64)) -> bool) -> (u64, u64) {
        let last = &self.calls[self.calls.len().saturating_sub(window)..];
        let bad = last.iter().filter(|call| bad(call)).count();
        (last.len() as u64, bad as u64)
    }

    fn run(&self) -> usize {
        self.calls.iter().rev().take_while(|call| call.0).count()
    }
}

#[tokio::test(start_paused = true)]
async fn b3_calls_that_go_well_are_counted_as_by_a_naive_model_however_long_nothing_else_happens() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let windows = [rng.u32(1..8), rng.u32(1..8), rng.u32(1..8)];
        let window = windows.map(|calls| Window::last_calls(calls).unwrap());
        let (most_run, minimum) = (rng.u32(2..5), rng.u32(1..8));
        let half = Ratio::percent::<50>();
        let (told, observer) = log();
        let policy = Policy::failure_rate(half, window[0])
            .or_slow_rate(half, secs(4), window[1])
            .or_slow_rate(half, secs(2), window[2])
            .or_consecutive_failures(count(most_run))
            .minimum_calls(count(minimum))
            .on_event(observer);
        let breaker = CircuitBreaker::new(policy);
        breaker.observe_only();
        let mut naive = Naive::default();
        let chance = [1, 3, 10][rng.usize(0..3)];
        for _ in 0..80 {
            let fails = rng.u32(0..20) < chance;
            let took = if rng.u32(0..20) < chance {
                rng.u64(3..6)
            } else {
                2
            };
            let call = begin(&breaker).unwrap();
            advance(secs(took)).await;
            call.end(if fails {
                Class::Unavailable
            } else {
                Class::Success
            });
            naive.calls.push((fails, took));
            let expected = [
                naive.counts(windows[0] as usize, |call| call.0),
                naive.counts(windows[1] as usize, |call| call.1 > 4),
                naive.counts(windows[2] as usize, |call| call.1 > 2),
            ];
            let reached = |((all, bad), window): (&(u64, u64), &u32)| {
                *all >= u64::from(minimum.min(*window)) && *bad > 0 && bad * 2 >= *all
            };
            let held =
                expected.iter().zip(&windows).any(reached) || naive.run() >= most_run as usize;
            naive.would_open += usize::from(held && !naive.held);
            naive.held = held;
            let snapshot = breaker.snapshot();
            let counts =
                [0, 1, 2].map(|rate| (snapshot.rates[rate].calls, snapshot.rates[rate].bad));
            assert_eq!(counts, expected, "{seed}");
            assert_eq!(
                snapshot.consecutive_failures as usize,
                naive.run(),
                "{seed}"
            );
            let told = told.lock().unwrap();
            let told = told
                .iter()
                .filter(|told| matches!(told, Told::WouldOpen(_)));
            assert_eq!(told.count(), naive.would_open, "{seed}");
        }
    }
}

#[test]
fn b2_after_any_number_of_calls_that_went_well_it_trips_at_the_same_failure() {
    for well in [4, 5, 100] {
        let window = Window::calls::<4>();
        let policy = Policy::failure_rate(Ratio::percent::<50>(), window);
        let breaker = CircuitBreaker::new(policy);
        all(&breaker, Class::Success, well);
        all(&breaker, Class::Unavailable, 1);
        all(&breaker, Class::Success, 2);
        assert_eq!(breaker.state(), State::Closed);
        all(&breaker, Class::Unavailable, 1);
        assert_eq!(breaker.state(), State::Open, "{well}");
    }
}

#[test]
fn b7_a_call_that_went_well_and_is_of_before_a_reset_fills_no_window() {
    let breaker = CircuitBreaker::new(Policy::failure_rate(
        Ratio::percent::<100>(),
        Window::calls::<2>(),
    ));
    let late = begin(&breaker).unwrap();
    breaker.reset();
    late.end(Class::Success);
    assert_eq!(breaker.snapshot().rates[0].calls, 0);
    // Nor is one that fails of interest, however calm it is.
    let late = begin(&breaker).unwrap();
    breaker.reset();
    all(&breaker, Class::Success, 2);
    late.end(Class::Unavailable);
    assert_eq!(breaker.snapshot().rates[0].bad, 0);
}
