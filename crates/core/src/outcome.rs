use std::time::Duration;

use crate::{Class, Finish, Money, Usage};

/// What is known of one call when it is over, or so far.
///
/// It begins with a [`Class`] and takes on what else was learned. [`Classify`](crate::Classify)
/// makes one of a result, [`Track`](crate::Track) carries it to the end of the response, and
/// every [`Report`](crate::Report) receives it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{Class, Outcome};
///
/// let outcome = Outcome::new(Class::Throttled).with_retry_after(Duration::from_secs(2));
/// assert!(outcome.again());
/// assert!(outcome.unused(), "what was throttled used no tokens");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What the call says.
    pub class: Class,
    /// Whether the upstream has seen the request.
    pub sent: Sent,
    /// The server's own word on whether to ask it again (`x-should-retry`). It changes that
    /// answer alone: class and health stay.
    pub should_retry: Option<bool>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// The tokens that were used, where they were learned.
    pub usage: Option<Usage>,
    /// What they cost, where a price is known. `None` is unknown, never free.
    pub cost: Option<Money>,
    /// Why the model stopped, where it was learned.
    pub finish: Option<Finish>,
}

/// Whether the upstream has seen the request. To send it again is certainly safe if this is
/// [`No`](Sent::No), and otherwise only if the request is; [`Yes`](Sent::Yes) is what servers say of their
/// own handler, and no client.
///
/// ```
/// use buttress_core::{Class, Outcome, Sent};
///
/// assert_eq!(Outcome::new(Class::Unavailable).sent, Sent::Maybe);
/// assert_eq!(Outcome::new(Class::Unstarted).sent, Sent::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It has, and worked on it, whatever it answered: in a server, the handler was called. A
    /// provider that answers "too many" or "no" did not work on it, and is `Maybe`.
    Yes,
    /// It may have, and may have acted on it.
    Maybe,
    /// It has not, or says that it did not begin: to send it again is always safe.
    No,
}

// ===== impl Outcome =====

impl Outcome {
    /// The whole reply was delivered.
    pub const SUCCESS: Self = Self::new(Class::Success);

    /// A call of this class, of which nothing else is known. [`Class::Refused`] and
    /// [`Class::Unstarted`] were not sent; everything else may have been.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        let sent = match class {
            Class::Refused | Class::Unstarted => Sent::No,
            _ => Sent::Maybe,
        };
        Self {
            class,
            sent,
            should_retry: None,
            retry_after: None,
            usage: None,
            cost: None,
            finish: None,
        }
    }

    /// The same call, seen as of another class. What else is known of it stays.
    #[must_use]
    pub const fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// The upstream has certainly not seen the request.
    #[must_use]
    pub const fn not_sent(self) -> Self {
        Self {
            sent: Sent::No,
            ..self
        }
    }

    /// The upstream has seen the request and worked on it, whatever it answered.
    #[must_use]
    pub const fn worked_on(self) -> Self {
        Self {
            sent: Sent::Yes,
            ..self
        }
    }

    /// The server asked to wait this long.
    #[must_use]
    pub const fn with_retry_after(self, hint: Duration) -> Self {
        Self {
            retry_after: Some(hint),
            ..self
        }
    }

    /// The server said whether to ask it again.
    #[must_use]
    pub const fn with_should_retry(self, again: bool) -> Self {
        Self {
            should_retry: Some(again),
            ..self
        }
    }

    /// These tokens were used.
    #[must_use]
    pub const fn with_usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..self
        }
    }

    /// They cost this much.
    #[must_use]
    pub const fn with_cost(self, cost: Money) -> Self {
        Self {
            cost: Some(cost),
            ..self
        }
    }

    /// The model stopped for this reason.
    #[must_use]
    pub const fn with_finish(self, finish: Finish) -> Self {
        Self {
            finish: Some(finish),
            ..self
        }
    }

    /// What is not known here, as it is known there: hint, word, usage, cost and why the model
    /// stopped. Class and whether it was sent stay.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            should_retry: self.should_retry.or(other.should_retry),
            retry_after: self.retry_after.or(other.retry_after),
            usage: self.usage.or(other.usage),
            cost: self.cost.or(other.cost),
            finish: self.finish.or(other.finish),
            ..self
        }
    }

    /// Whether the same endpoint may be asked again: the server's word where it gave one, else
    /// the class's.
    #[must_use]
    pub const fn again(&self) -> bool {
        match self.should_retry {
            Some(again) => again,
            None => self.class.again(),
        }
    }

    /// Whether the call certainly used no tokens: it was not sent, or was turned away. A reservation
    /// made for it can go back whole, unless it was [worked on](Sent::Yes): turned away by one's own
    /// handler, it used no tokens either, and yet was a request.
    ///
    /// ```
    /// use buttress_core::{Class, Outcome, Sent};
    ///
    /// // A provider's 401, and a handler's of one's own.
    /// let (theirs, ours) = (Outcome::new(Class::Denied), Outcome::new(Class::Denied).worked_on());
    /// assert!(theirs.unused() && theirs.sent != Sent::Yes, "no tokens, and no request");
    /// assert!(ours.unused() && ours.sent == Sent::Yes, "no tokens, and one request");
    /// ```
    #[must_use]
    pub const fn unused(&self) -> bool {
        self.usage.is_none()
            && (matches!(self.sent, Sent::No)
                || matches!(
                    self.class,
                    Class::Throttled
                        | Class::Unstarted
                        | Class::Denied
                        | Class::Invalid
                        | Class::Refused
                ))
    }

    /// Whether the call is known to have failed: it is neither over well nor given up by its
    /// caller.
    #[must_use]
    pub const fn failed(&self) -> bool {
        !matches!(self.class, Class::Success | Class::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use crate::{Class, Usage};

    #[test]
    fn the_servers_word_changes_only_whether_to_ask_again() {
        for class in Class::ALL {
            for word in [true, false] {
                let outcome = Outcome::new(class).with_should_retry(word);
                assert_eq!(outcome.again(), word);
                assert_eq!(outcome.class, class);
            }
            assert_eq!(Outcome::new(class).again(), class.again());
        }
    }

    #[test]
    fn what_was_learned_to_be_used_is_not_unused() {
        for class in Class::ALL {
            let outcome = Outcome::new(class).with_usage(Usage::new(1, 0));
            assert!(!outcome.unused(), "{class}");
        }
        assert!(Outcome::new(Class::Unavailable).not_sent().unused());
        assert!(!Outcome::new(Class::Unavailable).unused());
        assert!(
            !Outcome::new(Class::Unfit).unused(),
            "a content filter bills what it read"
        );
    }
}
