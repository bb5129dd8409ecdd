mod refunds;

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

pub(crate) use self::refunds::Refunds;
use crate::{
    Algorithm,
    algorithm::{Cell, Closed, Mark, No},
    rate::Ticks,
    sync::AtomicU64,
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
/// refunds to later calls did not move this one; they are told apart by parts of a burst, an eighth or
/// less, and within such a part counted as if they had, so that a little less may go back than could.
/// What stays behind drains like any other charge.
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
/// above the burst, nothing is admitted, not even a call that takes nothing of it.
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
        let end = self.end.load(Acquire);
        if end == CLOSED {
            return false;
        }
        notes.pass(ticks, end.wrapping_add(returned) & !FLAG);
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
