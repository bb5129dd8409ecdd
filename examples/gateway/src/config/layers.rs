//! What the file says of the layers.

use std::num::NonZeroU32;

use buttress_retry::{Backoff, Budget, Exponential, Ratio};

use super::{
    Retry, Timeouts,
    check::Check,
    file::{RetrySection, TimeoutsSection},
};

/// More of them on one endpoint help nobody.
const MOST_ATTEMPTS: u32 = 10;

impl Check<'_> {
    /// What an endpoint says of its retries, over what the file says for all.
    pub(super) fn retry(&mut self, own: &RetrySection, all: &RetrySection) -> Retry {
        Retry {
            attempts: self.attempts(own, all),
            backoff: self.backoff(own, all),
            budget: self.budget(own, all),
        }
    }

    fn attempts(&mut self, own: &RetrySection, all: &RetrySection) -> NonZeroU32 {
        const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();
        let Some(attempts) = own.attempts.as_ref().or(all.attempts.as_ref()) else {
            return THREE;
        };
        let found = *attempts.get_ref();
        match NonZeroU32::new(found).filter(|found| found.get() <= MOST_ATTEMPTS) {
            Some(attempts) => attempts,
            None => {
                let what = format!(
                    "found {found} attempts, expected 1 (each call is sent once) to {MOST_ATTEMPTS}"
                );
                self.fault(&attempts.span(), what);
                THREE
            }
        }
    }

    fn backoff(&mut self, own: &RetrySection, all: &RetrySection) -> Exponential {
        let default = Exponential::default();
        let base = own.base.as_ref().or(all.base.as_ref());
        let cap = own.cap.as_ref().or(all.cap.as_ref());
        let Some(place) = cap.or(base) else {
            return default;
        };
        let base = base.map_or(default.base(), |time| time.get_ref().0);
        let cap = cap.map_or(default.cap(), |time| time.get_ref().0);
        match Exponential::new(base, cap) {
            Ok(backoff) => backoff,
            Err(error) => {
                self.fault(&place.span(), error.to_string());
                default
            }
        }
    }

    fn budget(&mut self, own: &RetrySection, all: &RetrySection) -> Budget {
        let reserve = own.reserve.or(all.reserve);
        let budget = match own.budget.as_ref().or(all.budget.as_ref()) {
            None => Budget::default(),
            Some(ratio) => match Ratio::try_from(*ratio.get_ref()) {
                Ok(ratio) => Budget::new(ratio),
                Err(error) => {
                    self.fault(&ratio.span(), error.to_string());
                    Budget::default()
                }
            },
        };
        match reserve {
            Some(reserve) => budget.reserve(reserve),
            None => budget,
        }
    }

    /// What an endpoint says of its timeouts, over what the file says for all.
    pub(super) fn timeouts(&mut self, own: &TimeoutsSection, all: &TimeoutsSection) -> Timeouts {
        if let Some(total) = &own.total {
            let what = "found `total` of one endpoint, expected it below `[timeouts]`: it is that of a call, whichever endpoints it goes to";
            self.fault(&total.span(), what.to_owned());
        }
        let default = Timeouts::default();
        Timeouts {
            total: all
                .total
                .as_ref()
                .map_or(default.total, |time| time.get_ref().0),
            attempt: own
                .attempt
                .or(all.attempt)
                .map_or(default.attempt, |time| Some(time.0)),
            first_content: (own.first_content.or(all.first_content))
                .map_or(default.first_content, |time| Some(time.0)),
            idle: own
                .idle
                .or(all.idle)
                .map_or(default.idle, |time| Some(time.0)),
            silence: own
                .silence
                .or(all.silence)
                .map_or(default.silence, |time| Some(time.0)),
        }
    }
}
