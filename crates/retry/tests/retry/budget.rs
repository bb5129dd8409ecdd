//! The budget.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use buttress_core::{Class, Outcome, RetryBudget};
use buttress_retry::{Budget, Constant, Ratio, RetryLayer, Stop};
use proptest::prelude::*;
use tower::{Layer, ServiceExt};

use crate::{DOWN, OK, Upstream, ask, attempts, log, protocol, retry, stop};

const DOWN_CLASS: Class = Class::Unavailable;

/// Takes everything.
fn drain(budget: &Budget) {
    while budget.withdraw(DOWN_CLASS).is_some() {}
}

#[tokio::test(start_paused = true)]
async fn r2_a_steady_outage_gets_its_calls_a_share_more_and_the_reserve() {
    for (percent, reserve, calls) in [(10, 5, 200), (20, 100, 1000), (100, 1, 50), (40, 0, 100)] {
        let ratio = Ratio::new(percent, 100).unwrap();
        let budget = Budget::new(ratio).reserve(reserve);
        // What went well before does not add up.
        (0..10_000).for_each(|_| budget.deposit());
        let upstream = Upstream::new([DOWN]);
        let layer = RetryLayer::new(protocol())
            .max_attempts(attempts(4))
            .backoff(Constant::NONE)
            .budget(budget);
        let service = layer.layer(upstream.clone());
        for _ in 0..calls {
            assert!(service.clone().oneshot(ask()).await.is_err());
        }
        let most = calls + calls * percent as usize / 100 + reserve as usize;
        let least = if reserve == 0 { calls } else { most - 1 };
        assert!(
            (least..=most).contains(&upstream.calls()),
            "{percent} % and {reserve}: {} calls, expected {least} to {most}",
            upstream.calls()
        );
    }
}

proptest! {
    #[test]
    fn r3_any_ratio_grants_its_share_within_one(
        whole in 1_u32.., part in 1_u32.., calls in 1_u32..3000,
    ) {
        let (part, whole) = (part.min(whole), part.max(whole));
        let budget = Budget::new(Ratio::new(part, whole).unwrap()).reserve(2);
        drain(&budget);
        let grants = (0..calls).filter(|_| {
            budget.deposit();
            budget.withdraw(DOWN_CLASS).is_some()
        });
        let share = u64::from(part) * u64::from(calls) / u64::from(whole);
        prop_assert_eq!(grants.count() as u64, share);
    }

    #[test]
    fn r3_a_decimal_ratio_grants_its_share_within_one(ratio in 0.001_f64..=1.0) {
        let budget = Budget::new(Ratio::try_from(ratio).unwrap()).reserve(2);
        drain(&budget);
        let grants = (0..10_000).filter(|_| {
            budget.deposit();
            budget.withdraw(DOWN_CLASS).is_some()
        });
        let grants = grants.count() as f64;
        prop_assert!((grants - ratio * 10_000.0).abs() <= 1.0, "{ratio}: {grants}");
    }
}

#[test]
fn r3_the_ratios_that_others_round_are_kept() {
    for (ratio, expected) in [(0.4, 400), (0.6, 600), (0.3, 300), (0.9, 900), (1.0, 1000)] {
        let budget = Budget::new(Ratio::try_from(ratio).unwrap()).reserve(2);
        drain(&budget);
        let grants = (0..1000).filter(|_| {
            budget.deposit();
            budget.withdraw(DOWN_CLASS).is_some()
        });
        assert_eq!(grants.count(), expected, "{ratio}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Deposit,
    Withdraw(Class),
    Succeed,
    Return,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Deposit),
        2 => Just(Op::Withdraw(Class::Unavailable)),
        1 => Just(Op::Withdraw(Class::Throttled)),
        1 => Just(Op::Succeed),
        1 => Just(Op::Return),
    ]
}

/// Does what it is told; what it added at most and took, in units of 1/7.
fn work(budget: &Budget, aws: bool, ops: &[Op]) -> (u64, u64) {
    let (mut added, mut taken, mut held) = (0, 0, Vec::new());
    for op in ops {
        match *op {
            Op::Deposit => {
                budget.deposit();
                added += if aws { 0 } else { 2 };
            }
            Op::Withdraw(class) => {
                if let Some(paid) = budget.withdraw(class) {
                    taken += 7 * u64::from(paid.cost());
                    held.push(paid);
                }
            }
            Op::Succeed => {
                let paid = held.pop();
                added += match &paid {
                    Some(paid) if aws => 7 * u64::from(paid.cost()),
                    None if aws => 7,
                    _ => 0,
                };
                budget.succeeded(paid);
            }
            Op::Return => {
                if let Some(paid) = held.pop() {
                    added += 7 * u64::from(paid.cost());
                    budget.unspent(paid);
                }
            }
        }
    }
    (added, taken)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn r4_nothing_is_made_or_lost_under_threads_and_the_balance_stays_in_bounds(
        plans in prop::collection::vec(prop::collection::vec(op(), 0..200), 2..5),
        reserve in 0_u32..20, aws: bool,
    ) {
        let two = NonZeroU32::new(2).unwrap();
        let budget = match aws {
            true => Budget::aws(),
            false => Budget::new(Ratio::new(2, 7).unwrap()).cost(Class::Throttled, two),
        };
        let budget = budget.reserve(reserve);
        let over = Arc::new(AtomicBool::new(false));
        let (mut added, mut taken) = (0, 0);
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) {
                    seen = seen.max(budget.balance());
                }
                seen
            });
            let workers: Vec<_> = plans
                .iter()
                .map(|ops| scope.spawn(|| work(&budget, aws, ops)))
                .collect();
            for worker in workers {
                let (more, less) = worker.join().unwrap();
                added += more;
                taken += less;
            }
            over.store(true, Ordering::Relaxed);
            assert!(watch.join().unwrap() <= reserve);
        });
        // Never below zero: what was taken was there. What came when it was full is lost.
        let full = 7 * u64::from(reserve);
        prop_assert!(taken <= full + added);
        let left = u64::from(budget.balance());
        prop_assert!(left <= u64::from(reserve));
        prop_assert!(7 * left <= full + added - taken);
    }
}

#[test]
fn r4_what_four_threads_pay_in_and_take_out_balances_to_the_last_part() {
    const CALLS: u64 = 40_000;
    // So large that it is never full, and less the most of it, so that it is empty at times.
    let most = NonZeroU32::new(u32::MAX - 50_000).unwrap();
    let budget = Budget::new(Ratio::new(2, 7).unwrap()).reserve(u32::MAX);
    let budget = budget.cost(Class::Throttled, most);
    assert!(budget.withdraw(Class::Throttled).is_some());
    let start = u64::from(budget.balance());
    assert_eq!(start, 50_000);
    let granted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for call in 0..CALLS {
                    budget.deposit();
                    let Some(paid) = budget.withdraw(DOWN_CLASS) else {
                        continue;
                    };
                    match call % 3 {
                        0 => budget.unspent(paid),
                        _ => {
                            granted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let granted = granted.into_inner();
    assert!(granted > 0);
    // In sevenths, rounded down once.
    assert_eq!(
        u64::from(budget.balance()),
        (7 * start + 2 * 4 * CALLS - 7 * granted) / 7
    );
}

#[tokio::test(start_paused = true)]
async fn r5_what_is_not_retried_withdraws_nothing() {
    let budget = Budget::default().reserve(10);
    let others = Class::ALL.iter().filter(|class| !class.again());
    for class in others {
        let service = retry(protocol())
            .budget(budget.clone())
            .layer(Upstream::new([Outcome::new(*class)]));
        let _ = service.oneshot(ask()).await;
        assert_eq!(budget.balance(), 10, "{class}");
    }
    // Nor what something else forbids: a deadline, a hint, a request that cannot be copied.
    let hinted = DOWN.with_retry_after(crate::LONG);
    for (ask, outcome) in [(crate::until(crate::ms(5)), DOWN), (ask(), hinted)] {
        let layer = retry(protocol()).budget(budget.clone());
        let service = layer.layer(Upstream::new([outcome]));
        assert!(service.oneshot(ask).await.is_err());
        assert_eq!(budget.balance(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn r5_a_refund_is_paid_once_and_for_the_last_retry_alone() {
    let budget = Budget::aws();
    let layer = retry(protocol()).budget(budget.clone());
    let service = layer.layer(Upstream::new([DOWN, DOWN, OK]));
    assert!(service.clone().oneshot(ask()).await.is_ok());
    assert_eq!(budget.balance(), 500 - 14);
    // One that needed no retry earns one, and not that refund again.
    assert!(service.oneshot(ask()).await.is_ok());
    assert_eq!(budget.balance(), 500 - 14 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_ends_the_call_with_its_error_and_says_so() {
    let budget = Budget::default().reserve(1);
    let upstream = Upstream::new([DOWN]);
    let (told, observer) = log();
    let layer = retry(protocol()).budget(budget.clone()).on_event(observer);
    let failed = layer.layer(upstream).oneshot(ask()).await.unwrap_err();
    assert_eq!((failed.call, stop(&told)), (2, Stop::Budget));
}

#[test]
fn a_class_may_cost_more_and_a_cost_above_the_reserve_is_never_granted() {
    let three = NonZeroU32::new(3).unwrap();
    let budget = Budget::default().reserve(4).cost(Class::Throttled, three);
    assert_eq!(budget.withdraw(Class::Throttled).unwrap().cost(), 3);
    assert!(budget.withdraw(Class::Throttled).is_none());
    assert_eq!(budget.withdraw(Class::Unavailable).unwrap().cost(), 1);
    assert_eq!(budget.balance(), 0);
    assert!(budget.reserve(2).withdraw(Class::Throttled).is_none());
}

#[test]
fn the_largest_reserve_and_the_finest_ratio_do_not_overflow() {
    let budget = Budget::new(Ratio::new(u32::MAX - 1, u32::MAX).unwrap()).reserve(u32::MAX);
    assert_eq!(budget.balance(), u32::MAX);
    budget.deposit();
    assert_eq!(budget.balance(), u32::MAX);
    let all = NonZeroU32::MAX;
    let budget = budget.cost(Class::Throttled, all);
    assert!(budget.withdraw(Class::Throttled).is_some());
    assert_eq!(budget.balance(), 0);
    budget.deposit();
    budget.deposit();
    assert_eq!(budget.balance(), 1);
}
