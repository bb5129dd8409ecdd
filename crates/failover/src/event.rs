use std::{fmt, time::Duration};

use buttress_core::{Class, Event, Fact, Outcome, Tried};

/// What happened to a call or to an endpoint, as the observer of
/// [`Failover::on_event`](crate::Failover::on_event) sees it.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Failover, FailoverEvent};
/// # let (one, other) = ((), ());
///
/// let service = Failover::new(Plain, [one, other]).on_event(|event| match event {
///     FailoverEvent::Failed { tried, .. } => println!("{tried}"),
///     FailoverEvent::Cooling { endpoint, time, .. } => println!("{endpoint} rests for {time:?}"),
///     FailoverEvent::Done { endpoint, stop, .. } => println!("{endpoint:?} answered: {stop}"),
///     _ => {}
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FailoverEvent<'a> {
    /// An attempt failed. Whether another endpoint is tried is not known yet.
    #[non_exhaustive]
    Failed {
        /// Where, how, and after how long: [`None`](Tried::took) if it ended at once.
        tried: &'a Tried,
        /// The variant that the call is of, if it is of one.
        variant: Option<&'a str>,
    },
    /// An endpoint was chosen and passed over: it was not ready in time, or was taken away before.
    #[non_exhaustive]
    Passed {
        /// Its name.
        endpoint: &'a str,
        /// For how long its readiness was waited for.
        waited: Duration,
    },
    /// An endpoint is left alone, or for longer than before.
    #[non_exhaustive]
    Cooling {
        /// Its name.
        endpoint: &'a str,
        /// For how long, from now.
        time: Duration,
        /// How often it failed in a row. None, if it only asked to wait.
        failures: u32,
        /// It was not cooling down before.
        begins: bool,
    },
    /// A health check was made of an endpoint that is cooling down.
    #[non_exhaustive]
    Checked {
        /// Its name.
        endpoint: &'a str,
        /// How the probe ended.
        class: Class,
    },
    /// The call is over, or its response has begun. Seen exactly once for each call, also if its
    /// caller went away or something panicked.
    #[non_exhaustive]
    Done {
        /// Whose result is delivered. `None`: nobody's, or the fallback's.
        endpoint: Option<&'a str>,
        /// The variant that its attempt was of, if it was of one.
        variant: Option<&'a str>,
        /// How many endpoints were tried.
        attempts: u32,
        /// What is known of the result that is delivered.
        outcome: &'a Outcome,
        /// Those that failed, in their order. One whose failure is delivered is among them.
        failed: &'a [Tried],
        /// Why no further endpoint was tried.
        stop: Stop,
    },
}

/// Why no further endpoint was tried.
///
/// ```
/// assert_eq!(buttress_failover::Stop::Spent.to_string(), "no endpoint left");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// None is called for: the attempt went well, or failed in a way that another endpoint would not
    /// mend.
    Settled,
    /// Every endpoint that could serve it was tried or passed over, or is cooling down.
    Spent,
    /// As many were tried as are allowed.
    Attempts,
    /// The deadline that the request carries has come.
    Deadline,
    /// The budget had not enough left.
    Budget,
    /// The request cannot be copied, or has outgrown what is kept of it.
    NotCopied,
    /// The request must not be acted on twice, and may have been acted on.
    Unsafe,
    /// Every endpoint was spent, and the fallback answered.
    Fallback,
    /// The caller went away, or something panicked.
    Dropped,
}

// ===== impl FailoverEvent =====

impl Event for FailoverEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failover.failed",
            Self::Passed { .. } => "failover.passed",
            Self::Cooling { .. } => "failover.cooling",
            Self::Checked { .. } => "failover.checked",
            Self::Done { .. } => "failover.done",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        match *self {
            Self::Failed { tried, variant } => {
                each("endpoint", Fact::Name(&tried.endpoint));
                each("class", Fact::Class(tried.outcome.class));
                if let Some(took) = tried.took {
                    each("took", Fact::Time(took));
                }
                if let Some(error) = &tried.error {
                    each("error", Fact::Name(error));
                }
                if let Some(variant) = variant {
                    each("variant", Fact::Name(variant));
                }
            }
            Self::Passed { endpoint, waited } => {
                each("endpoint", Fact::Name(endpoint));
                each("waited", Fact::Time(waited));
            }
            Self::Cooling {
                endpoint,
                time,
                failures,
                begins,
            } => {
                each("endpoint", Fact::Name(endpoint));
                each("time", Fact::Time(time));
                each("failures", Fact::Count(failures.into()));
                each("begins", Fact::Flag(begins));
            }
            Self::Checked { endpoint, class } => {
                each("endpoint", Fact::Name(endpoint));
                each("class", Fact::Class(class));
            }
            Self::Done {
                endpoint,
                variant,
                attempts,
                outcome,
                stop,
                failed: _,
            } => {
                if let Some(endpoint) = endpoint {
                    each("endpoint", Fact::Name(endpoint));
                }
                if let Some(variant) = variant {
                    each("variant", Fact::Name(variant));
                }
                each("attempts", Fact::Count(attempts.into()));
                each("class", Fact::Class(outcome.class));
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
            Self::Spent => "no endpoint left",
            Self::Attempts => "attempts spent",
            Self::Deadline => "deadline passed",
            Self::Budget => "budget spent",
            Self::NotCopied => "request not copied",
            Self::Unsafe => "request not safe to repeat",
            Self::Fallback => "fallback",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
