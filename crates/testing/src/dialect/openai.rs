//! OpenAI chat completions.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, CREATED, Delta, Envelope, Events, Finish, Read, quote, to_bytes};
use crate::{Usage, plan::Kind};

pub(super) fn whole(answer: &Answer<'_>) -> Bytes {
    // Written by hand: a tree of values costs more than all the rest of a small reply.
    let mut out = Vec::with_capacity(1024);
    let id = id(answer.id);
    let _ = write!(
        out,
        r#"{{"id":"{id}","object":"chat.completion","created":{CREATED},"model":"#
    );
    quote(&mut out, answer.model);
    let _ = write!(
        out,
        r#","choices":[{{"index":0,"message":{{"role":"assistant","content":"#
    );
    match answer.text {
        Some(text) => quote(&mut out, text),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","refusal":null"#);
    if let Some(reasoning) = answer.reasoning {
        out.extend_from_slice(br#","reasoning_content":"#);
        quote(&mut out, reasoning);
    }
    for (index, tool) in answer.tools.iter().enumerate() {
        let before = if index == 0 {
            r#","tool_calls":["#
        } else {
            ","
        };
        let id = tool_id(answer.id, index);
        let _ = write!(
            out,
            r#"{before}{{"id":"{id}","type":"function","function":{{"name":"#
        );
        quote(&mut out, &tool.name);
        out.extend_from_slice(br#","arguments":"#);
        quote(&mut out, &tool.arguments);
        out.extend_from_slice(b"}}");
    }
    if !answer.tools.is_empty() {
        out.push(b']');
    }
    let finish = finish(answer.finish);
    let _ = write!(
        out,
        r#"}},"logprobs":null,"finish_reason":"{finish}"}}],"usage":"#
    );
    usage(&mut out, answer.usage);
    out.extend_from_slice(br#","system_fingerprint":"fp_buttress"}"#);
    Bytes::from(out)
}

pub(super) fn stream(answer: &Answer<'_>) -> Events {
    let mut head = format!(
        r#"data: {{"id":"{}","object":"chat.completion.chunk","created":{CREATED},"model":"#,
        id(answer.id)
    )
    .into_bytes();
    quote(&mut head, answer.model);
    head.extend_from_slice(br#","system_fingerprint":"fp_buttress","choices":["#);
    // Every chunk but the last has an empty usage once the caller asked for one.
    let tail: &[u8] = match answer.include_usage {
        true => b"],\"usage\":null}\n\n",
        false => b"]}\n\n",
    };
    let chunk = |out: &mut Vec<u8>, delta: &dyn Fn(&mut Vec<u8>), finish: Option<&str>| {
        out.extend_from_slice(&head);
        out.extend_from_slice(br#"{"index":0,"delta":{"#);
        delta(out);
        out.extend_from_slice(br#"},"logprobs":null,"finish_reason":"#);
        match finish {
            Some(finish) => quote(out, finish),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
        out.extend_from_slice(tail);
    };

    let mut events = Events::new();
    let role = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#""role":"assistant","content":"","refusal":null"#);
    };
    events.push(Kind::Lead, None, |out| chunk(out, &role, None));
    for (at, delta) in answer.deltas.iter().enumerate() {
        let write = |out: &mut Vec<u8>| write_delta(out, answer, delta);
        events.push(Kind::Content, Some(answer.output_at(at)), |out| {
            chunk(out, &write, None);
        });
    }
    let output = answer.usage.output();
    events.push(Kind::Tail, Some(output), |out| {
        chunk(out, &|_| {}, Some(finish(answer.finish)));
    });
    if answer.include_usage {
        events.push(Kind::Tail, Some(output), |out| {
            out.extend_from_slice(&head);
            out.extend_from_slice(b"],\"usage\":");
            usage(out, answer.usage);
            out.extend_from_slice(b"}\n\n");
        });
    }
    events.push(Kind::Tail, Some(output), |out| {
        out.extend_from_slice(b"data: [DONE]\n\n");
    });
    events
}

fn write_delta(out: &mut Vec<u8>, answer: &Answer<'_>, delta: &Delta<'_>) {
    match *delta {
        Delta::Reasoning(text) => {
            out.extend_from_slice(br#""reasoning_content":"#);
            quote(out, text);
        }
        Delta::Text(text) => {
            out.extend_from_slice(br#""content":"#);
            quote(out, text);
        }
        Delta::Tool(index) => {
            let id = tool_id(answer.id, index);
            let _ = write!(
                out,
                r#""tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"#
            );
            quote(out, &answer.tools[index].name);
            out.extend_from_slice(br#","arguments":""}}]"#);
        }
        Delta::Arguments(index, part) => {
            let _ = write!(
                out,
                r#""tool_calls":[{{"index":{index},"function":{{"arguments":"#
            );
            quote(out, part);
            out.extend_from_slice(b"}}]");
        }
    }
}

pub(super) fn read(payload: &Value) -> Read {
    let delta = &payload["choices"][0]["delta"];
    let says = |field: &str| delta[field].as_str().is_some_and(|text| !text.is_empty());
    let text = ["content", "reasoning_content", "reasoning", "refusal"]
        .into_iter()
        .any(says);
    let usage = payload.get("usage").filter(|usage| usage.is_object());
    let usage = usage.map(|usage| {
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        Usage::new(count("/prompt_tokens"), count("/completion_tokens"))
            .cached(count("/prompt_tokens_details/cached_tokens"))
            .reasoning(count("/completion_tokens_details/reasoning_tokens"))
    });
    Read {
        content: text || delta.get("tool_calls").is_some_and(Value::is_array),
        usage,
    }
}

pub(super) fn error(envelope: &Envelope<'_>) -> Bytes {
    let (kind, code, message) = match envelope.status {
        401 => (
            "invalid_request_error",
            Some("invalid_api_key"),
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
        ),
        403 => (
            "invalid_request_error",
            Some("unsupported_country_region_territory"),
            "Country, region, or territory not supported",
        ),
        404 => (
            "invalid_request_error",
            Some("model_not_found"),
            "The model does not exist or you do not have access to it.",
        ),
        429 => (
            "requests",
            Some("rate_limit_exceeded"),
            "Rate limit reached for requests per min (RPM).",
        ),
        503 => (
            "server_error",
            None,
            "The engine is currently overloaded, please try again later",
        ),
        500.. => (
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
        ),
        _ => (
            "invalid_request_error",
            None,
            "We could not process your request.",
        ),
    };
    let kind = match envelope.code {
        Some("insufficient_quota") => "insufficient_quota",
        _ => kind,
    };
    let body = json!({ "error": {
        "message": envelope.message.unwrap_or(message),
        "type": envelope.kind.unwrap_or(kind),
        "param": envelope.param,
        "code": envelope.code.or(code),
    }});
    to_bytes(&body)
}

pub(super) fn models(models: &[String]) -> Bytes {
    let model = |model: &String| json!({ "id": model, "object": "model", "created": CREATED, "owned_by": "buttress" });
    let data: Vec<Value> = models.iter().map(model).collect();
    to_bytes(&json!({ "object": "list", "data": data }))
}

fn usage(out: &mut Vec<u8>, usage: Usage) {
    let _ = write!(
        out,
        r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}},"completion_tokens_details":{{"reasoning_tokens":{}}}}}"#,
        usage.input(),
        usage.output(),
        usage.total(),
        usage.cached_tokens(),
        usage.reasoning_tokens(),
    );
}

fn id(id: u64) -> String {
    format!("chatcmpl-{id:08}")
}

fn tool_id(id: u64, index: usize) -> String {
    format!("call_{id:08}_{index}")
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}
