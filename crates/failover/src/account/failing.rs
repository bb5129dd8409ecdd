//! What comes after an attempt that failed.

use std::{mem, sync::Arc};

use buttress_core::{Class, Classify, Outcome, Replay, Sent, Trail, Tried, Withdrawn};

use super::Account;
use crate::{Decide, FailoverEvent, Fallback, Info, Next, Stop, set::now};

/// What a call needs that has failed once.
#[derive(Default)]
pub(super) struct Failures {
    tried: Vec<Tried>,
    /// What was ruled out, for endpoints that are added meanwhile.
    pub(super) rules: Vec<(Next, Info)>,
    /// The first real failure, which is the answer if nothing else is.
    held: Option<Outcome>,
    paid: Paid,
}

/// What the next attempt, or the current one, was paid with.
#[derive(Default)]
enum Paid {
    #[default]
    Nothing,
    /// It is yet to be made.
    Ahead(Withdrawn),
    Spent(Withdrawn),
}

// ===== impl Account =====

impl<P, S, C, D, F> Account<P, S, C, D, F> {
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
        if let Some(mut follow) = self.follow() {
            follow.complete(outcome);
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
        let variant = self.variant.clone();
        self.tell(&FailoverEvent::Failed {
            tried: &tried,
            variant: variant.as_deref(),
        });
    }

    fn failures(&mut self) -> &mut Failures {
        self.failures.get_or_insert_default()
    }

    pub(super) fn failed_ones(&self) -> &[Tried] {
        self.failures
            .as_deref()
            .map_or(&[], |failures| &failures.tried)
    }

    fn cool_down(&mut self, outcome: &Outcome) {
        let snapshot = Arc::clone(&self.snapshot);
        let members = &snapshot.set.members;
        let failed = &members[self.index];
        let credential = failed.info.credential();
        // What is one failure here is one wherever else it counts.
        let behind = failed.cool.episode().wrapping_sub(self.episode);
        for (index, member) in members.iter().enumerate() {
            let episode = match index == self.index {
                true => self.episode,
                false => member.cool.episode().wrapping_sub(behind),
            };
            let concerned = match outcome.class {
                // The credential is refused, wherever it is sent from; but if nobody says whose it is,
                // it may be the caller's own.
                Class::Denied => credential.is_some() && member.info.credential() == credential,
                _ => index == self.index,
            };
            if concerned {
                self.quietly(|| snapshot.settings().cool_down(member, outcome, episode));
            }
        }
    }

    fn next<Req>(&mut self, kept: Option<&Req>, outcome: &Outcome) -> Result<(), Stop>
    where
        P: Replay<Req>,
        D: Decide<Req>,
    {
        let (settings, config) = (self.snapshot.settings(), &self.snapshot.config);
        let failed = &self.snapshot.set.members[self.index].info;
        let decided = kept.and_then(|request| config.decide.decide(request, outcome, failed));
        let next = decided.unwrap_or_else(|| Next::by_outcome(outcome, settings.on_unfit));
        if next == Next::Nowhere {
            return Err(Stop::Settled);
        }
        for (index, member) in self.snapshot.set.members.iter().enumerate() {
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
        if outcome.sent != Sent::No && !config.protocol.safe(request) {
            return Err(Stop::Unsafe);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now()) {
            return Err(Stop::Deadline);
        }
        // Last of all, so that nothing is paid for an attempt that something else forbids.
        if let Some(budget) = &settings.budget
            && outcome.sent != Sent::No
        {
            let paid = budget.withdraw(outcome.class).ok_or(Stop::Budget)?;
            self.failures().paid = Paid::Ahead(paid);
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

    /// What is due however the call ends.
    #[cold]
    pub(super) fn settle(&mut self) {
        let Some(failures) = &mut self.failures else {
            return;
        };
        if let Some(held) = failures.held.take() {
            self.give_up(&held);
        }
        if let Some(failures) = &mut self.failures
            && let Paid::Ahead(_) = failures.paid
            && let Paid::Ahead(paid) = mem::take(&mut failures.paid)
            && let Some(budget) = &self.snapshot.settings().budget
        {
            budget.unspent(paid);
        }
    }
}

// ===== impl Failures =====

impl Failures {
    /// What was paid for the next attempt is spent: it is made now.
    pub(super) fn spend(&mut self) {
        self.paid = match mem::take(&mut self.paid) {
            Paid::Ahead(paid) => Paid::Spent(paid),
            _ => Paid::Nothing,
        };
    }

    /// What was paid for the current attempt.
    pub(super) fn spent(&mut self) -> Option<Withdrawn> {
        match mem::take(&mut self.paid) {
            Paid::Spent(paid) => Some(paid),
            _ => None,
        }
    }
}
