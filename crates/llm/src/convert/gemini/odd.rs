//! What is odd in every way: each value of a text in turn is another one, or missing.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{EventReader, EventWriter, read_reply, read_request, write_reply, write_request};
use crate::{
    Dialect,
    convert::{
        context::Context,
        notes::Notes,
        read::{Names, Reader},
        write::Writer,
    },
};

const CONTEXT: Context = Context {
    created: 1,
    unique: 2,
    include_usage: true,
};

/// Every text that has another value in one place than `whole`.
fn odd(whole: &Value) -> Vec<String> {
    let others = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1.5),
        json!(1e300),
        json!(""),
        json!("x\"\u{0}"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"new": 1}),
    ];
    let mut texts = Vec::new();
    for pointer in pointers(whole) {
        for other in &others {
            let mut odd = whole.clone();
            *odd.pointer_mut(&pointer).unwrap() = other.clone();
            texts.push(odd.to_string());
        }
        let mut less = whole.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(members)) = less.pointer_mut(parent) {
            members.remove(name);
            texts.push(less.to_string());
        }
    }
    texts
}

fn pointers(value: &Value) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut all = vec![String::new()];
    for (name, value) in inside {
        let below = pointers(value).into_iter();
        all.extend(below.map(|pointer| format!("/{name}{pointer}")));
    }
    all
}

#[test]
fn no_odd_request_makes_it_panic_and_what_is_taken_is_written_as_json() {
    let whole = json!({
        "systemInstruction": {"parts": [{"text": "a"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "a"},
                {"inlineData": {"mimeType": "image/png", "data": "AA-_", "displayName": "n"}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/b"}},
            ]},
            {"role": "model", "parts": [
                {"text": "a", "thought": true, "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "1", "name": "f", "response": {"result": "a"}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
            ]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": true}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "safetySettings": [], "labels": {},
        "generationConfig": {
            "temperature": 1, "topP": 1, "topK": 1, "seed": 1, "candidateCount": 2, "maxOutputTokens": 1,
            "stopSequences": ["a"], "presencePenalty": 1, "frequencyPenalty": 1, "responseLogprobs": true,
            "logprobs": 1, "responseMimeType": "application/json", "responseSchema": {"anyOf": [{"type": "STRING"}]},
            "thinkingConfig": {"thinkingBudget": 1, "includeThoughts": true}, "responseModalities": ["TEXT"],
            "mediaResolution": "X", "audioTimestamp": false,
        },
    });
    let (mut taken, mut refused) = (0, 0);
    for text in odd(&whole) {
        let mut json = Reader::new(&text, Names::Once);
        let request = read_request(&mut json);
        let (mut out, mut notes) = (BytesMut::new(), Notes::new(Dialect::Gemini));
        write_request(&request, &mut notes, &mut Writer::new(&mut out));
        let read = json.end();
        let written = notes.end();
        if read.is_ok() && written.is_ok() {
            taken += 1;
            serde_json::from_slice::<Value>(&out).unwrap_or_else(|error| panic!("{error}: {text}"));
        } else {
            refused += 1;
        }
        for fault in [read.err(), written.err()].into_iter().flatten() {
            assert!(!fault.explain(&text).to_string().is_empty());
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}

#[test]
fn no_odd_reply_makes_it_panic_and_what_is_taken_is_written_as_json() {
    let whole = json!({
        "candidates": [{
            "content": {"parts": [
                {"text": "a", "thought": true},
                {"text": "a", "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"},
                {"executableCode": {"code": "1"}},
            ], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
            "safetyRatings": [{}],
            "logprobsResult": {
                "topCandidates": [{"candidates": [{"token": "a", "logProbability": -1}]}],
                "chosenCandidates": [{"token": "a", "logProbability": -1}],
            },
        }],
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "thoughtsTokenCount": 1, "totalTokenCount": 3, "trafficType": "X"},
        "modelVersion": "m",
        "responseId": "r",
    });
    let (mut taken, mut refused) = (0, 0);
    for text in odd(&whole) {
        let mut json = Reader::new(&text, Names::Any);
        let reply = read_reply(&mut json);
        let mut out = BytesMut::new();
        write_reply(&reply, &CONTEXT, &mut Writer::new(&mut out));
        if json.end().is_ok() {
            taken += 1;
            serde_json::from_slice::<Value>(&out).unwrap_or_else(|error| panic!("{error}: {text}"));
        } else {
            refused += 1;
        }

        let mut json = Reader::new(&text, Names::Any);
        let (mut reader, mut writer) = (EventReader::default(), EventWriter::new(CONTEXT));
        let mut out = BytesMut::new();
        reader.read(&mut json, &mut |event| writer.write(event, &mut out));
        reader.end(&mut |event| writer.write(event, &mut out));
        for frame in std::str::from_utf8(&out).unwrap().split_terminator("\n\n") {
            let data = frame.strip_prefix("data: ").unwrap();
            serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}
