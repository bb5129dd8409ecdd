//! What forwarding must know of a request, and the few edits that it makes.
//!
//! A [`Peek`] reads a request body in one pass, without a tree. Its [`Edit`] replaces a value in
//! place; every other byte stays what it was.

use std::{borrow::Cow, error::Error, fmt, ops::Range};

use bytes::{Bytes, BytesMut};

use crate::json::{Bad, Cursor, DEPTH, Kind, Strings, What, quote};

/// What forwarding must know of a request body, read in one pass.
///
/// The same members serve all dialects: `model`, `stream`, `stream_options.include_usage` (OpenAI),
/// and the most tokens that the reply may have. Gemini names model and method in the path: see
/// [`Target`](crate::gemini::Target).
///
/// The whole body must be valid JSON of at most 128 levels, and an object. Of the members that are
/// read here, none may come twice, since the upstream may take another one than we do. A member
/// whose name is written with escapes is found as well.
///
/// `Debug` shows no text.
///
/// # Examples
///
/// ```
/// use buttress_llm::request::Peek;
///
/// # fn main() -> Result<(), buttress_llm::request::PeekError> {
/// let request = Peek::new(r#"{"model": "fast", "stream":true, "messages":[]}"#)?;
/// assert_eq!(request.model(), Some("fast"));
/// assert!(request.stream());
///
/// let sent = request.edit().model("gpt-4.1-nano").include_usage().finish();
/// assert_eq!(
///     sent,
///     r#"{"stream_options":{"include_usage":true},"model": "gpt-4.1-nano", "stream":true, "messages":[]}"#
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Peek {
    body: Bytes,
    model: Option<Model>,
    stream: bool,
    options: Options,
    max_tokens: Option<u64>,
    /// The inside of the outermost object.
    inside: Inside,
}

/// Byte-exact changes of a request body. [`Peek::edit`] begins one.
///
/// ```
/// use buttress_llm::request::Peek;
///
/// # fn main() -> Result<(), buttress_llm::request::PeekError> {
/// let request = Peek::new(r#"{ "model" : "a" }"#)?;
/// assert_eq!(request.edit().model("b").finish(), r#"{ "model" : "b" }"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an edit does nothing until it is finished"]
pub struct Edit<'a> {
    request: &'a Peek,
    model: Option<&'a str>,
    include_usage: bool,
}

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

#[derive(Clone)]
struct Model {
    /// With the quotes.
    value: Range<usize>,
    /// Where it is written with escapes.
    decoded: Option<Box<str>>,
}

#[derive(Clone, Default)]
enum Options {
    #[default]
    Absent,
    Null(Range<usize>),
    Object {
        inside: Inside,
        include_usage: Option<(Range<usize>, bool)>,
    },
}

#[derive(Clone, Copy)]
struct Inside {
    start: usize,
    empty: bool,
}

/// The members of which the smallest is the bound of the reply.
const MAX_TOKENS: [&str; 4] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
];

// ===== impl Peek =====

impl Peek {
    /// Reads a request body. Nothing is copied but a model name that is written with escapes.
    ///
    /// # Errors
    ///
    /// [`PeekError`], where the body is not JSON, or not such as is read here.
    pub fn new(body: impl Into<Bytes>) -> Result<Self, PeekError> {
        Self::read(body.into())
    }

    fn read(body: Bytes) -> Result<Self, PeekError> {
        if let Err(error) = std::str::from_utf8(&body) {
            return Err(PeekError::Utf8 {
                at: error.valid_up_to(),
            });
        }
        let mut reader = Reader::default();
        let mut json = Cursor::new(&body, Strings::Strict);
        let read = reader.root(&mut json);
        // What is no JSON is told as such, whatever it looked like.
        let inside = match json.bad() {
            Some(bad) => return Err(bad.into_error(&body)),
            None => read?,
        };
        let Reader {
            model,
            stream,
            options,
            max_tokens,
            ..
        } = reader;
        Ok(Self {
            body,
            model,
            stream,
            options,
            max_tokens,
            inside,
        })
    }

    /// The name of the model. `None`: the body names none.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let model = self.model.as_ref()?;
        match &model.decoded {
            Some(decoded) => Some(decoded),
            None => {
                std::str::from_utf8(&self.body[model.value.start + 1..model.value.end - 1]).ok()
            }
        }
    }

    /// Whether the reply is to be streamed. `null` and nothing mean no.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// Whether the stream is to tell its usage (`stream_options.include_usage`). `null` and nothing
    /// mean no.
    #[must_use]
    pub fn include_usage(&self) -> bool {
        matches!(
            self.options,
            Options::Object {
                include_usage: Some((_, true)),
                ..
            }
        )
    }

    /// The most tokens that the reply may have: the smallest of `max_tokens`,
    /// `max_completion_tokens`, `max_output_tokens` and Gemini's `generationConfig.maxOutputTokens`.
    /// `None`: no such bound, or none that is a whole number, such as the -1 of some local servers.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u64> {
        self.max_tokens
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Begins a change of the body.
    pub fn edit(&self) -> Edit<'_> {
        Edit {
            request: self,
            model: None,
            include_usage: false,
        }
    }
}

impl fmt::Debug for Peek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek")
            .field("bytes", &self.body.len())
            .field("has_model", &self.model.is_some())
            .field("stream", &self.stream)
            .field("include_usage", &self.include_usage())
            .field("max_tokens", &self.max_tokens)
            .finish()
    }
}

// ===== impl Edit =====

impl<'a> Edit<'a> {
    /// Names another model. Does nothing where the body names none.
    pub fn model(mut self, model: &'a str) -> Self {
        self.model = Some(model);
        self
    }

    /// Asks for the usage at the end of the stream. Does nothing where the reply is not streamed,
    /// because the API refuses the option then, or where it is asked for already.
    pub fn include_usage(mut self) -> Self {
        self.include_usage = true;
        self
    }

    /// The body with these changes; the same `Bytes`, if there are none.
    #[must_use]
    pub fn finish(self) -> Bytes {
        // One of each at most: what is put where, and in place of what.
        let mut splices: Vec<(Range<usize>, Cow<'static, str>)> = Vec::new();
        if let Some(name) = self.model
            && self.request.model() != Some(name)
            && let Some(model) = &self.request.model
        {
            splices.push((model.value.clone(), quote(name).into()));
        }
        if self.include_usage && self.request.stream {
            splices.extend(self.request.usage_splice());
        }
        if splices.is_empty() {
            return self.request.body.clone();
        }
        splices.sort_by_key(|(place, _)| place.start);
        let body = &self.request.body;
        let added: usize = splices.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + added);
        let mut from = 0;
        for (place, text) in splices {
            out.extend_from_slice(&body[from..place.start]);
            out.extend_from_slice(text.as_bytes());
            from = place.end;
        }
        out.extend_from_slice(&body[from..]);
        out.freeze()
    }
}

impl Peek {
    fn usage_splice(&self) -> Option<(Range<usize>, Cow<'static, str>)> {
        match &self.options {
            Options::Absent => Some(
                self.inside
                    .insert(r#""stream_options":{"include_usage":true}"#),
            ),
            Options::Null(value) => Some((value.clone(), r#"{"include_usage":true}"#.into())),
            Options::Object {
                inside,
                include_usage: None,
            } => Some(inside.insert(r#""include_usage":true"#)),
            Options::Object {
                include_usage: Some((value, false)),
                ..
            } => Some((value.clone(), "true".into())),
            Options::Object {
                include_usage: Some((_, true)),
                ..
            } => None,
        }
    }
}

// ===== impl Inside =====

impl Inside {
    fn insert(self, member: &'static str) -> (Range<usize>, Cow<'static, str>) {
        let text = if self.empty {
            Cow::Borrowed(member)
        } else {
            format!("{member},").into()
        };
        (self.start..self.start, text)
    }
}

// ===== Reader =====

#[derive(Default)]
struct Reader {
    model: Option<Model>,
    stream_seen: bool,
    stream: bool,
    options: Options,
    /// Which of `MAX_TOKENS` came.
    bounds: [bool; MAX_TOKENS.len()],
    config_seen: bool,
    max_tokens: Option<u64>,
}

impl Reader {
    fn root(&mut self, json: &mut Cursor<'_>) -> Result<Inside, PeekError> {
        let kind = json.kind();
        if kind != Kind::Object {
            let found = kind.as_str();
            // Broken text is told as such, whatever it began as.
            json.skip();
            let _ = json.end();
            return Err(PeekError::NotObject { found });
        }
        let mut items = json.object();
        let mut inside = Inside {
            start: json.at(),
            empty: true,
        };
        while let Some(name) = json.member_decoded(&mut items) {
            inside.empty = false;
            match &*name {
                b"model" => self.model(json)?,
                b"stream" => self.stream(json)?,
                b"stream_options" => self.options(json)?,
                b"max_tokens" => self.bound(json, 0)?,
                b"max_completion_tokens" => self.bound(json, 1)?,
                b"max_output_tokens" => self.bound(json, 2)?,
                b"generationConfig" | b"generation_config" => self.config(json)?,
                _ => json.skip(),
            }
        }
        let _ = json.end();
        Ok(inside)
    }

    fn model(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        let start = json.at();
        once("model", self.model.is_some(), start)?;
        if kind != Kind::String {
            return Err(mistyped("model", start, kind.as_str(), "a string"));
        }
        let span = json.string();
        let Some(name) = json.decode(span) else {
            return Err(mistyped("model", start, "half of a surrogate pair", "text"));
        };
        if name.chars().any(char::is_control) {
            let expected = "a string without control characters";
            return Err(mistyped("model", start, "a control character", expected));
        }
        self.model = Some(Model {
            value: start..json.at(),
            decoded: match name {
                Cow::Borrowed(_) => None,
                Cow::Owned(name) => Some(name.into()),
            },
        });
        Ok(())
    }

    fn stream(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let (_, stream) = flag(
            "stream",
            std::mem::replace(&mut self.stream_seen, true),
            json,
        )?;
        self.stream = stream;
        Ok(())
    }

    fn options(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        let seen = !matches!(self.options, Options::Absent);
        once("stream_options", seen, json.at())?;
        self.options = match kind {
            Kind::Null => Options::Null(json.skip_span()),
            Kind::Object => {
                let mut items = json.object();
                let mut inside = Inside {
                    start: json.at(),
                    empty: true,
                };
                let mut include_usage = None;
                while let Some(name) = json.member_decoded(&mut items) {
                    inside.empty = false;
                    if *name == *b"include_usage" {
                        let seen = include_usage.is_some();
                        include_usage = Some(flag("stream_options.include_usage", seen, json)?);
                    } else {
                        json.skip();
                    }
                }
                Options::Object {
                    inside,
                    include_usage,
                }
            }
            _ => {
                let found = kind.as_str();
                return Err(mistyped("stream_options", json.at(), found, "an object"));
            }
        };
        Ok(())
    }

    fn config(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        once(
            "generationConfig",
            std::mem::replace(&mut self.config_seen, true),
            json.at(),
        )?;
        if kind != Kind::Object {
            json.skip();
            return Ok(());
        }
        let mut items = json.object();
        while let Some(name) = json.member_decoded(&mut items) {
            match &*name {
                b"maxOutputTokens" | b"max_output_tokens" => self.bound(json, 3)?,
                _ => json.skip(),
            }
        }
        Ok(())
    }

    fn bound(&mut self, json: &mut Cursor<'_>, which: usize) -> Result<(), PeekError> {
        let member = MAX_TOKENS[which];
        let kind = json.kind();
        once(
            member,
            std::mem::replace(&mut self.bounds[which], true),
            json.at(),
        )?;
        match kind {
            Kind::Null => json.skip(),
            Kind::Number => {
                let bound = json.number();
                self.max_tokens = match (self.max_tokens, bound) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            _ => return Err(mistyped(member, json.at(), kind.as_str(), "a number")),
        }
        Ok(())
    }
}

/// A boolean, or null, which is no; and where it stands.
fn flag(
    member: &'static str,
    seen: bool,
    json: &mut Cursor<'_>,
) -> Result<(Range<usize>, bool), PeekError> {
    let kind = json.kind();
    let start = json.at();
    once(member, seen, start)?;
    let value = match kind {
        Kind::Bool => json.bool(),
        Kind::Null => {
            json.skip();
            false
        }
        _ => return Err(mistyped(member, start, kind.as_str(), "a boolean")),
    };
    Ok((start..json.at(), value))
}

fn once(member: &'static str, seen: bool, at: usize) -> Result<(), PeekError> {
    if seen {
        return Err(PeekError::Duplicate { member, at });
    }
    Ok(())
}

fn mistyped(
    member: &'static str,
    at: usize,
    found: &'static str,
    expected: &'static str,
) -> PeekError {
    PeekError::Type {
        member,
        at,
        found,
        expected,
    }
}

impl Bad {
    fn into_error(self, body: &[u8]) -> PeekError {
        match self.what {
            What::TooDeep => PeekError::Depth { at: self.at },
            What::Expected(expected) => PeekError::Syntax {
                at: self.at,
                found: body.get(self.at).copied(),
                expected,
            },
        }
    }
}

// ===== impl PeekError =====

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
