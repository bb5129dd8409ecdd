//! Many calls at once, of which any can go away at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_core::{Class, Outcome};
use buttress_rate_limit::{Cost, Limiter, Quotas, Rate, RateLimitLayer, SlidingLog, Store, Unit};
use tower::{Layer, ServiceExt};

use crate::{Ask, Upstream, ask, count, ms, protocol};

/// So many tokens a second, of which so many at once.
fn fast(second: u32, burst: u64) -> Quotas {
    let rate = Rate::per_second(count(second)).allow_burst(burst.try_into().unwrap());
    Quotas::tokens(rate).and_requests(Rate::per_second(count(second)))
}

#[test]
fn l7_calls_that_go_away_at_any_time_leave_no_line_and_hold_up_nobody() {
    const KEYS: u32 = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limiter = Limiter::keyed(fast(20_000, 50));
        let served = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for seed in 0..8_u64 {
            // Layers of their own over the one limiter.
            let service = RateLimitLayer::new(protocol(), Quotas::none())
                .limiter(limiter.clone(), |ask: &Ask| ask.key)
                .cost(|ask: &Ask| ask.cost)
                .wait(Duration::from_secs(60))
                .layer(Upstream::default());
            let (limiter, served) = (limiter.clone(), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..400 {
                    let outcome = match rng.u8(..3) {
                        0 => Outcome::new(Class::Denied),
                        _ => Outcome::SUCCESS,
                    };
                    let key = rng.u32(..KEYS);
                    let ask = ask(rng.u64(..=50)).of(key).ending(outcome);
                    let call = service.clone().oneshot(ask);
                    match rng.u8(..10) {
                        0 => drop(call),
                        1..5 => {
                            let patience = Duration::from_micros(rng.u64(..3_000));
                            let _ = tokio::time::timeout(patience, call).await;
                        }
                        5 => {
                            let call = tokio::spawn(call);
                            tokio::task::yield_now().await;
                            call.abort();
                        }
                        6 => limiter.set_quotas(fast(20_000, rng.u64(50..60))),
                        7 => {
                            limiter.pause(&key, ms(1));
                            tokio::task::yield_now().await;
                            limiter.resume(&key);
                        }
                        8 => drop(limiter.reserve(&key, Cost::tokens(rng.u64(..=50), 0))),
                        _ => {
                            call.await.unwrap();
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }));
        }
        let all = async {
            for task in tasks {
                task.await.unwrap();
            }
            while !format!("{:?}", limiter.waiters()).contains("waiting: 0") {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(50), all).await;
        assert!(done.is_ok(), "{:?}", limiter.waiters());
        assert!(served.load(Ordering::Relaxed) > 0);
        limiter.set_quotas(fast(20_000, 50));
        for key in 0..KEYS {
            assert!(limiter.remaining(&key, Unit::Tokens) <= Some(50));
        }
    });
}

#[test]
fn l7_what_goes_back_to_threads_wakes_who_waits_for_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        // By itself nothing comes back while this runs.
        let quotas = Quotas::tokens(Rate::per_day(count(50)));
        let limiter = Limiter::keyed(quotas).counting::<SlidingLog>();
        let service = RateLimitLayer::new(protocol(), Quotas::none())
            .limiter(limiter.clone(), |ask: &Ask| ask.key)
            .cost(|ask: &Ask| ask.cost)
            .wait(Duration::from_secs(600_000))
            .layer(Upstream::default());
        let mut tasks = Vec::new();
        for seed in 0..6_u64 {
            let (service, limiter) = (service.clone(), limiter.clone());
            tasks.push(tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..2_000 {
                    if seed < 2 {
                        // From outside of the line.
                        let held = limiter.reserve(&0, Cost::tokens(rng.u64(1..=50), 0));
                        tokio::task::yield_now().await;
                        drop(held);
                        continue;
                    }
                    let outcome = Outcome::new(Class::Denied);
                    let ask = ask(rng.u64(1..=50)).ending(outcome);
                    service.clone().oneshot(ask).await.unwrap();
                }
            }));
        }
        let all = async {
            for task in tasks {
                task.await.unwrap();
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), all).await;
        assert!(done.is_ok(), "{:?}", limiter.standing(&0));
    });
}
