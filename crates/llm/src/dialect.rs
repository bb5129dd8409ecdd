use std::{error::Error, fmt, str::FromStr};

use http::HeaderName;

/// A way to speak with a provider.
///
/// It says what a reply of the model means, as a [`Judge`](buttress_http::Judge) chosen at run time;
/// [`OpenAi`](crate::OpenAi), [`Anthropic`](crate::Anthropic) and [`Gemini`](crate::Gemini) are the
/// same at compile time. Replies of other paths are judged by [`AnyPath`](crate::AnyPath).
///
/// # What a reply means
///
/// The status and its hints are read as [`ByStatus`](buttress_http::ByStatus) reads them. Then:
///
/// | a reply | class |
/// |---|---|
/// | 2xx that is neither JSON nor an event stream, by its content type | unavailable |
/// | 2xx of JSON, whole | success, of any shape |
/// | the same, empty, cut, or no JSON object or array | unavailable |
/// | 2xx with an error object | by the error inside |
/// | an event stream with its terminator | success |
/// | the same, without it, cut, or with an event over the bound | unavailable, interrupted after content |
/// | the same, with an error event | by the error inside, interrupted after content |
/// | a prompt that Gemini blocked | unfit |
/// | 4xx whose body tells of credential or money: `insufficient_quota`, spend limits, a quota per day, a wait above 300 s, `API_KEY_INVALID` … | denied |
/// | 4xx, not 429, whose body tells of what this model cannot do: context length, unknown model, content filter, unsupported parameter | unfit |
/// | an error inside that nothing names | unavailable |
///
/// A stream ends with `[DONE]`, or once every choice has its `finish_reason`, with a clean end
/// (OpenAI); with `message_stop` (Anthropic); with a clean end once every candidate has its
/// `finishReason` (Gemini). What comes after a terminator is not read. One event that is malformed
/// is passed over: the caller sees it as it came, and the stream is judged by the others. What a
/// filter did to the reply, such as a `finish_reason` of `content_filter`, is no failure of the
/// call.
///
/// What is compressed is not read: its clean end is a success, and its usage is unknown. Ask with
/// `accept-encoding: identity`.
///
/// # What is content
///
/// Any text, reasoning, refusal, tool call, citation or signature in a delta that is not empty; no
/// roles, `message_start`, block starts, comments or pings. A plain reply is content once it is
/// whole, or longer than 64 KiB: until then it may be an error.
///
/// # Usage
///
/// As [`Usage`](buttress_core::Usage) has it, whatever the provider's way to count. It is exact if it
/// was told at the end; what a stream told before it broke off is an estimate. More than 2⁴⁰ tokens
/// are not believed: the usage is unknown.
///
/// | | input | output |
/// |---|---|---|
/// | OpenAI | `prompt_tokens` | `completion_tokens`, or `total_tokens` less the prompt, if that is more: some compatible servers leave the reasoning out |
/// | Anthropic | `input_tokens`, `cache_creation_input_tokens` and `cache_read_input_tokens` together | `output_tokens`; what is told later replaces what was told before |
/// | Gemini | `promptTokenCount` and `toolUsePromptTokenCount` | `candidatesTokenCount`, or what the total leaves for it, and `thoughtsTokenCount` |
///
/// # Examples
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::Dialect;
///
/// let dialect: Dialect = "anthropic".parse()?;
/// assert_eq!(dialect, Dialect::Anthropic);
/// assert_eq!(dialect.to_string(), "anthropic");
/// let layer = TrackLayer::new(dialect);
/// # let _ = layer;
/// # Ok::<_, buttress_llm::UnknownDialect>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI chat completions, and what is compatible with them. `openai`.
    OpenAi,
    /// Anthropic messages. `anthropic`.
    Anthropic,
    /// Gemini `generateContent`. `gemini`.
    Gemini,
}

/// A name that is none of a [`Dialect`].
///
/// ```
/// use buttress_llm::Dialect;
///
/// let error = "OpenAI".parse::<Dialect>().unwrap_err();
/// assert_eq!(error.to_string(), "no dialect has this name, only openai, anthropic and gemini");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownDialect;

// ===== impl Dialect =====

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    /// Its name, in lower case: in configuration, and as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// The header of a response in which its SDK looks for the id of the request: `request-id` for
    /// Anthropic, else `x-request-id`.
    #[must_use]
    pub const fn request_id_header(self) -> HeaderName {
        match self {
            Self::Anthropic => HeaderName::from_static("request-id"),
            Self::OpenAi | Self::Gemini => HeaderName::from_static("x-request-id"),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        let named = |dialect: &Self| dialect.as_str() == name;
        Self::ALL.into_iter().find(named).ok_or(UnknownDialect)
    }
}

// ===== impl UnknownDialect =====

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no dialect has this name, only openai, anthropic and gemini")
    }
}

impl Error for UnknownDialect {}
