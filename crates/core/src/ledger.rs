use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::{Money, Outcome, Tried, Usage};

/// What the attempts of a call used that were given up, and how many attempts there were.
///
/// A failed attempt, a hedge that lost and the first part of a resumed stream may all have been
/// billed, and none of them is the attempt whose outcome the caller's layers hear. Whoever gives
/// an attempt up [adds](Ledger::add) its outcome to the ledger that the request
/// [carries](crate::CallInfo::ledger); whoever needs the sum opens a ledger of its own
/// [under](Ledger::under) that one before it calls, and asks for the [total](Ledger::total) when
/// its own report comes. What is added to a ledger counts in all that it was opened under.
///
/// This is a handle, and not a sum on the way out with the response, because the sum has to be
/// right also when the last attempt ends in an error, which is nobody's to change, or when the
/// caller goes away before there is any result.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Ledger, Money, Outcome, Usage};
///
/// let ledger = Ledger::new();
/// let failed = Outcome::new(Class::Unavailable);
/// ledger.add(&failed.with_usage(Usage::new(10, 0)).with_cost(Money::from_pico(30)));
///
/// let last = Outcome::SUCCESS.with_usage(Usage::new(10, 5)).with_cost(Money::from_pico(50));
/// let total = ledger.total(&last);
/// assert_eq!(total.usage, Some(Usage::new(20, 5)));
/// assert_eq!(total.cost, Some(Money::from_pico(80)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    page: Arc<Page>,
}

#[derive(Debug, Default)]
struct Page {
    under: Option<Ledger>,
    // So that a call all of whose attempts were delivered takes no lock.
    written: AtomicBool,
    // Attempts after the first.
    more: AtomicU32,
    spent: Mutex<Spent>,
    trail: Mutex<Vec<Tried>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    usage: Option<Usage>,
    cost: Option<Money>,
    // An attempt may have used tokens that it did not tell of.
    untold: bool,
    // An attempt was billed for tokens whose price is not known.
    unpriced: bool,
}

// ===== impl Ledger =====

impl Ledger {
    /// How many endpoints that were [tried](Ledger::tried) it keeps.
    pub const MAX_TRAIL: usize = 64;

    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty ledger, whose entries count in `parent` as well.
    #[must_use]
    pub fn under(parent: Option<&Self>) -> Self {
        Self {
            page: Arc::new(Page {
                under: parent.cloned(),
                ..Page::default()
            }),
        }
    }

    /// An attempt was given up, and this is what was known of it.
    pub fn add(&self, outcome: &Outcome) {
        self.write(Spent::of(outcome));
    }

    /// A call is made once more for the same request: a retry, a hedge, another endpoint.
    pub fn another(&self) {
        self.more(1);
    }

    /// How many attempts the call took so far: one, and those that were made
    /// [on top](Ledger::another). A caller that puts its own ledger into a request can ask it when
    /// the call is over, however that ended.
    ///
    /// ```
    /// use buttress_core::Ledger;
    ///
    /// let mine = Ledger::new();
    /// Ledger::under(Some(&mine)).another(); // a retry, below a layer with a ledger of its own
    /// assert_eq!(mine.attempts(), 2);
    /// ```
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.page.more.load(Ordering::Relaxed).saturating_add(1)
    }

    /// An endpoint was tried for the call: whoever chooses among endpoints says so when it goes on to
    /// another, and when one was delivered after others had failed. Beyond
    /// [`MAX_TRAIL`](Ledger::MAX_TRAIL) nothing more is kept.
    pub fn tried(&self, tried: &Tried) {
        let mut next = Some(self);
        while let Some(Self { page }) = next {
            let mut trail = page.trail.lock().unwrap_or_else(PoisonError::into_inner);
            if trail.len() < Self::MAX_TRAIL {
                trail.push(tried.clone());
            }
            drop(trail);
            next = page.under.as_ref();
        }
    }

    /// Which endpoints were tried, in their order. Empty where none was chosen, or where the first
    /// choice served.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_core::{Class, Ledger, Outcome, Tried};
    ///
    /// let mine = Ledger::new();
    /// let failed = Tried::new("east", Outcome::new(Class::Unavailable), Duration::ZERO);
    /// Ledger::under(Some(&mine)).tried(&failed); // a failover, below a layer with its own ledger
    /// assert_eq!(mine.trail(), [failed]);
    /// ```
    #[must_use]
    pub fn trail(&self) -> Vec<Tried> {
        let trail = &self.page.trail;
        trail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what was written into another ledger: that of a call that several callers
    /// shared, for which this one pays.
    pub fn absorb(&self, shared: &Self) {
        self.more(shared.page.more.load(Ordering::Relaxed));
        for tried in shared.trail() {
            self.tried(&tried);
        }
        if shared.page.written.load(Ordering::Acquire) {
            self.write(shared.read());
        }
    }

    /// The outcome of the last attempt, with the usage and the cost of all of them.
    ///
    /// The usage is exact if every attempt told what it used, or certainly used nothing. The cost
    /// is known if the price of everything billed is.
    #[must_use]
    pub fn total(&self, last: &Outcome) -> Outcome {
        if !self.page.written.load(Ordering::Acquire) {
            return *last;
        }
        let spent = self.read().plus(Spent::of(last));
        let usage = spent.usage.map(|usage| Usage {
            exact: usage.exact && !spent.untold,
            ..usage
        });
        let cost = spent.cost.filter(|_| !spent.unpriced);
        Outcome {
            usage,
            cost,
            ..*last
        }
    }

    fn more(&self, attempts: u32) {
        let mut next = (attempts > 0).then_some(self);
        while let Some(Self { page }) = next {
            page.more.fetch_add(attempts, Ordering::Relaxed);
            next = page.under.as_ref();
        }
    }

    fn read(&self) -> Spent {
        *self
            .page
            .spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, more: Spent) {
        let mut next = Some(self);
        while let Some(Self { page }) = next {
            let mut spent = page.spent.lock().unwrap_or_else(PoisonError::into_inner);
            *spent = spent.plus(more);
            drop(spent);
            page.written.store(true, Ordering::Release);
            next = page.under.as_ref();
        }
    }
}

// ===== impl Spent =====

impl Spent {
    fn of(outcome: &Outcome) -> Self {
        let Outcome { usage, cost, .. } = *outcome;
        Self {
            usage,
            cost,
            untold: usage.is_none() && !outcome.unused(),
            unpriced: cost.is_none()
                && usage.is_some_and(|usage| usage.billed && usage.total() > 0),
        }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            usage: match (self.usage, more.usage) {
                (Some(sum), Some(more)) => Some(sum.plus(more)),
                (sum, more) => sum.or(more),
            },
            cost: match (self.cost, more.cost) {
                (Some(sum), Some(more)) => Some(sum + more),
                (sum, more) => sum.or(more),
            },
            untold: self.untold || more.untold,
            unpriced: self.unpriced || more.unpriced,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Ledger;
    use crate::{Class, Money, Outcome, Tried, Usage};

    fn used(class: Class, tokens: u64) -> Outcome {
        let cost = Money::from_pico(u128::from(tokens) * 3);
        Outcome::new(class)
            .with_usage(Usage::new(tokens, 0))
            .with_cost(cost)
    }

    #[test]
    fn what_is_added_counts_in_every_ledger_above_and_in_none_beside() {
        let outer = Ledger::new();
        let (one, other) = (Ledger::under(Some(&outer)), Ledger::under(Some(&outer)));
        one.add(&used(Class::Unavailable, 1));
        other.add(&used(Class::Interrupted, 10));
        let last = used(Class::Success, 100);
        assert_eq!(one.total(&last).usage, Some(Usage::new(101, 0)));
        assert_eq!(other.total(&last).usage, Some(Usage::new(110, 0)));
        assert_eq!(outer.total(&last).usage, Some(Usage::new(111, 0)));
        assert_eq!(outer.total(&last).cost, Some(Money::from_pico(333)));
    }

    #[test]
    fn attempts_count_in_every_ledger_above_and_for_who_pays() {
        let (outer, payer) = (Ledger::new(), Ledger::new());
        let inner = Ledger::under(Some(&outer));
        assert_eq!((inner.attempts(), outer.attempts()), (1, 1));
        inner.another();
        inner.another();
        payer.absorb(&inner);
        assert_eq!(
            (inner.attempts(), outer.attempts(), payer.attempts()),
            (3, 3, 3)
        );
    }

    #[test]
    fn endpoints_tried_are_kept_in_every_ledger_above_and_no_more_than_the_bound() {
        let outer = Ledger::new();
        let inner = Ledger::under(Some(&outer));
        let tried = |name: String| Tried::new(name, Outcome::SUCCESS, Duration::ZERO);
        for i in 0..2 * Ledger::MAX_TRAIL {
            inner.tried(&tried(i.to_string()));
        }
        assert_eq!(outer.trail(), inner.trail());
        assert_eq!(outer.trail().len(), Ledger::MAX_TRAIL);
        assert_eq!(outer.trail()[1], tried("1".into()));
        let payer = Ledger::new();
        payer.absorb(&inner);
        assert_eq!(payer.trail(), inner.trail());
    }

    #[test]
    fn a_sum_is_exact_only_if_every_attempt_told_what_it_used() {
        let ledger = Ledger::new();
        ledger.add(&Outcome::new(Class::Throttled));
        assert_eq!(
            ledger.total(&used(Class::Success, 5)),
            used(Class::Success, 5)
        );
        ledger.add(&Outcome::new(Class::Unavailable));
        let total = ledger.total(&used(Class::Success, 5));
        assert_eq!(total.usage, Some(Usage::new(5, 0).estimated()));
        assert_eq!(total.cost, Some(Money::from_pico(15)));
    }

    #[test]
    fn a_cost_is_unknown_if_one_price_is() {
        let ledger = Ledger::new();
        ledger.add(&Outcome::new(Class::Unavailable).with_usage(Usage::new(7, 0)));
        let total = ledger.total(&used(Class::Success, 5));
        assert_eq!((total.usage, total.cost), (Some(Usage::new(12, 0)), None));
    }

    #[test]
    fn the_callers_departure_leaves_what_was_spent() {
        let ledger = Ledger::new();
        ledger.add(&used(Class::Unavailable, 7));
        let total = ledger.total(&Outcome::new(Class::Cancelled));
        assert_eq!(total.class, Class::Cancelled);
        assert_eq!(
            total.usage,
            Some(Usage::new(7, 0).estimated()),
            "the last may have used more"
        );
    }
}
