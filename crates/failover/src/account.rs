//! What one call did so far, and where it may still go.

mod choosing;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use buttress_core::{
    Carry, Class, Classify, Completion, Ledger, Outcome, Replay, Sent, Trail, Tried, Withdrawn,
};

use crate::{
    Decide, FailoverEvent, Fallback, Info, Next, Stop, Strategy, service::Snapshot, set::now,
    watch::Watch,
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
    at: Attempt,
    watch: Option<Completion<Watch>>,
    paid: Paid,
    closed: bool,
    // In a box of its own, so that a call that goes well is not moved about with room for it.
    failures: Option<Box<Failures>>,
}

/// What a call needs that has failed once.
#[derive(Default)]
struct Failures {
    tried: Vec<Tried>,
    /// What was ruled out, for endpoints that are added meanwhile.
    rules: Vec<(Next, Info)>,
    /// The first real failure, which is the answer if nothing else is.
    held: Option<Outcome>,
}

/// One attempt.
#[derive(Default)]
struct Attempt {
    index: usize,
    variant: Option<Arc<str>>,
    episode: u32,
    began: Option<Instant>,
}

/// What the next attempt, or the current one, was paid with.
enum Paid {
    Nothing,
    /// It is yet to be made.
    Ahead(Withdrawn),
    Spent(Withdrawn),
}

/// Whose result is delivered.
pub(crate) enum Whose {
    Nobodys,
    /// The endpoint's of the current attempt.
    Current,
    Earlier(Arc<str>),
}

// ===== impl Account =====

impl<P, S, C, D, F> Account<P, S, C, D, F> {
    #[inline]
    pub(crate) fn open<Req>(snapshot: Arc<Snapshot<P, S, C, D, F>>, request: &Req) -> Self
    where
        P: Carry<Req>,
    {
        let config = &*snapshot.config;
        let info = config.protocol.info(request);
        if let Some(budget) = &config.settings.budget {
            budget.deposit();
        }
        Self {
            ledger: info.ledger.clone(),
            deadline: info.deadline,
            snapshot,
            out: 0,
            attempts: 0,
            calls: 0,
            at: Attempt::default(),
            watch: None,
            paid: Paid::Nothing,
            closed: false,
            failures: None,
        }
    }

    pub(crate) fn protocol(&self) -> &P {
        &self.snapshot.config.protocol
    }

    /// For how long the endpoint that was chosen may take to become ready.
    pub(crate) fn patience(&mut self) -> Duration {
        let within = self.snapshot.config.settings.ready_within;
        let now = *self.at.began.insert(now());
        match self.deadline {
            Some(deadline) => within.min(deadline.saturating_duration_since(now)),
            None => within,
        }
    }

    /// Whether the endpoint that was chosen is still to be called, now that it is ready: while it was
    /// waited for, it may have been removed.
    pub(crate) fn is_wanted(&self) -> bool {
        self.snapshot.set.members[self.at.index].weight() > 0
    }

    /// The endpoint that was chosen was not ready in time.
    pub(crate) fn pass(&mut self) -> Result<(), Stop> {
        let now = now();
        let waited = self.at.began.map(|began| now.duration_since(began));
        let set = Arc::clone(&self.snapshot.set);
        self.tell(&FailoverEvent::Passed {
            endpoint: &set.members[self.at.index].info.name,
            waited: waited.unwrap_or_default(),
        });
        match self.deadline {
            Some(deadline) if deadline <= now => Err(Stop::Deadline),
            _ => Ok(()),
        }
    }

    /// What is sent to the endpoint that was chosen: a copy, as long as the request may be needed
    /// again.
    #[inline]
    pub(crate) fn take<Req>(&mut self, kept: &mut Option<Req>, fallback: bool) -> Option<Req>
    where
        P: Replay<Req> + Carry<Req>,
    {
        let protocol = &self.snapshot.config.protocol;
        let copy = match fallback || self.goes_on() {
            true => kept.as_ref().and_then(|request| protocol.copy(request)),
            false => None,
        };
        let mut request = match copy {
            Some(copy) => copy,
            None => kept.take()?,
        };
        if self.calls > 0 {
            let mut info = protocol.info(&request).clone();
            info.attempt = info.attempt.saturating_add(self.calls);
            protocol.set_info(&mut request, info);
            if let Some(ledger) = &self.ledger {
                ledger.another();
            }
        }
        Some(request)
    }

    /// Whether there could be another attempt after the one that is about to be made.
    fn goes_on(&self) -> bool {
        let settings = &self.snapshot.config.settings;
        self.attempts + 1 < settings.max_attempts.get() && self.is_any_left()
    }

    /// Whether there is an endpoint that was not tried, passed over or ruled out.
    fn is_any_left(&self) -> bool {
        let mut members = self.snapshot.set.members.iter().enumerate();
        members.any(|(index, member)| self.out >> index & 1 == 0 && member.weight() > 0)
    }

    /// An attempt is made now.
    #[inline]
    pub(crate) fn begin(&mut self, follows: bool) {
        let Snapshot {
            set,
            shared,
            config,
        } = &*self.snapshot;
        let member = &set.members[self.at.index];
        self.attempts += 1;
        self.calls += 1;
        self.at.began = None;
        self.at.episode = member.cool.episode();
        if follows {
            let now = *self.at.began.insert(now());
            let stamp = shared.draws.stamp(now);
            let watch = Watch::begin(member, &config.settings, now, stamp);
            self.watch = Some(Completion::new(watch));
        }
        self.paid = match mem::replace(&mut self.paid, Paid::Nothing) {
            Paid::Ahead(paid) => Paid::Spent(paid),
            _ => Paid::Nothing,
        };
    }

    /// It does not end at once. Only from here on does it take time: a call that ends at once needs no
    /// clock.
    #[inline]
    pub(crate) fn waits(&mut self) {
        if self.at.began.is_none() {
            self.at.began = Some(now());
        }
    }

    pub(crate) fn follows<Req>(&self) -> bool
    where
        C: Strategy<Req>,
    {
        self.snapshot.config.strategy.follows()
    }

    /// The endpoint that was chosen failed while it became ready: an attempt without a call.
    pub(crate) fn broke(&mut self) {
        self.attempts += 1;
        self.at.episode = self.snapshot.set.members[self.at.index].cool.episode();
    }

    /// The name of the endpoint that is tried.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.snapshot.set.members[self.at.index].info.name)
    }

    pub(crate) fn watch(&mut self) -> Option<Completion<Watch>> {
        self.watch.take()
    }

    /// The endpoint answered well so far.
    #[inline]
    pub(crate) fn succeeded(&self) {
        let member = &self.snapshot.set.members[self.at.index];
        if member.cool.is_troubled() {
            member.cool.succeed(now(), self.at.episode);
        }
    }

    /// The attempt is over, and failed: what comes next, if anything does.
    #[cold]
    pub(crate) fn failed<Req, Res, E>(
        &mut self,
        kept: Option<&Req>,
        result: Result<&Res, &E>,
        outcome: &Outcome,
    ) -> Result<(), Stop>
    where
        P: Classify<Res, E> + Replay<Req>,
        D: Decide<Req>,
    {
        if let Some(mut watch) = self.watch.take() {
            watch.complete(outcome);
        }
        self.write_down(result, outcome);
        self.cool_down(outcome);
        self.next(kept, outcome)
    }

    fn write_down<Res, E>(&mut self, result: Result<&Res, &E>, outcome: &Outcome)
    where
        P: Classify<Res, E>,
    {
        let mut tried = self.tried(*outcome);
        if let Some(error) = self.protocol().describe(result) {
            tried = tried.with_error(error);
        }
        if let Some(ledger) = &self.ledger {
            ledger.tried(&tried);
        }
        self.failures().tried.push(tried.clone());
        let variant = self.at.variant.clone();
        self.tell(&FailoverEvent::Failed {
            tried: &tried,
            variant: variant.as_deref(),
        });
    }

    fn failures(&mut self) -> &mut Failures {
        self.failures.get_or_insert_default()
    }

    fn failed_ones(&self) -> &[Tried] {
        self.failures
            .as_deref()
            .map_or(&[], |failures| &failures.tried)
    }

    /// The current attempt, as evidence.
    fn tried(&self, outcome: Outcome) -> Tried {
        let name = self.name();
        let took = self.at.began.map(|began| now().duration_since(began));
        Tried::new(name, outcome, took.unwrap_or_default())
    }

    fn cool_down(&mut self, outcome: &Outcome) {
        let snapshot = Arc::clone(&self.snapshot);
        let (set, config) = (&snapshot.set, &snapshot.config);
        let failed = &set.members[self.at.index];
        let credential = failed.info.credential();
        // What is one failure here is one wherever else it counts.
        let behind = failed.cool.episode().wrapping_sub(self.at.episode);
        for (index, member) in set.members.iter().enumerate() {
            let episode = match index == self.at.index {
                true => self.at.episode,
                false => member.cool.episode().wrapping_sub(behind),
            };
            let concerned = match outcome.class {
                // The credential is refused, wherever it is sent from; but if nobody says whose it is,
                // it may be the caller's own.
                Class::Denied => credential.is_some() && member.info.credential() == credential,
                _ => index == self.at.index,
            };
            if concerned
                && self.quietly(|| config.settings.cool_down(member, outcome, episode))
                && let Some(check) = &config.check
            {
                check.begin(
                    Arc::clone(member),
                    &set.services[index],
                    &snapshot.shared,
                    &config.settings,
                );
            }
        }
    }

    fn next<Req>(&mut self, kept: Option<&Req>, outcome: &Outcome) -> Result<(), Stop>
    where
        P: Replay<Req>,
        D: Decide<Req>,
    {
        let Snapshot { set, config, .. } = &*self.snapshot;
        let (settings, failed) = (&config.settings, &set.members[self.at.index].info);
        let decided = kept.and_then(|request| config.decide.decide(request, outcome, failed));
        let next = decided.unwrap_or_else(|| Next::by_outcome(outcome, settings.on_unfit));
        if next == Next::Nowhere {
            return Err(Stop::Settled);
        }
        for (index, member) in set.members.iter().enumerate() {
            if next.rules_out(failed, &member.info) {
                self.out |= 1 << index;
            }
        }
        if matches!(next, Next::OtherCredential | Next::LargerContext) {
            let rule = (next, failed.clone());
            self.failures.get_or_insert_default().rules.push(rule);
        }
        if !self.is_any_left() && !self.is_outdated() {
            return Err(Stop::Spent);
        }
        if self.attempts >= settings.max_attempts.get() {
            return Err(Stop::Attempts);
        }
        let request = kept.ok_or(Stop::NotCopied)?;
        if !config.protocol.whole(request) {
            return Err(Stop::NotCopied);
        }
        if outcome.sent == Sent::Maybe && !config.protocol.safe(request) {
            return Err(Stop::Unsafe);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now()) {
            return Err(Stop::Deadline);
        }
        // Last of all, so that nothing is paid for an attempt that something else forbids.
        if let Some(budget) = &settings.budget
            && outcome.sent == Sent::Maybe
        {
            let paid = budget.withdraw(outcome.class).ok_or(Stop::Budget)?;
            self.paid = Paid::Ahead(paid);
        }
        Ok(())
    }

    /// What the fallback answers, if there is one.
    pub(crate) fn fall_back<Req, Res, E>(&mut self, request: Req) -> Option<F::Answer>
    where
        F: Fallback<Req, Res, E>,
    {
        let trail = Trail::new(self.failed_ones().to_vec());
        let snapshot = Arc::clone(&self.snapshot);
        snapshot.config.fallback.answer(request, trail)
    }

    /// A failure is kept, to be the answer if nothing else is.
    pub(crate) fn hold(&mut self, outcome: Outcome) {
        if let Some(before) = self.failures().held.replace(outcome) {
            self.give_up(&before);
        }
    }

    /// What is kept is the answer.
    pub(crate) fn release(&mut self) {
        self.failures().held = None;
    }

    /// A failure is not the answer, whatever is.
    pub(crate) fn give_up(&self, outcome: &Outcome) {
        if let Some(ledger) = &self.ledger {
            ledger.add(outcome);
        }
    }

    /// How many attempts the call took: with those of the retries inside, where the request carries a
    /// ledger in which these count too.
    pub(crate) fn attempts(&self) -> u32 {
        match &self.ledger {
            Some(ledger) => ledger.attempts(),
            None => self.calls,
        }
    }

    /// Where the call went, if that is to be told. `whole`: with the current attempt, which is
    /// delivered.
    #[inline]
    pub(crate) fn trail(&mut self, delivered: Option<&Outcome>) -> Option<Vec<Tried>> {
        if self.failures.is_none() && !self.snapshot.config.settings.always_tell {
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

    /// The call is over, with this result.
    #[inline]
    pub(crate) fn close(&mut self, outcome: &Outcome, delivered: &Whose, stop: Stop) {
        self.closed = true;
        self.settle();
        if let Some(budget) = &self.snapshot.config.settings.budget
            && outcome.class == Class::Success
        {
            budget.succeeded(match mem::replace(&mut self.paid, Paid::Nothing) {
                Paid::Spent(paid) => Some(paid),
                _ => None,
            });
        }
        if self.snapshot.config.settings.observer.is_some() {
            self.tell_done(*outcome, delivered, stop);
        }
    }

    /// What is due however the call ends.
    #[inline]
    fn settle(&mut self) {
        if let Some(failures) = &mut self.failures
            && let Some(held) = failures.held.take()
        {
            self.give_up(&held);
        }
        if let Paid::Ahead(_) = self.paid
            && let Paid::Ahead(paid) = mem::replace(&mut self.paid, Paid::Nothing)
            && let Some(budget) = &self.snapshot.config.settings.budget
        {
            budget.unspent(paid);
        }
    }

    #[inline(never)]
    fn tell_done(&self, outcome: Outcome, delivered: &Whose, stop: Stop) {
        let snapshot = &*self.snapshot;
        let (endpoint, variant) = match delivered {
            Whose::Nobodys => (None, None),
            Whose::Earlier(name) => (Some(&**name), None),
            Whose::Current => (
                Some(&*snapshot.set.members[self.at.index].info.name),
                self.at.variant.as_deref(),
            ),
        };
        snapshot.config.settings.tell(&FailoverEvent::Done {
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
        self.quietly(|| snapshot.config.settings.tell(event));
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
        self.settle();
        if !self.closed {
            self.close(
                &Outcome::new(Class::Cancelled),
                &Whose::Nobodys,
                Stop::Dropped,
            );
        }
    }
}
