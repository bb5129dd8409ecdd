//! Gemini generateContent.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Answer, Delta, Envelope, Events, Finish, Read, SIGNATURE, json_or_text, to_bytes, write_json,
};
use crate::{Usage, plan::Kind, reply::ToolCall};

pub(super) fn whole(answer: &Answer<'_>) -> Bytes {
    let mut parts = Vec::new();
    parts.extend(answer.reasoning.map(thought));
    parts.extend(answer.text.map(|text| json!({ "text": text })));
    parts.extend(answer.tools.iter().map(function_call));
    let response = response(answer, &parts, Some(answer.finish), answer.usage.output());
    to_bytes(&response)
}

/// The events of a stream, or the elements of the array that it is without `alt=sse`.
pub(super) fn stream(answer: &Answer<'_>) -> Events {
    let mut events = Events::new();
    let mut first = true;
    let mut push = |kind, output, response: Value, last: bool| {
        events.push(kind, Some(output), |out| {
            let (before, after) = framing(answer.sse, first, last);
            out.extend_from_slice(before.as_bytes());
            write_json(out, &response);
            out.extend_from_slice(after.as_bytes());
        });
        first = false;
    };
    for (at, delta) in answer.deltas.iter().enumerate() {
        let part = match *delta {
            Delta::Reasoning(text) => thought(text),
            Delta::Text(text) => json!({ "text": text }),
            // A function call is not streamed: it goes with the last part of its arguments.
            Delta::Tool(index) | Delta::Arguments(index, _) => {
                if let Some(Delta::Arguments(next, _)) = answer.deltas.get(at + 1)
                    && *next == index
                {
                    continue;
                }
                function_call(&answer.tools[index])
            }
        };
        let output = answer.output_at(at);
        let response = response(answer, &[part], None, output);
        push(Kind::Content, output, response, false);
    }
    let output = answer.usage.output();
    let last = [json!({ "text": "" })];
    let response = response(answer, &last, Some(answer.finish), output);
    push(Kind::Tail, output, response, true);
    events
}

/// What stands around a payload: an event, or an element of an array.
pub(crate) fn framing(sse: bool, first: bool, last: bool) -> (&'static str, &'static str) {
    match (sse, first, last) {
        (true, _, _) => ("data: ", "\r\n\r\n"),
        (false, true, false) => ("[", "\n"),
        (false, true, true) => ("[", "\n]\n"),
        (false, false, false) => (",\r\n", "\n"),
        (false, false, true) => (",\r\n", "\n]\n"),
    }
}

pub(super) fn read(payload: &Value) -> Read {
    let parts = payload.pointer("/candidates/0/content/parts");
    let says = |part: &Value| {
        part.get("functionCall").is_some()
            || part["text"].as_str().is_some_and(|text| !text.is_empty())
    };
    let count = |name: &str| payload["usageMetadata"][name].as_u64().unwrap_or(0);
    let usage = payload.get("usageMetadata").map(|_| {
        let thoughts = count("thoughtsTokenCount");
        Usage::new(
            count("promptTokenCount"),
            count("candidatesTokenCount") + thoughts,
        )
        .cached(count("cachedContentTokenCount"))
        .reasoning(thoughts)
    });
    Read {
        content: parts
            .and_then(Value::as_array)
            .is_some_and(|parts| parts.iter().any(says)),
        usage,
    }
}

pub(super) fn error(envelope: &Envelope<'_>) -> Bytes {
    let (status, message) = match envelope.status {
        400 | 413 | 415 | 422 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => (
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
        ),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", "The model is not found."),
        409 => ("ABORTED", "The operation was aborted."),
        429 => (
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted (e.g. check quota).",
        ),
        408 | 504 => (
            "DEADLINE_EXCEEDED",
            "Deadline expired before operation could complete.",
        ),
        503 | 529 => (
            "UNAVAILABLE",
            "The model is overloaded. Please try again later.",
        ),
        500.. => ("INTERNAL", "An internal error has occurred."),
        _ => ("UNKNOWN", "An unknown error has occurred."),
    };
    let mut error = json!({
        "code": envelope.status,
        "message": envelope.message.unwrap_or(message),
        "status": envelope.kind.unwrap_or(status),
    });
    if let Some(details) = envelope.details {
        error["details"] = details.clone();
    } else if let Some(code) = envelope.code {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code,
            "domain": "googleapis.com",
        }]);
    }
    to_bytes(&json!({ "error": error }))
}

pub(super) fn models(models: &[String]) -> Bytes {
    let model = |model: &String| {
        json!({
            "name": format!("models/{model}"),
            "version": "001",
            "displayName": model,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        })
    };
    let models: Vec<Value> = models.iter().map(model).collect();
    to_bytes(&json!({ "models": models }))
}

fn response(answer: &Answer<'_>, parts: &[Value], stop: Option<Finish>, output: u64) -> Value {
    let mut candidate = json!({
        "content": { "parts": parts, "role": "model" },
        "index": 0,
    });
    if let Some(stop) = stop {
        candidate["finishReason"] = finish(stop).into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(answer.usage, output),
        "modelVersion": answer.model,
        "responseId": format!("buttress-{:08}", answer.id),
    })
}

fn usage(usage: Usage, output: u64) -> Value {
    let thoughts = usage.reasoning_tokens().min(output);
    let candidates = output - thoughts;
    let mut metadata = json!({
        "promptTokenCount": usage.input(),
        "totalTokenCount": usage.input().saturating_add(output),
    });
    // What is zero is left out, as the provider does.
    for (name, count) in [
        ("candidatesTokenCount", candidates),
        ("thoughtsTokenCount", thoughts),
        ("cachedContentTokenCount", usage.cached_tokens()),
    ] {
        if count > 0 {
            metadata[name] = count.into();
        }
    }
    metadata
}

fn thought(text: &str) -> Value {
    json!({ "text": text, "thought": true })
}

fn function_call(tool: &ToolCall) -> Value {
    json!({
        "functionCall": { "name": tool.name, "args": json_or_text(&tool.arguments) },
        "thoughtSignature": SIGNATURE,
    })
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        // The model's turn is over, whether or not it called a function.
        Finish::Stop | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter => "SAFETY",
    }
}
