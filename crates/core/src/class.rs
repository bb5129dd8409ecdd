use std::fmt;

/// What a finished call says.
///
/// One table decides everything that any layer does with a result; no layer keeps a list of its
/// own. The three columns are [`again`](Class::again), [`elsewhere`](Class::elsewhere) and
/// [`health`](Class::health).
///
/// | class | means | again, same endpoint | another endpoint | endpoint health |
/// |---|---|---|---|---|
/// | [`Success`](Class::Success) | the whole reply was delivered | no | no | good |
/// | [`Throttled`](Class::Throttled) | slow down | yes, after the hint | yes | neutral |
/// | [`Unavailable`](Class::Unavailable) | broken now, may pass | yes | yes | bad |
/// | [`Unstarted`](Class::Unstarted) | the upstream says that it did not begin | yes, once for free | yes | neutral |
/// | [`Interrupted`](Class::Interrupted) | broke after part was delivered | no | only by resuming | bad |
/// | [`Denied`](Class::Denied) | this credential is refused | no | with another credential | neutral |
/// | [`Unfit`](Class::Unfit) | this endpoint cannot serve this request | no | if configured | neutral |
/// | [`Invalid`](Class::Invalid) | the request is wrong anywhere | no | no | neutral |
/// | [`Refused`](Class::Refused) | one of our own layers said no | no | yes | neutral |
/// | [`Cancelled`](Class::Cancelled) | the caller went away, and nothing else was known | no | no | neutral |
///
/// An error that nothing recognises is [`Unavailable`](Class::Unavailable): it may pass, and it
/// may have been sent.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Elsewhere, Health};
///
/// assert!(Class::Throttled.again());
/// assert_eq!(Class::Denied.elsewhere(), Elsewhere::OtherCredential);
/// assert_eq!(Class::Interrupted.health(), Health::Bad);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The whole reply was delivered: a plain result, or a stream with its terminator.
    Success,
    /// The upstream asks to slow down: a rate limit per second or minute.
    Throttled,
    /// The upstream is broken now, and may recover: refused, reset, timed out, 5xx.
    Unavailable,
    /// The upstream says that it did not begin to work on the request.
    Unstarted,
    /// The reply broke after part of it was delivered.
    Interrupted,
    /// This credential is refused, or its money is spent.
    Denied,
    /// This endpoint cannot serve this request: context length, unknown model, content filter.
    Unfit,
    /// The request is wrong wherever it is sent.
    Invalid,
    /// One of our own layers said no, before the upstream was asked.
    Refused,
    /// The caller went away, and nothing else was known of the call.
    Cancelled,
}

/// Whether another endpoint may serve what this one did not: a column of [`Class`]'s table.
///
/// ```
/// use buttress_core::{Class, Elsewhere};
///
/// assert_eq!(Class::Invalid.elsewhere(), Elsewhere::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Elsewhere {
    /// No endpoint would do better.
    No,
    /// Any other endpoint may.
    Yes,
    /// Only by going on where the reply broke off.
    ByResuming,
    /// Only an endpoint that uses another credential.
    OtherCredential,
    /// Only where the user said so: the other endpoint must be able to do more.
    IfConfigured,
}

/// What a call says about its endpoint: a column of [`Class`]'s table.
///
/// ```
/// use buttress_core::{Class, Health};
///
/// assert_eq!(Class::Cancelled.health(), Health::Neutral);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// It works.
    Good,
    /// It does not work.
    Bad,
    /// Nothing.
    Neutral,
}

// ===== impl Class =====

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::Throttled,
        Self::Unavailable,
        Self::Unstarted,
        Self::Interrupted,
        Self::Denied,
        Self::Unfit,
        Self::Invalid,
        Self::Refused,
        Self::Cancelled,
    ];

    /// Whether the same endpoint may be asked again.
    ///
    /// A server's explicit word on it is in the [`Outcome`](crate::Outcome::again).
    #[must_use]
    pub const fn again(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Unstarted)
    }

    /// Whether another endpoint may be asked.
    #[must_use]
    pub const fn elsewhere(self) -> Elsewhere {
        match self {
            Self::Throttled | Self::Unavailable | Self::Unstarted | Self::Refused => Elsewhere::Yes,
            Self::Interrupted => Elsewhere::ByResuming,
            Self::Denied => Elsewhere::OtherCredential,
            Self::Unfit => Elsewhere::IfConfigured,
            Self::Success | Self::Invalid | Self::Cancelled => Elsewhere::No,
        }
    }

    /// What this says about the endpoint's health.
    #[must_use]
    pub const fn health(self) -> Health {
        match self {
            Self::Success => Health::Good,
            Self::Unavailable | Self::Interrupted => Health::Bad,
            Self::Throttled
            | Self::Unstarted
            | Self::Denied
            | Self::Unfit
            | Self::Invalid
            | Self::Refused
            | Self::Cancelled => Health::Neutral,
        }
    }

    /// The name, in lower case: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unstarted => "unstarted",
            Self::Interrupted => "interrupted",
            Self::Denied => "denied",
            Self::Unfit => "unfit",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Elsewhere, Health};

    /// The table of the docs, row by row.
    const TABLE: [(Class, bool, Elsewhere, Health); 10] = [
        (Class::Success, false, Elsewhere::No, Health::Good),
        (Class::Throttled, true, Elsewhere::Yes, Health::Neutral),
        (Class::Unavailable, true, Elsewhere::Yes, Health::Bad),
        (Class::Unstarted, true, Elsewhere::Yes, Health::Neutral),
        (
            Class::Interrupted,
            false,
            Elsewhere::ByResuming,
            Health::Bad,
        ),
        (
            Class::Denied,
            false,
            Elsewhere::OtherCredential,
            Health::Neutral,
        ),
        (
            Class::Unfit,
            false,
            Elsewhere::IfConfigured,
            Health::Neutral,
        ),
        (Class::Invalid, false, Elsewhere::No, Health::Neutral),
        (Class::Refused, false, Elsewhere::Yes, Health::Neutral),
        (Class::Cancelled, false, Elsewhere::No, Health::Neutral),
    ];

    #[test]
    fn every_class_answers_as_its_row_says() {
        assert_eq!(TABLE.map(|row| row.0), Class::ALL);
        for (class, again, elsewhere, health) in TABLE {
            assert_eq!(class.again(), again, "{class}: again");
            assert_eq!(class.elsewhere(), elsewhere, "{class}: elsewhere");
            assert_eq!(class.health(), health, "{class}: health");
        }
    }

    #[test]
    fn names_are_distinct_labels() {
        for (i, class) in Class::ALL.iter().enumerate() {
            assert!(class.as_str().bytes().all(|b| b.is_ascii_lowercase()));
            assert!(
                Class::ALL[..i]
                    .iter()
                    .all(|other| other.as_str() != class.as_str())
            );
        }
    }
}
