//! What Gemini wants back on the next turn survives a caller who knows nothing of it.

use buttress_llm::{
    Dialect,
    convert::{Conversion, Converted},
};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

/// What Gemini is asked, by a caller of Anthropic's dialect with these messages.
fn asked(messages: &Value) -> (Converted, Value) {
    let body = json!({"model": "gemini-3-pro-preview", "max_tokens": 9, "messages": messages});
    let way = Conversion::new(Dialect::Anthropic, Dialect::Gemini);
    let asked = way.request(body.to_string()).expect("it can be said");
    let body = serde_json::from_slice(asked.body()).expect("a request is JSON");
    (asked, body)
}

#[test]
fn signatures_of_calls_and_of_text_come_back_in_their_places() {
    let user = json!({"role": "user", "content": "go"});
    let (first, _) = asked(&json!([user]));
    let content = json!({"role": "model", "parts": [
        {"text": "I look.", "thoughtSignature": "AAA+/w=="},
        {"functionCall": {"name": "f", "args": {"n": 1}}, "thoughtSignature": "BBB+/w=="},
        {"functionCall": {"name": "f", "args": {"n": 2}}},
    ]});
    let reply = json!({"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]});
    let reply = first.reply(reply.to_string().as_bytes()).expect("a reply");
    let said: Value = serde_json::from_slice(&reply).expect("a reply is JSON");
    assert_eq!(said["stop_reason"], "tool_use");

    // The SDK sends the content back as it came, and the ids with the results.
    let blocks = said["content"].as_array().expect("blocks");
    let ids: Vec<&Value> = blocks
        .iter()
        .filter(|block| block["type"] == "tool_use")
        .map(|block| &block["id"])
        .collect();
    let result =
        |id: &Value, said: &str| json!({"type": "tool_result", "tool_use_id": id, "content": said});
    let (_, body) = asked(&json!([
        user,
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [result(ids[1], "two"), result(ids[0], "one")]},
    ]));
    let mut turn = body["contents"][1].clone();
    let mut answers = body["contents"][2].clone();
    for at in [1, 2] {
        let part = &mut turn["parts"][at]["functionCall"];
        let id = part.as_object_mut().and_then(|call| call.remove("id"));
        let part = &mut answers["parts"][at - 1]["functionResponse"];
        let answered = part.as_object_mut().and_then(|answer| answer.remove("id"));
        assert!(id.is_some());
        assert_eq!(id, answered);
    }
    assert_eq!(turn, content);
    assert_eq!(
        answers["parts"],
        json!([
            {"functionResponse": {"name": "f", "response": {"result": "one"}}},
            {"functionResponse": {"name": "f", "response": {"result": "two"}}},
        ])
    );
}

#[test]
fn a_signature_at_the_end_of_a_stream_comes_back_as_well() {
    let (first, _) = asked(&json!([{"role": "user", "content": "go"}]));
    let chunks = [
        json!({"candidates": [{"content": {"parts": [{"text": "So it is."}], "role": "model"}, "index": 0}]}),
        json!({"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "AAA+/w=="}], "role": "model"}, "finishReason": "STOP", "index": 0}]}),
    ];
    let (mut stream, mut out) = (first.stream(), BytesMut::new());
    for chunk in chunks {
        let frame = Bytes::from(format!("data: {chunk}\r\n\r\n"));
        stream.push(frame, &mut out).expect("a stream");
    }
    stream.finish(&mut out).expect("it is complete");

    // What an SDK gathers of the events.
    let text = std::str::from_utf8(&out).expect("UTF-8");
    let mut blocks: Vec<Value> = Vec::new();
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).expect("an event is JSON");
        match event["type"].as_str() {
            Some("content_block_start") => blocks.push(event["content_block"].clone()),
            Some("content_block_delta") => {
                let block = blocks.last_mut().expect("a block is open");
                for name in ["text", "thinking", "signature"] {
                    if let Some(piece) = event["delta"][name].as_str() {
                        let before = block[name].as_str().unwrap_or_default();
                        block[name] = json!([before, piece].concat());
                    }
                }
            }
            _ => {}
        }
    }
    let (_, body) = asked(&json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "go on"},
    ]));
    let parts = body["contents"][1]["parts"].as_array().expect("parts");
    let said: String = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    assert_eq!(said, "So it is.");
    let signed: Vec<&Value> = parts
        .iter()
        .filter_map(|part| part.get("thoughtSignature"))
        .collect();
    assert_eq!(signed, [&json!("AAA+/w==")]);
    assert!(parts.iter().all(|part| part.get("thought").is_none()));
}
