use std::{error::Error, fmt, time::Duration};

use buttress_core::{Class, Reason, Refused};

use crate::Unit;

/// A limiter's no: what would be exceeded, and when to come back.
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_core::Reason;
/// use buttress_rate_limit::{Cost, Limiter, Quota, Quotas, Unit};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let limiter = Limiter::new(Quotas::tokens(Quota::per_minute(NonZeroU32::new(100).unwrap())));
/// let limited = limiter.check(&(), Cost::tokens(100, 1)).unwrap_err();
/// assert_eq!(limited.unit(), Some(Unit::Tokens));
/// assert_eq!(limited.reason(), Reason::Oversized);
/// assert_eq!(limited.wait(), None, "waiting would not help");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    cause: LimitedBy,
    wait: Option<Duration>,
}

/// What a call was limited by.
///
/// ```
/// use buttress_rate_limit::{LimitedBy, Unit};
///
/// assert_eq!(LimitedBy::Quota(Unit::Tokens).to_string(), "the quota of tokens");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitedBy {
    /// The quota of this unit is used up.
    Quota(Unit),
    /// The call costs more of this unit than the quota can ever hold.
    Size(Unit),
    /// A provider said that less of this unit remains.
    Provider(Unit),
    /// A provider asked for a pause.
    Pause,
    /// There are as many keys as may be, all of them in use.
    Keys,
    /// As many calls wait as may; or others come first, and nothing else is in the way.
    Queue,
    /// The deadline of its request passed while it waited.
    Deadline,
    /// The store did not answer.
    Store,
}

// ===== impl Limited =====

impl Limited {
    /// Limited by this. `wait`: when to come back, if that would help.
    #[must_use]
    pub const fn new(cause: LimitedBy, wait: Option<Duration>) -> Self {
        Self { cause, wait }
    }

    /// By what.
    #[must_use]
    pub const fn by(&self) -> LimitedBy {
        self.cause
    }

    /// Of which unit, if it is about one.
    #[must_use]
    pub const fn unit(&self) -> Option<Unit> {
        match self.cause {
            LimitedBy::Quota(unit) | LimitedBy::Size(unit) | LimitedBy::Provider(unit) => {
                Some(unit)
            }
            _ => None,
        }
    }

    /// From now, when the same call would be admitted, unless something else is admitted or settled
    /// meanwhile. Behind others, when all of them and it would be: with several quotas no earlier than
    /// that. `None`: waiting would not help, or nobody knows.
    #[must_use]
    pub const fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// The reason that a layer gives.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self.cause {
            LimitedBy::Size(_) => Reason::Oversized,
            LimitedBy::Queue => Reason::QueueFull,
            LimitedBy::Deadline => Reason::TotalTimeout,
            _ => Reason::Limited,
        }
    }
}

impl From<Limited> for Refused {
    fn from(limited: Limited) -> Self {
        // Nothing was sent, whatever the reason.
        let refused = Self::new(limited.reason()).with_class(Class::Refused);
        match limited.wait {
            Some(wait) => refused.with_retry_after(wait),
            None => refused,
        }
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limited by {}", self.cause)?;
        match self.wait {
            Some(wait) => write!(f, ", retry after {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Limited {}

// ===== impl LimitedBy =====

impl LimitedBy {
    /// The kind of limit, without its unit: a label for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota(_) => "quota",
            Self::Size(_) => "size",
            Self::Provider(_) => "provider",
            Self::Pause => "pause",
            Self::Keys => "keys",
            Self::Queue => "queue",
            Self::Deadline => "deadline",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for LimitedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(unit) => write!(f, "the quota of {unit}"),
            Self::Size(unit) => write!(f, "the most {unit} that the quota holds"),
            Self::Provider(unit) => write!(f, "the provider's {unit}"),
            Self::Pause => f.write_str("a pause that the provider asked for"),
            Self::Keys => f.write_str("the number of keys"),
            Self::Queue => f.write_str("the length of the queue"),
            Self::Deadline => f.write_str("the deadline of its request"),
            Self::Store => f.write_str("the silence of its store"),
        }
    }
}
