//! What holds with real threads, on real time.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use buttress_circuit_breaker::{CircuitBreaker, Policy, Ratio, State, Wait, Window};
use buttress_core::{Class, Outcome};

use crate::{after, all, begin, count, say, secs};

const THREADS: u32 = 8;

/// Runs it on several threads at once.
fn together(run: impl Fn() + Sync) {
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                run();
            });
        }
    });
}

#[test]
fn b4_an_open_circuit_admits_none_of_many_threads() {
    let breaker = CircuitBreaker::new(after(1).wait(Wait::fixed(secs(3600))));
    all(&breaker, Class::Unavailable, 1);
    together(|| {
        for _ in 0..1000 {
            let refused = begin(&breaker).err().expect("it is open");
            assert!(refused.retry_after().unwrap() > secs(3000));
        }
    });
}

#[test]
fn b5_many_threads_get_as_many_probes_as_there_are() {
    for probes in [1, 3, 7] {
        for _ in 0..50 {
            let policy = after(1).wait(Wait::fixed(secs(0))).probes(count(probes));
            let breaker = CircuitBreaker::new(policy);
            all(&breaker, Class::Unavailable, 1);
            let (admitted, most) = (AtomicU32::new(0), AtomicU32::new(0));
            together(|| {
                for _ in 0..20 {
                    if let Ok(probe) = begin(&breaker) {
                        let now = admitted.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        admitted.fetch_sub(1, Ordering::SeqCst);
                        drop(probe);
                    }
                }
            });
            assert!((1..=probes).contains(&most.into_inner()));
            let left = breaker.snapshot().probes.unwrap();
            assert_eq!((breaker.state(), left.in_flight), (State::HalfOpen, 0));
            let all: Vec<_> = (0..probes).map(|_| begin(&breaker).unwrap()).collect();
            assert!(begin(&breaker).is_err());
            drop(all);
        }
    }
}

#[test]
fn b8_many_threads_trip_it_once() {
    for _ in 0..50 {
        let changes = std::sync::Arc::new(AtomicU32::new(0));
        let count_up = changes.clone();
        let policy = Policy::failure_rate(Ratio::percent::<50>(), Window::calls::<50>())
            .minimum_calls(count(50))
            .wait(Wait::fixed(secs(3600)))
            .on_event(move |_| {
                count_up.fetch_add(1, Ordering::Relaxed);
            });
        let breaker = CircuitBreaker::new(policy);
        together(|| {
            for _ in 0..100 {
                let _ = say(&breaker, Outcome::new(Class::Unavailable));
            }
        });
        assert_eq!(changes.load(Ordering::Relaxed), 1);
        let counts = breaker.snapshot().rates[0];
        assert_eq!((counts.calls, counts.bad), (50, 50));
    }
}

#[test]
fn no_outcome_of_many_threads_is_lost() {
    let window = Window::calls::<100_000>();
    let breaker = CircuitBreaker::new(Policy::failure_rate(Ratio::percent::<100>(), window));
    together(|| {
        for call in 0..1000 {
            let class = [Class::Success, Class::Unavailable, Class::Unfit][call % 3];
            all(&breaker, class, 1);
        }
    });
    let counts = breaker.snapshot().rates[0];
    let threads = u64::from(THREADS);
    assert_eq!((counts.calls, counts.bad), (667 * threads, 333 * threads));
}

#[test]
fn b3_no_failure_of_many_threads_is_lost_beside_calls_that_touch_nothing() {
    for _ in 0..20 {
        let window = Window::calls::<10_000>();
        let policy = Policy::failure_rate(Ratio::percent::<100>(), window);
        let breaker = CircuitBreaker::new(policy.or_consecutive_failures(count(1_000)));
        all(&breaker, Class::Success, 10_000);
        let threads = AtomicU32::new(0);
        together(|| {
            // One after another begins to fail, while the others still touch nothing.
            let first = threads.fetch_add(1, Ordering::Relaxed) * 50;
            for call in 0..1000 {
                let fails = call >= first && call % 3 == 0;
                let class = [Class::Success, Class::Unavailable][usize::from(fails)];
                all(&breaker, class, 1);
            }
        });
        let fails = |thread| (0..1000).filter(move |call| *call >= thread * 50 && call % 3 == 0);
        let bad: usize = (0..THREADS).map(|thread| fails(thread).count()).sum();
        let counts = breaker.snapshot().rates[0];
        assert_eq!((counts.calls, counts.bad), (10_000, bad as u64));
        assert_eq!(breaker.state(), State::Closed);
    }
}
