//! Several quotas, their waits, and changes of them.

use std::{thread, time::Duration};

use buttress_core::{Plain, Reason};
use buttress_rate_limit::{Cost, LimitedBy, Limiter, Quotas, Rate, RateLimitLayer, Unit};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

use crate::{SECOND, Upstream, ask, count, minute, protocol, requests, tokens};

const TEN: Cost = Cost::tokens(10, 0);

#[tokio::test(start_paused = true)]
async fn l2_admitted_at_the_wait_that_was_said_and_not_before() {
    let limiter = Limiter::new(Quotas::tokens(Rate::per_minute(count(7_777_777))));
    let cost = Cost::tokens(7_777_777, 0);
    limiter
        .reserve(&(), cost)
        .map(|taken| taken.keep())
        .unwrap();
    let ask = |tokens| limiter.check(&(), Cost::tokens(tokens, 0));
    for tokens in [1, 10, 1_000, 7_777_777] {
        let wait = ask(tokens).unwrap_err().wait().unwrap();
        advance(wait - Duration::from_nanos(1)).await;
        assert_eq!(
            ask(tokens).unwrap_err().wait(),
            Some(Duration::from_nanos(1))
        );
        advance(Duration::from_nanos(1)).await;
        assert!(ask(tokens).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn l2_of_several_quotas_the_last_one_says_when() {
    let limiter = Limiter::new(requests(60).and_tokens(minute(600)));
    limiter
        .reserve(&(), Cost::tokens(600, 0))
        .map(|taken| taken.keep())
        .unwrap();
    let limited = limiter.check(&(), Cost::tokens(50, 0)).unwrap_err();
    assert_eq!(limited.wait(), Some(5 * SECOND));
    assert_eq!(limited.by(), LimitedBy::Quota(Unit::Tokens));
    advance(5 * SECOND).await;
    assert!(limiter.check(&(), Cost::tokens(50, 0)).is_ok());

    // All of them refuse, the first or the last for longest; and so does a pause.
    let (short, long) = ((Unit::Tokens, minute(600)), (Unit::Requests, minute(1)));
    for quotas in [[short, long], [long, short]] {
        let [one, other] = quotas;
        let limiter = Limiter::new(Quotas::none().and(one.0, one.1).and(other.0, other.1));
        limiter
            .reserve(&(), Cost::tokens(600, 0))
            .map(|taken| taken.keep())
            .unwrap();
        for (pause, expected) in [(0, 60), (20, 60), (90, 90)] {
            limiter.pause(&(), pause * SECOND);
            let limited = limiter.check(&(), Cost::tokens(50, 0)).unwrap_err();
            assert_eq!(limited.wait(), Some(expected * SECOND));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l3_what_costs_more_than_the_burst_is_refused_for_good() {
    let upstream = Upstream::default();
    let layer = RateLimitLayer::new(protocol(), tokens(100)).cost(|ask: &crate::Ask| ask.cost);
    for layer in [layer.clone(), layer.wait(Duration::MAX)] {
        let refused = layer.layer(upstream.clone()).oneshot(ask(101)).await;
        let refused = refused.unwrap_err().0;
        assert_eq!(refused.reason(), Reason::Oversized);
        assert_eq!(refused.retry_after(), None);
    }
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn l4_an_idle_day_yields_one_burst() {
    let limiter = Limiter::new(requests(3));
    advance(24 * 3600 * SECOND).await;
    let taken: Vec<_> = (0..5)
        .map(|_| limiter.reserve(&(), Cost::REQUEST))
        .collect();
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn l5_what_one_quota_refuses_none_is_charged_for() {
    let quotas = requests(10)
        .and_tokens(minute(1_000))
        .and_input_tokens(minute(15))
        .and_output_tokens(minute(500))
        .and_requests(Rate::per_day(count(100)));
    let limiter = Limiter::new(quotas);
    limiter.reserve(&(), TEN).map(|taken| taken.keep()).unwrap();
    for _ in 0..50 {
        let limited = limiter.reserve(&(), TEN).unwrap_err();
        assert_eq!(limited.unit(), Some(Unit::InputTokens));
    }
    let remaining: Vec<u64> = limiter
        .standing(&())
        .iter()
        .map(|standing| standing.remaining)
        .collect();
    assert_eq!(remaining, [9, 990, 5, 500, 99]);
}

/// Threads on two quotas, of which the second has room for one: the first is charged for no other,
/// though it is asked before.
#[test]
fn l5_threads_that_are_refused_leave_nothing_charged() {
    const THREADS: usize = 4;
    const ROUNDS: u64 = 20_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let limiter = Limiter::keyed(requests(10_000).and_tokens(minute(10)));
    let together = std::sync::Barrier::new(THREADS);
    let admitted: usize = thread::scope(|scope| {
        let worker = || {
            let _entered = runtime.enter();
            let admitted = (0..ROUNDS).filter(|round| {
                // The key is there before they race.
                drop(limiter.reserve(round, Cost::NONE));
                together.wait();
                let taken = limiter.reserve(round, TEN);
                taken.map(|taken| taken.keep()).is_ok()
            });
            admitted.count()
        };
        let workers = [(); THREADS].map(|()| scope.spawn(worker));
        workers.map(|worker| worker.join().unwrap()).iter().sum()
    });
    assert_eq!(admitted as u64, ROUNDS);
    for round in 0..ROUNDS {
        assert_eq!(limiter.remaining(&round, Unit::Tokens), Some(0));
        assert_eq!(limiter.remaining(&round, Unit::Requests), Some(9_999));
    }
}

#[tokio::test(start_paused = true)]
async fn l11_a_changed_quota_keeps_what_was_consumed() {
    let limiter = Limiter::new(tokens(1_000));
    limiter
        .reserve(&(), Cost::tokens(600, 0))
        .map(|taken| taken.keep())
        .unwrap();
    for (most, left) in [(2_000, 1_400), (700, 100), (500, 0), (1_000, 400)] {
        limiter.set_quotas(tokens(most));
        assert_eq!(limiter.remaining(&(), Unit::Tokens), Some(left), "{most}");
    }
    // Of 500, 600 were used: a debt, for which those who come wait.
    limiter.set_quotas(tokens(500));
    let limited = limiter.check(&(), Cost::tokens(50, 0)).unwrap_err();
    assert_eq!(limited.wait(), Some(18 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn l11_a_changed_quota_of_one_key_is_its_own() {
    let limiter = Limiter::keyed(tokens(1_000));
    for key in [1_u32, 2] {
        limiter
            .reserve(&key, Cost::tokens(300, 0))
            .map(|taken| taken.keep())
            .unwrap();
    }
    limiter.set_quotas_of(&1, tokens(400)).unwrap();
    limiter.set_quotas_of(&3, tokens(50)).unwrap();
    let left = |key| limiter.remaining(&key, Unit::Tokens).unwrap();
    assert_eq!([left(1), left(2), left(3)], [100, 700, 50]);
    // Everybody's quotas are those of who has none of their own.
    limiter.set_quotas(tokens(2_000));
    assert_eq!(
        [left(1), left(2), left(3), left(4)],
        [100, 1_700, 50, 2_000]
    );
}

#[tokio::test(start_paused = true)]
async fn l11_over_use_of_a_call_from_before_the_change_is_charged_after_it() {
    let limiter = Limiter::keyed(tokens(1_000));
    let before = limiter.reserve(&1, Cost::tokens(100, 0)).unwrap();
    limiter.set_quotas(tokens(1_200));
    limiter.set_quotas(tokens(1_100));
    before.settle(Cost::tokens(100, 250));
    assert_eq!(limiter.remaining(&1, Unit::Tokens), Some(750));
}

#[tokio::test(start_paused = true)]
async fn l11_over_use_of_a_call_from_before_the_change_is_charged_once_to_each_quota() {
    let (minute, day) = (minute(1_000), Rate::per_day(count(5_000)));
    let quotas = || Quotas::tokens(minute).and_tokens(day);
    let limiter = Limiter::new(quotas());
    let before = limiter.reserve(&(), Cost::tokens(100, 0)).unwrap();
    limiter.set_quotas(quotas());
    before.settle(Cost::tokens(100, 250));
    let left: Vec<_> = limiter.standing(&()).iter().map(|s| s.remaining).collect();
    assert_eq!(left, [650, 4_650]);
}

#[tokio::test(start_paused = true)]
async fn l11_quotas_change_any_number_of_times() {
    const TIMES: u32 = 30_000;
    // One that is kept for good, and one that a call holds all the while.
    let (one, keyed) = (Limiter::new(tokens(1_000)), Limiter::keyed(tokens(1_000)));
    let held = keyed.reserve(&1, Cost::tokens(100, 0)).unwrap();
    for more in 1..=TIMES {
        one.set_quotas(tokens(1_000 + more));
        keyed.set_quotas(tokens(1_000 + more));
    }
    one.pause(&(), SECOND);
    assert_eq!(one.remaining(&(), Unit::Tokens), Some(0));
    held.settle(Cost::tokens(100, 50));
    let most = u64::from(1_000 + TIMES);
    assert_eq!(keyed.remaining(&1, Unit::Tokens), Some(most - 150));
}

#[test]
fn l11_threads_lose_no_charge_to_a_change() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    {
        let limiter = Limiter::new(requests(1_000_000));
        let change = || {
            let _entered = runtime.enter();
            for more in 0..200 {
                limiter.set_quotas(requests(1_000_000 + more % 2));
            }
        };
        thread::scope(|scope| {
            scope.spawn(change);
            for _ in 0..3 {
                scope.spawn(|| {
                    let _entered = runtime.enter();
                    for _ in 0..5_000 {
                        limiter
                            .reserve(&(), Cost::REQUEST)
                            .map(|taken| taken.keep())
                            .unwrap();
                    }
                });
            }
        });
        limiter.set_quotas(requests(1_000_000));
        assert_eq!(limiter.remaining(&(), Unit::Requests), Some(985_000));
    }
}

#[test]
fn l11_threads_that_make_keys_or_change_quotas_leave_none_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    for _ in 0..100 {
        let limiter = Limiter::keyed(requests(1));
        let start = std::sync::Barrier::new(3);
        let make = |keys: std::ops::Range<u32>| {
            for key in keys {
                limiter
                    .reserve(&key, Cost::REQUEST)
                    .map(|taken| taken.keep())
                    .unwrap();
            }
        };
        make(0..50);
        thread::scope(|scope| {
            for units in [2_000, 3_000] {
                let (runtime, limiter, start) = (&runtime, &limiter, &start);
                scope.spawn(move || {
                    let _entered = runtime.enter();
                    start.wait();
                    limiter.set_quotas(requests(units));
                });
            }
            let _entered = runtime.enter();
            start.wait();
            make(50..300);
        });
        let latest = limiter.standing(&300)[0].rate;
        for key in 0..300 {
            let standing = &limiter.standing(&key)[0];
            assert_eq!(standing.rate, latest);
            assert_eq!(standing.remaining, latest.burst() - 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l1_a_mirrored_limit_holds_in_any_minute() {
    let limiter = Limiter::new(Quotas::tokens(Rate::mirroring(1_000).unwrap()));
    let start = Instant::now();
    let mut taken = Vec::new();
    for _ in 0..3_000 {
        if limiter
            .reserve(&(), Cost::tokens(7, 0))
            .map(|taken| taken.keep())
            .is_ok()
        {
            taken.push(start.elapsed());
        }
        advance(Duration::from_millis(97)).await;
    }
    for (index, from) in taken.iter().enumerate() {
        let within = taken[index..]
            .iter()
            .take_while(|at| **at <= *from + 60 * SECOND);
        assert!(within.count() * 7 <= 1_000);
    }
    let rate = taken.len() as f64 * 7.0 / start.elapsed().as_secs_f64() * 60.0;
    assert!(rate > 790.0, "{rate} a minute of 800");
}

#[tokio::test(start_paused = true)]
async fn without_quotas_everything_is_admitted() {
    let layer = RateLimitLayer::new(Plain, Quotas::none());
    let service = layer.layer(tower::service_fn(|n: u32| async move {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(n)
    }));
    for n in 0..100 {
        assert_eq!(service.clone().oneshot(n).await.unwrap(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn l2_l5_a_call_without_tokens_is_told_the_last_of_all_waits_and_takes_from_none() {
    // No request is left for a minute, and of tokens there is a debt of twenty seconds, or of two
    // minutes.
    for (debt, wait) in [(20, 60), (120, 120)] {
        let limiter = Limiter::new(requests(1).and_tokens(minute(60)));
        let call = limiter.reserve(&(), Cost::tokens(60, 0)).unwrap();
        call.settle(Cost::tokens(60, debt));
        let take = |cost| limiter.reserve(&(), cost).map(|taken| taken.keep());
        let limited = take(Cost::REQUEST).unwrap_err();
        assert_eq!(limited.wait(), Some(wait * SECOND));
        // One that costs nothing at all waits for the debt alone: the requests are used up, not owed.
        let limited = take(Cost::NONE).unwrap_err();
        assert_eq!(limited.wait(), Some(debt as u32 * SECOND));
        advance(wait * SECOND - Duration::from_nanos(1)).await;
        assert!(take(Cost::REQUEST).is_err());
        advance(Duration::from_nanos(1)).await;
        take(Cost::REQUEST).unwrap();
    }
    // Fewer requests than were taken already are a debt of them.
    let limiter = Limiter::new(requests(10).and_tokens(minute(60)));
    for _ in 0..10 {
        limiter.reserve(&(), Cost::REQUEST).unwrap().keep();
    }
    limiter.set_quotas(requests(5).and_tokens(minute(60)));
    let limited = limiter.reserve(&(), Cost::NONE).unwrap_err();
    assert_eq!(limited.wait(), Some(60 * SECOND));
    assert_eq!(limited.by(), LimitedBy::Quota(Unit::Requests));
}
