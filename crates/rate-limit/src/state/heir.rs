//! How a state gives way to another, when its quotas change.

use std::sync::{Arc, PoisonError, atomic::Ordering::Release};

use super::{Slow, State, Taken};
use crate::{
    Cost, Unit,
    algorithm::{Algorithm, Closed},
    quotas::Plan,
};

impl<K, A: Algorithm> State<K, A> {
    /// Makes the state that takes the place of this one, with what was consumed.
    pub(crate) fn replace(&self, plan: Arc<Plan>, now: u64) -> Option<Arc<Self>>
    where
        K: Clone,
    {
        let mut lock = self.lock();
        let slow = self.slow(&mut lock);
        if slow.moved.is_some() {
            return None;
        }
        let new = Self::new(self.key.clone(), plan);
        let old = self.plan.quotas.iter().zip(&self.cells);
        let used: Vec<(Unit, u64)> = old
            .map(|((unit, ticks), cell)| (*unit, cell.close(ticks, now)))
            .collect();
        let mut seen = [0; Unit::ALL.len()];
        for ((unit, ticks), cell) in new.plan.quotas.iter().zip(&new.cells) {
            // The first quota of a unit goes on from the first, and so forth; one more than there
            // were goes on from the one that had used most.
            let of = || {
                used.iter()
                    .filter(|(of, _)| of == unit)
                    .map(|(_, used)| *used)
            };
            let nth = &mut seen[*unit as usize];
            let consumed = of().nth(*nth).or_else(|| of().max()).unwrap_or(0);
            *nth += 1;
            if consumed > 0 {
                // A new cell is not closed.
                let _: Result<(), Closed> = cell.charge(ticks, now, consumed);
            }
        }
        if slow.paused > now || slow.guards.until() > now {
            let mut lock = new.lock();
            let kept = new.slow(&mut lock);
            (kept.paused, kept.guards) = (slow.paused, slow.guards.clone());
            let until = slow.paused.max(slow.guards.until());
            new.attention.store(until, Release);
        }
        let new = Arc::new(new);
        slow.moved = Some(Arc::clone(&new));
        self.attention.store(u64::MAX, Release);
        Some(new)
    }

    /// Has this state, which was closed, followed by the one that is the latest now, so that those
    /// in between can go.
    pub(crate) fn follow(&self, latest: &Arc<Self>) {
        let mut lock = self.lock();
        let before = self.slow(&mut lock).moved.replace(Arc::clone(latest));
        drop(lock);
        drop(before);
    }

    /// Settles what was taken before this state gave way: what was reserved is charged there, and
    /// stays; what was used beyond it is charged to each quota of a unit that was limited before.
    /// Whether there is more now.
    #[cold]
    pub(super) fn settle_with_heir(
        &self,
        taken: &Taken,
        cost: &Cost,
        used: &Cost,
        longest_debt: u64,
        clock: &dyn Fn() -> u64,
    ) -> bool {
        let was_limited = |unit| self.plan.quotas.iter().any(|(of, _)| *of == unit);
        self.at_latest(|state, slow| {
            for ((unit, ticks), cell) in state.plan.quotas.iter().zip(&state.cells) {
                let beyond = used.of(*unit).saturating_sub(cost.of(*unit));
                if beyond > 0 && was_limited(*unit) {
                    let debt = beyond.min(ticks.most_in(longest_debt));
                    // Cells are closed with the lock held.
                    let _: Result<(), Closed> = cell.charge(ticks, clock(), debt);
                }
            }
            slow.guards.settle(taken.at, cost, used)
        })
    }

    /// Does something with the latest of the states that have taken the place of this one, which
    /// is locked.
    pub(super) fn at_latest<T>(&self, f: impl FnOnce(&Self, &mut Slow<K, A>) -> T) -> T {
        let mut latest: Option<Arc<Self>> = None;
        loop {
            let state: &Self = latest.as_deref().unwrap_or(self);
            let mut lock = state.lock();
            let slow = state.slow(&mut lock);
            let Some(next) = slow.moved.clone() else {
                return f(state, slow);
            };
            drop(lock);
            latest = Some(next);
        }
    }

    /// The state that has taken the place of this one.
    pub(crate) fn moved(&self) -> Option<Arc<Self>> {
        let lock = self.lock();
        lock.as_ref()?.moved.clone()
    }

    /// The state in whose favour this one was closed.
    pub(crate) fn latest(&self) -> Arc<Self> {
        // The lock is held from before the first cell is closed until the other state is known.
        self.moved().expect("a closed state has moved")
    }
}

impl<K, A: Algorithm> Drop for Slow<K, A> {
    /// Without recursion: quotas may have been changed any number of times since.
    fn drop(&mut self) {
        let mut next = self.moved.take();
        while let Some(mut state) = next.and_then(Arc::into_inner) {
            let slow = state.slow.get_mut().unwrap_or_else(PoisonError::into_inner);
            next = slow.as_mut().and_then(|slow| slow.moved.take());
        }
    }
}
