use std::fmt;

/// Why a model stopped.
///
/// Beside the [`Class`](crate::Class), and not one: a reply that a filter cut short is whole, paid
/// for, and says nothing of the endpoint's health. Of several choices in one reply the gravest
/// counts, which is the greatest in the order below.
///
/// | | OpenAI | Anthropic | Gemini |
/// |---|---|---|---|
/// | `Stop` | `stop` | `end_turn`, `stop_sequence` | `STOP` |
/// | `ToolCalls` | `tool_calls`, `function_call` | `tool_use` | - |
/// | `Other` | any other word | `pause_turn`, any other word | any other word |
/// | `Length` | `length` | `max_tokens`, `model_context_window_exceeded` | `MAX_TOKENS` |
/// | `Filtered` | `content_filter`; an error of that name | `refusal` | `SAFETY` and its like; a prompt that was blocked |
///
/// ```
/// use buttress_core::{Class, Finish, Outcome};
///
/// let refused = Outcome::new(Class::Unfit).with_finish(Finish::Filtered);
/// assert_eq!(refused.finish, Some(Finish::Filtered));
/// assert!(Finish::Filtered > Finish::Stop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// It had said everything, or met a stop sequence.
    Stop,
    /// It called tools, and waits for what they say.
    ToolCalls,
    /// For a reason that has no name here.
    Other,
    /// At the most tokens it may write, or can see.
    Length,
    /// A filter, or the model itself, refused to go on, or to begin.
    Filtered,
}

// ===== impl Finish =====

impl Finish {
    /// All of them, from the slightest to the gravest.
    pub const ALL: [Self; 5] = [
        Self::Stop,
        Self::ToolCalls,
        Self::Other,
        Self::Length,
        Self::Filtered,
    ];

    /// Its name, as OpenAI has it: `stop`, `tool_calls`, `length`, `content_filter`, and `other`. It
    /// is a good label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
            Self::Other => "other",
            Self::Length => "length",
            Self::Filtered => "content_filter",
        }
    }
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
