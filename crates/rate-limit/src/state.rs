//! What is kept for one key.

mod denial;
mod heir;
mod taken;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

use buttress_core::Limits;

pub(crate) use self::{denial::Denial, taken::Taken};
use self::{denial::later, taken::Marks};
use crate::{
    Cost, LimitedBy, Unit,
    algorithm::{Algorithm, Closed},
    guard::Guards,
    quotas::Plan,
};

/// The cells of one key.
pub(crate) struct State<K, A: Algorithm> {
    pub(crate) key: K,
    plan: Arc<Plan>,
    cells: Box<[A]>,
    /// Until then there is more to look at than cells, in nanoseconds. Always, once another state
    /// has taken the place of this one.
    attention: AtomicU64,
    slow: Mutex<Option<Box<Slow<K, A>>>>,
}

/// What most keys do not need.
struct Slow<K, A: Algorithm> {
    notes: Box<[A::Notes]>,
    paused: u64,
    guards: Guards,
    moved: Option<Arc<State<K, A>>>,
}

// ===== impl State =====

impl<K, A: Algorithm> State<K, A> {
    pub(crate) fn new(key: K, plan: Arc<Plan>) -> Self {
        Self {
            key,
            cells: plan.quotas.iter().map(|_| A::new()).collect(),
            plan,
            attention: AtomicU64::new(0),
            slow: Mutex::new(None),
        }
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Takes from all cells, if there is nothing else to look at and all of them admit it. `None`:
    /// nothing was taken.
    #[inline(always)]
    pub(crate) fn try_take(&self, cost: &Cost, clock: impl Fn() -> u64) -> Option<Taken> {
        let ([(unit, ticks)], [cell]) = (&*self.plan.quotas, &*self.cells) else {
            return self.try_take_several(cost, &clock);
        };
        let units = cost.of(*unit);
        if units == 0 || units > ticks.rate().burst() {
            return None;
        }
        // What is known without it first: nothing goes on while it is read.
        let now = clock();
        if now < self.attention.load(Acquire) {
            return None;
        }
        let mark = cell.take(ticks, now, units).ok()?;
        Some(Taken {
            at: now,
            marks: Marks::Few([mark, 0, 0, 0]),
        })
    }

    fn try_take_several(&self, cost: &Cost, clock: &dyn Fn() -> u64) -> Option<Taken> {
        self.take(clock(), cost, clock).ok()
    }

    /// Takes from all cells or from none.
    pub(crate) fn take(
        &self,
        now: u64,
        cost: &Cost,
        clock: &dyn Fn() -> u64,
    ) -> Result<Taken, Denial> {
        if now < self.attention.load(Acquire) {
            return self.take_guarded(now, cost, clock);
        }
        self.fits(cost)?;
        let marks = self.take_cells(now, cost, clock, None)?;
        Ok(Taken { at: now, marks })
    }

    #[cold]
    fn take_guarded(
        &self,
        now: u64,
        cost: &Cost,
        clock: &dyn Fn() -> u64,
    ) -> Result<Taken, Denial> {
        let mut lock = self.lock();
        let slow = self.slow(&mut lock);
        self.fits(cost)?;
        self.look(slow, now, cost)?;
        let marks = self.take_cells(now, cost, clock, Some(slow))?;
        slow.guards.take(now, cost);
        // After what was said at the same instant, as one that was not guarded is before it.
        let at = now.saturating_add(1);
        Ok(Taken { at, marks })
    }

    /// Whether the cost would be taken, after so much else.
    pub(crate) fn peek(&self, now: u64, cost: &Cost, ahead: Cost) -> Result<(), Denial> {
        self.fits(cost)?;
        let all = cost.plus(ahead);
        if now < self.attention.load(Acquire) {
            let mut lock = self.lock();
            let slow = self.slow(&mut lock);
            let guarded = self.look(slow, now, &all);
            return later(guarded, self.peek_cells(now, &all));
        }
        self.peek_cells(now, &all)
    }

    /// Settles what was taken to what was used, with a debt that is paid in `longest_debt`
    /// nanoseconds at most, or in the time of a burst. Whether anything went back.
    pub(crate) fn settle(
        &self,
        taken: &Taken,
        cost: &Cost,
        used: &Cost,
        longest_debt: u64,
        clock: &dyn Fn() -> u64,
    ) -> bool {
        let quotas = &self.plan.quotas;
        if quotas
            .iter()
            .all(|(unit, _)| used.of(*unit) == cost.of(*unit))
        {
            return false;
        }
        let mut freed = false;
        let mut lock = self.lock();
        if lock.as_ref().is_some_and(|slow| slow.moved.is_some()) {
            drop(lock);
            return self.settle_with_heir(taken, cost, used, longest_debt, clock);
        }
        for (index, (unit, ticks)) in self.plan.quotas.iter().enumerate() {
            let (reserved, used) = (cost.of(*unit), used.of(*unit));
            let cell = &self.cells[index];
            if used < reserved {
                let notes = &mut self.slow(&mut lock).notes[index];
                let mark = taken.marks.get(index);
                freed |= cell.give_back(ticks, clock, notes, mark, reserved - used);
            } else if used > reserved {
                let debt = (used - reserved).min(ticks.most_in(longest_debt));
                // Cells are closed with the lock held.
                let _: Result<(), Closed> = cell.charge(ticks, clock(), debt);
            }
        }
        if let Some(slow) = &mut *lock {
            freed |= slow.guards.settle(taken.at, cost, used);
        }
        freed
    }

    pub(crate) fn pause(&self, now: u64, time: u64) {
        self.at_latest(|state, slow| {
            slow.paused = slow.paused.max(now.saturating_add(time));
            state.attention.fetch_max(slow.paused, Release);
        });
    }

    pub(crate) fn resume(&self) {
        // That there was more to look at than cells is then seen for nothing, until its time.
        self.at_latest(|_, slow| slow.paused = 0);
    }

    /// Keeps to what a provider says remains, for `longest` at most.
    pub(crate) fn tighten(&self, now: u64, limits: &Limits, longest: u64) {
        self.at_latest(|state, slow| state.tighten_here(slow, now, limits, longest));
    }

    fn tighten_here(&self, slow: &mut Slow<K, A>, now: u64, limits: &Limits, longest: u64) {
        for (index, unit) in Unit::ALL.into_iter().enumerate() {
            let Some(limit) = limit_of(limits, unit) else {
                continue;
            };
            // Of several quotas of one unit, the one that has most decides: what is tighter than
            // that is tighter than one of them.
            let quotas = self.plan.quotas.iter().zip(&self.cells);
            let ours = quotas.filter(|((of, _), _)| *of == unit);
            let tighter = ours.into_iter().any(|((_, ticks), cell)| {
                let left = ticks.rate().burst().saturating_sub(cell.used(ticks, now));
                slow.guards.would_tighten(limit, left, ticks.rate())
            });
            if tighter {
                let until = slow.guards.set(index, now, limit, longest);
                self.attention.fetch_max(until, Release);
            }
        }
    }

    /// What is left of each quota, and in how many nanoseconds it is full again.
    pub(crate) fn standing(&self, now: u64) -> Vec<(Unit, u64, u64)> {
        let lock = self.lock();
        let quotas = self.plan.quotas.iter().zip(&self.cells);
        let standing = quotas.map(|((unit, ticks), cell)| {
            let used = cell.used(ticks, now);
            let mut left = ticks.rate().burst().saturating_sub(used);
            let mut full_in = cell.idle_in(ticks, now);
            if let Some(slow) = &*lock {
                if let Some((remaining, wait)) = slow.guards.standing(*unit, now) {
                    left = left.min(remaining);
                    full_in = full_in.max(wait);
                }
                if now < slow.paused {
                    left = 0;
                    full_in = full_in.max(slow.paused - now);
                }
            }
            (*unit, left, full_in)
        });
        standing.collect()
    }

    /// In how many nanoseconds this key can be forgotten.
    pub(crate) fn idle_in(&self, now: u64) -> u64 {
        let quotas = self.plan.quotas.iter().zip(&self.cells);
        let cells = quotas.map(|((_, ticks), cell)| cell.idle_in(ticks, now));
        let attention = self.attention.load(Acquire).saturating_sub(now);
        cells.max().unwrap_or(0).max(attention)
    }

    /// No cell holds so much.
    fn fits(&self, cost: &Cost) -> Result<(), Denial> {
        for (unit, ticks) in &self.plan.quotas {
            if cost.of(*unit) > ticks.rate().burst() {
                return Err(Denial::limited(LimitedBy::Size(*unit), None));
            }
        }
        Ok(())
    }

    fn look(&self, slow: &Slow<K, A>, now: u64, cost: &Cost) -> Result<(), Denial> {
        if slow.moved.is_some() {
            return Err(Denial::Closed);
        }
        let paused = match slow.paused.checked_sub(now) {
            None | Some(0) => Ok(()),
            Some(wait) => Err(Denial::limited(LimitedBy::Pause, Some(wait))),
        };
        let guarded = match slow.guards.peek(now, cost) {
            None => Ok(()),
            Some((unit, wait)) => Err(Denial::limited(LimitedBy::Provider(unit), Some(wait))),
        };
        // What the cells say may be later still.
        later(later(paused, guarded), self.peek_cells(now, cost))
    }

    fn peek_cells(&self, now: u64, cost: &Cost) -> Result<(), Denial> {
        self.peek_others(now, cost, None)
    }

    /// Without those of a unit.
    #[inline]
    fn peek_others(&self, now: u64, cost: &Cost, without: Option<Unit>) -> Result<(), Denial> {
        let mut all = Ok(());
        for ((unit, ticks), cell) in self.plan.quotas.iter().zip(&self.cells) {
            if Some(*unit) == without {
                continue;
            }
            // Who takes nothing of it waits too, while it is in debt.
            let this = cell.peek(ticks, now, cost.of(*unit));
            all = later(all, this.map_err(|no| Denial::of(no, *unit)));
        }
        all
    }

    fn take_cells(
        &self,
        now: u64,
        cost: &Cost,
        clock: &dyn Fn() -> u64,
        slow: Option<&mut Slow<K, A>>,
    ) -> Result<Marks, Denial> {
        let quotas = &*self.plan.quotas;
        if let ([(unit, ticks)], [cell]) = (quotas, &*self.cells) {
            let mut marks = [0; 4];
            let taken = match cost.of(*unit) {
                0 => cell.peek(ticks, now, 0).map(|()| 0),
                units => cell.take(ticks, now, units),
            };
            marks[0] = taken.map_err(|no| Denial::of(no, *unit))?;
            return Ok(Marks::Few(marks));
        }
        // So that nobody sees a reservation of a call that is not admitted, but in a race; and of what
        // it takes nothing, this is all that is asked. Where it takes from one, that one decides.
        let only = self.plan.only_unit(cost);
        if let Err(denial) = self.peek_others(now, cost, only) {
            // Which of all says when.
            return Err(self.peek_cells(now, cost).err().unwrap_or(denial));
        }
        let mut marks = Marks::new(quotas.len());
        for (index, (unit, ticks)) in quotas.iter().enumerate() {
            let units = cost.of(*unit);
            if units == 0 {
                continue;
            }
            match self.cells[index].take(ticks, now, units) {
                Ok(mark) => marks.set(index, mark),
                Err(no) => {
                    self.undo(index, cost, &marks, clock, slow);
                    return Err(Denial::of(no, *unit));
                }
            }
        }
        Ok(marks)
    }

    /// Gives back what the cells before this one gave.
    #[cold]
    fn undo(
        &self,
        end: usize,
        cost: &Cost,
        marks: &Marks,
        clock: &dyn Fn() -> u64,
        slow: Option<&mut Slow<K, A>>,
    ) {
        let mut lock;
        let slow = match slow {
            Some(slow) => slow,
            None => {
                lock = self.lock();
                self.slow(&mut lock)
            }
        };
        for (index, (unit, ticks)) in self.plan.quotas[..end].iter().enumerate() {
            let (cell, units) = (&self.cells[index], cost.of(*unit));
            if units > 0 {
                let notes = &mut slow.notes[index];
                cell.give_back(ticks, clock, notes, marks.get(index), units);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Slow<K, A>>>> {
        // What a panic could have left is still sound: each change is complete in itself.
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slow<'a>(
        &self,
        lock: &'a mut MutexGuard<'_, Option<Box<Slow<K, A>>>>,
    ) -> &'a mut Slow<K, A> {
        lock.get_or_insert_with(|| {
            Box::new(Slow {
                notes: self.cells.iter().map(|_| A::Notes::default()).collect(),
                paused: 0,
                guards: Guards::default(),
                moved: None,
            })
        })
    }
}

impl<K, A: Algorithm> fmt::Debug for State<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key: it may be a secret.
        f.debug_struct("State")
            .field("quotas", &self.plan.source)
            .finish_non_exhaustive()
    }
}

/// What the provider says of this unit.
fn limit_of(limits: &Limits, unit: Unit) -> Option<&buttress_core::Limit> {
    match unit {
        Unit::Requests => limits.requests.as_ref(),
        Unit::Tokens => limits.tokens.as_ref(),
        Unit::InputTokens => limits.input_tokens.as_ref(),
        Unit::OutputTokens => limits.output_tokens.as_ref(),
    }
}
