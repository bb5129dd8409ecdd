use std::time::Duration;

use buttress_core::Fact;

/// What happens in a [`CredentialsLayer`](super::CredentialsLayer).
///
/// ```
/// use buttress_core::Event as _;
/// use buttress_llm::keys::Event;
///
/// let event = Event::Sent { key: "first", benched: false };
/// assert_eq!(event.name(), "credentials.sent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call is about to be sent with this key.
    Sent {
        /// The id of the key.
        key: &'a str,
        /// It is benched, and so are all the others.
        benched: bool,
    },
    /// This key was denied, and is not used for a while. Once for each time.
    Benched {
        /// The id of the key.
        key: &'a str,
        /// For how long, from now.
        time: Duration,
        /// How often it was denied in a row, 63 at most.
        denials: u32,
    },
    /// This key was benched, and is accepted again.
    Accepted {
        /// The id of the key.
        key: &'a str,
    },
}

// ===== impl Event =====

impl Event<'_> {
    /// The id of the key.
    #[must_use]
    pub const fn key(&self) -> &str {
        match self {
            Self::Sent { key, .. } | Self::Benched { key, .. } | Self::Accepted { key } => key,
        }
    }
}

impl buttress_core::Event for Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "credentials.sent",
            Self::Benched { .. } => "credentials.benched",
            Self::Accepted { .. } => "credentials.accepted",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        each("key", Fact::Name(self.key()));
        match self {
            Self::Sent { benched, .. } => each("benched", Fact::Flag(*benched)),
            Self::Benched { time, denials, .. } => {
                each("time", Fact::Time(*time));
                each("denials", Fact::Count((*denials).into()));
            }
            Self::Accepted { .. } => {}
        }
    }
}
