use std::{error::Error, fmt};

use super::tape;
use crate::request::PeekError;

/// Why a request has no key, and goes past the cache. It quotes nothing of the request but one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bypass {
    /// It has no tenant, or no credential that would be one.
    NoTenant,
    /// The body is not JSON, no object, or too deep.
    Json(PeekError),
    /// An object has a name twice.
    Duplicate,
    /// This member is neither a boolean nor `null`.
    Mistyped(&'static str),
    /// The body is not in memory.
    NotInMemory,
    /// The body has more than 65 536 values, or 2 GiB.
    TooLarge,
    /// The path does not ask Gemini for a chat: it ends neither with `:generateContent` nor with
    /// `:streamGenerateContent`.
    Method,
}

/// Why a reply should not be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uncacheable {
    /// The temperature is absent or not 0: each reply would be another.
    Sampled,
    /// Several replies to one request are asked for.
    Several,
    /// There are tools, and who calls them may act twice.
    Tools,
    /// This member makes the provider do more than reply.
    Effect(&'static str),
}

// ===== impl Bypass =====

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInMemory => f.write_str("the body is not in memory"),
            Self::NoTenant => f.write_str("the request says no tenant, and so has no key"),
            Self::Json(error) => error.fmt(f),
            Self::Duplicate => f.write_str("an object in the body has a name twice"),
            Self::Mistyped(member) => {
                write!(f, "`{member}` must be a boolean or null")
            }
            Self::TooLarge => write!(f, "the body has more than {} values, or 2 GiB", tape::MOST),
            Self::Method => {
                f.write_str("the path must end with `:generateContent` or `:streamGenerateContent`")
            }
        }
    }
}

impl Error for Bypass {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}

// ===== impl Uncacheable =====

impl fmt::Display for Uncacheable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampled => f.write_str("the reply is sampled: its temperature is not 0"),
            Self::Several => f.write_str("several replies are asked for"),
            Self::Tools => f.write_str("the request has tools, which may have effects"),
            Self::Effect(member) => write!(f, "`{member}` has effects beside the reply"),
        }
    }
}

impl Error for Uncacheable {}
