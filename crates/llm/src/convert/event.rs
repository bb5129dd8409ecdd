use buttress_core::{Class, Fact};

use super::ConvertError;

/// What happens in a [`ConvertLayer`](super::ConvertLayer). Between two of the same dialect nothing is
/// converted, and nothing told but that a chat could not be read in which the model is to be another.
///
/// ```
/// use buttress_core::Event as _;
/// use buttress_llm::convert::ConvertEvent;
///
/// let event = ConvertEvent::Sent { left_out: &["store".to_owned()] };
/// assert_eq!(event.name(), "convert.sent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertEvent<'a> {
    /// A request was converted, and is about to be sent.
    Sent {
        /// The members that the endpoint's dialect has no place for:
        /// [`Converted::left_out`](super::Converted::left_out).
        left_out: &'a [String],
    },
    /// A request could not be converted, or its model not renamed, and is not sent.
    Refused {
        /// Why, and which member.
        error: &'a ConvertError,
    },
}

// ===== impl ConvertEvent =====

impl ConvertEvent<'_> {
    const fn class(&self) -> Option<Class> {
        match self {
            Self::Sent { .. } => None,
            Self::Refused { error } => Some(error.class()),
        }
    }
}

impl buttress_core::Event for ConvertEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "convert.sent",
            Self::Refused { .. } => "convert.refused",
        }
    }

    // The names of members are the caller's words: they are told to whoever takes the event itself.
    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        if let Self::Sent { left_out } = self {
            each("left_out", Fact::Count(left_out.len() as u64));
        }
        if let Some(class) = self.class() {
            each("class", Fact::Class(class));
        }
    }
}
