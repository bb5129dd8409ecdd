//! One stream made another, event by event.

use std::{borrow::Cow, fmt};

use buttress_http::sse::{self, Decoder};
use bytes::{Bytes, BytesMut};

use super::{
    Conversion, anthropic,
    context::Context,
    error::ConvertError,
    gemini,
    model::Event,
    openai,
    read::{Names, Reader},
};
use crate::{Dialect, meter::Tail};

/// A stream of the endpoint on its way to the caller, whose dialect is another.
///
/// It keeps what a call of a tool needs and nothing else: each event is written as it comes. Where
/// the endpoint breaks off, no terminator is written.
pub struct Stream {
    // None between two of the same dialect: what comes is passed on.
    events: Option<Events>,
}

struct Events {
    decoder: Decoder,
    reader: Upstream,
    writer: Downstream,
    over: bool,
}

/// Why a stream cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// An event is not what its dialect says.
    Event(ConvertError),
    /// It breaks a bound of the decoder.
    Frame(sse::Error),
    /// It ended without its terminator.
    Unfinished,
}

#[derive(Debug)]
enum Upstream {
    OpenAi(openai::EventReader),
    Anthropic(anthropic::EventReader),
    Gemini(gemini::EventReader),
}

/// What writes the events of a stream to the caller.
#[derive(Debug)]
pub(super) enum Downstream {
    OpenAi(openai::EventWriter),
    Anthropic(anthropic::EventWriter),
    Gemini(gemini::EventWriter),
}

// ===== impl Stream =====

impl Stream {
    pub(super) fn new(way: Conversion, context: Context) -> Self {
        let converts = way.caller != way.endpoint;
        Self {
            events: converts.then(|| Events::new(way, context)),
        }
    }

    /// Takes a part of the endpoint's stream, split anywhere, and adds to `out` what it becomes.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; `out` then has what came before. Nothing more is to be pushed.
    pub fn push(&mut self, data: Bytes, out: &mut BytesMut) -> Result<(), StreamError> {
        match &mut self.events {
            Some(events) => events.push(data, out),
            None => {
                out.extend_from_slice(&data);
                Ok(())
            }
        }
    }

    /// The endpoint's stream ended cleanly.
    ///
    /// # Errors
    ///
    /// [`StreamError::Unfinished`], if it ended without what ends it in its dialect, or within an event.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), StreamError> {
        self.events
            .as_mut()
            .map_or(Ok(()), |events| events.finish(out))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.events.as_ref().map(|events| events.over);
        f.debug_struct("Stream")
            .field("over", &over)
            .finish_non_exhaustive()
    }
}

// ===== impl Events =====

impl Events {
    fn new(way: Conversion, context: Context) -> Self {
        Self {
            decoder: Decoder::new(),
            reader: Upstream::new(way.endpoint),
            writer: Downstream::new(way.caller, context),
            over: false,
        }
    }

    fn push(&mut self, mut data: Bytes, out: &mut BytesMut) -> Result<(), StreamError> {
        let Self {
            decoder,
            reader,
            writer,
            over,
        } = self;
        while !*over && let Some(event) = decoder.decode(&mut data) {
            let event = event.map_err(StreamError::Frame)?;
            let text = event.text();
            // JSON has ends of lines only between its values: one line is one frame.
            let text = match memchr::memchr(b'\n', text.as_bytes()) {
                Some(_) => Cow::Owned(text.replace('\n', " ")),
                None => text,
            };
            let mut tell = |event: Event<'_>| {
                *over |= matches!(event, Event::End | Event::Error { .. });
                writer.write(event, out);
            };
            if text.trim_ascii() == "[DONE]" {
                reader.done(&mut tell);
                continue;
            }
            let mut json = Reader::new(&text, Names::Any);
            reader.read(&mut json, &mut tell);
            json.end()
                .map_err(|fault| StreamError::Event(fault.explain_reply(&text)))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<(), StreamError> {
        let Self {
            decoder,
            reader,
            writer,
            over,
        } = self;
        if !*over {
            let mut tell = |event: Event<'_>| {
                *over |= matches!(event, Event::End);
                writer.write(event, out);
            };
            match Tail::of(decoder.unfinished()) {
                Tail::Empty => reader.end(&mut tell),
                Tail::Done => reader.done(&mut tell),
                // Also if all that came before could be a whole one.
                Tail::Cut => {}
            }
        }
        if *over {
            Ok(())
        } else {
            Err(StreamError::Unfinished)
        }
    }
}

// ===== impl Upstream =====

impl Upstream {
    fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Self::OpenAi(Default::default()),
            Dialect::Anthropic => Self::Anthropic(Default::default()),
            Dialect::Gemini => Self::Gemini(Default::default()),
        }
    }

    fn read<'a>(&mut self, json: &mut Reader<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        match self {
            Self::OpenAi(reader) => reader.read(json, tell),
            Self::Anthropic(reader) => reader.read(json, tell),
            Self::Gemini(reader) => reader.read(json, tell),
        }
    }

    /// `[DONE]` came, which ends OpenAI's streams.
    fn done(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        match self {
            Self::OpenAi(reader) => reader.done(tell),
            Self::Anthropic(reader) => reader.end(tell),
            Self::Gemini(reader) => reader.end(tell),
        }
    }

    fn end(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        match self {
            Self::OpenAi(reader) => reader.end(tell),
            Self::Anthropic(reader) => reader.end(tell),
            Self::Gemini(reader) => reader.end(tell),
        }
    }
}

// ===== impl Downstream =====

impl Downstream {
    pub(super) fn new(dialect: Dialect, context: Context) -> Self {
        match dialect {
            Dialect::OpenAi => Self::OpenAi(openai::EventWriter::new(context)),
            Dialect::Anthropic => Self::Anthropic(anthropic::EventWriter::new(context)),
            Dialect::Gemini => Self::Gemini(gemini::EventWriter::new(context)),
        }
    }

    pub(super) fn write(&mut self, event: Event<'_>, out: &mut BytesMut) {
        match self {
            Self::OpenAi(writer) => writer.write(event, out),
            Self::Anthropic(writer) => writer.write(event, out),
            Self::Gemini(writer) => writer.write(event, out),
        }
    }
}

// ===== impl StreamError =====

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(error) => write!(f, "an event of the stream cannot be converted: {error}"),
            Self::Frame(error) => write!(f, "the event stream is broken: {error}"),
            Self::Unfinished => f.write_str("the stream ended without its terminator"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Event(error) => Some(error),
            Self::Frame(error) => Some(error),
            Self::Unfinished => None,
        }
    }
}
