use std::{fmt, time::Duration};

use buttress_core::{Event, Fact};

/// Where a circuit stands.
///
/// ```
/// use buttress_circuit_breaker::State;
///
/// assert_eq!(State::HalfOpen.to_string(), "half-open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Calls pass, and are counted.
    Closed,
    /// Calls are refused until its time comes.
    Open,
    /// Some calls pass as probes, and the others are refused.
    HalfOpen,
    /// Calls are refused until somebody steers it otherwise.
    ForcedOpen,
    /// Calls pass, and are not counted, until somebody steers it otherwise.
    ForcedClosed,
    /// Calls pass and are counted, and it only says when it would have opened, until somebody steers
    /// it otherwise.
    ObserveOnly,
}

/// Why a circuit changed.
///
/// ```
/// assert_eq!(buttress_circuit_breaker::Cause::FailureRate.as_str(), "failure rate");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The share of failed calls reached its threshold.
    FailureRate,
    /// The share of slow calls reached its threshold.
    SlowRate,
    /// So many calls failed, one after another.
    ConsecutiveFailures,
    /// The endpoint asked to be left alone for a while.
    Throttled,
    /// It has been open for its time.
    Waited,
    /// Too many probes failed, or were slow.
    ProbesFailed,
    /// Neither an end nor anything else has been heard of the probes.
    ProbesLost,
    /// Enough probes went well.
    Recovered,
    /// Somebody wanted it so, by its handle.
    Steered,
}

/// What happened to a circuit, as the observer of [`Policy::on_event`](crate::Policy::on_event) sees
/// it.
///
/// # Examples
///
/// ```
/// use buttress_circuit_breaker::{CircuitEvent, Policy};
///
/// let policy = Policy::default().name("openai").on_event(|event| match event {
///     CircuitEvent::Changed { name, from, to, cause, .. } => {
///         println!("{name}: {from} to {to}, {cause}");
///     }
///     _ => {}
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CircuitEvent<'a> {
    /// It changed. Seen once for each change.
    #[non_exhaustive]
    Changed {
        /// The name of the circuit: [`Policy::name`](crate::Policy::name).
        name: &'a str,
        /// Where it stood.
        from: State,
        /// Where it stands.
        to: State,
        /// Why.
        cause: Cause,
        /// For how long it is open. `None`: it is not, or nobody knows.
        wait: Option<Duration>,
        /// The number of this change, from 1. Where several threads bring changes about, their
        /// events may be seen in another order.
        generation: u64,
    },
    /// It would have opened, had it not been told only to observe. Seen when a condition comes to
    /// hold, and not again before none did.
    #[non_exhaustive]
    WouldOpen {
        /// The name of the circuit.
        name: &'a str,
        /// Why.
        cause: Cause,
    },
    /// A call passed without a circuit, since there were as many
    /// [`CircuitBreakers`](crate::CircuitBreakers) as may be, and none could be forgotten. Seen
    /// before the call.
    #[non_exhaustive]
    Unguarded {
        /// How many circuits there are.
        circuits: usize,
    },
}

// ===== impl State =====

impl State {
    /// The name, in lower case: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::ForcedClosed => "forced closed",
            Self::ObserveOnly => "observe only",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// ===== impl Cause =====

impl Cause {
    /// The cause in few words: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure rate",
            Self::SlowRate => "slow rate",
            Self::ConsecutiveFailures => "consecutive failures",
            Self::Throttled => "throttled",
            Self::Waited => "waited",
            Self::ProbesFailed => "probes failed",
            Self::ProbesLost => "probes lost",
            Self::Recovered => "recovered",
            Self::Steered => "steered",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// ===== impl CircuitEvent =====

impl Event for CircuitEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "circuit_breaker.changed",
            Self::WouldOpen { .. } => "circuit_breaker.would_open",
            Self::Unguarded { .. } => "circuit_breaker.unguarded",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        match *self {
            Self::Changed {
                name,
                from,
                to,
                cause,
                wait,
                generation,
            } => {
                each("circuit", Fact::Name(name));
                each("from", Fact::Name(from.as_str()));
                each("to", Fact::Name(to.as_str()));
                each("cause", Fact::Name(cause.as_str()));
                if let Some(wait) = wait {
                    each("wait", Fact::Time(wait));
                }
                each("generation", Fact::Count(generation));
            }
            Self::WouldOpen { name, cause } => {
                each("circuit", Fact::Name(name));
                each("cause", Fact::Name(cause.as_str()));
            }
            Self::Unguarded { circuits } => {
                each("circuits", Fact::Count(circuits as u64));
            }
        }
    }
}
