//! The sliding windows, against what they promise.

use std::{collections::VecDeque, time::Duration};

use buttress_rate_limit::{Algorithm, Cost, Limiter, SlidingCounter, SlidingLog, Unit};
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use crate::{SECOND, requests, tokens};

fn run(steps: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(steps);
}

/// At the wait that was said, and not before; what costs too much never.
async fn waits<A: Algorithm>() {
    let limiter = Limiter::new(tokens(100)).counting::<A>();
    let take = |tokens| {
        limiter
            .reserve(&(), Cost::tokens(tokens, 0))
            .map(|taken| taken.keep())
    };
    assert_eq!(take(101).unwrap_err().wait(), None);
    for tokens in [60, 40, 1, 99, 100, 7, 3, 100] {
        if let Err(limited) = take(tokens) {
            let wait = limited.wait().unwrap();
            advance(wait - Duration::from_nanos(1)).await;
            assert_eq!(
                take(tokens).unwrap_err().wait(),
                Some(Duration::from_nanos(1))
            );
            advance(Duration::from_nanos(1)).await;
            take(tokens).unwrap();
        }
        advance(3 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l2_windows_admit_at_the_wait_that_was_said() {
    waits::<SlidingLog>().await;
    waits::<SlidingCounter>().await;
}

#[tokio::test(start_paused = true)]
async fn l6_windows_settle() {
    async fn settles<A: Algorithm>() {
        let limiter = Limiter::new(tokens(100)).counting::<A>();
        let reservation = limiter.reserve(&(), Cost::tokens(80, 0)).unwrap();
        advance(SECOND).await;
        reservation.settle(Cost::tokens(30, 0));
        assert_eq!(limiter.remaining(&(), Unit::Tokens), Some(70));
        let reservation = limiter.reserve(&(), Cost::tokens(10, 0)).unwrap();
        reservation.settle(Cost::tokens(10, 200));
        assert_eq!(limiter.remaining(&(), Unit::Tokens), Some(0));
        assert!(limiter.check(&(), Cost::tokens(1, 0)).is_err());
        advance(180 * SECOND).await;
        assert_eq!(limiter.remaining(&(), Unit::Tokens), Some(100));
    }
    settles::<SlidingLog>().await;
    settles::<SlidingCounter>().await;
}

#[tokio::test(start_paused = true)]
async fn l6_windows_keep_debts_of_any_size() {
    async fn owes<A: Algorithm>() {
        let limiter = Limiter::new(tokens(60)).counting::<A>();
        let calls = [0; 3].map(|_| limiter.reserve(&(), Cost::tokens(1, 0)).unwrap());
        for call in calls {
            call.settle(Cost::tokens(u64::MAX, 1));
            advance(SECOND).await;
        }
        for _ in 3..60 {
            assert!(limiter.check(&(), Cost::tokens(1, 0)).is_err());
            advance(SECOND).await;
        }
        advance(60 * SECOND).await;
        assert_eq!(limiter.remaining(&(), Unit::Tokens), Some(60));
    }
    owes::<SlidingLog>().await;
    owes::<SlidingCounter>().await;
}

#[tokio::test(start_paused = true)]
async fn l1_the_counter_admits_up_to_twice_in_a_window_that_lies_across_two() {
    let limiter = Limiter::new(requests(100)).counting::<SlidingCounter>();
    let take = || {
        limiter
            .reserve(&(), Cost::REQUEST)
            .map(|taken| taken.keep())
    };
    // All at the end of one window.
    advance(59 * SECOND).await;
    assert_eq!((0..200).filter(|_| take().is_ok()).count(), 100);
    // And as its share falls, all of the next within the same 60 s, but for what is left of it.
    advance(58 * SECOND).await;
    assert_eq!((0..200).filter(|_| take().is_ok()).count(), 95);
}

proptest! {
    #[test]
    fn l1_the_log_is_exact_but_for_a_1024th_that_is_late(
        steps in prop::collection::vec((0_u64..20_000, 1_u64..40), 1..200),
    ) {
        run(async {
            let limiter = Limiter::new(tokens(100)).counting::<SlidingLog>();
            let mut naive: VecDeque<(Instant, u64)> = VecDeque::new();
            let (window, late) = (60 * SECOND, 60 * SECOND / 1024);
            for (pause, units) in steps {
                advance(Duration::from_millis(pause / 4)).await;
                let now = Instant::now();
                let sum = |window: Duration| {
                    let within = naive.iter().filter(|(at, _)| *at + window > now);
                    within.map(|(_, units)| units).sum::<u64>()
                };
                let admitted = limiter.reserve(&(), Cost::tokens(units, 0));
                let admitted = admitted.map(|taken| taken.keep()).is_ok();
                if admitted {
                    assert!(sum(window) + units <= 100);
                } else {
                    assert!(sum(window + late) + units > 100);
                }
                if admitted {
                    naive.push_back((now, units));
                }
            }
        });
    }

    #[test]
    fn l1_the_counter_admits_the_burst_in_an_aligned_window(
        steps in prop::collection::vec((0_u64..20_000, 1_u64..40), 1..200),
    ) {
        run(async {
            let limiter = Limiter::new(tokens(100)).counting::<SlidingCounter>();
            let start = Instant::now();
            let mut windows = vec![0; 1 + 200 * 20_000 / 60_000];
            for (pause, units) in steps {
                advance(Duration::from_millis(pause)).await;
                if limiter.reserve(&(), Cost::tokens(units, 0)).map(|taken| taken.keep()).is_ok() {
                    let window = start.elapsed().as_secs() / 60;
                    windows[window as usize] += units;
                }
            }
            assert!(windows.iter().all(|units| *units <= 100));
        });
    }
}
