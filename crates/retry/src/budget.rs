use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::{Class, RetryBudget, Withdrawn};

use crate::Ratio;

/// A token bucket that pays for retries: so that an upstream that is down gets a little more than
/// its usual load, and not three times as much.
///
/// It begins full, with its *reserve*. Every call earns a share of a retry, the *ratio*, and every
/// retry costs one or, where [`cost`](Budget::cost) says so, more. It never holds more than the
/// reserve. So, whatever came before, `N` calls to an upstream that answers none of them start work
/// at most `N × (1 + ratio) + reserve` times. Where there is not enough left the failure goes up as
/// it is.
///
/// Clones share one balance: give one to several layers, and they stay within it together. It is
/// one atomic number, and has no lock.
///
/// | | default |
/// |---|---|
/// | ratio | 20 % |
/// | [`reserve`](Budget::reserve) | 100 retries |
/// | [`cost`](Budget::cost) | 1 for every class |
///
/// Ratio and reserve are those of [Finagle](https://twitter.github.io/finagle/guide/Clients.html#retries):
/// 20 %, and ten retries a second kept for ten seconds.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, RetryBudget};
/// use buttress_retry::{Budget, Ratio};
///
/// let budget = Budget::new(Ratio::percent::<10>()).reserve(1);
/// let shared = budget.clone();
/// assert!(budget.withdraw(Class::Unavailable).is_some());
/// assert!(shared.withdraw(Class::Unavailable).is_none(), "the other spent it");
/// (0..10).for_each(|_| shared.deposit());
/// assert_eq!(budget.balance(), 1);
/// ```
///
/// The form that AWS's SDKs use, which earns by success instead:
///
/// ```
/// use buttress_core::{Class, RetryBudget};
/// use buttress_retry::Budget;
///
/// let budget = Budget::aws();
/// let paid = budget.withdraw(Class::Unavailable);
/// assert_eq!(budget.balance(), 486);
/// budget.succeeded(paid);
/// assert_eq!(budget.balance(), 500);
/// ```
#[derive(Clone)]
pub struct Budget {
    bucket: Arc<Bucket>,
}

/// A budget that pays for everything: give it to a layer that should have none.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_retry::{RetryLayer, Unlimited};
///
/// let layer = RetryLayer::new(Plain).budget(Unlimited);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

struct Bucket {
    terms: Terms,
    /// In parts: `terms.part` of them make a whole.
    balance: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    /// The most that it can hold, and what it begins with, in wholes.
    reserve: u32,
    /// How many parts make a whole.
    part: u32,
    /// What a call earns by beginning, in parts.
    call: u32,
    /// What a call earns by succeeding in its first attempt, in wholes.
    first: u32,
    /// Whether a retry that succeeds gets back what it cost.
    refunds: bool,
    /// What a retry costs after each class of failure, in wholes.
    costs: [NonZeroU32; Class::ALL.len()],
}

// ===== impl Budget =====

impl Budget {
    /// A budget of its own, in which every call earns this share of a retry.
    #[must_use]
    pub fn new(ratio: Ratio) -> Self {
        Self::with(Terms {
            reserve: 100,
            part: ratio.whole(),
            call: ratio.part(),
            first: 0,
            refunds: false,
            costs: [NonZeroU32::MIN; Class::ALL.len()],
        })
    }

    /// The budget of AWS's SDKs, as of version 2.1 of their standard mode: 500 to begin with; a
    /// retry costs 14, and 5 after [`Throttled`](Class::Throttled). A call that succeeds gets back
    /// what its last retry cost, or earns 1 if it needed none. Nothing is earned by calling.
    ///
    /// Source: the [retry behaviour](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)
    /// of AWS's SDKs, and smithy-rs.
    #[must_use]
    pub fn aws() -> Self {
        const USUAL: NonZeroU32 = NonZeroU32::new(14).unwrap();
        const THROTTLED: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self::with(Terms::aws(USUAL)).cost(Class::Throttled, THROTTLED)
    }

    /// The same as of version 2.0: a retry costs 5, and 10 after
    /// [`Unstarted`](Class::Unstarted), the one class that is always a transient error.
    #[must_use]
    pub fn aws_2_0() -> Self {
        const USUAL: NonZeroU32 = NonZeroU32::new(5).unwrap();
        const TRANSIENT: NonZeroU32 = NonZeroU32::new(10).unwrap();
        Self::with(Terms::aws(USUAL)).cost(Class::Unstarted, TRANSIENT)
    }

    /// How much the budget holds when it is full, and begins with: in retries, or in the units of
    /// their [cost](Budget::cost). Default: 100. With 0, or less than a retry costs, none is made.
    /// The ratio is exact where there is room for one more than a retry costs; a reserve of 1 has
    /// no place for the fraction that remains beside a whole retry, and loses it.
    ///
    /// Makes a budget of its own, which shares nothing with what it was made from.
    #[must_use]
    pub fn reserve(self, reserve: u32) -> Self {
        Self::with(Terms {
            reserve,
            ..self.bucket.terms
        })
    }

    /// What a retry costs after a failure of this class. Default: 1.
    ///
    /// Makes a budget of its own, as [`reserve`](Budget::reserve) does.
    #[must_use]
    pub fn cost(self, class: Class, cost: NonZeroU32) -> Self {
        let mut terms = self.bucket.terms;
        if let Some(place) = place(class) {
            terms.costs[place] = cost;
        }
        Self::with(terms)
    }

    /// How much is left, rounded down. It may have changed by the time that it is read.
    #[must_use]
    pub fn balance(&self) -> u32 {
        let parts = self.bucket.balance.load(Ordering::Relaxed);
        // At most the reserve, which fits.
        u32::try_from(parts / u64::from(self.bucket.terms.part)).unwrap_or(u32::MAX)
    }

    fn with(terms: Terms) -> Self {
        let balance = AtomicU64::new(terms.parts(terms.reserve));
        Self {
            bucket: Arc::new(Bucket { terms, balance }),
        }
    }
}

/// Every call earns a fifth of a retry.
impl Default for Budget {
    fn default() -> Self {
        Self::new(Ratio::percent::<20>())
    }
}

impl RetryBudget for Budget {
    fn deposit(&self) {
        self.bucket.add(u64::from(self.bucket.terms.call));
    }

    fn withdraw(&self, class: Class) -> Option<Withdrawn> {
        let terms = &self.bucket.terms;
        let cost = place(class).map_or(1, |place| terms.costs[place].get());
        self.bucket
            .take(terms.parts(cost))
            .then(|| Withdrawn::new(cost))
    }

    fn succeeded(&self, paid: Option<Withdrawn>) {
        let terms = &self.bucket.terms;
        match paid {
            None if terms.first > 0 => self.bucket.add(terms.parts(terms.first)),
            Some(paid) if terms.refunds => self.bucket.add(terms.parts(paid.cost())),
            _ => {}
        }
    }

    fn unspent(&self, paid: Withdrawn) {
        self.bucket.add(self.bucket.terms.parts(paid.cost()));
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("balance", &self.balance())
            .field("reserve", &self.bucket.terms.reserve)
            .finish_non_exhaustive()
    }
}

// ===== impl Unlimited =====

impl RetryBudget for Unlimited {
    fn deposit(&self) {}

    fn withdraw(&self, _: Class) -> Option<Withdrawn> {
        Some(Withdrawn::new(0))
    }
}

// ===== impl Bucket =====

// Relaxed throughout: the balance guards nothing but itself.
impl Bucket {
    /// Adds so many parts, up to what it can hold. A full one is only read.
    fn add(&self, parts: u64) {
        let full = self.terms.parts(self.terms.reserve);
        let more = |balance: u64| {
            let more = balance.saturating_add(parts).min(full);
            (more > balance).then_some(more)
        };
        // `Err` says that nothing is to be added.
        let _ = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes so many parts, or nothing.
    fn take(&self, parts: u64) -> bool {
        let less = |balance: u64| balance.checked_sub(parts);
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

// ===== impl Terms =====

impl Terms {
    const fn aws(cost: NonZeroU32) -> Self {
        Self {
            reserve: 500,
            part: 1,
            call: 0,
            first: 1,
            refunds: true,
            costs: [cost; Class::ALL.len()],
        }
    }

    /// So many wholes in parts.
    const fn parts(&self, wholes: u32) -> u64 {
        // Two numbers of 32 bits: this cannot overflow.
        wholes as u64 * self.part as u64
    }
}

fn place(class: Class) -> Option<usize> {
    Class::ALL.iter().position(|other| *other == class)
}
