//! The waits.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use buttress_core::Class;
use buttress_retry::{Backoff, Exponential, Jitter, RetryLayer};
use proptest::prelude::*;
use tower::{Layer, ServiceExt};

use crate::{DOWN, Upstream, ask, attempts, ms, protocol};

const JITTERS: [Jitter; 4] = [
    Jitter::None,
    Jitter::Full,
    Jitter::Equal,
    Jitter::Decorrelated,
];
const CLASSES: [Class; 2] = [Class::Unavailable, Class::Throttled];

fn delays(backoff: &Exponential, seed: u64, count: usize) -> Vec<Duration> {
    backoff
        .delays(Class::Unavailable, seed)
        .take(count)
        .collect()
}

proptest! {
    #[test]
    fn r6_a_delay_lies_between_zero_and_the_cap_whatever_the_attempt(
        base in 1..u64::MAX, more in 0..u64::MAX, times in 1..u32::MAX, seed: u64,
    ) {
        let base = Duration::from_nanos(base);
        let cap = base.saturating_add(Duration::from_nanos(more));
        for jitter in JITTERS {
            let backoff = Exponential::new(base, cap).unwrap().jitter(jitter);
            let backoff = backoff.throttled(NonZeroU32::new(times).unwrap());
            for class in CLASSES {
                prop_assert!(backoff.delays(class, seed).take(200).all(|delay| delay <= cap));
            }
        }
    }

    #[test]
    fn jitter_stays_between_its_bounds(seed: u64) {
        let backoff = Exponential::millis::<100, 5000>();
        let steps = delays(&backoff.jitter(Jitter::None), seed, 20);
        let full = delays(&backoff.jitter(Jitter::Full), seed, 20);
        let equal = delays(&backoff.jitter(Jitter::Equal), seed, 20);
        for (step, (full, equal)) in steps.iter().zip(full.iter().zip(&equal)) {
            prop_assert!(full <= step);
            prop_assert!(*step / 2 <= *equal && equal <= step);
        }
        let mut before = ms(100);
        for delay in delays(&backoff.jitter(Jitter::Decorrelated), seed, 20) {
            prop_assert!(ms(100) <= delay && delay <= (before * 3).min(ms(5000)));
            before = delay;
        }
    }
}

#[test]
fn r6_attempts_33_and_100_000_do_not_overflow() {
    let huge = Exponential::new(Duration::from_nanos(1), Duration::MAX).unwrap();
    for jitter in JITTERS {
        for backoff in [Exponential::default(), huge] {
            let backoff = backoff.jitter(jitter);
            let at = |attempt| backoff.delays(Class::Throttled, 7).nth(attempt).unwrap();
            assert!(at(33) <= backoff.cap() && at(100_000) <= backoff.cap());
        }
    }
    let plain = Exponential::default().jitter(Jitter::None);
    assert_eq!(
        plain.delays(Class::Throttled, 0).nth(100_000),
        Some(plain.cap())
    );
}

#[test]
fn r6_late_attempts_still_have_jitter() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let backoff = Exponential::millis::<100, 5000>().jitter(jitter);
        let late: HashSet<_> = backoff
            .delays(Class::Unavailable, 7)
            .skip(50)
            .take(50)
            .collect();
        assert!(late.len() > 40, "{jitter:?}: {late:?}");
    }
}

#[test]
fn jitter_is_spread_evenly() {
    let backoff = Exponential::millis::<1000, 1000>();
    let mut tenths = [0; 10];
    for seed in 0..10_000 {
        let delay = backoff.delays(Class::Unavailable, seed).next().unwrap();
        tenths[(delay.as_millis() / 100).min(9) as usize] += 1;
    }
    assert!(
        tenths.iter().all(|count| (800..1200).contains(count)),
        "{tenths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn r6_a_hundred_thousand_attempts_are_made() {
    let upstream = Upstream::new([DOWN]);
    let layer = RetryLayer::new(protocol())
        .max_attempts(attempts(100_000))
        .budget(buttress_retry::Unlimited)
        .backoff(Exponential::millis::<1, 10>());
    assert!(layer.layer(upstream.clone()).oneshot(ask()).await.is_err());
    assert_eq!(upstream.calls(), 100_000);
}

/// When each of eight concurrent calls makes its later attempts.
async fn concurrent(seed: u64) -> Vec<Vec<Duration>> {
    let layer = RetryLayer::new(protocol()).seed(seed);
    let upstreams: Vec<_> = (0..8).map(|_| Upstream::new([DOWN])).collect();
    let calls: Vec<_> = upstreams
        .iter()
        .map(|upstream| tokio::spawn(layer.layer(upstream.clone()).oneshot(ask())))
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    upstreams
        .iter()
        .map(|upstream| upstream.times()[1..].to_vec())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn r7_concurrent_calls_wait_differently_and_a_seed_reproduces_it() {
    let first = concurrent(7).await;
    let distinct: HashSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), 8, "{first:?}");
    assert_eq!(concurrent(7).await, first);
    assert_ne!(concurrent(8).await, first);
}

#[test]
fn r7_layers_without_a_seed_have_one_of_their_own() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let times = |_| {
        runtime.block_on(async {
            let upstream = Upstream::new([DOWN]);
            let service = RetryLayer::new(protocol()).layer(upstream.clone());
            assert!(service.oneshot(ask()).await.is_err());
            upstream.times()
        })
    };
    let distinct: HashSet<_> = (0..8).map(times).collect();
    assert!(distinct.len() > 4, "{distinct:?}");
}
