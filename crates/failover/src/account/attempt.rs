//! One attempt, from the choice of its endpoint to its reply.

use std::{sync::Arc, time::Duration};

use buttress_core::{Carry, Replay};

use super::Account;
use crate::{FailoverEvent, Stop, Strategy, set::now};

// ===== impl Account =====

impl<P, S, C, D, F> Account<P, S, C, D, F> {
    /// For how long the endpoint that was chosen may take to become ready.
    pub(crate) fn patience(&mut self) -> Duration {
        let within = self.snapshot.settings().ready_within;
        let now = *self.began.insert(now());
        match self.deadline {
            Some(deadline) => within.min(deadline.saturating_duration_since(now)),
            None => within,
        }
    }

    /// Whether the endpoint that was chosen is still to be called, now that it is ready: while it was
    /// waited for, it may have been removed.
    pub(crate) fn is_wanted(&mut self) -> bool {
        self.is_last = !self.is_any_left();
        self.member().weight() > 0
    }

    /// The endpoint that was chosen was not ready in time.
    pub(crate) fn pass(&mut self) -> Result<(), Stop> {
        let now = now();
        let waited = self.began.map(|began| now.duration_since(began));
        let member = Arc::clone(self.member());
        self.tell(&FailoverEvent::Passed {
            endpoint: &member.info.name,
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
            self.count_on(&mut request);
        }
        Some(request)
    }

    #[cold]
    fn count_on<Req>(&self, request: &mut Req)
    where
        P: Carry<Req>,
    {
        let protocol = self.protocol();
        let mut info = protocol.info(request).clone();
        info.attempt = info.attempt.saturating_add(self.calls);
        protocol.set_info(request, info);
        if let Some(ledger) = &self.ledger {
            ledger.another();
        }
    }

    /// Whether there could be another attempt after the one that is about to be made.
    #[inline]
    fn goes_on(&self) -> bool {
        !self.is_last && self.attempts + 1 < self.snapshot.settings().max_attempts.get()
    }

    /// An attempt is made now.
    #[inline]
    pub(crate) fn begin<Req>(&mut self)
    where
        C: Strategy<Req>,
    {
        let member = self.member();
        let episode = member.cool.episode();
        let follows = self.snapshot.config.strategy.follows();
        if follows {
            member.load.begin();
        }
        self.attempts += 1;
        self.calls += 1;
        self.began = follows.then(now);
        self.followed = follows;
        self.episode = episode;
        if let Some(failures) = &mut self.failures {
            failures.spend();
        }
    }

    /// It does not end at once. Only from here on does it take time: a call that ends at once needs no
    /// clock.
    #[inline]
    pub(crate) fn waits(&mut self) {
        if self.began.is_none() {
            self.began = Some(now());
        }
    }

    /// The endpoint that was chosen failed while it became ready: an attempt without a call.
    pub(crate) fn broke(&mut self) {
        self.attempts += 1;
        self.episode = self.member().cool.episode();
    }
}
