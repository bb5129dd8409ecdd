//! What a reply says, read with serde_json and nothing of ours: the measure of conversions.

use std::collections::BTreeMap;

use buttress_llm::Dialect;
use serde_json::{Value, json};

/// Everything that every dialect can say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) refusal: String,
    /// Name and arguments, in order.
    pub(crate) calls: Vec<(String, Value)>,
    /// In OpenAI's words.
    pub(crate) finish: Option<String>,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) thought: u64,
}

impl Summary {
    /// Of a whole reply.
    pub(crate) fn of(dialect: Dialect, reply: &[u8]) -> Self {
        let reply: Value = serde_json::from_slice(reply).expect("a reply is JSON");
        let mut summary = Self::default();
        match dialect {
            Dialect::OpenAi => summary.openai(&reply),
            Dialect::Anthropic => summary.anthropic(&reply),
            Dialect::Gemini => summary.gemini(&reply),
            _ => unreachable!("another dialect"),
        }
        summary
    }

    /// Of a stream, which must be complete.
    pub(crate) fn of_stream(dialect: Dialect, stream: &str) -> Self {
        let mut events: Vec<&str> = Vec::new();
        for frame in stream.split("\n\n").filter(|frame| !frame.is_empty()) {
            let data: Vec<&str> = frame
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .collect();
            let [data] = data[..] else {
                panic!("one line of data a frame: {frame:?}");
            };
            if let Some(name) = frame.lines().find_map(|line| line.strip_prefix("event: ")) {
                let value: Value = serde_json::from_str(data).expect("an event is JSON");
                assert_eq!(value["type"], name, "the type is the event's name");
            } else {
                assert_ne!(
                    dialect,
                    Dialect::Anthropic,
                    "its events have names: {frame}"
                );
            }
            events.push(data);
        }
        if dialect == Dialect::OpenAi {
            assert_eq!(events.pop(), Some("[DONE]"), "the terminator");
        }
        let events: Vec<Value> = events
            .iter()
            .map(|data| {
                serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
            })
            .collect();
        let mut summary = Self::default();
        match dialect {
            Dialect::OpenAi => summary.openai(&gather_openai(&events)),
            Dialect::Anthropic => summary.anthropic(&gather_anthropic(&events)),
            Dialect::Gemini => {
                for event in &events {
                    summary.gemini(event);
                }
            }
            _ => unreachable!("another dialect"),
        }
        summary
    }

    fn openai(&mut self, reply: &Value) {
        self.id = text(&reply["id"]);
        self.model = text(&reply["model"]);
        let choice = &reply["choices"][0];
        let message = &choice["message"];
        self.text = text(&message["content"]).unwrap_or_default();
        self.reasoning = text(&message["reasoning_content"]).unwrap_or_default();
        self.refusal = text(&message["refusal"]).unwrap_or_default();
        for call in items(&message["tool_calls"]) {
            assert!(
                text(&call["id"]).is_some_and(|id| !id.is_empty()),
                "a call has an id"
            );
            let arguments = text(&call["function"]["arguments"]).unwrap_or_default();
            self.call(&call["function"]["name"], &arguments);
        }
        self.finish = text(&choice["finish_reason"]);
        let usage = &reply["usage"];
        self.input = count(&usage["prompt_tokens"]);
        self.output = count(&usage["completion_tokens"]);
        self.cached = count(&usage["prompt_tokens_details"]["cached_tokens"]);
        self.thought = count(&usage["completion_tokens_details"]["reasoning_tokens"]);
        if !usage.is_null() {
            assert_eq!(count(&usage["total_tokens"]), self.input + self.output);
        }
    }

    fn anthropic(&mut self, reply: &Value) {
        assert_eq!(reply["type"], "message");
        assert_eq!(reply["role"], "assistant");
        self.id = text(&reply["id"]);
        self.model = text(&reply["model"]);
        for block in items(&reply["content"]) {
            match block["type"].as_str().expect("a block has a type") {
                "text" => self.text += block["text"].as_str().expect("text"),
                "thinking" => self.reasoning += block["thinking"].as_str().expect("thinking"),
                "tool_use" => {
                    assert!(text(&block["id"]).is_some_and(|id| !id.is_empty()));
                    self.call(&block["name"], &block["input"].to_string());
                }
                _ => {}
            }
        }
        self.finish = text(&reply["stop_reason"]).map(|reason| {
            match reason.as_str() {
                "end_turn" | "stop_sequence" => "stop",
                "max_tokens" => "length",
                "tool_use" => "tool_calls",
                "refusal" => "content_filter",
                other => panic!("{other}"),
            }
            .to_owned()
        });
        let usage = &reply["usage"];
        self.cached = count(&usage["cache_read_input_tokens"]);
        self.input = count(&usage["input_tokens"])
            + self.cached
            + count(&usage["cache_creation_input_tokens"]);
        self.output = count(&usage["output_tokens"]);
    }

    fn gemini(&mut self, reply: &Value) {
        self.id = text(&reply["responseId"]).or(self.id.take());
        self.model = text(&reply["modelVersion"]).or(self.model.take());
        let candidate = &reply["candidates"][0];
        for part in items(&candidate["content"]["parts"]) {
            if let Some(said) = text(&part["text"]) {
                match part["thought"] == json!(true) {
                    true => self.reasoning += &said,
                    false => self.text += &said,
                }
            }
            if part["functionCall"].is_object() {
                let call = &part["functionCall"];
                self.call(&call["name"], &call["args"].to_string());
            }
        }
        if let Some(reason) = text(&candidate["finishReason"]) {
            self.finish = Some(
                match reason.as_str() {
                    "STOP" if self.calls.is_empty() => "stop",
                    "STOP" => "tool_calls",
                    "MAX_TOKENS" => "length",
                    "SAFETY" => "content_filter",
                    other => panic!("{other}"),
                }
                .to_owned(),
            );
        }
        let usage = &reply["usageMetadata"];
        if usage.is_object() {
            self.thought = count(&usage["thoughtsTokenCount"]);
            self.input = count(&usage["promptTokenCount"]);
            self.cached = count(&usage["cachedContentTokenCount"]);
            self.output = count(&usage["candidatesTokenCount"]) + self.thought;
        }
    }

    fn call(&mut self, name: &Value, arguments: &str) {
        let arguments = if arguments.is_empty() {
            "{}"
        } else {
            arguments
        };
        let arguments = serde_json::from_str(arguments)
            .unwrap_or_else(|error| panic!("arguments are JSON: {error}: {arguments}"));
        self.calls
            .push((text(name).expect("a call has a name"), arguments));
    }

    /// Without what this dialect cannot tell.
    pub(crate) fn told_by(mut self, dialect: Dialect) -> Self {
        if dialect == Dialect::Anthropic {
            self.thought = 0;
        }
        self
    }
}

/// The whole reply that a stream of chunks says.
fn gather_openai(chunks: &[Value]) -> Value {
    let (mut message, mut finish, mut usage) = (json!({}), Value::Null, Value::Null);
    let mut calls: BTreeMap<u64, Value> = BTreeMap::new();
    let mut first = true;
    for chunk in chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk", "{chunk}");
        if chunk["usage"].is_object() {
            usage = chunk["usage"].clone();
        }
        for choice in items(&chunk["choices"]) {
            assert_eq!(choice["index"], 0);
            if first {
                assert_eq!(
                    choice["delta"]["role"], "assistant",
                    "the first says who speaks"
                );
                first = false;
            }
            for name in ["content", "reasoning_content", "refusal"] {
                if let Some(more) = text(&choice["delta"][name]) {
                    let said = text(&message[name]).unwrap_or_default() + &more;
                    message[name] = said.into();
                }
            }
            for call in items(&choice["delta"]["tool_calls"]) {
                let index = call["index"].as_u64().expect("a call has an index");
                let whole = calls.entry(index).or_insert_with(|| {
                    assert_eq!(call["type"], "function");
                    call.clone()
                });
                if whole != call {
                    let more = text(&call["function"]["arguments"]).unwrap_or_default();
                    let so_far = text(&whole["function"]["arguments"]).unwrap_or_default();
                    whole["function"]["arguments"] = (so_far + &more).into();
                }
            }
            if !choice["finish_reason"].is_null() {
                finish = choice["finish_reason"].clone();
            }
        }
    }
    message["tool_calls"] = calls.into_values().collect();
    json!({
        "id": chunks[0]["id"], "model": chunks[0]["model"], "usage": usage,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
    })
}

/// The message that a stream of events says. One block is open at a time.
fn gather_anthropic(events: &[Value]) -> Value {
    assert_eq!(events[0]["type"], "message_start");
    assert_eq!(events[events.len() - 1]["type"], "message_stop");
    let mut message = events[0]["message"].clone();
    let mut blocks: Vec<Value> = Vec::new();
    let (mut open, mut input) = (None, String::new());
    for event in &events[1..events.len() - 1] {
        match event["type"].as_str().expect("an event has a type") {
            "content_block_start" => {
                assert_eq!(open, None, "one block is open at a time");
                assert_eq!(event["index"].as_u64(), Some(blocks.len() as u64));
                open = event["index"].as_u64();
                blocks.push(event["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                assert_eq!(event["index"].as_u64(), open);
                let block = blocks.last_mut().expect("a block is open");
                let delta = &event["delta"];
                let (name, more) = match delta["type"].as_str().expect("a delta has a type") {
                    "text_delta" => ("text", &delta["text"]),
                    "thinking_delta" => ("thinking", &delta["thinking"]),
                    "signature_delta" => ("signature", &delta["signature"]),
                    "input_json_delta" => {
                        input += delta["partial_json"].as_str().expect("a string");
                        continue;
                    }
                    _ => continue,
                };
                let so_far = text(&block[name]).unwrap_or_default();
                block[name] = (so_far + more.as_str().expect("a string")).into();
            }
            "content_block_stop" => {
                assert_eq!(event["index"].as_u64(), open.take());
                let block = blocks.last_mut().expect("a block is open");
                if block["type"] == "tool_use" && !input.is_empty() {
                    block["input"] = serde_json::from_str(&input).expect("arguments are JSON");
                }
            }
            "message_delta" => {
                assert_eq!(open, None, "every block was closed");
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                for (name, value) in event["usage"].as_object().expect("usage") {
                    message["usage"][name] = value.clone();
                }
            }
            "ping" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(open, None);
    message["content"] = blocks.into();
    message
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
