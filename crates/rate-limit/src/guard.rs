//! What a provider said remains, kept to until its reset.

use buttress_core::Limit;

use crate::{Cost, Rate, Unit};

/// For each unit those that hold: the later they end, the more is left of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    each: [Vec<Guard>; Unit::ALL.len()],
}

/// How many there are of a unit at most.
const MOST: usize = 4;

/// `remaining`, and where the provider said of how much, what it refills until its reset.
#[derive(Clone, Debug)]
struct Guard {
    since: u64,
    until: u64,
    remaining: u64,
    /// So many units come back in so many nanoseconds.
    refill: (u64, u64),
    taken: u64,
}

// ===== impl Guards =====

impl Guards {
    /// Whether what the provider says could be tighter, now or until its reset, than a quota of
    /// which so much is left.
    pub(crate) fn would_tighten(&self, limit: &Limit, left: u64, rate: &Rate) -> bool {
        // A reset in the past says nothing of now.
        let Ok(reset) = u64::try_from(limit.reset.as_nanos()) else {
            return true;
        };
        if reset == 0 {
            return false;
        }
        if limit.remaining < left {
            return true;
        }
        match limit.limit {
            // What the provider refills, against what we do.
            Some(most) if most > limit.remaining => rate.faster_than(most - limit.remaining, reset),
            Some(_) => false,
            None => true,
        }
    }

    /// Keeps to it. Until when.
    pub(crate) fn set(&mut self, index: usize, now: u64, limit: &Limit, longest: u64) -> u64 {
        let reset = u64::try_from(limit.reset.as_nanos()).unwrap_or(u64::MAX);
        let refill = limit.limit.unwrap_or(0).saturating_sub(limit.remaining);
        let mut new = Guard {
            since: now,
            until: now.saturating_add(reset.min(longest)),
            remaining: limit.remaining,
            refill: (refill, reset),
            taken: 0,
        };
        let guards = &mut self.each[index];
        guards.retain(|old| now < old.until);
        // Each word holds until its own end: a tighter one of now stands before a longer one.
        let tighter = |old: &Guard| old.left(now) <= new.remaining && old.until >= new.until;
        if !guards.iter().any(tighter) {
            guards.retain(|old| {
                let keep = old.left(now) < new.remaining || old.until > new.until;
                if !keep {
                    new.refill = slower(old.refill, new.refill);
                }
                keep
            });
            guards.push(new);
            guards.sort_unstable_by_key(|guard| guard.until);
            // Of too many, the last two become one that holds for both.
            if guards.len() > MOST
                && let Some(last) = guards.pop()
                && let Some(before) = guards.last_mut()
            {
                before.until = last.until;
            }
        }
        self.until()
    }

    /// The unit of which there is not enough for longest, and in how many nanoseconds there is.
    pub(crate) fn peek(&self, now: u64, cost: &Cost) -> Option<(Unit, u64)> {
        let waits = self.active(now).filter_map(|(unit, guard)| {
            let wait = guard.wait(now, cost.of(unit));
            (wait > 0).then_some((unit, wait))
        });
        waits.max_by_key(|(_, wait)| *wait)
    }

    pub(crate) fn take(&mut self, now: u64, cost: &Cost) {
        for (unit, guard) in self.each_mut() {
            if now < guard.until {
                guard.taken = guard.taken.saturating_add(cost.of(unit));
            }
        }
    }

    /// A call that took this at that time has used that. Whether there is more now.
    pub(crate) fn settle(&mut self, at: u64, taken: &Cost, used: &Cost) -> bool {
        let mut more = false;
        for (unit, guard) in self.each_mut() {
            // What was taken before is in what the provider said, or is not known to be.
            if guard.since < at {
                let (taken, used) = (taken.of(unit), used.of(unit));
                let rest = guard.taken.saturating_sub(taken.saturating_sub(used));
                more |= rest < guard.taken;
                guard.taken = rest.saturating_add(used.saturating_sub(taken));
            }
        }
        more
    }

    /// What remains of a unit, and in how many nanoseconds that no longer counts.
    pub(crate) fn standing(&self, unit: Unit, now: u64) -> Option<(u64, u64)> {
        let guards = self.active(now).filter(|(of, _)| *of == unit);
        let each = guards.map(|(_, guard)| (guard.left(now), guard.until - now));
        each.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    pub(crate) fn until(&self) -> u64 {
        let each = self.each.iter().flatten();
        each.map(|guard| guard.until).max().unwrap_or(0)
    }

    fn active(&self, now: u64) -> impl Iterator<Item = (Unit, &Guard)> {
        let each = Unit::ALL.into_iter().zip(&self.each);
        let each = each.flat_map(|(unit, guards)| guards.iter().map(move |guard| (unit, guard)));
        each.filter(move |(_, guard)| now < guard.until)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = (Unit, &mut Guard)> {
        let each = Unit::ALL.into_iter().zip(&mut self.each);
        each.flat_map(|(unit, guards)| guards.iter_mut().map(move |guard| (unit, guard)))
    }
}

// ===== impl Guard =====

impl Guard {
    fn left(&self, now: u64) -> u64 {
        let (units, time) = self.refill;
        let passed = u128::from(now.saturating_sub(self.since));
        let refilled = u128::from(units) * passed / u128::from(time.max(1));
        let refilled = u64::try_from(refilled).unwrap_or(u64::MAX);
        let all = self.remaining.saturating_add(refilled);
        all.saturating_sub(self.taken)
    }

    /// In how many nanoseconds so many units are there, or this no longer counts.
    fn wait(&self, now: u64, units: u64) -> u64 {
        let needed = units
            .saturating_add(self.taken)
            .saturating_sub(self.remaining);
        // None of it needs something too, where more was taken than there is.
        if needed == 0 {
            return 0;
        }
        let (refill, time) = self.refill;
        let passes = u128::from(needed) * u128::from(time);
        let at = match refill {
            0 => u64::MAX,
            _ => u64::try_from(passes.div_ceil(u128::from(refill))).unwrap_or(u64::MAX),
        };
        let at = self.since.saturating_add(at).min(self.until);
        at.saturating_sub(now)
    }
}

/// The lesser of two rates.
fn slower(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    if u128::from(one.0) * u128::from(other.1) < u128::from(other.0) * u128::from(one.1) {
        one
    } else {
        other
    }
}
