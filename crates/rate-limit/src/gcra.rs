use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::{
    Algorithm,
    algorithm::{Cell, Closed, Mark, No},
    rate::Ticks,
};

/// The generic cell rate algorithm, as a cell that settles.
///
/// It is the token bucket of [`governor`], in exact arithmetic, and it can give back.
///
/// # What it keeps
///
/// Think of a queue that drains at the rate of the quota. Each call adds its cost at the end and is
/// admitted if the queue is then no longer than the burst. The cell is one number, the *end* of
/// the queue, as a point on the line of what has drained since the beginning: the queue's length,
/// the *level*, is the end less what has drained by now, or zero. To take is one atomic exchange.
///
/// # What goes back
///
/// To give back the whole cost of a call whenever it turns out to be unused would break the limit:
/// a burst, a wait in which all of it drains, a second burst, and then the first one's refund
/// admits a third right after the second. So each call remembers its place in the queue, and what
/// goes back is the part of it that *has not drained by now*; all that came later moves up by as
/// much. What has drained needs no refund: it burdens nobody any more.
///
/// To know where a call's place has moved to, the cell sums up what was given back. Of that sum,
/// refunds to later calls did not move this one; they are told apart by an eighth of a burst, and
/// within such an eighth counted as if they had, so that a little less may go back than could.
///
/// # Why the limit holds
///
/// *In every window at most burst + rate × W is charged, whatever was given back (L1).* Take a
/// window that begins at time a and ends at b, both at an admission, since shorter ones with the
/// same calls are only stricter. Let L be the level right before a, Σ what was taken in the window,
/// and R what was given back in it to calls from *before* it. The level after the last admission is
/// at least L + Σ − R − rate × W, less what was given back to calls of the window, which was not
/// charged in the end; and it is at most the burst. So what is charged is at most burst + rate × W +
/// (R − L), and it remains that R ≤ L. At a, the queue is made of the places of earlier calls, next
/// to each other and disjoint, and their lengths add up to L. A refund gives back at most what is
/// left of the call's own place then, which is at most what was left at a. Each call is settled
/// once. So R ≤ L. ∎
///
/// *At quiescence, what is charged is what was used (L6).* A settlement either gives back what was
/// not used, or charges what was used beyond the reservation: the sum of both is the use. What
/// cannot go back has drained, and was available to others. Over-use goes to the end of the queue
/// as a debt, beyond the burst if need be; nobody knew of it before, so the limit of a window holds
/// for what was reserved and for debts from the moment that they are known: while the level is
/// above the burst, nothing is admitted.
///
/// *Under threads.* Only settlements lower the end, one at a time, under the lock of the key. One
/// reads the end, then the clock, then exchanges; if the exchange succeeds, nobody was admitted
/// since, and it is as if it had happened when the clock was read. A call that is admitted while a
/// settlement is under way cannot know its place to the tick; it remembers the lowest that it can
/// be, and that all refunds since may have moved it.
#[derive(Debug)]
pub struct Gcra {
    end: AtomicU64,
    /// What was given back in all, modulo 2⁶³, and a bit that says that it is being changed.
    returned: AtomicU64,
}

/// What was given back to the calls of each of the latest eighths of a burst.
#[derive(Debug, Default)]
pub struct Refunds {
    /// The latest eighth, counted from the beginning.
    latest: u64,
    sums: [u64; EIGHTHS as usize],
}

const EIGHTHS: u64 = 8;
/// An end that is none: another cell has taken the place of this one.
const CLOSED: u64 = u64::MAX;
/// Debts are no longer than this, so that ends stay below `CLOSED`.
const DEEPEST: u64 = 1 << 61;
const FLAG: u64 = 1 << 63;

// ===== impl Gcra =====

impl Algorithm for Gcra {}

impl Cell for Gcra {
    type Notes = Refunds;

    fn new() -> Self {
        Self {
            end: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        }
    }

    fn peek(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
        let end = self.end.load(Acquire);
        if end == CLOSED {
            return Err(No::Closed);
        }
        let drained = ticks.by(now);
        match after(ticks, end, drained, units).checked_sub(ticks.burst()) {
            Some(needed) if needed > drained => Err(wait(ticks, needed, now)),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn take(&self, ticks: &Ticks, now: u64, units: u64) -> Result<Mark, No> {
        let drained = ticks.by(now);
        // Before the end is read: what is returned meanwhile makes the place look earlier.
        let before = self.returned.load(Acquire);
        let mut end = self.end.load(Acquire);
        let next = loop {
            if end == CLOSED {
                return Err(No::Closed);
            }
            let next = after(ticks, end, drained, units);
            let needed = next.saturating_sub(ticks.burst());
            if needed > drained {
                return Err(wait(ticks, needed, now));
            }
            match self.end.compare_exchange_weak(end, next, AcqRel, Acquire) {
                Ok(_) => break next,
                Err(found) => end = found,
            }
        };
        let exact = before & FLAG == 0 && self.returned.load(Acquire) == before;
        let place = next.wrapping_add(before) & !FLAG;
        Ok(if exact { place | FLAG } else { place })
    }

    fn give_back(
        &self,
        ticks: &Ticks,
        clock: &dyn Fn() -> u64,
        notes: &mut Refunds,
        mark: Mark,
        units: u64,
    ) -> bool {
        let (place, exact) = (mark & !FLAG, mark & FLAG != 0);
        let returned = self.returned.load(Relaxed) & !FLAG;
        let later = if exact { notes.later(ticks, place) } else { 0 };
        let moved = returned.wrapping_sub(later);
        let unused = ticks.of(units);
        loop {
            let end = self.end.load(Acquire);
            if end == CLOSED {
                return false;
            }
            // After the end: see above.
            let drained = ticks.by(clock());
            let left = signed(place.wrapping_sub(moved).wrapping_sub(drained));
            let back = unused.min(left).min(end.saturating_sub(drained));
            if back == 0 {
                self.returned.store(returned, Release);
                return false;
            }
            self.returned.store(returned | FLAG, Release);
            let next = end - back;
            if self
                .end
                .compare_exchange(end, next, AcqRel, Acquire)
                .is_ok()
            {
                let sum = returned.wrapping_add(back) & !FLAG;
                self.returned.store(sum, Release);
                notes.add(ticks, place, back);
                return true;
            }
        }
    }

    fn charge(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), Closed> {
        let drained = ticks.by(now);
        let mut end = self.end.load(Acquire);
        loop {
            if end == CLOSED {
                return Err(Closed);
            }
            let next = after(ticks, end, drained, units);
            match self.end.compare_exchange_weak(end, next, AcqRel, Acquire) {
                Ok(_) => return Ok(()),
                Err(found) => end = found,
            }
        }
    }

    fn used(&self, ticks: &Ticks, now: u64) -> u64 {
        let end = self.end.load(Acquire);
        if end == CLOSED {
            return 0;
        }
        ticks.units_up(end.saturating_sub(ticks.by(now)))
    }

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
        let end = self.end.load(Acquire);
        ticks.at(end).map_or(u64::MAX, |at| at.saturating_sub(now))
    }

    fn close(&self, ticks: &Ticks, now: u64) -> u64 {
        let end = self.end.swap(CLOSED, AcqRel);
        if end == CLOSED {
            return 0;
        }
        ticks.units_up(end.saturating_sub(ticks.by(now)))
    }
}

/// The end of the queue after so many more units.
#[inline]
fn after(ticks: &Ticks, end: u64, drained: u64, units: u64) -> u64 {
    // A sum that is cut is a debt of years.
    (end.max(drained) + ticks.of(units)).min(drained + DEEPEST)
}

#[cold]
fn wait(ticks: &Ticks, needed: u64, now: u64) -> No {
    No::Wait(
        ticks
            .at(needed)
            .map_or(u64::MAX, |at| at.saturating_sub(now)),
    )
}

/// A difference of numbers modulo 2⁶³; nothing if it is negative.
fn signed(difference: u64) -> u64 {
    let difference = (difference << 1).cast_signed() >> 1;
    difference.max(0).cast_unsigned()
}

// ===== impl Refunds =====

impl Refunds {
    fn eighth(ticks: &Ticks, place: u64) -> u64 {
        place / (ticks.burst() / EIGHTHS).max(1)
    }

    /// What was given back to calls that certainly came later than one at this place.
    fn later(&self, ticks: &Ticks, place: u64) -> u64 {
        let kept = (self.latest + 1).saturating_sub(EIGHTHS);
        let from = (Self::eighth(ticks, place) + 1).max(kept);
        (from..=self.latest)
            .map(|eighth| self.sums[(eighth % EIGHTHS) as usize])
            .fold(0, u64::wrapping_add)
    }

    fn add(&mut self, ticks: &Ticks, place: u64, back: u64) {
        let eighth = Self::eighth(ticks, place);
        if eighth + EIGHTHS <= self.latest {
            // Too old to be told apart: counted as one that moved all others.
            return;
        }
        if eighth > self.latest {
            let new = (eighth - self.latest).min(EIGHTHS);
            for eighth in eighth + 1 - new..=eighth {
                self.sums[(eighth % EIGHTHS) as usize] = 0;
            }
            self.latest = eighth;
        }
        let sum = &mut self.sums[(eighth % EIGHTHS) as usize];
        *sum = sum.wrapping_add(back);
    }
}

#[cfg(test)]
mod tests {
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
        let cases: Value = serde_json::from_str(include_str!("../tests/data/gcra.json")).unwrap();
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
            steps in prop::collection::vec((0_u8..4, 0_u64..1 << 40, 0_u64..1 << 20), 1..120),
        ) {
            let minute = Duration::from_secs(60);
            let rate = Rate::new(per_minute.try_into().unwrap(), minute).unwrap();
            let rate = rate.allow_burst(burst.try_into().unwrap());
            let mut rig = Rig::new(Ticks::new(rate));
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
        let mut rig = Rig::new(ticks(1, 1000));
        let marks: Vec<Mark> = (0..1000).map(|_| rig.take(1).unwrap()).collect();
        for mark in marks.into_iter().rev() {
            rig.give_back(mark, 1);
        }
        assert!(rig.used() <= 1000 / 16 + 1, "{}", rig.used());
    }

    #[test]
    fn l6_over_use_is_a_debt_that_later_calls_wait_for() {
        let mut rig = Rig::new(ticks(1, 10));
        rig.take(10).unwrap();
        rig.cell.charge(&rig.ticks, rig.now, 25).unwrap();
        assert_eq!(rig.take(1), Err(No::Wait(26 * SECOND)));
        rig.now = 26 * SECOND;
        rig.take(1).unwrap();
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
}
