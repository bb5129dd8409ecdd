use bytes::BytesMut;
use serde_json::{Value, json};

use super::{CONTEXT, EventWriter};
use crate::{
    Dialect,
    convert::{
        model::{Counts, Event, Finish, Signature},
        text::{Raw, Text},
    },
};

/// The frames that these events become.
fn frames(events: Vec<Event<'_>>) -> Vec<Value> {
    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    for event in events {
        writer.write(event, &mut out);
    }
    let out = std::str::from_utf8(&out).unwrap();
    assert!(out.is_empty() || out.ends_with("\n\n"));
    out.split_terminator("\n\n")
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn parts(events: Vec<Event<'_>>) -> Vec<Value> {
    frames(events)
        .into_iter()
        .map(|frame| frame["candidates"][0]["content"]["parts"][0].clone())
        .collect()
}

fn start<'a>() -> Event<'a> {
    Event::Start {
        id: Some(Text::plain("r")),
        model: Some(Text::plain("m")),
        created: None,
    }
}

fn call<'a>(call: u64, id: &'static str) -> Event<'a> {
    Event::Call {
        candidate: 0,
        call,
        id: Some(Text::plain(id)),
        name: Text::plain("f"),
        signature: None,
    }
}

fn piece(call: u64, piece: &str) -> Event<'_> {
    Event::Arguments {
        candidate: 0,
        call,
        piece: Text::new(piece, 0),
    }
}

fn finish<'a>(finish: Finish<'a>) -> Event<'a> {
    Event::Finish {
        candidate: 0,
        finish,
    }
}

#[test]
fn each_piece_of_text_is_a_frame_at_once() {
    let events = vec![
        start(),
        Event::Reasoning {
            candidate: 0,
            text: Text::plain("hm"),
        },
        Event::Text {
            candidate: 1,
            text: Text::new(r"a\nb", 0),
        },
        Event::Refusal {
            candidate: 0,
            text: Text::plain("no"),
        },
        Event::Ping,
    ];
    let frame = |index: u64, part: Value| json!({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": index}], "modelVersion": "m", "responseId": "r"});
    assert_eq!(
        frames(events),
        [
            frame(0, json!({"text": "hm", "thought": true})),
            frame(1, json!({"text": "a\nb"})),
            frame(0, json!({"text": "no"})),
        ]
    );
}

#[test]
fn the_reason_and_what_it_took_come_with_the_last_frame() {
    let usage = |input, output| {
        Event::Usage(Counts {
            input,
            output,
            ..Counts::default()
        })
    };
    let events = vec![
        start(),
        usage(9, 0),
        finish(Finish::Stop),
        usage(9, 5),
        Event::Finish {
            candidate: 1,
            finish: Finish::Length,
        },
        Event::End,
        // It is over.
        Event::Text {
            candidate: 0,
            text: Text::plain("late"),
        },
        Event::End,
    ];
    let content = json!({"parts": [{"text": ""}], "role": "model"});
    assert_eq!(
        frames(events),
        [json!({
            "candidates": [
                {"content": content, "finishReason": "STOP", "index": 0},
                {"content": content, "finishReason": "MAX_TOKENS", "index": 1},
            ],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
            "modelVersion": "m",
            "responseId": "r",
        })]
    );
    assert_eq!(frames(vec![start(), Event::End]), [Value::Null; 0]);
}

#[test]
fn a_call_is_written_when_it_is_whole_and_its_pieces_may_be_mixed() {
    let events = vec![
        start(),
        call(0, "x"),
        piece(0, r#"{\"a\":\"\ud83d"#),
        call(1, "y"),
        piece(1, r#"{\"b\":"#),
        piece(0, r#"\ude00\"}"#),
        piece(1, "2}"),
        call(2, "z"),
        piece(7, "nobody's"),
        finish(Finish::Calls),
        Event::End,
    ];
    let made =
        |id: &str, args: Value| json!({"functionCall": {"id": id, "name": "f", "args": args}});
    assert_eq!(
        parts(events),
        [
            made("x", json!({"a": "\u{1f600}"})),
            made("y", json!({"b": 2})),
            made("z", json!({})),
            json!({"text": ""}),
        ]
    );
    // Whole ones need not wait.
    let events = vec![
        start(),
        call(0, "x"),
        Event::Object {
            candidate: 0,
            call: 0,
            arguments: Raw::new("{}", 0),
        },
    ];
    assert_eq!(parts(events), [made("x", json!({}))]);
}

#[test]
fn calls_without_a_reason_are_written_at_the_end() {
    let other = Event::Call {
        candidate: 3,
        call: 0,
        id: None,
        name: Text::plain("g"),
        signature: Some(Signature {
            of: Dialect::Gemini,
            value: Text::plain("AAAA"),
        }),
    };
    let frames = frames(vec![start(), call(0, "x"), other, Event::End]);
    assert_eq!(frames.len(), 2);
    assert_eq!(
        frames[1]["candidates"][0],
        json!({
            "content": {"parts": [{"functionCall": {"name": "g", "args": {}}, "thoughtSignature": "AAAA"}], "role": "model"},
            "index": 3,
        })
    );
}

#[test]
fn s4_more_than_4_mib_of_calls_is_an_error() {
    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    writer.write(call(0, "x"), &mut out);
    let large = "x".repeat(1 << 20);
    for _ in 0..3 {
        writer.write(piece(0, &large), &mut out);
    }
    assert!(out.is_empty());
    for _ in 0..3 {
        writer.write(piece(0, &large), &mut out);
    }
    writer.write(Event::End, &mut out);
    let error = r#"data: {"error":{"code":502,"message":"the calls of tools in the reply are more than 4 MiB, or than 1024","status":"UNAVAILABLE"}}"#;
    assert_eq!(out, format!("{error}\n\n"));

    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    for number in 0..2000 {
        writer.write(call(number, "x"), &mut out);
    }
    assert_eq!(out, format!("{error}\n\n"));
}

#[test]
fn signatures_come_after_what_they_prove() {
    let signature = |of| Event::Signature {
        candidate: 0,
        signature: Signature {
            of,
            value: Text::plain("AAAA"),
        },
    };
    let redacted = Event::Redacted {
        candidate: 0,
        data: Text::plain("BBBB"),
    };
    assert_eq!(
        parts(vec![
            start(),
            signature(Dialect::Anthropic),
            redacted,
            signature(Dialect::Gemini),
            signature(Dialect::OpenAi),
        ]),
        [
            json!({"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljAAAA"}),
            json!({"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljLnJlZGFjdGVkBBBB"}),
            json!({"text": "", "thoughtSignature": "AAAA"}),
        ]
    );
}

#[test]
fn what_only_another_dialect_knows_is_a_frame_of_its_own() {
    let rest = Event::Rest(vec![
        (Text::plain("service_tier"), Raw::new(r#""x""#, 0)),
        (Text::plain("candidates"), Raw::new("1", 0)),
    ]);
    assert_eq!(
        frames(vec![start(), rest]),
        [json!({"service_tier": "x", "modelVersion": "m", "responseId": "r"})]
    );
}

#[test]
fn errors_of_every_dialect_are_told_as_geminis() {
    for (of, envelope, code, status, reason) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","type":"rate_limit_error","code":"slow_down"}}"#,
            429,
            "RESOURCE_EXHAUSTED",
            Some("slow_down"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","type":"insufficient_quota"}}"#,
            402,
            "PERMISSION_DENIED",
            Some("insufficient_quota"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"invalid_api_key"}}"#,
            401,
            "UNAUTHENTICATED",
            Some("invalid_api_key"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"model_not_found"}}"#,
            404,
            "NOT_FOUND",
            Some("model_not_found"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
            400,
            "INVALID_ARGUMENT",
            Some("context_length_exceeded"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"permission_error","message":"m"}}"#,
            403,
            "PERMISSION_DENIED",
            Some("permission_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            503,
            "UNAVAILABLE",
            Some("overloaded_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"timeout_error","message":"m"}}"#,
            504,
            "DEADLINE_EXCEEDED",
            Some("timeout_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
            500,
            "INTERNAL",
            Some("api_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
            400,
            "INVALID_ARGUMENT",
            Some("invalid_request_error"),
        ),
    ] {
        let frames = frames(vec![start(), Event::Error { of, envelope }, Event::End]);
        let error = &frames[0]["error"];
        assert_eq!(frames.len(), 1);
        assert_eq!(
            (error["code"].as_u64(), error["status"].as_str()),
            (Some(code), Some(status)),
            "{envelope}"
        );
        assert_eq!(error["message"], "m");
        assert_eq!(error["details"][0]["reason"].as_str(), reason, "{envelope}");
    }
    for odd in ["{}", "no JSON"] {
        let of = Dialect::OpenAi;
        let frames = frames(vec![Event::Error { of, envelope: odd }]);
        assert_eq!(
            frames[0]["error"]["message"],
            "the endpoint told of an error, and not of which"
        );
    }
}
