//! The three dialects: how each of them says the same things.

mod anthropic;
pub(crate) mod gemini;
mod openai;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use crate::{
    Request, Usage,
    plan::{Data, Kind, Part, Plan},
    reply::ToolCall,
};

/// The wire format that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI chat completions: `POST …/chat/completions`, `GET …/models`.
    OpenAi,
    /// Anthropic messages: `POST …/v1/messages`, `GET …/v1/models`.
    Anthropic,
    /// Gemini generateContent: `POST …/models/{model}:generateContent` and
    /// `:streamGenerateContent`, `GET …/models`.
    Gemini,
}

/// Why a reply ended, in words that each dialect has its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// It was done: `stop`, `end_turn`, `STOP`.
    Stop,
    /// It reached the most tokens allowed: `length`, `max_tokens`, `MAX_TOKENS`.
    Length,
    /// It calls a tool: `tool_calls`, `tool_use`; Gemini says `STOP` here too.
    ToolCalls,
    /// It was filtered: `content_filter`, `refusal`, `SAFETY`.
    ContentFilter,
}

/// An answer with everything decided: what the dialects write.
pub(crate) struct Answer<'a> {
    pub(crate) id: u64,
    pub(crate) model: &'a str,
    pub(crate) text: Option<&'a str>,
    pub(crate) reasoning: Option<&'a str>,
    pub(crate) tools: &'a [ToolCall],
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    /// Whether a stream ends with its usage, in the dialect where that must be asked for.
    pub(crate) include_usage: bool,
    /// Whether a stream is events (or else a JSON array, in the dialect that has both).
    pub(crate) sse: bool,
    /// The content of a stream, event by event.
    pub(crate) deltas: Vec<Delta<'a>>,
}

/// One event's worth of content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delta<'a> {
    Reasoning(&'a str),
    Text(&'a str),
    /// The beginning of the tool call with this index.
    Tool(usize),
    /// A part of that tool call's arguments.
    Arguments(usize, &'a str),
}

/// An error, before a dialect puts it into its envelope. What is not set follows the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Envelope<'a> {
    pub(crate) status: u16,
    pub(crate) kind: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
    pub(crate) param: Option<&'a str>,
    pub(crate) details: Option<&'a Value>,
    pub(crate) id: u64,
}

/// What a payload of a stream says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    /// Text, reasoning or a part of a tool call.
    pub(crate) content: bool,
    pub(crate) usage: Option<Usage>,
}

/// Events written one after the other into one buffer.
pub(crate) struct Events {
    buffer: Vec<u8>,
    ends: Vec<(usize, Kind, Option<u64>)>,
}

/// When every reply of this provider was made, in seconds since 1970: a constant, so that two
/// runs of a test see the same bytes.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// What a provider wants back unread with the next turn, in the dialects that sign their thoughts.
const SIGNATURE: &str = "YnV0dHJlc3M=";

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const SSE: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

// ===== impl Dialect =====

impl Dialect {
    /// All dialects.
    pub const ALL: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

    /// The path under a provider's origin that this dialect's official client takes as its base
    /// URL: `/v1` for OpenAI, nothing for the others.
    pub const fn base_path(self) -> &'static str {
        match self {
            Dialect::OpenAi => "/v1",
            Dialect::Anthropic | Dialect::Gemini => "",
        }
    }

    /// The path and query of a call for a model's text. What cannot stand in a path is
    /// percent-encoded.
    pub fn call_path(self, model: &str, streamed: bool) -> String {
        match self {
            Dialect::OpenAi => "/v1/chat/completions".to_owned(),
            Dialect::Anthropic => "/v1/messages".to_owned(),
            Dialect::Gemini => {
                let call = match streamed {
                    true => "streamGenerateContent?alt=sse",
                    false => "generateContent",
                };
                format!("/v1beta/models/{}:{call}", percent_encoded(model))
            }
        }
    }

    /// The name of the header that carries a caller's credential; OpenAI's stands after `Bearer `.
    pub const fn key_header(self) -> &'static str {
        match self {
            Dialect::OpenAi => "authorization",
            Dialect::Anthropic => "x-api-key",
            Dialect::Gemini => "x-goog-api-key",
        }
    }

    /// The name of the header that carries a request's id, in the dialects that have one.
    pub(crate) const fn id_header(self) -> Option<&'static str> {
        match self {
            Dialect::OpenAi => Some("x-request-id"),
            Dialect::Anthropic => Some("request-id"),
            Dialect::Gemini => None,
        }
    }

    pub(crate) fn whole(self, answer: &Answer<'_>) -> Plan {
        let body = match self {
            Dialect::OpenAi => openai::whole(answer),
            Dialect::Anthropic => anthropic::whole(answer),
            Dialect::Gemini => gemini::whole(answer),
        };
        Plan::whole(StatusCode::OK, JSON, body).billed(answer.usage)
    }

    pub(crate) fn stream(self, answer: &Answer<'_>) -> Plan {
        let events = match self {
            Dialect::OpenAi => openai::stream(answer),
            Dialect::Anthropic => anthropic::stream(answer),
            Dialect::Gemini => gemini::stream(answer),
        };
        self.stream_of(events.finish(), answer.usage, answer.sse)
    }

    /// A stream of these events.
    pub(crate) fn stream_of(self, events: Vec<Part>, usage: Usage, sse: bool) -> Plan {
        let content_type = match self {
            Dialect::Gemini if !sse => JSON,
            Dialect::Gemini => HeaderValue::from_static("text/event-stream"),
            Dialect::OpenAi | Dialect::Anthropic => SSE,
        };
        Plan::stream(content_type, events, usage)
    }

    /// Whether the stream that is asked for is one of events, or else a JSON array.
    pub(crate) fn streams_events(self, request: &Request) -> bool {
        let sse = || {
            request
                .query()
                .is_some_and(|query| query.contains("alt=sse"))
        };
        self != Dialect::Gemini || sse()
    }

    pub(crate) fn read(self, payload: &Value) -> Read {
        match self {
            Dialect::OpenAi => openai::read(payload),
            Dialect::Anthropic => anthropic::read(payload),
            Dialect::Gemini => gemini::read(payload),
        }
    }

    pub(crate) fn error(self, envelope: &Envelope<'_>) -> Bytes {
        match self {
            Dialect::OpenAi => openai::error(envelope),
            Dialect::Anthropic => anthropic::error(envelope),
            Dialect::Gemini => gemini::error(envelope),
        }
    }

    pub(crate) fn models(self, models: &[String]) -> Bytes {
        match self {
            Dialect::OpenAi => openai::models(models),
            Dialect::Anthropic => anthropic::models(models),
            Dialect::Gemini => gemini::models(models),
        }
    }
}

// ===== impl Answer =====

impl Answer<'_> {
    /// How many output tokens the content up to and with the delta at `index` has used: an even
    /// part of the whole, so that the last makes it exact. Reasoning of which no text is shown was
    /// used before the first.
    pub(crate) fn output_at(&self, index: usize) -> u64 {
        let hidden = match self.reasoning {
            Some(_) => 0,
            None => self.usage.reasoning_tokens(),
        };
        let shown = u128::from(self.usage.output() - hidden);
        let part = shown * (index as u128 + 1) / self.deltas.len() as u128;
        hidden + part as u64
    }
}

// ===== impl Events =====

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(4096),
            ends: Vec::with_capacity(64),
        }
    }

    /// Writes one event with `write`; once it is sent, `billed` output tokens are billed.
    pub(crate) fn push(
        &mut self,
        kind: Kind,
        billed: Option<u64>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        write(&mut self.buffer);
        self.ends.push((self.buffer.len(), kind, billed));
    }

    pub(crate) fn finish(self) -> Vec<Part> {
        let buffer = Bytes::from(self.buffer);
        let mut start = 0;
        let part = |(end, kind, billed)| {
            let bytes = buffer.slice(start..end);
            start = end;
            Part::Data(Data {
                bytes,
                kind,
                billed,
            })
        };
        self.ends.into_iter().map(part).collect()
    }
}

/// A request's id, in header and envelope.
pub(crate) fn request_id(id: u64) -> String {
    format!("req_{id:08}")
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A value as the bytes of a body.
fn to_bytes(value: &Value) -> Bytes {
    let mut body = Vec::with_capacity(1024);
    write_json(&mut body, value);
    Bytes::from(body)
}

fn write_json(out: &mut Vec<u8>, value: &Value) {
    // Writing a value into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// Writes a text as a JSON string, quotes included.
fn quote(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// The JSON in a text, or the text itself where it is none: what a tool call's arguments become in
/// the dialects that want them as JSON.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
