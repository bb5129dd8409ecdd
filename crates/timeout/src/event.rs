use std::{fmt, time::Duration};

use buttress_core::{Event, Fact, Reason, Refused};

/// What happened to a call, as the observer of
/// [`TimeoutLayer::on_event`](crate::TimeoutLayer::on_event) sees it. At most one for each call:
/// one that ends in time has none.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_timeout::{TimeoutEvent, TimeoutLayer};
///
/// let layer = TimeoutLayer::new(Plain).on_event(|event| match event {
///     TimeoutEvent::Elapsed { phase, limit, .. } => println!("{phase}: not within {limit:?}"),
///     TimeoutEvent::Expired { .. } => println!("the caller has no time left"),
///     _ => {}
/// });
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TimeoutEvent<'a> {
    /// A limit ran out. Seen when the inner call is gone, or, where a body is cut, just before it
    /// goes; the refusal has not reached the caller yet.
    #[non_exhaustive]
    Elapsed {
        /// Which limit.
        phase: Phase,
        /// How long it was. For a [deadline](Phase::Deadline): what the call was given of it.
        limit: Duration,
        /// What the caller gets: its class says whether content had been delivered.
        refused: &'a Refused,
    },
    /// The deadline of the request left no time to ask: the inner service was not called. Seen
    /// when the future is polled.
    #[non_exhaustive]
    Expired {
        /// What the caller gets.
        refused: &'a Refused,
    },
}

/// What took too long.
///
/// ```
/// use buttress_core::Reason;
/// use buttress_timeout::Phase;
///
/// assert_eq!(Phase::Idle.reason(), Reason::IdleTimeout);
/// assert_eq!(Phase::FirstContent.to_string(), "first content");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The whole call, by a limit of this layer.
    Total,
    /// The whole call, by the deadline that its request carries.
    Deadline,
    /// One attempt.
    Attempt,
    /// Until the response was there.
    Headers,
    /// Until the first content.
    FirstContent,
    /// Between two pieces of content.
    Idle,
    /// Without any sign of life.
    Silence,
    /// Not one stop, but all of it too slow.
    Throughput,
}

// ===== impl TimeoutEvent =====

impl Event for TimeoutEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Elapsed { .. } => "timeout.elapsed",
            Self::Expired { .. } => "timeout.expired",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        let refused = match *self {
            Self::Elapsed {
                phase,
                limit,
                refused,
            } => {
                each("phase", Fact::Name(phase.as_str()));
                each("limit", Fact::Time(limit));
                refused
            }
            Self::Expired { refused } => refused,
        };
        each("reason", Fact::Reason(refused.reason()));
        each("class", Fact::Class(refused.class()));
    }
}

// ===== impl Phase =====

impl Phase {
    /// The reason that a refusal gives for it.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Total | Self::Deadline => Reason::TotalTimeout,
            Self::Attempt => Reason::AttemptTimeout,
            Self::Headers => Reason::HeadersTimeout,
            Self::FirstContent => Reason::FirstContentTimeout,
            Self::Idle | Self::Silence => Reason::IdleTimeout,
            Self::Throughput => Reason::TooSlow,
        }
    }

    /// The phase in words: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Deadline => "deadline",
            Self::Attempt => "attempt",
            Self::Headers => "headers",
            Self::FirstContent => "first content",
            Self::Idle => "idle",
            Self::Silence => "silence",
            Self::Throughput => "throughput",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
