//! Anthropic messages.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, Delta, Envelope, Events, Finish, Read, SIGNATURE, json_or_text, quote, request_id,
    to_bytes, write_json,
};
use crate::{Usage, plan::Kind};

pub(super) fn whole(answer: &Answer<'_>) -> Bytes {
    let mut content = Vec::new();
    if let Some(reasoning) = answer.reasoning {
        content.push(json!({
            "type": "thinking", "thinking": reasoning, "signature": SIGNATURE,
        }));
    }
    if let Some(text) = answer.text {
        content.push(json!({ "type": "text", "text": text }));
    }
    for (index, tool) in answer.tools.iter().enumerate() {
        content.push(json!({
            "type": "tool_use",
            "id": tool_id(answer.id, index),
            "name": tool.name,
            "input": json_or_text(&tool.arguments),
        }));
    }
    let message = message(answer, &content, Some(answer.finish), answer.usage.output());
    to_bytes(&message)
}

pub(super) fn stream(answer: &Answer<'_>) -> Events {
    let mut events = Stream {
        events: Events::new(),
        block: 0,
        open: None,
    };
    // A real first event counts the token that was under way when it was sent.
    let first = answer.usage.output().min(1);
    let start = json!({
        "type": "message_start",
        "message": message(answer, &[], None, first),
    });
    events.push("message_start", Kind::Lead, Some(0), |out| {
        write_json(out, &start);
    });
    let mut output = 0;
    for (at, delta) in answer.deltas.iter().enumerate() {
        let block = Block::of(delta);
        if events.open != Some(block) {
            events.close(output);
            events.open(answer, block, output);
        }
        output = answer.output_at(at);
        if matches!(delta, Delta::Tool(_)) {
            continue; // Its block has just said it.
        }
        events.delta(delta, output);
    }
    events.close(answer.usage.output());
    let end = json!({
        "type": "message_delta",
        "delta": { "stop_reason": finish(answer.finish), "stop_sequence": null },
        "usage": usage(answer.usage, answer.usage.output()),
    });
    let output = Some(answer.usage.output());
    events.push("message_delta", Kind::Tail, output, |out| {
        write_json(out, &end);
    });
    events.push("message_stop", Kind::Tail, output, |out| {
        out.extend_from_slice(br#"{"type":"message_stop"}"#);
    });
    events.events
}

pub(super) fn read(payload: &Value) -> Read {
    let delta = &payload["delta"];
    let says = |field: &str| delta[field].as_str().is_some_and(|text| !text.is_empty());
    let usage = (payload.pointer("/message/usage")).or_else(|| payload.get("usage"));
    let usage = usage.map(|usage| {
        let count = |field: &str| usage[field].as_u64().unwrap_or(0);
        let (read, written) = (
            count("cache_read_input_tokens"),
            count("cache_creation_input_tokens"),
        );
        Usage::new(
            count("input_tokens") + read + written,
            count("output_tokens"),
        )
        .cached(read)
        .cache_write(written)
    });
    Read {
        content: ["text", "thinking", "partial_json"].into_iter().any(says),
        usage,
    }
}

pub(super) fn error(envelope: &Envelope<'_>) -> Bytes {
    let (kind, message) = match envelope.status {
        400 => ("invalid_request_error", "Invalid request."),
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "Your credit balance is too low."),
        403 => (
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        404 => (
            "not_found_error",
            "The requested resource could not be found.",
        ),
        413 => (
            "request_too_large",
            "Request exceeds the maximum allowed number of bytes.",
        ),
        429 => (
            "rate_limit_error",
            "This request would exceed your organization's rate limit.",
        ),
        504 => ("timeout_error", "Request timed out."),
        529 => ("overloaded_error", "Overloaded"),
        500.. => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "Invalid request."),
    };
    let mut error = json!({
        "type": envelope.kind.unwrap_or(kind),
        "message": envelope.message.unwrap_or(message),
    });
    if let Some(details) = envelope.details {
        error["details"] = details.clone();
    }
    if let Some(code) = envelope.code {
        error["details"]["error_code"] = code.into();
    }
    let body = json!({
        "type": "error", "error": error, "request_id": request_id(envelope.id),
    });
    to_bytes(&body)
}

pub(super) fn models(models: &[String]) -> Bytes {
    let model = |model: &String| {
        json!({
            "type": "model", "id": model, "display_name": model,
            "created_at": "2023-11-14T22:13:20Z",
        })
    };
    let data: Vec<Value> = models.iter().map(model).collect();
    let body = json!({
        "data": data, "has_more": false, "first_id": models.first(), "last_id": models.last(),
    });
    to_bytes(&body)
}

/// The events so far, and the content block that is open.
struct Stream {
    events: Events,
    block: usize,
    open: Option<Block>,
}

/// Which content block a delta belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    Tool(usize),
}

// ===== impl Stream =====

impl Stream {
    fn push(
        &mut self,
        name: &str,
        kind: Kind,
        billed: Option<u64>,
        data: impl FnOnce(&mut Vec<u8>),
    ) {
        self.events.push(kind, billed, |out| {
            let _ = write!(out, "event: {name}\ndata: ");
            data(out);
            out.extend_from_slice(b"\n\n");
        });
    }

    fn open(&mut self, answer: &Answer<'_>, block: Block, output: u64) {
        let content = match block {
            Block::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Block::Text => json!({ "type": "text", "text": "" }),
            Block::Tool(index) => json!({
                "type": "tool_use",
                "id": tool_id(answer.id, index),
                "name": answer.tools[index].name,
                "input": {},
            }),
        };
        let start = json!({
            "type": "content_block_start", "index": self.block, "content_block": content,
        });
        // A block's start is no content: not even a tool's, whose arguments come after it.
        let kind = self.between();
        self.push("content_block_start", kind, Some(output), |out| {
            write_json(out, &start);
        });
        if self.block == 0 {
            self.push("ping", kind, Some(output), |out| {
                out.extend_from_slice(br#"{"type":"ping"}"#);
            });
        }
        if let Block::Tool(_) = block {
            // As the provider does: the first part of a tool's arguments is empty.
            let index = self.block;
            self.push("content_block_delta", kind, Some(output), |out| {
                let _ = write!(
                    out,
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":""}}}}"#
                );
            });
        }
        self.open = Some(block);
    }

    fn delta(&mut self, delta: &Delta<'_>, output: u64) {
        let (kind, field, text) = match *delta {
            Delta::Reasoning(text) => ("thinking_delta", "thinking", text),
            Delta::Text(text) => ("text_delta", "text", text),
            Delta::Arguments(_, part) => ("input_json_delta", "partial_json", part),
            Delta::Tool(_) => return,
        };
        let index = self.block;
        self.push("content_block_delta", Kind::Content, Some(output), |out| {
            let _ = write!(
                out,
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{field}":"#
            );
            quote(out, text);
            out.extend_from_slice(b"}}");
        });
    }

    fn close(&mut self, output: u64) {
        let Some(open) = self.open.take() else {
            return;
        };
        let index = self.block;
        if open == Block::Thinking {
            self.push("content_block_delta", Kind::Tail, Some(output), |out| {
                let _ = write!(
                    out,
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"signature_delta","signature":"{SIGNATURE}"}}}}"#
                );
            });
        }
        self.push("content_block_stop", Kind::Tail, Some(output), |out| {
            let _ = write!(out, r#"{{"type":"content_block_stop","index":{index}}}"#);
        });
        self.block += 1;
    }

    /// What an event that is no content is here: before the first content, or after some.
    fn between(&self) -> Kind {
        match self.block {
            0 => Kind::Lead,
            _ => Kind::Tail,
        }
    }
}

// ===== impl Block =====

impl Block {
    fn of(delta: &Delta<'_>) -> Self {
        match *delta {
            Delta::Reasoning(_) => Block::Thinking,
            Delta::Text(_) => Block::Text,
            Delta::Tool(index) | Delta::Arguments(index, _) => Block::Tool(index),
        }
    }
}

fn message(answer: &Answer<'_>, content: &[Value], stop: Option<Finish>, output: u64) -> Value {
    json!({
        "id": format!("msg_{:08}", answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": stop.map(finish),
        "stop_sequence": null,
        "usage": usage(answer.usage, output),
    })
}

fn usage(usage: Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.fresh_input(),
        "cache_creation_input_tokens": usage.cache_write_tokens(),
        "cache_read_input_tokens": usage.cached_tokens(),
        "output_tokens": output,
    })
}

fn tool_id(id: u64, index: usize) -> String {
    format!("toolu_{id:08}_{index}")
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
    }
}
