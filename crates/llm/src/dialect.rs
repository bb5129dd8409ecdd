use std::{error::Error, fmt, str::FromStr};

/// A way to speak with a provider.
///
/// It says what a reply means, as a [`Judge`](buttress_http::Judge) chosen at run time: like
/// [`OpenAi`](crate::OpenAi), [`Anthropic`](crate::Anthropic) and [`Gemini`](crate::Gemini).
///
/// # Examples
///
/// ```
/// use buttress_llm::Dialect;
///
/// let dialect: Dialect = "anthropic".parse()?;
/// assert_eq!(dialect, Dialect::Anthropic);
/// assert_eq!(dialect.to_string(), "anthropic");
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
