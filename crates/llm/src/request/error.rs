use std::{error::Error, fmt};

use crate::json::{Bad, DEPTH, What};

/// Why a request body could not be read. It says where, and quotes at most one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekError {
    /// It is not UTF-8.
    Utf8 {
        /// The offset of the first byte that is not, from 0.
        at: usize,
    },
    /// It is not JSON.
    Syntax {
        /// The offset of what was found, from 0.
        at: usize,
        /// What was found; `None` is the end.
        found: Option<u8>,
        /// What could have stood there.
        expected: &'static str,
    },
    /// It nests more than 128 levels.
    Depth {
        /// The offset of the value that is too deep, from 0.
        at: usize,
    },
    /// It is JSON, but no object.
    NotObject {
        /// What was found.
        found: &'static str,
    },
    /// A member that matters came twice.
    Duplicate {
        /// Its name.
        member: &'static str,
        /// The offset of the second value, from 0.
        at: usize,
    },
    /// A member has a value of another type.
    Type {
        /// Its name.
        member: &'static str,
        /// The offset of the value, from 0.
        at: usize,
        /// What was found.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

// ===== impl PeekError =====

impl PeekError {
    /// What failed a cursor on this body.
    pub(crate) fn of(bad: Bad, body: &[u8]) -> Self {
        match bad.what {
            What::TooDeep => Self::Depth { at: bad.at },
            What::Expected(expected) => Self::Syntax {
                at: bad.at,
                found: body.get(bad.at).copied(),
                expected,
            },
        }
    }
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 { at } => write!(f, "the body is not UTF-8 at byte {at}"),
            Self::Syntax {
                at,
                found: Some(found),
                expected,
            } => write!(
                f,
                "the body is not JSON: at byte {at}, expected {expected}, found `{}`",
                found.escape_ascii()
            ),
            Self::Syntax {
                at,
                found: None,
                expected,
            } => write!(
                f,
                "the body is not JSON: expected {expected}, but it ends at byte {at}"
            ),
            Self::Depth { at } => write!(
                f,
                "the body nests more than {DEPTH} levels deep at byte {at}"
            ),
            Self::NotObject { found } => {
                write!(f, "the body must be a JSON object, but is {found}")
            }
            Self::Duplicate { member, at } => {
                write!(f, "`{member}` comes a second time at byte {at}")
            }
            Self::Type {
                member,
                at,
                found,
                expected,
            } => write!(
                f,
                "`{member}` must be {expected}, but is {found} at byte {at}"
            ),
        }
    }
}

impl Error for PeekError {}
