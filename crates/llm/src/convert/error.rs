use std::{error::Error, fmt};

use buttress_core::Class;

use crate::{
    Dialect,
    json::{Bad, Cursor, Kind, Strings},
    request::PeekError,
};

/// Why a request or a reply could not be made one of another dialect.
///
/// It names the member and quotes no value. For a request, [`Unfit`](ConvertError::Unfit) is a fact
/// about the endpoint, and another one may serve it; everything else is wrong anywhere, and the
/// caller's 400.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// The text is not JSON, or nests too deep.
    Syntax(PeekError),
    /// A member is missing, comes twice, or is not what its dialect says.
    Invalid {
        /// The member, such as `messages[2].content[0].type`; at most 256 bytes.
        field: String,
        /// What is wrong with it, and what it must be.
        what: String,
    },
    /// A member means something that the other dialect cannot say.
    Unfit {
        /// The member, such as `logit_bias`; at most 256 bytes.
        field: String,
        /// The dialect that cannot.
        to: Dialect,
        /// Why, for people.
        why: &'static str,
    },
}

/// What is wrong, and at which byte of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) wrong: Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Syntax(Bad),
    /// The value is of another type.
    Type {
        expected: &'static str,
        kind: Kind,
    },
    /// The value is of this type, but none of these.
    Value {
        expected: &'static str,
    },
    /// The object lacks a member.
    Missing {
        member: &'static str,
    },
    /// The member came before.
    Twice,
    /// The object has more members than anybody needs.
    TooMany,
    /// The target cannot say it.
    Unfit {
        to: Dialect,
        why: &'static str,
    },
}

/// The longest name of a field that is told.
const FIELD: usize = 256;

// ===== impl ConvertError =====

impl ConvertError {
    /// What it means for the call: `Unfit` for this endpoint, or `Invalid` anywhere.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Unfit { .. } => Class::Unfit,
            _ => Class::Invalid,
        }
    }

    /// The member that is wrong, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) => None,
            Self::Invalid { field, .. } | Self::Unfit { field, .. } => Some(field),
        }
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Invalid { field, what } if field.is_empty() => write!(f, "the body {what}"),
            Self::Invalid { field, what } => write!(f, "`{field}` {what}"),
            Self::Unfit { field, to, why } => {
                write!(f, "`{field}` cannot be said in the dialect {to}: {why}")
            }
        }
    }
}

impl Error for ConvertError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            _ => None,
        }
    }
}

// ===== impl Fault =====

impl Fault {
    pub(super) const fn syntax(bad: Bad) -> Self {
        Self {
            at: bad.at,
            wrong: Wrong::Syntax(bad),
        }
    }

    /// The error, with the name of the field that it is about in `text`.
    pub(super) fn explain(self, text: &str) -> ConvertError {
        let field = || path(text, self.at);
        let invalid = |what: String| ConvertError::Invalid {
            field: field(),
            what,
        };
        match self.wrong {
            Wrong::Syntax(bad) => ConvertError::Syntax(PeekError::of(bad, text.as_bytes())),
            Wrong::Type { expected, kind } => {
                invalid(format!("must be {expected}, but is {}", kind.as_str()))
            }
            Wrong::Value { expected } => invalid(format!("must be {expected}")),
            Wrong::Missing { member } => invalid(format!("must have `{member}`")),
            Wrong::Twice => invalid("comes a second time".to_owned()),
            Wrong::TooMany => invalid("is one member too many".to_owned()),
            Wrong::Unfit { to, why } => ConvertError::Unfit {
                field: field(),
                to,
                why,
            },
        }
    }
}

/// The name of the value that stands at `at`, as in `messages[2].content`. Empty for the outermost.
pub(super) fn path(text: &str, at: usize) -> String {
    let mut json = Cursor::new(text.as_bytes(), Strings::Strict);
    let mut path = String::new();
    loop {
        match json.kind() {
            Kind::Object => {
                let mut items = json.object();
                let found = loop {
                    let Some(name) = json.member_decoded(&mut items) else {
                        break None;
                    };
                    json.kind();
                    let (start, mut inside) = (json.at(), json.clone());
                    json.skip();
                    if (start..json.at()).contains(&at) {
                        inside.kind();
                        break Some((name, start, inside));
                    }
                };
                let Some((name, start, inside)) = found else {
                    break;
                };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(&name).escape_debug().to_string());
                if start == at {
                    break;
                }
                json = inside;
            }
            Kind::Array => {
                let mut items = json.array();
                let mut index = 0_usize;
                let found = loop {
                    if !json.element(&mut items) {
                        break None;
                    }
                    json.kind();
                    let (start, inside) = (json.at(), json.clone());
                    json.skip();
                    if (start..json.at()).contains(&at) {
                        break Some((start, inside));
                    }
                    index += 1;
                };
                let Some((start, inside)) = found else {
                    break;
                };
                path.push_str(&format!("[{index}]"));
                if start == at {
                    break;
                }
                json = inside;
            }
            _ => break,
        }
    }
    let end = (0..=FIELD.min(path.len())).rfind(|end| path.is_char_boundary(*end));
    path.truncate(end.unwrap_or_default());
    path
}
