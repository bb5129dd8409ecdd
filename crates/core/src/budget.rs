use std::sync::Arc;

use crate::Class;

/// An allowance of extra attempts, shared by whatever makes them: retries and hedges, of one
/// service or of many.
///
/// # Examples
///
/// One extra attempt for the life of the process:
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use buttress_core::{Class, RetryBudget, Withdrawn};
///
/// struct OnlyOne(AtomicBool);
///
/// impl RetryBudget for OnlyOne {
///     fn deposit(&self) {}
///
///     fn withdraw(&self, _: Class) -> Option<Withdrawn> {
///         (!self.0.swap(true, Ordering::Relaxed)).then(|| Withdrawn::new(1))
///     }
/// }
///
/// let budget = OnlyOne(AtomicBool::new(false));
/// assert!(budget.withdraw(Class::Unavailable).is_some());
/// assert!(budget.withdraw(Class::Unavailable).is_none());
/// ```
pub trait RetryBudget {
    /// A call begins: its first attempt earns its share.
    fn deposit(&self);

    /// Pays for one more attempt after one that ended in `class`. `None`: there is not enough
    /// left.
    fn withdraw(&self, class: Class) -> Option<Withdrawn>;

    /// A call succeeded: in its first attempt (`None`), or in one that was paid for. Does nothing
    /// by default.
    fn succeeded(&self, paid: Option<Withdrawn>) {
        let _ = paid;
    }

    /// An attempt that was paid for will not be made: its caller went away while it waited. Does
    /// nothing by default.
    fn unspent(&self, paid: Withdrawn) {
        drop(paid);
    }
}

/// What one extra attempt took from a [`RetryBudget`]. It cannot be copied, so that it is
/// given back at most once.
///
/// ```
/// use buttress_core::Withdrawn;
///
/// assert_eq!(Withdrawn::new(14).cost(), 14);
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "it is given back when the attempt succeeds, or is not made"]
pub struct Withdrawn {
    cost: u32,
}

// ===== impl RetryBudget =====

impl<B: RetryBudget + ?Sized> RetryBudget for Arc<B> {
    fn deposit(&self) {
        (**self).deposit();
    }

    fn withdraw(&self, class: Class) -> Option<Withdrawn> {
        (**self).withdraw(class)
    }

    fn succeeded(&self, paid: Option<Withdrawn>) {
        (**self).succeeded(paid);
    }

    fn unspent(&self, paid: Withdrawn) {
        (**self).unspent(paid);
    }
}

// ===== impl Withdrawn =====

impl Withdrawn {
    /// This much, in the budget's own units.
    pub const fn new(cost: u32) -> Self {
        Self { cost }
    }

    /// How much.
    #[must_use]
    pub const fn cost(&self) -> u32 {
        self.cost
    }
}
