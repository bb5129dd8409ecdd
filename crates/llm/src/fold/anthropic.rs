use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::{
    FoldError, MOST_PARTS, Object, Odd,
    merge::{index, is_nothing, join, last, text},
    write_data,
};

/// The events so far.
#[derive(Debug, Default)]
pub(super) struct Events {
    message: Option<Object>,
    blocks: BTreeMap<u64, Block>,
    stopped: bool,
}

#[derive(Debug)]
struct Block {
    said: Object,
    /// The pieces of what is the input of a call.
    input: String,
    stopped: bool,
}

// ===== impl Events =====

impl Events {
    pub(super) fn add(&mut self, mut event: Object) -> Result<(), Odd> {
        if self.stopped {
            return Ok(());
        }
        let kind = text(&event, "type").to_owned();
        let mut object = |name| match event.remove(name) {
            Some(Value::Object(object)) => Ok(object),
            _ => Err(Odd("it lacks what its type says")),
        };
        match &*kind {
            "message_start" => {
                let message = object("message")?;
                if self.message.is_some() {
                    return Err(Odd("a second message begins"));
                }
                self.message = Some(message);
            }
            "content_block_start" => {
                let said = object("content_block")?;
                let number = index(&event).unwrap_or_default();
                if self.blocks.len() == MOST_PARTS {
                    return Err(Odd("it has more than 4096 blocks"));
                }
                let block = Block {
                    said,
                    input: String::new(),
                    stopped: false,
                };
                if self.blocks.insert(number, block).is_some() {
                    return Err(Odd("a block begins twice"));
                }
            }
            "content_block_delta" => {
                let delta = object("delta")?;
                self.open(&event)?.delta(delta)?;
            }
            "content_block_stop" => self.open(&event)?.stop()?,
            "message_delta" => {
                let delta = object("delta").unwrap_or_default();
                let usage = object("usage").unwrap_or_default();
                let Some(message) = &mut self.message else {
                    return Err(Odd("it comes before the message begins"));
                };
                event.remove("type");
                for (name, value) in delta.into_iter().chain(event) {
                    last(name, value, message);
                }
                if !usage.is_empty() {
                    let told = message.entry("usage").or_insert_with(|| json!({}));
                    if let Value::Object(told) = told {
                        // What is told again is told of the whole message so far.
                        for (name, value) in usage {
                            last(name, value, told);
                        }
                    }
                }
            }
            "message_stop" => self.stopped = true,
            "ping" => {}
            _ => return Err(Odd("its type is not known")),
        }
        Ok(())
    }

    fn open(&mut self, event: &Object) -> Result<&mut Block, Odd> {
        let number = index(event).unwrap_or_default();
        let open = self.blocks.get_mut(&number).filter(|block| !block.stopped);
        open.ok_or(Odd("no such block is open"))
    }

    pub(super) fn finish(self) -> Result<Object, FoldError> {
        let open = self.blocks.values().any(|block| !block.stopped);
        let Some(mut message) = self.message.filter(|_| self.stopped && !open) else {
            return Err(FoldError::Unfinished);
        };
        if !message.get("usage").is_some_and(Value::is_object) {
            return Err(FoldError::NoUsage);
        }
        let called = self
            .blocks
            .values()
            .any(|block| text(&block.said, "type") == "tool_use");
        if message.get("stop_reason").is_none_or(is_nothing) {
            let reason = if called { "tool_use" } else { "end_turn" };
            message.insert("stop_reason".into(), reason.into());
        }
        let content = self.blocks.into_values().map(|block| block.said);
        message.insert("content".into(), content.map(Value::Object).collect());
        Ok(message)
    }
}

// ===== impl Block =====

impl Block {
    fn delta(&mut self, mut delta: Object) -> Result<(), Odd> {
        let kind = text(&delta, "type").to_owned();
        let member = match &*kind {
            "text_delta" => "text",
            "thinking_delta" => "thinking",
            "input_json_delta" => {
                self.input.push_str(text(&delta, "partial_json"));
                return Ok(());
            }
            "signature_delta" => {
                let signature = delta.remove("signature").unwrap_or_default();
                last("signature".into(), signature, &mut self.said);
                return Ok(());
            }
            "citations_delta" => {
                let citation = delta.remove("citation").unwrap_or_default();
                join("citations".into(), json!([citation]), &mut self.said);
                return Ok(());
            }
            _ => return Err(Odd("the type of its delta is not known")),
        };
        let piece = delta.remove(member).unwrap_or_default();
        join(member.into(), piece, &mut self.said);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Odd> {
        self.stopped = true;
        if !self.input.is_empty() {
            let input = serde_json::from_str(&self.input);
            let input = input.map_err(|_| Odd("the input of a call is not JSON"))?;
            self.said.insert("input".into(), input);
        }
        Ok(())
    }
}

/// Writes a message as its events.
pub(super) fn write(mut message: Object, out: &mut BytesMut) -> Result<(), Odd> {
    let Some(Value::Array(blocks)) = message.insert("content".into(), json!([])) else {
        return Err(Odd("it has no content"));
    };
    let mut end = Object::new();
    for name in ["stop_reason", "stop_sequence", "stop_details", "container"] {
        if let Some(value) = message.remove(name) {
            end.insert(name.into(), value);
        }
    }
    message.insert("stop_reason".into(), Value::Null);
    message.insert("stop_sequence".into(), Value::Null);
    let usage = message.get("usage").cloned().unwrap_or_default();
    event("message_start", json!({"message": message}), out);
    for (number, block) in blocks.into_iter().enumerate() {
        let Value::Object(mut block) = block else {
            return Err(Odd("a block is no object"));
        };
        let mut deltas = Vec::new();
        let kind = text(&block, "type").to_owned();
        match &*kind {
            "text" => {
                deltas.push(move_to(&mut block, "text", "text_delta", "text"));
                if let Some(Value::Array(citations)) = block.remove("citations") {
                    block.insert("citations".into(), json!([]));
                    let citation =
                        |citation| json!({"type": "citations_delta", "citation": citation});
                    deltas.extend(citations.into_iter().map(citation).map(Some));
                }
            }
            "thinking" => {
                deltas.push(move_to(
                    &mut block,
                    "thinking",
                    "thinking_delta",
                    "thinking",
                ));
                deltas.push(move_to(
                    &mut block,
                    "signature",
                    "signature_delta",
                    "signature",
                ));
            }
            _ if block.get("input").is_some_and(Value::is_object) => {
                let input = block.insert("input".into(), json!({})).unwrap_or_default();
                let piece = input.to_string();
                deltas.push(Some(
                    json!({"type": "input_json_delta", "partial_json": piece}),
                ));
            }
            _ => {}
        }
        event(
            "content_block_start",
            json!({"index": number, "content_block": block}),
            out,
        );
        for delta in deltas.into_iter().flatten() {
            event(
                "content_block_delta",
                json!({"index": number, "delta": delta}),
                out,
            );
        }
        event("content_block_stop", json!({"index": number}), out);
    }
    event("message_delta", json!({"delta": end, "usage": usage}), out);
    event("message_stop", json!({}), out);
    Ok(())
}

/// The delta that says a string member of a block, which then has it empty.
fn move_to(block: &mut Object, member: &str, kind: &str, name: &str) -> Option<Value> {
    let Some(Value::String(said)) = block.get_mut(member) else {
        return None;
    };
    let said = std::mem::take(said);
    let mut delta = Object::new();
    delta.insert("type".into(), kind.into());
    delta.insert(name.into(), said.into());
    Some(delta.into())
}

fn event(name: &str, mut data: Value, out: &mut BytesMut) {
    data["type"] = name.into();
    out.put_slice(format!("event: {name}\n").as_bytes());
    write_data(&data, out);
}
