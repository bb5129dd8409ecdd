//! Who pays for a call that several callers share.

use buttress_core::{Money, Outcome, Usage};

/// What is paid of a call, and by how many readers the rest can be.
pub(super) struct Bill {
    pub(super) readers: usize,
    // None, once all of it is.
    paid: Option<(Usage, Money)>,
}

// ===== impl Bill =====

impl Bill {
    pub(super) fn new() -> Self {
        Self {
            readers: 0,
            paid: Some((Usage::default(), Money::ZERO)),
        }
    }

    /// Of a call that somebody else had made.
    pub(super) const fn paid() -> Self {
        Self {
            readers: 0,
            paid: None,
        }
    }

    /// Whether all of it is.
    pub(super) const fn is_paid(&self) -> bool {
        self.paid.is_none()
    }

    /// What one reports who has come to the end.
    pub(super) fn pay(&mut self, outcome: Outcome) -> Outcome {
        let reported = self.rest(outcome);
        self.paid = None;
        reported
    }

    /// What one reports who leaves the call alone before its end.
    pub(super) fn pay_part(&mut self, outcome: Outcome) -> Outcome {
        let reported = self.rest(outcome);
        if self.paid.is_some() {
            self.paid = Some((
                outcome.usage.unwrap_or_default(),
                outcome.cost.unwrap_or_default(),
            ));
        }
        reported
    }

    fn rest(&self, mut outcome: Outcome) -> Outcome {
        match self.paid {
            Some((usage, cost)) => {
                outcome.usage = outcome.usage.map(|all| Usage {
                    input: all.input.saturating_sub(usage.input),
                    output: all.output.saturating_sub(usage.output),
                    cached_input: all.cached_input.saturating_sub(usage.cached_input),
                    cache_write: all.cache_write.saturating_sub(usage.cache_write),
                    reasoning: all.reasoning.saturating_sub(usage.reasoning),
                    ..all
                });
                outcome.cost = outcome
                    .cost
                    .map(|all| Money::from_pico(all.pico().saturating_sub(cost.pico())));
            }
            None => {
                outcome.usage = outcome.usage.map(Usage::unbilled);
                outcome.cost = outcome.cost.map(|_| Money::ZERO);
            }
        }
        outcome
    }
}
