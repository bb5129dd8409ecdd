use serde_json::{Value, json};

use super::{frames, write};
use crate::{
    Dialect,
    convert::{
        model::{Counts, Event, Finish, Signature},
        text::{Raw, Text},
    },
};

pub(super) fn start() -> Event<'static> {
    Event::Start {
        id: Some(Text::plain("chatcmpl-1")),
        model: Some(Text::plain("gpt")),
        created: None,
    }
}

pub(super) fn text(text: &'static str) -> Event<'static> {
    Event::Text {
        candidate: 0,
        text: Text::plain(text),
    }
}

pub(super) fn thinks(text: &'static str) -> Event<'static> {
    Event::Reasoning {
        candidate: 0,
        text: Text::plain(text),
    }
}

pub(super) fn call(call: u64, id: &'static str) -> Event<'static> {
    Event::Call {
        candidate: 0,
        call,
        id: Some(Text::plain(id)),
        name: Text::plain("f"),
        signature: None,
    }
}

pub(super) fn piece(call: u64, piece: &'static str) -> Event<'static> {
    Event::Arguments {
        candidate: 0,
        call,
        piece: Text::plain(piece),
    }
}

pub(super) fn finish(finish: Finish<'static>) -> Event<'static> {
    Event::Finish {
        candidate: 0,
        finish,
    }
}

pub(super) fn signature(of: Dialect) -> Signature<'static> {
    let value = Text::plain("CiQB");
    Signature { of, value }
}

/// Each frame on one line, and what the SDK's accumulator wants: one open block, indices in order.
pub(super) fn lines(stream: &str) -> Vec<String> {
    let (mut open, mut next) = (None, 0);
    let mut begun = false;
    let mut lines = Vec::new();
    for frame in frames(stream) {
        let index = frame["index"].as_u64();
        let told = |value: &Value| {
            let object = value.as_object().expect("an object");
            let kind = object["type"].as_str().expect("a type");
            let values = object.iter().filter(|(name, _)| *name != "type");
            let values: Vec<_> = values.map(|(_, value)| value.to_string()).collect();
            format!("{kind} {}", values.join(" "))
        };
        match frame["type"].as_str().unwrap() {
            "message_start" => {
                assert!(!begun && open.is_none());
                begun = true;
                lines.push("start".to_owned());
            }
            "content_block_start" => {
                assert!(begun && open.is_none() && index == Some(next));
                (open, next) = (index, next + 1);
                lines.push(format!("+{} {}", next - 1, told(&frame["content_block"])));
            }
            "content_block_delta" => {
                assert!(index.is_some() && index == open);
                lines.push(format!(" {}", told(&frame["delta"])));
            }
            "content_block_stop" => {
                assert!(index.is_some() && index == open);
                lines.push(format!("-{}", open.take().unwrap()));
            }
            "message_delta" => {
                assert!(open.is_none());
                lines.push(format!("stop {}", frame["delta"]["stop_reason"]));
            }
            kind => lines.push(kind.to_owned()),
        }
    }
    lines
}

#[test]
fn a_message_has_the_shape_that_the_sdks_want() {
    let counts = |input, output| {
        Event::Usage(Counts {
            input,
            output,
            cached: Some(5),
            reasoning: Some(1),
            rest: vec![(Text::plain("tier"), Raw::of("\"a\""))],
            ..Counts::default()
        })
    };
    let rest = |name, value: &'static str| Event::Rest(vec![(Text::plain(name), Raw::of(value))]);
    let written = write([
        start(),
        rest("fingerprint", "\"fp\""),
        counts(9, 0),
        text(r"H\u00e9\n"),
        rest("fingerprint", "\"fp\""),
        rest("late", "[1]"),
        text("llo"),
        finish(Finish::Stop),
        counts(12, 7),
        Event::End,
        text("more"),
    ]);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-1","type":"message","role":"assistant","model":"gpt","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":4,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":0,"output_tokens_details":{"thinking_tokens":1},"tier":"a"},"fingerprint":"fp"}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"H\u00e9\n"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"llo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":1},"tier":"a"},"late":[1]}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(written, expected);
}

#[test]
fn a_message_that_was_never_begun_has_a_made_id_and_no_text() {
    let written = frames(&write([Event::End]));
    assert_eq!(written.len(), 3);
    assert_eq!(written[0]["message"]["id"], "msg_000000000000002a");
    assert_eq!(written[0]["message"]["model"], "");
    assert_eq!(written[1]["delta"]["stop_reason"], "end_turn");
    assert_eq!(write([]), "");
    assert_eq!(write([start()]), "");
}

#[test]
fn every_reason_to_finish_has_its_word() {
    for (reason, told) in [
        (Finish::Stop, json!(["end_turn", null])),
        (
            Finish::Sequence(Some(Text::plain("END"))),
            json!(["stop_sequence", "END"]),
        ),
        (Finish::Sequence(None), json!(["stop_sequence", null])),
        (Finish::Length, json!(["max_tokens", null])),
        (Finish::Calls, json!(["tool_use", null])),
        (Finish::Filtered, json!(["refusal", null])),
        (Finish::Paused, json!(["pause_turn", null])),
        (
            Finish::Other(Text::plain("tired")),
            json!(["end_turn", null]),
        ),
    ] {
        let written = frames(&write([start(), finish(reason), Event::End]));
        let delta = &written[1]["delta"];
        assert_eq!(json!([delta["stop_reason"], delta["stop_sequence"]]), told);
    }
    let refusal = Event::Refusal {
        candidate: 0,
        text: Text::plain("No."),
    };
    let written = write([start(), refusal, finish(Finish::Stop), Event::End]);
    assert_eq!(
        lines(&written)[1..],
        [
            r#"+0 text """#,
            r#" text_delta "No.""#,
            "-0",
            r#"stop "refusal""#,
            "message_stop"
        ]
    );
}

#[test]
fn other_candidates_have_no_place() {
    let written = write([
        start(),
        Event::Text {
            candidate: 1,
            text: Text::plain("b"),
        },
        Event::Finish {
            candidate: 1,
            finish: Finish::Length,
        },
        text("a"),
        finish(Finish::Stop),
        Event::End,
    ]);
    assert_eq!(
        lines(&written)[1..],
        [
            r#"+0 text """#,
            r#" text_delta "a""#,
            "-0",
            r#"stop "end_turn""#,
            "message_stop"
        ]
    );
}

#[test]
fn a_ping_shows_that_it_lives() {
    let written = write([Event::Ping, start(), Event::Ping, text("a"), Event::Ping]);
    assert_eq!(
        lines(&written),
        [
            "ping",
            "start",
            "ping",
            r#"+0 text """#,
            r#" text_delta "a""#,
            "ping"
        ]
    );
}

#[test]
fn an_error_ends_the_stream_in_the_callers_words() {
    for (of, envelope, kind, message) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
            "rate_limit_error",
            "slow down",
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"no money","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            "billing_error",
            "no money",
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"oops","type":"server_error"}}"#,
            "api_error",
            "oops",
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#,
            "invalid_request_error",
            "bad",
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#,
            "api_error",
            "busy",
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}"#,
            "permission_error",
            "no",
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":401,"message":"who","status":"UNAUTHENTICATED"}}"#,
            "authentication_error",
            "who",
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":504,"message":"late","status":"DEADLINE_EXCEEDED"}}"#,
            "timeout_error",
            "late",
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":""}}"#,
            "overloaded_error",
            "the endpoint told of an error, and not of which",
        ),
        (
            Dialect::OpenAi,
            "null",
            "api_error",
            "the endpoint told of an error, and not of which",
        ),
    ] {
        let error = Event::Error { of, envelope };
        let written = frames(&write([start(), text("a"), error, text("b"), Event::End]));
        assert_eq!(written.len(), 4, "{envelope}");
        assert_eq!(
            written[3],
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": null})
        );
    }
    let envelope =
        r#"{"type":"error","error":{"type":"api_error","message":"x"},"request_id":"req_1"}"#;
    let of = Dialect::Anthropic;
    let written = frames(&write([Event::Error { of, envelope }]));
    assert_eq!(written[0]["request_id"], "req_1");
}
