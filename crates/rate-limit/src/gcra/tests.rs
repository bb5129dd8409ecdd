//! The cell by itself: what governor says, what the promises ask, and threads.

use std::{
    cell::Cell as Now,
    num::NonZeroU32,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Rate;

const SECOND: u64 = 1_000_000_000;

fn ticks(units: u32, burst: u64) -> Ticks {
    let rate = Rate::per_second(NonZeroU32::new(units).unwrap());
    Ticks::new(rate.allow_burst(burst.try_into().unwrap()))
}

/// A cell, and what it has been told.
struct Rig {
    ticks: Ticks,
    cell: Gcra,
    notes: Refunds,
    now: u64,
}

impl Rig {
    fn new(ticks: Ticks) -> Self {
        let (cell, notes, now) = (Gcra::new(), Refunds::default(), 0);
        Self {
            ticks,
            cell,
            notes,
            now,
        }
    }

    fn take(&self, units: u64) -> Result<Mark, No> {
        self.cell.take(&self.ticks, self.now, units)
    }

    fn give_back(&mut self, mark: Mark, units: u64) -> bool {
        let now = self.now;
        let cell = &self.cell;
        cell.give_back(&self.ticks, &|| now, &mut self.notes, mark, units)
    }

    fn used(&self) -> u64 {
        self.cell.used(&self.ticks, self.now)
    }
}

#[test]
fn the_cases_of_governor_hold() {
    let cases: Value = serde_json::from_str(include_str!("../../tests/data/gcra.json")).unwrap();
    let mut seen = 0;
    for case in cases.as_array().unwrap() {
        let number = |field: &str| case[field].as_u64().unwrap();
        let rate = u32::try_from(number("rate_per_s")).unwrap();
        let mut rig = Rig::new(ticks(rate, number("burst")));
        let operations = case["ops_dt_ms_n"].as_array().unwrap();
        let results = case["result_ok_or_wait_ms"].as_array().unwrap();
        assert_eq!(operations.len(), results.len());
        for (operation, result) in operations.iter().zip(results) {
            rig.now += operation[0].as_u64().unwrap() * 1_000_000;
            let units = operation[1].as_u64().unwrap();
            let found = if units > rig.ticks.rate().burst() {
                // The key says so, before any cell is asked.
                Value::from("never")
            } else {
                match rig.take(units) {
                    Ok(_) => Value::from("ok"),
                    Err(No::Wait(ns)) => Value::from(ns as f64 / 1e6),
                    Err(No::Closed) => panic!("nobody closed it"),
                }
            };
            assert_eq!(&found, result, "{} at {} ns", case["name"], rig.now);
            seen += 1;
        }
    }
    assert_eq!(seen, 28);
}

proptest! {
    /// governor's own limiter, where its arithmetic is exact: an interval of whole nanoseconds.
    #[test]
    fn it_decides_as_governor_does(
        interval in 1_u64..2 * SECOND,
        burst in 1_u32..50,
        steps in prop::collection::vec((0_u64..3 * SECOND, 1_u32..60), 1..60),
    ) {
        let quota = Quota::with_period(Duration::from_nanos(interval)).unwrap();
        let quota = quota.allow_burst(burst.try_into().unwrap());
        let clock = FakeRelativeClock::default();
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let mut rig = Rig::new(Ticks::new(quota.into()));
        for (pause, units) in steps {
            // Around one interval, where it matters, and idle.
            let pause = if pause % 3 == 0 { pause } else { pause % (interval + 2) };
            clock.advance(Duration::from_nanos(pause));
            rig.now += pause;
            let units = units % burst + 1;
            let theirs = governor.check_n(units.try_into().unwrap());
            let theirs = theirs.expect("not above the burst").map_err(|no| {
                let now = governor::clock::Clock::now(&clock);
                No::Wait(no.wait_time_from(now).as_nanos() as u64)
            });
            let units = u64::from(units);
            let peeked = rig.cell.peek(&rig.ticks, rig.now, units);
            prop_assert_eq!(peeked, theirs);
            prop_assert_eq!(rig.take(units).map(|_| ()), theirs);
        }
    }

    #[test]
    fn l1_no_window_exceeds_burst_and_rate_with_any_settlements(
        per_minute in 1_u64..20_000_000,
        burst in 1_u64..1000,
        returned: Option<u64>,
        steps in prop::collection::vec((0_u8..4, 0_u64..1 << 40, 0_u64..1 << 20), 1..120),
    ) {
        let minute = Duration::from_secs(60);
        let rate = Rate::new(per_minute.try_into().unwrap(), minute).unwrap();
        let rate = rate.allow_burst(burst.try_into().unwrap());
        let mut rig = Rig::new(Ticks::new(rate));
        if let Some(returned) = returned {
            // So much was given back before that places go round soon.
            let soon = returned % (4 * rig.ticks.burst());
            rig.cell.returned.store(FLAG - 1 - soon, Release);
        }
        let fill = rate.window().as_nanos() as u64;
        // When, how much was charged in the end, and what can still be settled.
        let mut calls: Vec<(u64, u64)> = Vec::new();
        let mut open: Vec<(usize, Mark)> = Vec::new();
        for (what, time, units) in steps {
            match what {
                0 => rig.now += time % (fill + 2),
                1 if !open.is_empty() => {
                    let (call, mark) = open.remove(units as usize % open.len());
                    let back = time % (calls[call].1 + 1);
                    rig.give_back(mark, back);
                    calls[call].1 -= back;
                }
                _ => {
                    let units = units % burst + 1;
                    if let Ok(mark) = rig.take(units) {
                        open.push((calls.len(), mark));
                        calls.push((rig.now, units));
                    }
                }
            }
        }
        for from in 0..calls.len() {
            let mut charged = 0;
            for to in from..calls.len() {
                charged += calls[to].1;
                let window = u128::from(calls[to].0 - calls[from].0 + 1);
                let most = u128::from(burst) * 60_000_000_000 + u128::from(per_minute) * window;
                prop_assert!(u128::from(charged) * 60_000_000_000 <= most);
            }
        }
    }
}

#[test]
fn l1_ugly_rates_are_exact_over_a_day() {
    // 60 s / 9 999 991 is no whole number of anything.
    let units = NonZeroU32::new(9_999_991).unwrap();
    let mut rig = Rig::new(Ticks::new(Rate::per_minute(units)));
    let units = u64::from(units.get());
    rig.take(units).unwrap();
    for minute in 1..=24 * 60 {
        rig.now = minute * 60 * SECOND - 1;
        assert_eq!(rig.take(units), Err(No::Wait(1)));
        rig.now += 1;
        rig.take(units).unwrap();
    }
}

#[test]
fn l1_a_refund_after_its_cost_has_drained_gives_nothing() {
    let mut rig = Rig::new(ticks(1, 100));
    let first = rig.take(100).unwrap();
    rig.now = 100 * SECOND;
    rig.take(100).unwrap();
    assert!(!rig.give_back(first, 100));
    assert_eq!(rig.used(), 100);
    assert_eq!(rig.take(1), Err(No::Wait(SECOND)));
}

#[test]
fn what_is_given_back_at_once_is_back_whole_in_any_order() {
    for order in [
        [0, 1, 2],
        [2, 1, 0],
        [1, 0, 2],
        [1, 2, 0],
        [0, 2, 1],
        [2, 0, 1],
    ] {
        let mut rig = Rig::new(ticks(3, 3));
        rig.now = 5;
        let marks: Vec<Mark> = (0..3).map(|_| rig.take(1).unwrap()).collect();
        for at in order {
            assert!(rig.give_back(marks[at], 1), "{order:?}");
        }
        assert_eq!(rig.used(), 0, "{order:?}");
        rig.take(3).unwrap();
    }
}

#[test]
fn l6_many_that_give_back_in_the_worst_order_keep_at_most_a_sixteenth() {
    for soon in 0..40 {
        let mut rig = Rig::new(ticks(1, 1000));
        // So much was given back before that places go round meanwhile.
        rig.cell
            .returned
            .store(FLAG - 1 - soon * rig.ticks.burst() / 20, Release);
        let marks: Vec<Mark> = (0..1000).map(|_| rig.take(1).unwrap()).collect();
        for mark in marks.into_iter().rev() {
            rig.give_back(mark, 1);
        }
        assert!(rig.used() <= 1000 / 16 + 1, "{}", rig.used());
    }
}

#[test]
fn l6_over_use_is_a_debt_that_later_calls_wait_for() {
    let mut rig = Rig::new(ticks(1, 10));
    rig.take(10).unwrap();
    rig.cell.charge(&rig.ticks, rig.now, 25).unwrap();
    assert_eq!(rig.take(1), Err(No::Wait(26 * SECOND)));
    // Nothing of it is not to be had either, until the debt is paid; then one that takes some has
    // to wait for that.
    let none = |rig: &Rig| rig.cell.peek(&rig.ticks, rig.now, 0);
    assert_eq!(none(&rig), Err(No::Wait(25 * SECOND)));
    rig.now = 25 * SECOND - 1;
    assert_eq!(none(&rig), Err(No::Wait(1)));
    rig.now = 25 * SECOND;
    assert_eq!(none(&rig), Ok(()));
    assert_eq!(rig.take(1), Err(No::Wait(SECOND)));
    rig.now = 26 * SECOND;
    rig.take(1).unwrap();
}

proptest! {
    /// Against a level that is counted by hand, of which a second takes one.
    #[test]
    fn l6_none_fits_exactly_while_there_is_no_debt(
        burst in 1_u64..20,
        steps in prop::collection::vec((0_u8..3, 0_u64..30), 1..60),
    ) {
        let mut rig = Rig::new(ticks(1, burst));
        let mut level = 0_u64;
        for (what, units) in steps {
            match what {
                0 => {
                    rig.now += units * SECOND;
                    level = level.saturating_sub(units);
                }
                1 => {
                    rig.cell.charge(&rig.ticks, rig.now, units).unwrap();
                    level += units;
                }
                _ => {
                    let units = units % burst + 1;
                    let fits = rig.take(units).is_ok();
                    prop_assert_eq!(fits, level + units <= burst);
                    if fits {
                        level += units;
                    }
                }
            }
            let expected = match level.checked_sub(burst) {
                None | Some(0) => Ok(()),
                Some(debt) => Err(No::Wait(debt * SECOND)),
            };
            prop_assert_eq!(rig.cell.peek(&rig.ticks, rig.now, 0), expected);
        }
    }
}

#[test]
fn l4_a_long_idle_time_yields_the_burst_and_no_more() {
    let mut rig = Rig::new(ticks(5, 5));
    rig.now = 1 << 57;
    for _ in 0..5 {
        rig.take(1).unwrap();
    }
    assert_eq!(rig.take(1), Err(No::Wait(SECOND / 5)));
}

#[test]
fn a_debt_beyond_all_measure_is_long_and_overflows_nothing() {
    let mut rig = Rig::new(ticks(u32::MAX, 1 << 40));
    rig.now = u64::MAX;
    for _ in 0..100 {
        rig.cell.charge(&rig.ticks, rig.now, u64::MAX).unwrap();
    }
    assert!(rig.take(1).is_err());
    assert!(rig.used() > 1 << 40);
}

#[test]
fn l1_threads_that_take_and_settle_keep_the_limit() {
    const THREADS: u64 = 4;
    let ticks = ticks(1_000_000, 500);
    let cell = Arc::new(Gcra::new());
    let notes = Arc::new(std::sync::Mutex::new(Refunds::default()));
    // A clock that all share, and that moves with each look.
    let clock = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(THREADS as usize));
    let charged: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (cell, notes, clock) = (&cell, &notes, &clock);
                let start = Arc::clone(&start);
                scope.spawn(move || {
                    let time = || clock.fetch_add(37, SeqCst);
                    let (mut charged, mut random) = (0, seed + 1);
                    let last = Now::new(0);
                    start.wait();
                    for _ in 0..20_000 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                        let units = (random >> 33) % 40 + 1;
                        last.set(time());
                        let Ok(mark) = cell.take(&ticks, last.get(), units) else {
                            continue;
                        };
                        let back = (random >> 40) % (units + 1);
                        let mut notes = notes.lock().unwrap();
                        cell.give_back(&ticks, &time, &mut notes, mark, back);
                        charged += units - back;
                    }
                    charged
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    let window = clock.load(SeqCst);
    let most = 500 + window / 1000 + 1;
    assert!(charged <= most, "{charged} charged, at most {most} allowed");
    // And it is a limit that was reached, not one that nobody came near.
    assert!(charged > most / 3, "{charged} charged of {most}");
}
