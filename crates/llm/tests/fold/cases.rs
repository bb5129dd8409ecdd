//! Streams, and the whole replies that their providers would have given: written by hand after the
//! providers' documentation.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use buttress_llm::Dialect;
use serde_json::{Value, json};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    /// The data of each event.
    pub(crate) events: Vec<Value>,
    pub(crate) whole: Value,
}

impl Case {
    pub(crate) fn stream(&self) -> String {
        let events = self
            .events
            .iter()
            .map(|event| match event["type"].as_str() {
                Some(name) => format!("event: {name}\ndata: {event}\n\n"),
                None => format!("data: {event}\n\n"),
            });
        let done = match self.dialect {
            Dialect::OpenAi => "data: [DONE]\n\n",
            _ => "",
        };
        events.chain([done.to_owned()]).collect()
    }
}

/// A chunk of OpenAI's.
fn chunk(choices: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-4.1-nano",
        "service_tier": "default", "system_fingerprint": "fp_1", "choices": choices, "usage": null, "obfuscation": "x"})
}

fn delta(delta: Value) -> Value {
    chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]))
}

fn end(reason: &str) -> Value {
    chunk(json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason}]))
}

fn openai_usage() -> Value {
    json!({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0, "accepted_prediction_tokens": 0}})
}

fn told() -> Value {
    let mut last = chunk(json!([]));
    last["usage"] = openai_usage();
    last
}

fn completion(choices: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt-4.1-nano",
        "service_tier": "default", "system_fingerprint": "fp_1", "choices": choices, "usage": openai_usage()})
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        openai_text(),
        openai_calls(),
        openai_two_choices_with_logprobs(),
        openai_refusal(),
        azure_with_a_prelude(),
        compatible_reasoning(),
        anthropic_text_and_call(),
        anthropic_thinking_and_citations(),
        anthropic_server_tool(),
        gemini_text(),
        gemini_signed_in_between(),
        gemini_call(),
        gemini_blocked(),
    ]
}

fn openai_text() -> Case {
    Case {
        name: "openai text",
        dialect: Dialect::OpenAi,
        events: vec![
            delta(json!({"role": "assistant", "content": "", "refusal": null})),
            delta(json!({"content": "A \"vault\""})),
            delta(json!({"content": ",\nüber \\ 😀"})),
            end("stop"),
            told(),
        ],
        whole: completion(json!([{"index": 0,
            "message": {"role": "assistant", "content": "A \"vault\",\nüber \\ 😀", "refusal": null},
            "logprobs": null, "finish_reason": "stop"}])),
    }
}

fn openai_calls() -> Case {
    let call = |piece: Value| delta(json!({"tool_calls": [piece]}));
    Case {
        name: "openai calls",
        dialect: Dialect::OpenAi,
        events: vec![
            delta(json!({"role": "assistant", "content": null, "refusal": null})),
            call(
                json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}),
            ),
            call(json!({"index": 0, "function": {"arguments": "{\"ci"}})),
            call(json!({"index": 0, "function": {"arguments": "ty\":\"Ulm\"}"}})),
            call(
                json!({"index": 1, "id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}}),
            ),
            call(json!({"index": 1, "function": {"arguments": "{}"}})),
            end("tool_calls"),
            told(),
        ],
        whole: completion(
            json!([{"index": 0, "message": {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Ulm\"}"}},
                {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ]}, "logprobs": null, "finish_reason": "tool_calls"}]),
        ),
    }
}

fn openai_two_choices_with_logprobs() -> Case {
    let said = |index: u64, token: &str| {
        chunk(json!([{"index": index, "delta": {"content": token},
            "logprobs": {"content": [{"token": token, "logprob": -0.5, "bytes": null, "top_logprobs": []}], "refusal": null},
            "finish_reason": null}]))
    };
    let token =
        |token: &str| json!({"token": token, "logprob": -0.5, "bytes": null, "top_logprobs": []});
    Case {
        name: "openai two choices with logprobs",
        dialect: Dialect::OpenAi,
        events: vec![
            delta(json!({"role": "assistant", "content": ""})),
            chunk(
                json!([{"index": 1, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]),
            ),
            said(1, "x"),
            said(0, "a"),
            said(1, "y"),
            said(0, "b"),
            end("length"),
            chunk(json!([{"index": 1, "delta": {}, "logprobs": null, "finish_reason": "stop"}])),
            told(),
        ],
        whole: completion(json!([
            {"index": 0, "message": {"role": "assistant", "content": "ab"},
                "logprobs": {"content": [token("a"), token("b")], "refusal": null}, "finish_reason": "length"},
            {"index": 1, "message": {"role": "assistant", "content": "xy"},
                "logprobs": {"content": [token("x"), token("y")], "refusal": null}, "finish_reason": "stop"},
        ])),
    }
}

fn openai_refusal() -> Case {
    Case {
        name: "openai refusal",
        dialect: Dialect::OpenAi,
        events: vec![
            delta(json!({"role": "assistant", "content": "", "refusal": null})),
            delta(json!({"refusal": "I can"})),
            delta(json!({"refusal": "not."})),
            end("stop"),
            told(),
        ],
        whole: completion(json!([{"index": 0,
            "message": {"role": "assistant", "content": null, "refusal": "I cannot."},
            "logprobs": null, "finish_reason": "stop"}])),
    }
}

fn azure_with_a_prelude() -> Case {
    let safe = json!({"hate": {"filtered": false, "severity": "safe"}});
    Case {
        name: "azure with a prelude",
        dialect: Dialect::OpenAi,
        events: vec![
            json!({"id": "", "object": "", "created": 0, "model": "", "choices": [],
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": safe}]}),
            json!({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o",
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "content_filter_results": {}}]}),
            json!({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o",
                "choices": [{"index": 0, "delta": {"content": "!"}, "content_filter_results": safe, "finish_reason": "stop"}]}),
            json!({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o", "choices": [],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}),
        ],
        whole: json!({"id": "c-1", "object": "chat.completion", "created": 7, "model": "gpt-4o",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": safe}],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi!"},
                "content_filter_results": safe, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}),
    }
}

/// The role in every chunk, reasoning, calls without numbers, the usage in the last chunk.
fn compatible_reasoning() -> Case {
    let said = |delta: Value, finish: Value, usage: Value| {
        json!({"id": "u", "object": "chat.completion.chunk", "created": 7, "model": "r",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage})
    };
    let say = |delta| said(delta, Value::Null, Value::Null);
    let usage = json!({"prompt_tokens": 18, "completion_tokens": 219, "total_tokens": 237, "prompt_cache_hit_tokens": 0});
    Case {
        name: "compatible reasoning",
        dialect: Dialect::OpenAi,
        events: vec![
            say(json!({"role": "assistant", "content": null, "reasoning_content": "We"})),
            say(json!({"role": "assistant", "content": null, "reasoning_content": " need"})),
            say(
                json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}),
            ),
            say(json!({"role": "assistant", "tool_calls": [{"function": {"arguments": "}"}}]})),
            say(
                json!({"role": "assistant", "tool_calls": [{"id": "2", "function": {"name": "g", "arguments": "{}"}}]}),
            ),
            said(
                json!({"role": "assistant", "content": ""}),
                json!("tool_calls"),
                usage.clone(),
            ),
        ],
        whole: json!({"id": "u", "object": "chat.completion", "created": 7, "model": "r",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "reasoning_content": "We need",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ]}, "finish_reason": "tool_calls"}], "usage": usage}),
    }
}

fn message(usage: Value) -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "model": "claude-haiku-4-5", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn piece(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn anthropic_end(reason: &str, usage: Value) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}

fn claude(content: Value, reason: &str, usage: Value) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
        "content": content, "stop_reason": reason, "stop_sequence": null, "usage": usage})
}

fn anthropic_text_and_call() -> Case {
    let [delta, last] = anthropic_end("tool_use", json!({"output_tokens": 48}));
    let json = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    Case {
        name: "anthropic text and call",
        dialect: Dialect::Anthropic,
        events: vec![
            message(
                json!({"input_tokens": 565, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 3}, "output_tokens": 7, "service_tier": "standard"}),
            ),
            block(0, json!({"type": "text", "text": ""})),
            json!({"type": "ping"}),
            piece(0, json!({"type": "text_delta", "text": "I'll"})),
            piece(0, json!({"type": "text_delta", "text": " look"})),
            stop(0),
            block(
                1,
                json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}),
            ),
            piece(1, json("")),
            piece(1, json("{\"city\": \"U")),
            piece(1, json("lm\", \"days\": 3}")),
            stop(1),
            block(
                2,
                json!({"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}),
            ),
            stop(2),
            delta,
            last,
        ],
        whole: claude(
            json!([{"type": "text", "text": "I'll look"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm", "days": 3}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}]),
            "tool_use",
            json!({"input_tokens": 565, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 3}, "output_tokens": 48, "service_tier": "standard"}),
        ),
    }
}

fn anthropic_thinking_and_citations() -> Case {
    let usage = json!({"input_tokens": 9, "output_tokens": 30});
    let [delta, last] = anthropic_end("end_turn", usage.clone());
    let citation = json!({"type": "char_location", "cited_text": "x", "document_index": 0});
    Case {
        name: "anthropic thinking and citations",
        dialect: Dialect::Anthropic,
        events: vec![
            message(json!({"input_tokens": 9, "output_tokens": 1})),
            block(
                0,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
            ),
            piece(0, json!({"type": "thinking_delta", "thinking": "Hm"})),
            piece(0, json!({"type": "thinking_delta", "thinking": "."})),
            piece(0, json!({"type": "signature_delta", "signature": "c2ln"})),
            stop(0),
            block(1, json!({"type": "redacted_thinking", "data": "ZGF0YQ=="})),
            stop(1),
            block(2, json!({"type": "text", "text": "", "citations": []})),
            piece(2, json!({"type": "text_delta", "text": "Yes"})),
            piece(2, json!({"type": "citations_delta", "citation": citation})),
            stop(2),
            delta,
            last,
        ],
        whole: claude(
            json!([{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "Yes", "citations": [citation]}]),
            "end_turn",
            usage,
        ),
    }
}

fn anthropic_server_tool() -> Case {
    let usage = json!({"input_tokens": 9, "output_tokens": 30, "server_tool_use": {"web_search_requests": 1}});
    let [delta, last] = anthropic_end("end_turn", usage.clone());
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result", "url": "https://a.test"}]});
    Case {
        name: "anthropic server tool",
        dialect: Dialect::Anthropic,
        events: vec![
            message(json!({"input_tokens": 9, "output_tokens": 1})),
            block(
                0,
                json!({"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}),
            ),
            piece(
                0,
                json!({"type": "input_json_delta", "partial_json": "{\"query\":\"a\"}"}),
            ),
            stop(0),
            block(1, found.clone()),
            stop(1),
            delta,
            last,
        ],
        whole: claude(
            json!([{"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "a"}}, found]),
            "end_turn",
            usage,
        ),
    }
}

fn gemini_chunk(parts: Value, output: u64, rest: Value) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Value::Object(rest) = rest {
        candidate.as_object_mut().unwrap().extend(rest);
    }
    json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": output,
        "totalTokenCount": 194 + output, "thoughtsTokenCount": 185}, "modelVersion": "gemini-3-pro-preview", "responseId": "r"})
}

fn gemini_text() -> Case {
    Case {
        name: "gemini text",
        dialect: Dialect::Gemini,
        events: vec![
            gemini_chunk(json!([{"text": "Let me", "thought": true}]), 1, Value::Null),
            gemini_chunk(json!([{"text": " count", "thought": true}]), 2, Value::Null),
            gemini_chunk(json!([{"text": "There are **3**"}]), 5, Value::Null),
            gemini_chunk(json!([{"text": " \"r\"s."}]), 23, Value::Null),
            gemini_chunk(
                json!([{"text": "", "thoughtSignature": "EqsF"}]),
                23,
                json!({"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["r"]}}),
            ),
        ],
        whole: gemini_chunk(
            json!([{"text": "Let me count", "thought": true}, {"text": "There are **3** \"r\"s.", "thoughtSignature": "EqsF"}]),
            23,
            json!({"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["r"]}}),
        ),
    }
}

fn gemini_signed_in_between() -> Case {
    let parts = json!([{"text": "one", "thoughtSignature": "c2ln"}, {"text": "two"}]);
    Case {
        name: "gemini signed in between",
        dialect: Dialect::Gemini,
        events: vec![
            gemini_chunk(json!([{"text": "o"}]), 1, Value::Null),
            gemini_chunk(
                json!([{"text": "ne", "thoughtSignature": "c2ln"}]),
                2,
                Value::Null,
            ),
            gemini_chunk(json!([{"text": "two"}]), 3, json!({"finishReason": "STOP"})),
        ],
        whole: gemini_chunk(parts, 3, json!({"finishReason": "STOP"})),
    }
}

fn gemini_call() -> Case {
    let call = json!({"functionCall": {"name": "weather", "args": {"city": "Ulm"}}, "thoughtSignature": "EqUC"});
    Case {
        name: "gemini call",
        dialect: Dialect::Gemini,
        events: vec![
            gemini_chunk(json!([call]), 15, Value::Null),
            gemini_chunk(json!([{"text": ""}]), 15, json!({"finishReason": "STOP"})),
        ],
        whole: gemini_chunk(json!([call]), 15, json!({"finishReason": "STOP"})),
    }
}

fn gemini_blocked() -> Case {
    let whole = json!({"promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}, "modelVersion": "gemini-2.5-pro"});
    Case {
        name: "gemini blocked",
        dialect: Dialect::Gemini,
        events: vec![whole.clone()],
        whole,
    }
}
