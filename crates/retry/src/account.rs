use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use buttress_core::{Carry, Class, Outcome, Replay, RetryBudget, Sent, Withdrawn};
use tokio::time;

use crate::{
    Backoff, Decide, RetryEvent, RetryLayer, Stop,
    course::{Bounds, Course},
};

/// What one call did so far, what it paid, and what it may still do.
///
/// Dropped before it was closed, it gives back what was paid for an attempt that was not made, and
/// says that the call was dropped.
pub(crate) struct Account<P, B: Backoff, U: RetryBudget, D> {
    config: Arc<RetryLayer<P, B, U, D>>,
    course: Course<B::Delays>,
    began: Option<Instant>,
    attempts: u32,
    waited: Duration,
    paid: Paid,
    /// A retry outside keeps the budget, not this one.
    nested: bool,
    closed: bool,
}

/// What the next attempt, or the current one, was paid with.
enum Paid {
    Nothing,
    /// It is yet to be made.
    Ahead(Withdrawn),
    Spent(Withdrawn),
}

// ===== impl Account =====

impl<P, B: Backoff, U: RetryBudget, D> Account<P, B, U, D> {
    /// A call begins, of which `stop` says why it is made once, if it is.
    pub(crate) fn open(config: &Arc<RetryLayer<P, B, U, D>>, stop: Option<Stop>) -> Self {
        let nested = stop == Some(Stop::Nested);
        if !nested {
            config.budget.deposit();
        }
        let began = match (config.settings.max_elapsed, stop) {
            (Some(_), None) => Some(now()),
            _ => None,
        };
        Self {
            config: Arc::clone(config),
            course: Course::new(),
            began,
            attempts: 0,
            waited: Duration::ZERO,
            paid: Paid::Nothing,
            nested,
            closed: false,
        }
    }

    pub(crate) fn protocol(&self) -> &P {
        &self.config.protocol
    }

    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// An attempt is made now.
    pub(crate) fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.paid = match mem::replace(&mut self.paid, Paid::Nothing) {
            Paid::Ahead(paid) => Paid::Spent(paid),
            // A free one: who succeeds in it gets back nothing.
            _ => Paid::Nothing,
        };
    }

    /// What to send again after an attempt that ended so, and after which wait; or why nothing.
    #[inline]
    pub(crate) fn again<Req>(
        &mut self,
        kept: &mut Result<Req, Stop>,
        outcome: &Outcome,
    ) -> Result<(Duration, Req), Stop>
    where
        P: Replay<Req> + Carry<Req>,
        D: Decide<Req>,
    {
        let decided = match kept {
            Ok(request) => self.config.decide.decide(request, outcome),
            Err(Stop::Attempts) => None,
            Err(stop) => return Err(*stop),
        };
        if !decided.unwrap_or_else(|| outcome.again()) {
            return Err(Stop::Settled);
        }
        self.plan(kept, *outcome)
    }

    // By value, here and below: an outcome that nobody points to need not be in memory, and most
    // calls go well.
    #[cold]
    fn plan<Req>(
        &mut self,
        kept: &mut Result<Req, Stop>,
        outcome: Outcome,
    ) -> Result<(Duration, Req), Stop>
    where
        P: Replay<Req> + Carry<Req>,
    {
        let config = &*self.config;
        let protocol = &config.protocol;
        let request = kept.as_ref().map_err(|stop| *stop)?;
        if !protocol.whole(request) {
            return Err(Stop::NotCopied);
        }
        if outcome.sent != Sent::No && !protocol.safe(request) {
            return Err(Stop::Unsafe);
        }
        let wait = self
            .course
            .wait(&config.backoff, &outcome, || config.draw())?;
        let info = protocol.info(request);
        let elapsed = match (self.began, config.settings.max_elapsed) {
            (Some(began), Some(time)) => began.checked_add(time),
            _ => None,
        };
        let deadline = info.deadline;
        let bounds = Bounds { elapsed, deadline };
        if bounds.any() {
            bounds.allow(wait.delay, now())?;
        }
        let mut info = info.clone();
        info.attempt = info.attempt.saturating_add(self.attempts);
        info.retried = true;
        // Last of all, so that nothing is paid for an attempt that something else forbids.
        if !wait.free {
            let paid = config.budget.withdraw(outcome.class);
            self.paid = Paid::Ahead(paid.ok_or(Stop::Budget)?);
        }
        let last = self.attempts.saturating_add(1) >= config.settings.max_attempts.get();
        let next = match last {
            true => mem::replace(kept, Err(Stop::Attempts)).ok(),
            false => protocol.copy(request),
        };
        let Some(mut next) = next else {
            self.give_back();
            return Err(Stop::NotCopied);
        };
        protocol.set_info(&mut next, info);
        Ok((wait.delay, next))
    }

    /// An attempt was given up, and the wait for the `next` begins.
    #[cold]
    pub(crate) fn wait<Req>(&mut self, next: &Req, outcome: Outcome, delay: Duration)
    where
        P: Carry<Req>,
    {
        if let Some(ledger) = &self.protocol().info(next).ledger {
            ledger.add(&outcome);
        }
        self.waited = self.waited.saturating_add(delay);
        self.tell(&RetryEvent::Again {
            attempt: self.attempts,
            outcome: &outcome,
            delay,
        });
    }

    /// The call is over.
    pub(crate) fn close(&mut self, outcome: &Outcome, stop: Stop) {
        self.closed = true;
        self.give_back();
        if outcome.class == Class::Success && !self.nested {
            let paid = match mem::replace(&mut self.paid, Paid::Nothing) {
                Paid::Spent(paid) => Some(paid),
                _ => None,
            };
            self.config.budget.succeeded(paid);
        }
        if self.config.settings.observer.is_some() {
            self.tell_done(*outcome, stop);
        }
    }

    #[inline(never)]
    fn tell_done(&mut self, outcome: Outcome, stop: Stop) {
        self.tell(&RetryEvent::Done {
            attempts: self.attempts,
            outcome: &outcome,
            waited: self.waited,
            stop,
        });
    }

    fn give_back(&mut self) {
        if let Paid::Ahead(_) = self.paid
            && let Paid::Ahead(paid) = mem::replace(&mut self.paid, Paid::Nothing)
        {
            self.config.budget.unspent(paid);
        }
    }

    fn tell(&mut self, event: &RetryEvent<'_>) {
        if let Some(observer) = &self.config.settings.observer {
            // One that panics is not called again for this call, least of all while it unwinds.
            let closed = mem::replace(&mut self.closed, true);
            observer(event);
            self.closed = closed;
        }
    }
}

impl<P, B: Backoff, U: RetryBudget, D> Drop for Account<P, B, U, D> {
    #[inline]
    fn drop(&mut self) {
        if !self.closed || matches!(self.paid, Paid::Ahead(_)) {
            self.dropped();
        }
    }
}

impl<P, B: Backoff, U: RetryBudget, D> Account<P, B, U, D> {
    #[cold]
    fn dropped(&mut self) {
        let mut close = || {
            self.give_back();
            if !self.closed {
                self.close(&Outcome::new(Class::Cancelled), Stop::Dropped);
            }
        };
        if thread::panicking() {
            // A second panic while the first unwinds would end the process. The first is told.
            let _ = catch_unwind(AssertUnwindSafe(close));
        } else {
            close();
        }
    }
}

// ===== impl RetryLayer =====

impl<P, B, U, D> RetryLayer<P, B, U, D> {
    /// A seed for one call.
    fn draw(&self) -> u64 {
        // Odd, so that no two of 2^64 are the same; the number of the golden ratio, as splitmix64.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let number = self.settings.drawn.fetch_add(1, Ordering::Relaxed);
        self.settings.seed.wrapping_add(number.wrapping_mul(STEP))
    }
}

fn now() -> Instant {
    time::Instant::now().into_std()
}
