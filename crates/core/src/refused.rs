use std::{error::Error, fmt, time::Duration};

use crate::{Class, Outcome};

/// A layer's refusal: the one error type that all layers share.
///
/// Layers pass the inner service's error through unchanged and ask of it only
/// `From<Refused>`, so that they can be added, removed and reordered without a type changing.
/// Boxed errors need nothing; an error enum of your own needs a variant, two lines, and a
/// [`source`](Error::source) that leads to the `Refused`:
///
/// ```
/// use std::{error::Error, fmt};
/// use buttress_core::{Class, Fault, Reason, Refused, outcome_of};
///
/// #[derive(Debug)]
/// enum ApiError {
///     Status(u16),
///     Refused(Refused),
/// }
///
/// impl From<Refused> for ApiError {
///     fn from(refused: Refused) -> Self {
///         Self::Refused(refused)
///     }
/// }
///
/// impl Fault for ApiError {
///     fn cause(&self) -> Option<&(dyn Error + 'static)> {
///         Some(self)
///     }
/// }
/// impl Error for ApiError {
///     fn source(&self) -> Option<&(dyn Error + 'static)> {
///         match self {
///             Self::Status(_) => None,
///             Self::Refused(refused) => Some(refused),
///         }
///     }
/// }
///
/// impl fmt::Display for ApiError {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         match self {
///             Self::Status(status) => write!(f, "status {status}"),
///             Self::Refused(_) => f.write_str("refused"),
///         }
///     }
/// }
///
/// let error = ApiError::from(Refused::new(Reason::Limited));
/// assert_eq!(Refused::find(&error).unwrap().reason(), Reason::Limited);
/// assert_eq!(outcome_of(&error).class, Class::Refused);
/// ```
///
/// **Without that `source`** (a bare `impl Error for ApiError {}`) nobody can see that it is a refusal:
/// it is judged as an error that nothing lists, [`Unavailable`](Class::Unavailable), and a retry asks
/// again where it should not. With `thiserror`, `#[from]` and `#[error(transparent)]` write it.
///
/// Judge a refusal by its [`class`](Refused::class): a timeout is a refusal of class
/// [`Unavailable`](Class::Unavailable), since the upstream was asked and did not answer.
///
/// Its [`source`](Error::source) is its own [`Refusal`], so that it is found below wrappers that
/// are transparent to their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    refusal: Refusal,
}

/// The facts of a [`Refused`], as its source.
///
/// ```
/// use std::error::Error;
/// use buttress_core::{Reason, Refusal, Refused};
///
/// let refused = Refused::new(Reason::Limited);
/// assert!(refused.source().unwrap().is::<Refusal>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    class: Class,
    retry_after: Option<Duration>,
}

/// Why a layer refused.
///
/// ```
/// use buttress_core::{Class, Reason};
///
/// assert_eq!(Reason::Limited.class(), Class::Refused);
/// assert_eq!(Reason::FirstContentTimeout.class(), Class::Unavailable);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The quota of this key is used up for now.
    Limited,
    /// The request costs more than the quota can ever hold.
    Oversized,
    /// Too many calls wait already.
    QueueFull,
    /// The circuit is open.
    CircuitOpen,
    /// The money or tokens of this key are spent.
    OverBudget,
    /// Every endpoint was tried or passed over.
    NoEndpoint,
    /// Only a stored reply was wanted, and there is none.
    NotCached,
    /// The request cannot be made one of the endpoint's dialect: it was not sent.
    Unconvertible,
    /// The call that this one was waiting on together with others failed.
    Coalesced,
    /// The whole call took too long.
    TotalTimeout,
    /// One attempt took too long.
    AttemptTimeout,
    /// No connection in time.
    ConnectTimeout,
    /// No response head in time.
    HeadersTimeout,
    /// No first content in time.
    FirstContentTimeout,
    /// No further content in time.
    IdleTimeout,
    /// Content came more slowly than asked.
    TooSlow,
}

// ===== impl Refused =====

impl Refused {
    /// A refusal for this reason, of the class that the reason has by itself.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self {
            refusal: Refusal {
                reason,
                class: reason.class(),
                retry_after: None,
            },
        }
    }

    /// The same refusal, saying when to come back.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.refusal.retry_after = Some(wait);
        self
    }

    /// The same refusal, of another class. A follower of a shared call that failed takes the
    /// class of the failure; a stream that is cut after its first content is
    /// [`Interrupted`](Class::Interrupted).
    #[must_use]
    pub const fn with_class(mut self, class: Class) -> Self {
        self.refusal.class = class;
        self
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.refusal.reason
    }

    /// What it means for whoever is outside.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.refusal.class
    }

    /// When to come back, if it is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.refusal.retry_after
    }

    /// The outcome of a call that ended in this refusal. Only one of class
    /// [`Refused`](Class::Refused), and what is [`Unconvertible`](Reason::Unconvertible), was certainly
    /// not sent: a timeout was.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::new(self.refusal.class);
        if matches!(self.refusal.reason, Reason::Unconvertible) {
            outcome = outcome.not_sent();
        }
        match self.refusal.retry_after {
            Some(wait) => outcome.with_retry_after(wait),
            None => outcome,
        }
    }

    /// Looks for a refusal in an error and everything below it.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(*refused);
            }
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Some(Self { refusal: *refusal });
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.refusal.reason.as_str())?;
        match self.refusal.retry_after {
            Some(wait) => write!(f, ", retry after {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

// ===== impl Refusal =====

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {}", self.class)
    }
}

impl Error for Refusal {}

// ===== impl Reason =====

impl Reason {
    /// Every reason. There may be more in a later version.
    pub const ALL: &'static [Self] = &[
        Self::Limited,
        Self::Oversized,
        Self::QueueFull,
        Self::CircuitOpen,
        Self::OverBudget,
        Self::NoEndpoint,
        Self::NotCached,
        Self::Unconvertible,
        Self::Coalesced,
        Self::TotalTimeout,
        Self::AttemptTimeout,
        Self::ConnectTimeout,
        Self::HeadersTimeout,
        Self::FirstContentTimeout,
        Self::IdleTimeout,
        Self::TooSlow,
    ];

    /// The class of a refusal for this reason, where its layer does not say otherwise.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Limited
            | Self::Oversized
            | Self::QueueFull
            | Self::CircuitOpen
            | Self::OverBudget
            | Self::NoEndpoint
            | Self::NotCached => Class::Refused,
            Self::Unconvertible => Class::Unfit,
            Self::Coalesced
            | Self::TotalTimeout
            | Self::AttemptTimeout
            | Self::ConnectTimeout
            | Self::HeadersTimeout
            | Self::FirstContentTimeout
            | Self::IdleTimeout
            | Self::TooSlow => Class::Unavailable,
        }
    }

    /// The reason in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limited => "rate limited",
            Self::Oversized => "costs more than the quota can hold",
            Self::QueueFull => "queue full",
            Self::CircuitOpen => "circuit open",
            Self::OverBudget => "over budget",
            Self::NoEndpoint => "no endpoint left",
            Self::NotCached => "not cached",
            Self::Unconvertible => "cannot be converted",
            Self::Coalesced => "shared call failed",
            Self::TotalTimeout => "call timed out",
            Self::AttemptTimeout => "attempt timed out",
            Self::ConnectTimeout => "connect timed out",
            Self::HeadersTimeout => "no response head in time",
            Self::FirstContentTimeout => "no first content in time",
            Self::IdleTimeout => "no further content in time",
            Self::TooSlow => "content came too slowly",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
