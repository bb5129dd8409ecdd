//! Many calls at once, of which any can go away at any time.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_core::{Class, Limit, Limits, Outcome};
use buttress_rate_limit::{
    Algorithm, Cost, Gcra, Limiter, Quotas, Rate, RateLimitLayer, Reservation, SlidingCounter,
    SlidingLog, Store, Unit,
};
use tokio::time::advance;
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt};

use crate::{Ask, SECOND, Upstream, ask, count, minute, ms, protocol, size};

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

async fn no_number_panics<A: Algorithm>(seed: u64) {
    const UNITS: [u64; 7] = [0, 1, 59, 60, 61, 1 << 48, u64::MAX];
    const TIMES: [Duration; 8] = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_millis(1),
        SECOND,
        Duration::from_secs(61),
        Duration::from_secs(1 << 20),
        Duration::from_secs(1 << 28),
        Duration::MAX,
    ];
    let mut rng = fastrand::Rng::with_seed(seed);
    let rates = [
        Rate::from(minute(60)),
        Rate::new(NonZeroU64::MIN, Duration::from_nanos(1 << 56)).unwrap(),
        Rate::new((1 << 48).try_into().unwrap(), SECOND * 90_000).unwrap(),
        Rate::new(32.try_into().unwrap(), Duration::from_nanos(1)).unwrap(),
        Rate::mirroring(2).unwrap(),
    ];
    let quotas = |rng: &mut fastrand::Rng| {
        let (one, other) = (rng.choice(rates).unwrap(), rng.choice(rates).unwrap());
        let burst = rng.choice([1, 60, u64::MAX]).unwrap().try_into().unwrap();
        Quotas::tokens(one.allow_burst(burst)).and(rng.choice(Unit::ALL).unwrap(), other)
    };
    let limiter = Limiter::keyed(quotas(&mut rng))
        .counting::<A>()
        .max_keys(size(2))
        .longest_debt(rng.choice(TIMES).unwrap())
        .longest_hold(rng.choice(TIMES).unwrap());
    let service = RateLimitLayer::new(protocol(), Quotas::none())
        .limiter(limiter.clone(), |ask: &Ask| ask.key)
        .cost(|ask: &Ask| ask.cost)
        .wait(rng.choice(TIMES).unwrap())
        .layer(Upstream::default());
    let (mut held, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let (key, time) = (rng.u32(..3), rng.choice(TIMES).unwrap());
        let mut cost = || {
            let [requests, input, output] = [0; 3].map(|_| rng.choice(UNITS).unwrap());
            let mut cost = Cost::tokens(input, output);
            cost.requests = requests;
            cost
        };
        let (cost, used) = (cost(), cost());
        match rng.u8(..9) {
            0 => limiter.set_quotas(quotas(&mut rng)),
            1 => drop(limiter.set_quotas_of(&key, quotas(&mut rng))),
            2 => limiter.pause(&key, time),
            3 => limiter.resume(&key),
            4 => held.extend(limiter.reserve(&key, cost)),
            5 => {
                let ask = Ask {
                    cost,
                    ..ask(0).of(key)
                };
                let mut call = spawn(service.clone().oneshot(ask));
                if call.poll().is_pending() {
                    waiting.push(call);
                }
            }
            6 => {
                let mut limits = Limits::default();
                let limit = rng.choice([None, Some(used.input)]).unwrap();
                let (remaining, reset) = (cost.input, time);
                limits.tokens = Some(Limit {
                    limit,
                    remaining,
                    reset,
                });
                limiter.tighten(&key, &limits);
            }
            7 => {
                if let Some(held) = held.pop() {
                    Reservation::settle(held, used);
                }
            }
            _ => advance(time.min(Duration::from_secs(1 << 28) / 60)).await,
        }
        waiting
            .retain_mut(|call| rng.u8(..20) > 0 && (!call.is_woken() || call.poll().is_pending()));
        let _ = limiter.check(&key, cost);
        let _ = limiter.standing(&key);
        assert!(limiter.keys() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn no_number_makes_it_panic() {
    for seed in 0..300 {
        no_number_panics::<Gcra>(seed).await;
        no_number_panics::<SlidingLog>(seed).await;
        no_number_panics::<SlidingCounter>(seed).await;
    }
}
