use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buttress_core::{Class, Health, Outcome, Progress, Report};

use crate::{
    breaker::{Shared, now},
    machine::{Said, Ticket},
};

/// The interest in one call that was admitted: what it will say of its endpoint, and its place, if
/// it is a probe.
#[derive(Debug)]
pub(crate) struct Judgement {
    shared: Arc<Shared>,
    ticket: Ticket,
    /// When it began, if anybody wants to know how long it takes.
    began: Option<Instant>,
    /// How long it was until its first content.
    took: Option<Duration>,
}

// ===== impl Judgement =====

impl Judgement {
    #[inline]
    pub(crate) fn new(shared: &Arc<Shared>, ticket: Ticket) -> Self {
        Self {
            shared: Arc::clone(shared),
            ticket,
            began: shared.times().then(now),
            took: None,
        }
    }

    /// What a call that went well or failed said, with the time if it was read.
    #[inline]
    fn timed(&self, said: impl FnOnce(Option<Duration>) -> Said) -> (Said, Option<Instant>) {
        match (self.took, self.began) {
            (None, Some(began)) => {
                let at = now();
                (said(Some(at.saturating_duration_since(began))), Some(at))
            }
            (took, _) => (said(took), None),
        }
    }
}

impl Report for Judgement {
    #[inline]
    fn report(&mut self, outcome: &Outcome) {
        let (said, at) = match outcome.class.health() {
            Health::Good => self.timed(Said::Well),
            Health::Bad => self.timed(Said::Badly),
            _ => match outcome.retry_after {
                Some(hint)
                    if outcome.class == Class::Throttled
                        && self.shared.pauses()
                        && !hint.is_zero() =>
                {
                    (Said::Pause(hint), None)
                }
                _ => (Said::Nothing, None),
            },
        };
        let change = self.shared.record(self.ticket, said, at);
        self.shared.tell(change);
    }

    fn watches(&self) -> bool {
        self.ticket.probe || self.began.is_some()
    }

    fn progress(&mut self, progress: Progress) {
        if let (None, Some(began), true) = (self.took, self.began, progress.is_content()) {
            self.took = Some(now().saturating_duration_since(began));
        }
        if self.ticket.probe {
            self.shared.alive(self.ticket);
        }
    }
}
