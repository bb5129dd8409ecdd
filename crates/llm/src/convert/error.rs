use std::{error::Error, fmt, iter::Peekable, vec};

use buttress_core::{Class, Reason, Refused};

use crate::{
    Dialect,
    json::{Bad, Cursor, Kind, Strings},
    request::PeekError,
};

/// Why a request or a reply could not be made one of another dialect.
///
/// It names the member and quotes no value, but a number that is out of range. Of a request,
/// [`Unfit`](ConvertError::Unfit) is a fact about the endpoint, and another one may serve it;
/// [`Reply`](ConvertError::Reply) is the endpoint's fault, and everything else is wrong anywhere, and the
/// caller's 400.
///
/// # In a service of yours
///
/// The layers outside know it, below a box or wherever [`source`](Error::source) leads to it: a request
/// that could not be converted is of its [`class`](ConvertError::class), and was not sent. So an endpoint
/// that it was not for neither cools down nor trips its breaker.
///
/// ```
/// use std::{error::Error, fmt};
/// use buttress_core::{Class, Fault, Sent};
/// use buttress_http::outcome_of_error;
/// use buttress_llm::{Dialect, convert::{Conversion, ConvertError}};
///
/// #[derive(Debug)]
/// enum ApiError {
///     Io(std::io::Error),
///     Convert(ConvertError),
/// }
///
/// impl From<ConvertError> for ApiError {
///     fn from(error: ConvertError) -> Self {
///         Self::Convert(error)
///     }
/// }
///
/// impl Fault for ApiError {
///     fn cause(&self) -> Option<&(dyn Error + 'static)> {
///         Some(self)
///     }
/// }
/// # impl fmt::Display for ApiError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{self:?}") }
/// # }
/// impl Error for ApiError {
///     fn source(&self) -> Option<&(dyn Error + 'static)> {
///         match self {
///             Self::Io(error) => Some(error),
///             Self::Convert(error) => Some(error),
///         }
///     }
/// }
///
/// let way = Conversion::new(Dialect::OpenAi, Dialect::Anthropic);
/// let request = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"seed":1}"#;
/// let error: ApiError = way.request(request).unwrap_err().into();
/// let outcome = outcome_of_error(&error);
/// assert_eq!((outcome.class, outcome.sent), (Class::Unfit, Sent::No));
/// ```
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
    /// What the endpoint replied is not what its dialect says.
    Reply(Box<ConvertError>),
}

/// That a request cannot be converted, as every layer knows it.
static UNFIT: Refused = Refused::new(Reason::Unconvertible);
static INVALID: Refused = UNFIT.with_class(Class::Invalid);

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
    /// It is a number, but none of these.
    Number {
        expected: &'static str,
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

/// So much of a number is told.
const NUMBER: usize = 24;

/// The longest name of a field that is told.
const FIELD: usize = 256;

// ===== impl ConvertError =====

impl ConvertError {
    /// What it means for the call: `Unfit` for this endpoint, `Invalid` anywhere, or `Unavailable` where
    /// the reply is at fault.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Unfit { .. } => Class::Unfit,
            Self::Reply(_) => Class::Unavailable,
            Self::Syntax(_) | Self::Invalid { .. } => Class::Invalid,
        }
    }

    /// The member that is wrong, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) => None,
            Self::Invalid { field, .. } | Self::Unfit { field, .. } => Some(field),
            Self::Reply(error) => error.field(),
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
            Self::Reply(error) => error.fmt(f),
        }
    }
}

impl Error for ConvertError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unfit { .. } => Some(&UNFIT),
            Self::Syntax(_) | Self::Invalid { .. } => Some(&INVALID),
            // It was sent, and answered.
            Self::Reply(_) => None,
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

    /// The same, of a reply.
    pub(super) fn explain_reply(self, text: &str) -> ConvertError {
        ConvertError::Reply(Box::new(self.explain(text)))
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
            Wrong::Number { expected } => {
                let found = number_at(text, self.at);
                invalid(format!("must be {expected}, but is {found}"))
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

/// The number that stands at `at`, or so much of it as anybody wants to see.
fn number_at(text: &str, at: usize) -> &str {
    let number = text.get(at..).unwrap_or_default();
    let ends = |byte: &u8| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let end = number.bytes().position(|byte| ends(&byte));
    &number[..end.unwrap_or(number.len()).min(NUMBER)]
}

/// The name of the value that stands at `at`, as in `messages[2].content`. Empty for the outermost.
pub(super) fn path(text: &str, at: usize) -> String {
    paths(text, &[at]).pop().unwrap_or_default()
}

/// The names of the values that stand at these places, in this order.
pub(super) fn paths(text: &str, places: &[usize]) -> Vec<String> {
    // In the order of the text they are found in one pass, however many there are.
    let mut wanted: Vec<(usize, usize)> = places.iter().copied().zip(0..).collect();
    wanted.sort_unstable();
    let mut walk = Walk {
        wanted: wanted.into_iter().peekable(),
        path: String::new(),
        found: vec![String::new(); places.len()],
    };
    let mut json = Cursor::new(text.as_bytes(), Strings::Strict);
    walk.inside(&mut json, text.len());
    walk.found
}

/// A way through a text, past the places that are still to be named.
struct Walk {
    wanted: Peekable<vec::IntoIter<(usize, usize)>>,
    /// The name of the value at hand.
    path: String,
    found: Vec<String>,
}

impl Walk {
    /// Names the places before `end`, which are those of the value that comes next, or inside it.
    fn inside(&mut self, json: &mut Cursor<'_>, end: usize) {
        match json.kind() {
            Kind::Object => {
                let mut items = json.object();
                while self.is_wanted(end)
                    && let Some(name) = json.member_decoded(&mut items)
                {
                    self.value(json, |path| {
                        let dot = if path.is_empty() { "" } else { "." };
                        let name = String::from_utf8_lossy(&name);
                        path.push_str(&format!("{dot}{}", name.escape_debug()));
                    });
                }
            }
            Kind::Array => {
                let mut items = json.array();
                let mut index = 0_usize;
                while self.is_wanted(end) && json.element(&mut items) {
                    self.value(json, |path| path.push_str(&format!("[{index}]")));
                    index += 1;
                }
            }
            _ => {}
        }
        // What is left is the value itself.
        while self.is_wanted(end) {
            self.name();
        }
    }

    /// Takes a value, and names the places that are its own. `step` makes the name of it.
    fn value(&mut self, json: &mut Cursor<'_>, step: impl FnOnce(&mut String)) {
        json.kind();
        let (start, mut inside) = (json.at(), json.clone());
        json.skip();
        let end = json.at();
        // What is before it belongs to what it is in.
        while self.is_wanted(start) {
            self.name();
        }
        if !self.is_wanted(end) {
            return;
        }
        let outer = self.path.len();
        step(&mut self.path);
        while self.wanted.peek().is_some_and(|(at, _)| *at == start) {
            self.name();
        }
        if self.is_wanted(end) {
            self.inside(&mut inside, end);
        }
        self.path.truncate(outer);
    }

    /// Whether the next place is before `end`.
    fn is_wanted(&mut self, end: usize) -> bool {
        self.wanted.peek().is_some_and(|(at, _)| *at < end)
    }

    /// The next place has the name of the value at hand.
    fn name(&mut self) {
        if let Some((_, place)) = self.wanted.next()
            && let Some(found) = self.found.get_mut(place)
        {
            let end = FIELD.min(self.path.len());
            let end = (0..=end).rfind(|end| self.path.is_char_boundary(*end));
            self.path[..end.unwrap_or_default()].clone_into(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn every_place_has_the_name_of_the_innermost_value_that_it_is_in() {
        let text = r#" {"a": [1, {"b\n": "cd"}], "e": {}, "a": null}"#;
        let at = |part: &str| text.find(part).unwrap();
        let places = [
            (at("null"), "a"),
            (at("cd") - 1, "a[1].b\\n"),
            (at("cd"), "a[1].b\\n"),
            (at("{\"b"), "a[1]"),
            (at("b\\n"), "a[1]"),
            (at("[1"), "a"),
            (at("1,"), "a[0]"),
            (at("1,"), "a[0]"),
            (at(", {"), "a"),
            (at("\"e\""), ""),
            (at("{}") + 1, "e"),
            (1, ""),
            (0, ""),
            (text.len() - 1, ""),
        ];
        let names = paths(text, &places.map(|(at, _)| at));
        assert_eq!(names, places.map(|(_, name)| name));
        for (at, name) in places {
            assert_eq!(paths(text, &[at]), [name], "{at}");
        }
    }
}
