use std::{fmt, sync::Arc};

use crate::{
    Algorithm, Cost, Gcra, Key, Limiter,
    state::{State, Taken},
};

/// What a call took from a [`Limiter`], for its layer.
pub struct Hold<K, A: Algorithm = Gcra> {
    pub(crate) taken: Taken,
    /// `None`: of the only one.
    pub(crate) state: Option<Arc<State<K, A>>>,
}

/// What [`Limiter::reserve`] took. Dropped, it goes back, as far as it has not become free by
/// itself.
#[must_use = "dropped, it goes back"]
pub struct Reservation<K: Key = (), A: Algorithm = Gcra> {
    limiter: Limiter<K, A>,
    cost: Cost,
    hold: Option<Hold<K, A>>,
}

// ===== impl Hold =====

impl<K, A: Algorithm> fmt::Debug for Hold<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

// ===== impl Reservation =====

impl<K: Key, A: Algorithm> Reservation<K, A> {
    pub(crate) const fn new(limiter: Limiter<K, A>, cost: Cost, hold: Hold<K, A>) -> Self {
        Self {
            limiter,
            cost,
            hold: Some(hold),
        }
    }

    /// What was taken.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Charges what was taken.
    pub fn keep(self) {
        let cost = self.cost();
        self.settle(cost);
    }

    /// Settles it to what was used: what was not goes back, what is more becomes a debt.
    pub fn settle(mut self, used: Cost) {
        self.end(used);
    }

    fn end(&mut self, used: Cost) {
        if let Some(hold) = self.hold.take() {
            let shared = &self.limiter.shared;
            if shared.settle(&hold, &self.cost, &used) {
                shared.waiters.call(&shared.held(&hold).key);
            }
        }
    }
}

impl<K: Key, A: Algorithm> Drop for Reservation<K, A> {
    fn drop(&mut self) {
        self.end(Cost::NONE);
    }
}

impl<K: Key, A: Algorithm> fmt::Debug for Reservation<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
