//! A stream as the whole reply that it would have been, and a whole reply as a stream, within one
//! dialect.
//!
//! What was recorded as a stream can so answer a caller who asked for a whole reply, and the other
//! way round. Between dialects, [`convert`](crate::convert) does the same.
//!
//! ```
//! use buttress_llm::{Dialect, fold};
//!
//! # fn main() -> Result<(), fold::FoldError> {
//! let stream = br#"data: {"id":"1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}
//!
//! data: {"id":"1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}
//!
//! data: {"id":"1","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}
//!
//! data: [DONE]
//!
//! "#;
//! let reply = fold::whole(Dialect::OpenAi, stream)?;
//! let value: serde_json::Value = serde_json::from_slice(&reply).unwrap();
//! assert_eq!(value["choices"][0]["message"]["content"], "Hello");
//! assert_eq!(value["usage"]["total_tokens"], 11);
//!
//! let again = fold::stream(Dialect::OpenAi, &reply, fold::IncludeUsage(true))?;
//! assert_eq!(fold::whole(Dialect::OpenAi, &again)?, reply);
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! In a cache that one caller asks for a stream and another for the whole of the same chat.
//!
//! # When not
//!
//! For a stream on its way: folding waits for its end. What comes as no event stream, such as
//! Gemini's JSON array without `alt=sse`, is not read.
//!
//! # What is kept
//!
//! Everything, members that nothing here knows included, in the form that the provider gives a whole
//! reply: text, refusals, reasoning and the arguments of calls joined, lists of log probabilities,
//! annotations and citations strung together, and of any other member what was said last. Usage is
//! what the provider told last, as it told it. Left out are `obfuscation` and pings. The members of an
//! object come in the order of their names; a number that is not whole is that of a double.
//!
//! A reply of [`stream`] has few events, since nothing says where the provider would have cut: one of
//! text, and one for each call or block. Its terminators are those of the dialect.
//!
//! # What is not folded
//!
//! Nothing that would be less than the whole: a stream that failed or has no terminator, an event
//! that is malformed or of a kind whose meaning is not known, or one without usage, such as OpenAI's to
//! whoever did not ask for it. Ask the endpoint for it ([`Edit::include_usage`]), and take it out for
//! such a caller ([`UsageFilter`]).
//!
//! [`Edit::include_usage`]: crate::request::Edit::include_usage
//! [`UsageFilter`]: crate::openai::UsageFilter
//!
//! # Bounds
//!
//! A stream or reply of 16 MiB, 128 choices or candidates, 4096 calls or blocks, and JSON of 128 levels; past that, an error.

mod anthropic;
mod gemini;
mod merge;
mod openai;

use std::{error::Error, fmt};

use buttress_http::sse::{self, Decoder};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::{Dialect, meter::Tail};

/// Whether a stream tells its usage in a chunk of its own, as OpenAI's does to who asked for it.
/// Other dialects tell it always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncludeUsage(
    /// Whether the caller asked for it.
    pub bool,
);

/// Puts a stream together, part by part.
#[derive(Debug)]
pub struct Fold {
    decoder: Decoder,
    state: State,
    taken: usize,
    events: usize,
}

/// Why there is no such reply or stream. It quotes nothing of either.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoldError {
    /// The event stream breaks a bound of the decoder.
    Frame(sse::Error),
    /// An event, or the reply, is not JSON.
    Json {
        /// Which event, from 0; of a reply, 0.
        event: usize,
    },
    /// An event, or the reply, is not what its dialect says, or means what is not known here.
    Unknown {
        /// Which event, from 0; of a reply, 0.
        event: usize,
        /// What is strange.
        what: &'static str,
    },
    /// The stream has an error in it, or the reply is one.
    Failed,
    /// The stream has no terminator, or ends before what it began does.
    Unfinished,
    /// The stream tells no usage, and a whole reply would.
    NoUsage,
    /// It is longer than 16 MiB.
    TooLarge,
}

#[derive(Debug)]
enum State {
    OpenAi(openai::Chunks),
    Anthropic(anthropic::Events),
    Gemini(gemini::Chunks),
}

type Object = Map<String, Value>;

/// What is strange in an event.
#[derive(Debug)]
struct Odd(&'static str);

const LIMIT: usize = 16 << 20;
const MOST_CHOICES: usize = 128;
const MOST_PARTS: usize = 4096;

/// The whole reply that a stream is.
///
/// # Errors
///
/// [`FoldError`]: it would not be the whole one.
pub fn whole(dialect: Dialect, stream: &[u8]) -> Result<Bytes, FoldError> {
    let mut fold = Fold::new(dialect);
    fold.push(Bytes::copy_from_slice(stream))?;
    fold.finish()
}

/// The stream that a whole reply is.
///
/// # Errors
///
/// [`FoldError`]: it is no reply of this dialect, or an error.
pub fn stream(
    dialect: Dialect,
    reply: &[u8],
    include_usage: IncludeUsage,
) -> Result<Bytes, FoldError> {
    if reply.len() > LIMIT {
        return Err(FoldError::TooLarge);
    }
    let Ok(reply) = serde_json::from_slice(reply) else {
        return Err(FoldError::Json { event: 0 });
    };
    let Value::Object(reply) = reply else {
        let what = "it is no object";
        return Err(FoldError::Unknown { event: 0, what });
    };
    if merge::is_error(&reply) {
        return Err(FoldError::Failed);
    }
    let mut out = BytesMut::new();
    let written = match dialect {
        Dialect::OpenAi => openai::write(reply, include_usage.0, &mut out),
        Dialect::Anthropic => anthropic::write(reply, &mut out),
        Dialect::Gemini => gemini::write(reply, &mut out),
    };
    written.map_err(|odd| odd.at(0))?;
    Ok(out.freeze())
}

// ===== impl Fold =====

impl Fold {
    /// For a stream of this dialect.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            decoder: Decoder::new(),
            state: match dialect {
                Dialect::OpenAi => State::OpenAi(Default::default()),
                Dialect::Anthropic => State::Anthropic(Default::default()),
                Dialect::Gemini => State::Gemini(Default::default()),
            },
            taken: 0,
            events: 0,
        }
    }

    /// Takes a part of the stream, split anywhere.
    ///
    /// # Errors
    ///
    /// [`FoldError`]. Nothing more is to be pushed then.
    pub fn push(&mut self, mut data: Bytes) -> Result<(), FoldError> {
        self.taken = self.taken.saturating_add(data.len());
        if self.taken > LIMIT {
            return Err(FoldError::TooLarge);
        }
        while let Some(event) = self.decoder.decode(&mut data) {
            let event = event.map_err(FoldError::Frame)?;
            self.event(&event.text())?;
        }
        Ok(())
    }

    fn event(&mut self, text: &str) -> Result<(), FoldError> {
        let event = self.events;
        self.events += 1;
        if text.trim_ascii() == "[DONE]" {
            if let State::OpenAi(chunks) = &mut self.state {
                chunks.done();
            }
            return Ok(());
        }
        let value: Value = serde_json::from_str(text).map_err(|_| FoldError::Json { event })?;
        // Gemini's errors come in an array where events were not asked for.
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let Value::Object(object) = value else {
                let what = "it is no object";
                return Err(FoldError::Unknown { event, what });
            };
            if merge::is_error(&object) {
                return Err(FoldError::Failed);
            }
            let added = match &mut self.state {
                State::OpenAi(chunks) => chunks.add(object),
                State::Anthropic(events) => events.add(object),
                State::Gemini(chunks) => chunks.add(object),
            };
            added.map_err(|odd| odd.at(event))?;
        }
        Ok(())
    }

    /// The stream ended cleanly: the whole reply.
    ///
    /// # Errors
    ///
    /// [`FoldError`]: it would not be the whole one.
    pub fn finish(mut self) -> Result<Bytes, FoldError> {
        match Tail::of(self.decoder.unfinished()) {
            Tail::Empty => {}
            Tail::Done => self.event("[DONE]")?,
            Tail::Cut => return Err(FoldError::Unfinished),
        }
        let reply = match self.state {
            State::OpenAi(chunks) => chunks.finish(),
            State::Anthropic(events) => events.finish(),
            State::Gemini(chunks) => chunks.finish(),
        };
        Ok(Value::Object(reply?).to_string().into())
    }
}

// ===== impl Odd =====

impl Odd {
    const fn at(self, event: usize) -> FoldError {
        let what = self.0;
        FoldError::Unknown { event, what }
    }
}

// ===== impl FoldError =====

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "the event stream is broken: {error}"),
            Self::Json { event } => write!(f, "event {event} is not JSON"),
            Self::Unknown { event, what } => write!(f, "event {event} cannot be folded: {what}"),
            Self::Failed => f.write_str("the reply is an error"),
            Self::Unfinished => f.write_str("the stream ended before the reply did"),
            Self::NoUsage => f.write_str("the stream tells no usage, which a whole reply would"),
            Self::TooLarge => write!(f, "the reply is longer than {LIMIT} bytes"),
        }
    }
}

impl Error for FoldError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Frame(error) => Some(error),
            _ => None,
        }
    }
}

/// Writes an event without a name.
fn write_data(value: &Value, out: &mut BytesMut) {
    out.put_slice(b"data: ");
    out.put_slice(value.to_string().as_bytes());
    out.put_slice(b"\n\n");
}
