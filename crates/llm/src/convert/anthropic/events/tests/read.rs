use serde_json::{Value, json};

use super::{CONTEXT, EventReader, EventWriter, frames, read, stream};
use crate::convert::{
    model::{Event, Signature},
    read::{Names, Reader},
    text::Text,
};

/// An event on one line.
fn line(event: &Event<'_>) -> String {
    let or_none = |text: &Option<Text<'_>>| {
        text.as_ref()
            .map_or("-".to_owned(), |text| text.written().to_owned())
    };
    let signed =
        |signature: &Signature<'_>| format!("{} {}", signature.of, signature.value.written());
    match event {
        Event::Start { id, model, .. } => format!("start {} {}", or_none(id), or_none(model)),
        Event::Text { text, .. } => format!("text {}", text.written()),
        Event::Reasoning { text, .. } => format!("reasoning {}", text.written()),
        Event::Signature { signature, .. } => format!("signature {}", signed(signature)),
        Event::Redacted { data, .. } => format!("redacted {}", data.written()),
        Event::Call {
            call,
            id,
            name,
            signature,
            ..
        } => {
            let signature = signature.as_ref().map_or("-".to_owned(), signed);
            format!("call {call} {} {} {signature}", or_none(id), name.written())
        }
        Event::Arguments { call, piece, .. } => format!("arguments {call} {}", piece.written()),
        Event::Object {
            call, arguments, ..
        } => format!("object {call} {}", arguments.written()),
        Event::Finish { finish, .. } => format!("finish {finish:?}"),
        Event::Usage(counts) => {
            let rest: Vec<_> = counts.rest.iter().map(|(name, _)| name.written()).collect();
            format!(
                "usage {} {:?} {:?} {} {:?} {rest:?}",
                counts.input, counts.cached, counts.cache_write, counts.output, counts.reasoning
            )
        }
        Event::Rest(rest) => {
            let rest = rest.iter();
            let rest: Vec<_> = rest
                .map(|(name, value)| format!("{}={}", name.written(), value.written()))
                .collect();
            format!("rest {}", rest.join(" "))
        }
        Event::Ping => "ping".to_owned(),
        Event::Error { of, envelope } => format!("error {of} {envelope}"),
        Event::End => "end".to_owned(),
        Event::Refusal { .. } => panic!("{event:?}"),
    }
}

fn lines(data: &[Value], split: usize) -> Vec<String> {
    let mut lines = Vec::new();
    read(&stream(data), split, |event| lines.push(line(&event)));
    lines
}

fn usage() -> Value {
    json!({"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3000,
           "output_tokens": 1, "service_tier": "standard"})
}

/// A message that has every kind of block and delta.
pub(super) fn everything() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude-opus-4-5", "content": [], "stop_reason": null, "stop_sequence": null,
            "container": {"id": "c"}, "usage": usage()}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm\n"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "so"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "EmwK"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "It \"is\" \u{e9}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{\"a\": \"\\u00"}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "e9}\"}"}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_start", "index": 4, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}}),
        json!({"type": "content_block_delta", "index": 4, "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
        json!({"type": "content_block_stop", "index": 4}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3000,
                      "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 40}, "service_tier": "standard"}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn every_event_is_told_in_order_wherever_the_bytes_are_split() {
    let data = everything();
    let told = [
        "start msg_1 claude-opus-4-5",
        r#"usage 3210 Some(3000) Some(200) 1 None ["service_tier"]"#,
        r#"rest container={"id":"c"}"#,
        "ping",
        r"reasoning Hm\n",
        "reasoning so",
        "signature anthropic EqQB",
        "redacted EmwK",
        r#"text It \"is\" é"#,
        "call 0 toolu_1 f -",
        r#"arguments 0 {\"a\": \"\\u00"#,
        r#"arguments 0 e9}\"}"#,
        "call 1 toolu_2 g -",
        "arguments 1 {}",
        "finish Calls",
        r#"usage 3210 Some(3000) Some(200) 90 Some(40) ["service_tier"]"#,
        "end",
    ];
    for split in 1..200 {
        assert_eq!(lines(&data, split), told, "{split}");
    }
    assert_eq!(lines(&data, 1 << 20), told);
}

#[test]
fn what_is_read_is_written_again() {
    let data = everything();
    let (mut writer, mut out) = (EventWriter::new(CONTEXT), bytes::BytesMut::new());
    read(&stream(&data), 64, |event| writer.write(event, &mut out));
    let again = frames(std::str::from_utf8(&out).unwrap());
    // A ping is written where it comes: the block that came before it began with its first piece.
    let without = |data: &[Value]| -> Vec<Value> {
        let data = data.iter().filter(|data| data["type"] != "ping");
        data.cloned().collect()
    };
    assert_eq!(without(&again), without(&data));
}

#[test]
fn pieces_that_say_nothing_are_not_told_and_a_call_without_arguments_has_an_object() {
    let start =
        |block: Value| json!({"type": "content_block_start", "index": 0, "content_block": block});
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let call = json!({"type": "tool_use", "id": "i", "name": "f", "input": {}});
    let piece = |piece: &str| delta(json!({"type": "input_json_delta", "partial_json": piece}));
    for (data, told) in [
        (
            vec![
                start(json!({"type": "text", "text": ""})),
                delta(json!({"type": "text_delta", "text": ""})),
                stop.clone(),
            ],
            vec![],
        ),
        (
            vec![start(json!({"type": "text", "text": "a"}))],
            vec!["text a"],
        ),
        (
            vec![start(
                json!({"type": "thinking", "thinking": "a", "signature": "s"}),
            )],
            vec!["reasoning a", "signature anthropic s"],
        ),
        (
            vec![delta(
                json!({"type": "signature_delta", "signature": "gemini:s"}),
            )],
            vec!["signature gemini s"],
        ),
        (
            vec![delta(json!({"type": "signature_delta", "signature": ""}))],
            vec![],
        ),
        (
            vec![delta(
                json!({"type": "citations_delta", "citation": {"type": "char_location"}}),
            )],
            vec![],
        ),
        (
            vec![delta(json!({"type": "brand_new", "text": {"a": 1}}))],
            vec![],
        ),
        (
            vec![json!({"type": "brand_new", "index": "x", "delta": 7})],
            vec![],
        ),
        (
            vec![start(call.clone()), piece(""), stop.clone()],
            vec!["call 0 i f -", "object 0 {}"],
        ),
        (
            vec![start(call.clone()), stop.clone(), stop.clone()],
            vec!["call 0 i f -", "object 0 {}"],
        ),
        (
            vec![start(call.clone()), piece("{}"), stop.clone()],
            vec!["call 0 i f -", "arguments 0 {}"],
        ),
        // Some servers say the arguments at once.
        (
            vec![
                start(json!({"type": "tool_use", "id": "i", "name": "f", "input": {"a": 1}})),
                piece("{}"),
                stop.clone(),
            ],
            vec!["call 0 i f -", r#"object 0 {"a":1}"#],
        ),
        // Some say no id.
        (
            vec![start(json!({"type": "tool_use", "name": "f"}))],
            vec!["call 0 - f -"],
        ),
        (
            vec![start(
                json!({"type": "tool_use", "id": "i__thought__AA-_", "name": "f", "input": {}}),
            )],
            vec!["call 0 i f gemini AA+/"],
        ),
        // What the provider's own tools do is not told.
        (
            vec![
                start(
                    json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
                ),
                piece("{}"),
                stop.clone(),
                start(
                    json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "x"}]}),
                ),
                stop.clone(),
            ],
            vec![],
        ),
        (
            vec![
                json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal"}}, "usage": {"output_tokens": 3}}),
            ],
            vec![
                "finish Filtered",
                "usage 0 None None 3 None []",
                r#"rest stop_details={"type":"refusal"}"#,
            ],
        ),
        (vec![json!({"type": "message_start"})], vec!["start - -"]),
    ] {
        assert_eq!(lines(&data, 1 << 20), told);
    }
}

#[test]
fn usage_is_of_the_whole_message_so_far() {
    let data = [
        json!({"type": "message_start", "message": {"usage": usage()}}),
        json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9, "cache_read_input_tokens": null}}),
    ];
    assert_eq!(
        lines(&data, 1 << 20)[2],
        r#"usage 3210 Some(3000) Some(200) 9 None ["service_tier"]"#
    );
}

#[test]
fn nothing_is_told_after_the_end_or_an_error_and_none_is_made_up() {
    let error =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let text = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}});
    assert_eq!(
        lines(&[error.clone(), text.clone()], 1 << 20),
        [format!("error anthropic {error}")]
    );
    let stop = json!({"type": "message_stop"});
    let start = json!({"type": "message_start", "message": {}});
    let reason = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
    let after = lines(&[start, reason, stop.clone(), text.clone(), stop], 1 << 20);
    assert_eq!(after.last().unwrap(), "end");
    assert!(!after.iter().any(|line| line == "text a"), "{after:?}");
    assert_eq!(lines(&[text], 1 << 20), ["text a"]);
}

#[test]
fn s7_no_event_makes_it_panic() {
    for data in everything() {
        let text = data.to_string();
        for end in 0..text.len() {
            let Some(text) = text.get(..end) else {
                continue;
            };
            let mut reader = EventReader::default();
            let mut json = Reader::new(text, Names::Any);
            reader.read(&mut json, &mut |_| ());
            assert!(json.end().is_err(), "{text}");
        }
    }
}
