//! What one call did so far, and where it may still go.

mod attempt;
mod choosing;
mod failing;

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use buttress_core::{Carry, Class, Completion, Ledger, Outcome, Tried};

use self::failing::Failures;
use crate::{
    FailoverEvent, Stop,
    set::{Member, now},
    snapshot::Snapshot,
    watch::{Follow, Watch},
};

/// Dropped before it was closed, it gives back what was paid for an attempt that was not made, writes
/// down what the failure that was kept had used, and says that the call was dropped.
pub(crate) struct Account<P, S, C, D, F> {
    pub(crate) snapshot: Arc<Snapshot<P, S, C, D, F>>,
    ledger: Option<Ledger>,
    deadline: Option<Instant>,
    /// The endpoints that were tried, passed over or ruled out.
    out: u128,
    attempts: u32,
    calls: u32,
    // Of the current attempt. Not a struct of their own, which would be made elsewhere and moved here.
    index: usize,
    episode: u32,
    /// Its endpoint counts it among those in flight.
    followed: bool,
    /// There was no other endpoint left when it was chosen.
    is_last: bool,
    closed: bool,
    began: Option<Instant>,
    variant: Option<Arc<str>>,
    // In a box of its own, so that a call that goes well is not moved about with room for it.
    failures: Option<Box<Failures>>,
}

/// The account of a call, which is opened when it is first polled: until then a future is moved about.
pub(crate) enum Opening<P, S, C, D, F> {
    Unopened(Unopened<P, S, C, D, F>),
    Open(Account<P, S, C, D, F>),
}

/// Dropped, it says that the call was.
#[expect(clippy::type_complexity, reason = "all that a failover is made of")]
pub(crate) struct Unopened<P, S, C, D, F>(Option<Arc<Snapshot<P, S, C, D, F>>>);

/// Whose result is delivered.
pub(crate) enum Whose {
    Nobodys,
    /// The endpoint's of the current attempt.
    Current,
    Earlier(Arc<str>),
}

// ===== impl Opening =====

impl<P, S, C, D, F> Opening<P, S, C, D, F> {
    #[inline]
    pub(crate) const fn new(snapshot: Arc<Snapshot<P, S, C, D, F>>) -> Self {
        Self::Unopened(Unopened(Some(snapshot)))
    }

    #[inline]
    pub(crate) fn open<Req>(&mut self, request: Option<&Req>) -> &mut Account<P, S, C, D, F>
    where
        P: Carry<Req>,
    {
        if let Self::Unopened(Unopened(snapshot)) = self
            && let Some(snapshot) = snapshot.take()
        {
            *self = Self::Open(Account::open(snapshot, request));
        }
        match self {
            Self::Open(account) => account,
            Self::Unopened(_) => unreachable!("it was opened"),
        }
    }
}

// ===== impl Unopened =====

impl<P, S, C, D, F> Drop for Unopened<P, S, C, D, F> {
    #[inline]
    fn drop(&mut self) {
        if let Some(snapshot) = self.0.take() {
            drop(Account::of(snapshot, None, None));
        }
    }
}

// ===== impl Account =====

impl<P, S, C, D, F> Account<P, S, C, D, F> {
    #[inline]
    fn open<Req>(snapshot: Arc<Snapshot<P, S, C, D, F>>, request: Option<&Req>) -> Self
    where
        P: Carry<Req>,
    {
        let info = request.map(|request| snapshot.config.protocol.info(request));
        let ledger = info.and_then(|info| info.ledger.clone());
        let deadline = info.and_then(|info| info.deadline);
        Self::of(snapshot, ledger, deadline)
    }

    #[inline]
    fn of(
        snapshot: Arc<Snapshot<P, S, C, D, F>>,
        ledger: Option<Ledger>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            ledger,
            deadline,
            snapshot,
            out: 0,
            attempts: 0,
            calls: 0,
            index: 0,
            episode: 0,
            followed: false,
            is_last: false,
            closed: false,
            began: None,
            variant: None,
            failures: None,
        }
    }

    #[inline]
    pub(crate) fn protocol(&self) -> &P {
        &self.snapshot.config.protocol
    }

    /// The endpoint of the current attempt.
    #[inline]
    fn member(&self) -> &Arc<Member> {
        &self.snapshot.set.members[self.index]
    }

    /// The name of the endpoint that is tried.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.member().info.name)
    }

    /// The endpoint answered well so far.
    #[inline]
    pub(crate) fn succeeded(&self) {
        if !self.snapshot.shared.uneasy.is_none() {
            self.recovered();
        }
    }

    #[cold]
    fn recovered(&self) {
        let cool = &self.member().cool;
        if cool.is_troubled() {
            cool.succeed(now(), self.episode);
        }
    }

    /// Who sees its reply break off.
    #[inline]
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(&self.snapshot.common, self.index, self.episode)
    }

    /// Who follows it to its end, if the strategy wants that.
    #[inline]
    pub(crate) fn follow(&mut self) -> Option<Completion<Follow>> {
        if !mem::take(&mut self.followed) {
            return None;
        }
        let began = self.began.unwrap_or_else(now);
        let stamp = self.snapshot.shared.draws.stamp(began);
        Some(Completion::new(Follow::new(self.watch(), began, stamp)))
    }

    /// The current attempt, as evidence.
    fn tried(&self, outcome: Outcome) -> Tried {
        let took = self.began.map(|began| now().duration_since(began));
        Tried::new(self.name(), outcome, took)
    }

    /// How many attempts the call took: with those of the retries inside, where the request carries a
    /// ledger in which these count too.
    #[inline]
    pub(crate) fn attempts(&self) -> u32 {
        match &self.ledger {
            Some(ledger) => ledger.attempts(),
            None => self.calls,
        }
    }

    /// Where the call went, if that is to be told. `delivered`: with the current attempt, whose
    /// response that is.
    #[inline]
    pub(crate) fn trail(&mut self, delivered: Option<&Outcome>) -> Option<Vec<Tried>> {
        if self.failures.is_none() && !self.snapshot.settings().always_tell {
            return None;
        }
        Some(self.whole_trail(delivered))
    }

    #[cold]
    fn whole_trail(&mut self, delivered: Option<&Outcome>) -> Vec<Tried> {
        let mut trail = self.failed_ones().to_vec();
        if let Some(outcome) = delivered {
            let tried = self.tried(*outcome);
            if let Some(ledger) = &self.ledger
                && !trail.is_empty()
            {
                ledger.tried(&tried);
            }
            trail.push(tried);
        }
        trail
    }

    /// Whether nobody wants to hear how a call goes that goes well at once.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.failures.is_none() && self.ledger.is_none() && self.snapshot.settings().is_quiet()
    }

    /// The call is over, and there is nothing to say of it.
    #[inline]
    pub(crate) const fn close_quietly(&mut self) {
        self.closed = true;
    }

    /// The call is over, with this result.
    #[inline]
    pub(crate) fn close(&mut self, outcome: &Outcome, delivered: &Whose, stop: Stop) {
        self.closed = true;
        if self.failures.is_some() {
            self.settle();
        }
        let settings = self.snapshot.settings();
        if let Some(budget) = &settings.budget
            && outcome.class == Class::Success
        {
            let spent = self.failures.as_mut().and_then(|f| f.spent());
            budget.succeeded(spent);
        }
        if settings.observer.is_some() {
            self.tell_done(*outcome, delivered, stop);
        }
    }

    #[inline(never)]
    fn tell_done(&self, outcome: Outcome, delivered: &Whose, stop: Stop) {
        let (endpoint, variant) = match delivered {
            Whose::Nobodys => (None, None),
            Whose::Earlier(name) => (Some(&**name), None),
            Whose::Current => (Some(&*self.member().info.name), self.variant.as_deref()),
        };
        self.snapshot.settings().tell(&FailoverEvent::Done {
            endpoint,
            variant,
            attempts: self.attempts,
            outcome: &outcome,
            failed: self.failed_ones(),
            stop,
        });
    }

    fn tell(&mut self, event: &FailoverEvent<'_>) {
        let snapshot = Arc::clone(&self.snapshot);
        self.quietly(|| snapshot.settings().tell(event));
    }

    /// An observer that panics is not called again for this call, least of all while it unwinds.
    fn quietly<T>(&mut self, tell: impl FnOnce() -> T) -> T {
        let closed = mem::replace(&mut self.closed, true);
        let told = tell();
        self.closed = closed;
        told
    }
}

impl<P, S, C, D, F> Drop for Account<P, S, C, D, F> {
    #[inline]
    fn drop(&mut self) {
        if !self.closed || self.followed || self.failures.is_some() {
            self.dropped();
        }
    }
}

impl<P, S, C, D, F> Account<P, S, C, D, F> {
    #[cold]
    fn dropped(&mut self) {
        if thread::panicking() {
            // A second panic while the first unwinds would end the process. The first is told.
            let _ = catch_unwind(AssertUnwindSafe(|| self.close_as_dropped()));
        } else {
            self.close_as_dropped();
        }
    }

    fn close_as_dropped(&mut self) {
        drop(self.follow());
        self.settle();
        if !self.closed {
            let cancelled = Outcome::new(Class::Cancelled);
            self.close(&cancelled, &Whose::Nobodys, Stop::Dropped);
        }
    }
}
