use std::{fmt, time::Duration};

use buttress_core::{Event, Fact, Outcome};

/// What happened to a call, as the observer of [`RetryLayer::on_event`](crate::RetryLayer::on_event)
/// sees it.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_retry::{RetryEvent, RetryLayer};
///
/// let layer = RetryLayer::new(Plain).on_event(|event| match event {
///     RetryEvent::Again { attempt, outcome, delay, .. } => {
///         println!("attempt {attempt} failed ({}), waiting {delay:?}", outcome.class);
///     }
///     RetryEvent::Done { attempts, stop, .. } => println!("{attempts} attempts, {stop}"),
///     _ => {}
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RetryEvent<'a> {
    /// An attempt failed, and another one will be made. Seen when the failed response is gone and
    /// the wait has not begun.
    #[non_exhaustive]
    Again {
        /// Which attempt failed. The first is 1.
        attempt: u32,
        /// What was known of it.
        outcome: &'a Outcome,
        /// How long the call now waits.
        delay: Duration,
    },
    /// The call is over, or its response has begun. Seen exactly once for each call, also if its
    /// caller went away or something panicked; but for the observer itself, which is told nothing
    /// more of a call in which it panicked.
    #[non_exhaustive]
    Done {
        /// How many attempts were made.
        attempts: u32,
        /// What is known of the last one: what it said, or that it was cancelled.
        outcome: &'a Outcome,
        /// What was waited between attempts, added up. A wait that was given up counts whole.
        waited: Duration,
        /// Why there is no further attempt.
        stop: Stop,
    },
}

/// Why there is no further attempt.
///
/// ```
/// assert_eq!(buttress_retry::Stop::Budget.to_string(), "budget spent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// None is called for: the attempt went well, or failed in a way that another would not mend.
    Settled,
    /// As many were made as are allowed.
    Attempts,
    /// The wait would not have ended before the time that is allowed for waiting and trying.
    Elapsed,
    /// The wait would not have ended before the deadline that the request carries.
    Deadline,
    /// The server asked to wait for longer than the cap.
    Hint,
    /// The backoff has no further wait.
    Backoff,
    /// The budget had not enough left.
    Budget,
    /// The request cannot be copied, or has outgrown what is kept of it: it was sent as it came.
    NotCopied,
    /// The request must not be acted on twice, and may have been acted on.
    Unsafe,
    /// A retry outside sends this request again: this one stood down, and sent it as it came.
    Nested,
    /// The inner service failed while it became ready for another attempt.
    NotReady,
    /// The caller went away, or something panicked.
    Dropped,
}

// ===== impl RetryEvent =====

impl Event for RetryEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Again { .. } => "retry.again",
            Self::Done { .. } => "retry.done",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        match *self {
            Self::Again {
                attempt,
                outcome,
                delay,
            } => {
                each("attempt", Fact::Count(attempt.into()));
                each("class", Fact::Class(outcome.class));
                each("delay", Fact::Time(delay));
            }
            Self::Done {
                attempts,
                outcome,
                waited,
                stop,
            } => {
                each("attempts", Fact::Count(attempts.into()));
                each("class", Fact::Class(outcome.class));
                each("waited", Fact::Time(waited));
                each("stop", Fact::Name(stop.as_str()));
            }
        }
    }
}

// ===== impl Stop =====

impl Stop {
    /// The reason in few words: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Attempts => "attempts spent",
            Self::Elapsed => "time spent",
            Self::Deadline => "deadline too near",
            Self::Hint => "hint too long",
            Self::Backoff => "backoff ended",
            Self::Budget => "budget spent",
            Self::NotCopied => "request not copied",
            Self::Unsafe => "request not safe to repeat",
            Self::Nested => "retried outside",
            Self::NotReady => "not ready",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
