//! Recorded streams, replayed.

use std::{io::Write, sync::OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    Dialect, Request, Usage,
    dialect::{Events, JSON},
    plan::{Kind, Part, Plan},
};

/// The payloads of a stream, in their order.
#[derive(Debug)]
pub(super) struct Recording {
    payloads: Vec<(Bytes, Value)>,
    /// What they become in the dialect that was asked for first: a provider has but one.
    prepared: OnceLock<Prepared>,
}

#[derive(Debug, Clone)]
struct Prepared {
    dialect: Dialect,
    sse: bool,
    parts: Vec<Part>,
    usage: Option<Usage>,
}

// ===== impl Recording =====

impl Recording {
    /// Reads one JSON payload from each line that is not empty. An `Err` names the line that is
    /// none.
    pub(super) fn read(lines: &str) -> Result<Self, String> {
        let mut payloads = Vec::new();
        for (at, line) in lines.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let value = serde_json::from_str(line)
                .map_err(|error| format!("line {} of the recording: {error}", at + 1))?;
            payloads.push((Bytes::copy_from_slice(line.as_bytes()), value));
        }
        Ok(Self::of(payloads))
    }

    pub(super) fn of(payloads: Vec<(Bytes, Value)>) -> Self {
        Self {
            payloads,
            prepared: OnceLock::new(),
        }
    }

    pub(super) fn plan(&self, dialect: Dialect, request: &Request) -> Result<Plan, String> {
        if !request.streamed() {
            return match &self.payloads[..] {
                [(payload, _)] => Ok(Plan::whole(http::StatusCode::OK, JSON, payload.clone())),
                _ => Err("its reply is a stream, and it asks for none".to_owned()),
            };
        }
        let sse = dialect.streams_events(request);
        let prepared = self.prepared.get_or_init(|| self.prepare(dialect, sse));
        let prepared = match (prepared.dialect, prepared.sse) == (dialect, sse) {
            true => prepared.clone(),
            false => self.prepare(dialect, sse),
        };
        // A stream that does not tell its usage used what was asked and what it says.
        let usage = prepared.usage.unwrap_or_else(|| {
            let content =
                |part: &&Part| matches!(part, Part::Data(data) if data.kind == Kind::Content);
            let said = prepared.parts.iter().filter(content).count();
            Usage::new(request.prompt_tokens(), said as u64)
        });
        Ok(dialect.stream_of(prepared.parts, usage, sse))
    }

    fn prepare(&self, dialect: Dialect, sse: bool) -> Prepared {
        let read: Vec<_> = (self.payloads.iter())
            .map(|(_, payload)| dialect.read(payload))
            .collect();
        let usage = read.iter().filter_map(|read| read.usage).fold(None, latest);
        let content = read.iter().filter(|read| read.content).count() as u128;
        let output = usage.map_or(content, |usage| u128::from(usage.output()));
        let mut events = Events::new();
        let mut said = 0;
        let last = self.payloads.len().saturating_sub(1);
        for (at, ((bytes, payload), read)) in self.payloads.iter().zip(&read).enumerate() {
            said += u128::from(read.content);
            let kind = match (read.content, said) {
                (true, _) => Kind::Content,
                (false, 0) => Kind::Lead,
                (false, _) => Kind::Tail,
            };
            let billed = (output * said).checked_div(content).unwrap_or(0) as u64;
            events.push(kind, Some(billed), |out| match dialect {
                Dialect::OpenAi => {
                    let _ = out.write_all(b"data: ");
                    let _ = out.write_all(bytes);
                    let _ = out.write_all(b"\n\n");
                }
                Dialect::Anthropic => {
                    let name = payload["type"].as_str().unwrap_or("message");
                    let _ = write!(out, "event: {name}\ndata: ");
                    let _ = out.write_all(bytes);
                    let _ = out.write_all(b"\n\n");
                }
                Dialect::Gemini => {
                    let (before, after) = crate::dialect::gemini::framing(sse, at == 0, at == last);
                    let _ = write!(out, "{before}");
                    let _ = out.write_all(bytes);
                    let _ = write!(out, "{after}");
                }
            });
        }
        if dialect == Dialect::OpenAi {
            events.push(Kind::Tail, Some(output as u64), |out| {
                let _ = out.write_all(b"data: [DONE]\n\n");
            });
        }
        Prepared {
            dialect,
            sse,
            parts: events.finish(),
            usage,
        }
    }
}

/// The later of two readings: what it does not know, the earlier says.
fn latest(earlier: Option<Usage>, later: Usage) -> Option<Usage> {
    match earlier {
        Some(earlier) if later.input() == 0 => {
            let merged = Usage::new(earlier.input(), later.output());
            let merged = merged.cached(earlier.cached_tokens());
            Some(merged.cache_write(earlier.cache_write_tokens()))
        }
        _ => Some(later),
    }
}
