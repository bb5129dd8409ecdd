//! What forwarding must know of a request, and the few edits that it makes.
//!
//! A [`Peek`] reads a request body in one pass, without a tree. Its [`Edit`] replaces a value in
//! place; every other byte stays what it was.

mod edit;
mod error;
mod reader;

use std::{fmt, ops::Range};

use bytes::Bytes;

use self::reader::Reader;
pub use self::{edit::Edit, error::PeekError};
use crate::json::{Cursor, Strings};

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
            Some(bad) => return Err(PeekError::of(bad, &body)),
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
        Edit::new(self)
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
