use bytes::BytesMut;
use serde_json::{Value, json};

use super::{read_reply, write_reply};
use crate::{
    Dialect,
    convert::{
        context::Context,
        error::ConvertError,
        model::{
            Arguments, Call, Candidate, Counts, Finish, Part, PartKind, Reasoned, Reply, Signature,
        },
        read::{Names, Reader},
        text::{Raw, Text},
        write::Writer,
    },
};

const CONTEXT: Context = Context {
    created: 0,
    unique: 0x2a,
    include_usage: true,
};

fn read(text: &str) -> Result<Reply<'_>, ConvertError> {
    let mut json = Reader::new(text, Names::Any);
    let reply = read_reply(&mut json);
    json.end().map_err(|fault| fault.explain(text))?;
    Ok(reply)
}

fn write(reply: &Reply<'_>) -> Value {
    let mut out = BytesMut::new();
    write_reply(reply, &CONTEXT, &mut Writer::new(&mut out));
    serde_json::from_slice(&out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn saying(parts: Vec<PartKind<'static>>) -> Reply<'static> {
    let parts = parts.into_iter().map(|kind| Part { kind, at: 0 });
    Reply {
        candidates: vec![Candidate {
            parts: parts.collect(),
            ..Candidate::default()
        }],
        ..Reply::default()
    }
}

#[test]
fn what_is_read_is_written_again() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5",
        "content": [
            {"type": "thinking", "thinking": "Hm\n", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "So \u{e9} \"it\" is"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1]}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {
            "input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3000,
            "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 7},
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 0},
            "server_tool_use": {"web_search_requests": 1}, "service_tier": "standard",
        },
        "container": {"id": "c"},
    });
    let text = message.to_string();
    let reply = read(&text).unwrap();
    let usage = reply.usage.as_ref().unwrap();
    assert_eq!((usage.input, usage.output), (3210, 50));
    assert_eq!(
        (usage.cached, usage.cache_write, usage.reasoning),
        (Some(3000), Some(200), Some(7))
    );
    assert_eq!(write(&reply), message);
}

#[test]
fn every_reason_to_stop_is_read_and_written() {
    for (reason, sequence, finish) in [
        ("end_turn", None, Finish::Stop),
        (
            "stop_sequence",
            Some("END"),
            Finish::Sequence(Some(Text::plain("END"))),
        ),
        ("max_tokens", None, Finish::Length),
        ("tool_use", None, Finish::Calls),
        ("refusal", None, Finish::Filtered),
        ("pause_turn", None, Finish::Paused),
    ] {
        let text = json!({"content": [], "stop_reason": reason, "stop_sequence": sequence});
        let text = text.to_string();
        let reply = read(&text).unwrap();
        let read = reply.candidates[0].finish.clone().unwrap();
        match (&read, &finish) {
            (Finish::Sequence(Some(a)), Finish::Sequence(Some(b))) => {
                assert_eq!(a.written(), b.written());
            }
            _ => assert_eq!(read, finish),
        }
        let written = write(&reply);
        assert_eq!(
            (&written["stop_reason"], &written["stop_sequence"]),
            (&json!(reason), &json!(sequence))
        );
    }
    let reply = read(r#"{"content":[],"stop_reason":"model_context_window_exceeded"}"#).unwrap();
    assert_eq!(reply.candidates[0].finish, Some(Finish::Length));
    let reply = read(r#"{"content":[],"stop_reason":"tired"}"#).unwrap();
    assert!(
        matches!(&reply.candidates[0].finish, Some(Finish::Other(word)) if word.written() == "tired")
    );
    assert_eq!(write(&reply)["stop_reason"], "end_turn");
    let reply = read(r#"{"content":[],"stop_reason":null}"#).unwrap();
    assert_eq!(reply.candidates[0].finish, None);
}

#[test]
fn a_reply_is_read_forgivingly_but_must_be_one() {
    let reply = read(
        r#"{"content":[
            {"type":"text","text":""},{"type":"text","text":"a","citations":[{"type":"x"}]},
            {"type":"server_tool_use","id":"s","name":"web_search","input":{}},
            {"type":"tool_use","name":"f"},{"type":"tool_use","id":null,"name":"g","input":"{\"a\":1}"},
            {"type":"brand_new","text":7},{}],
          "content":[{"text":"b","type":"text"}],"usage":null,"new":[1]}"#,
    );
    // The last one wins; what came before was told as well.
    let reply = reply.unwrap();
    let kinds: Vec<_> = reply.candidates[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Text { text, .. } => text.written().to_owned(),
            PartKind::Call(call) => format!("{} {:?}", call.name.written(), call.id),
            PartKind::Own => "own".to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["a", "own", "f None", "g None", "own", "own", "b"]);
    assert!(reply.usage.is_none());
    assert_eq!(write(&reply)["new"], json!([1]));

    for (text, told) in [
        ("{}", "the body must have `content`"),
        (
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            "the body must have `content`",
        ),
        ("[]", "the body must be an object, but is an array"),
        (
            r#"{"content":"x"}"#,
            "`content` must be an array, but is a string",
        ),
        (
            r#"{"content":[1]}"#,
            "`content[0]` must be an object, but is a number",
        ),
    ] {
        assert_eq!(read(text).unwrap_err().to_string(), told);
    }
}

#[test]
fn what_the_sdks_want_is_made_where_it_is_missing() {
    let call = |signature| {
        PartKind::Call(Box::new(Call {
            id: None,
            name: Text::plain("f"),
            arguments: Arguments::Written(Text::plain("")),
            signature,
        }))
    };
    let signed = Signature {
        of: Dialect::Gemini,
        value: Text::plain("AA+/"),
    };
    let reply = saying(vec![call(None), call(Some(signed))]);
    assert_eq!(
        write(&reply),
        json!({
            "id": "msg_000000000000002a", "type": "message", "role": "assistant", "model": "",
            "content": [
                {"type": "tool_use", "id": "toolu_000000000000002a_0", "name": "f", "input": {}},
                {"type": "tool_use", "id": "toolu_000000000000002a_1__thought__AA-_", "name": "f", "input": {}},
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
        })
    );
}

#[test]
fn a_signature_of_gemini_stands_after_what_it_signs() {
    let signature = || {
        Some(Signature {
            of: Dialect::Gemini,
            value: Text::plain("CiQB"),
        })
    };
    let reply = saying(vec![
        PartKind::Reasoning(Box::new(Reasoned {
            text: Text::plain("Hm"),
            signature: None,
            redacted: None,
        })),
        PartKind::Reasoning(Box::new(Reasoned {
            text: Text::plain("Ah"),
            signature: signature(),
            redacted: None,
        })),
        PartKind::Reasoning(Box::new(Reasoned::default())),
        PartKind::Text {
            text: Text::plain("So"),
            signature: signature(),
        },
        PartKind::Text {
            text: Text::default(),
            signature: None,
        },
    ]);
    assert_eq!(
        write(&reply)["content"],
        json!([
            {"type": "thinking", "thinking": "Hm", "signature": ""},
            {"type": "thinking", "thinking": "Ah", "signature": "gemini:CiQB"},
            {"type": "text", "text": "So"},
            {"type": "thinking", "thinking": "", "signature": "gemini:CiQB"},
        ])
    );
}

#[test]
fn a_refusal_is_what_is_said_and_why_it_ended() {
    let mut reply = saying(vec![PartKind::Refusal(Text::plain("No."))]);
    reply.candidates[0].finish = Some(Finish::Stop);
    let written = write(&reply);
    assert_eq!(written["content"], json!([{"type": "text", "text": "No."}]));
    assert_eq!(written["stop_reason"], "refusal");
}

#[test]
fn the_first_candidate_is_the_reply_and_what_it_has_beside_is_kept_once() {
    let candidate = |index, text| Candidate {
        index,
        parts: vec![Part {
            kind: PartKind::Text {
                text: Text::plain(text),
                signature: None,
            },
            at: 0,
        }],
        rest: vec![
            (Text::plain("tier"), Raw::of("1")),
            (Text::plain("x"), Raw::of("2")),
            (Text::plain("stop_reason"), Raw::of("3")),
        ],
        ..Candidate::default()
    };
    let reply = Reply {
        candidates: vec![candidate(1, "b"), candidate(0, "a")],
        usage: Some(Counts {
            input: 5,
            cached: Some(9),
            rest: vec![
                (Text::plain("output_tokens"), Raw::of("4")),
                (Text::plain("tier"), Raw::of("5")),
            ],
            ..Counts::default()
        }),
        rest: vec![
            (Text::plain("tier"), Raw::of("6")),
            (Text::plain("content"), Raw::of("7")),
        ],
        ..Reply::default()
    };
    let written = write(&reply);
    assert_eq!(written["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(written["usage"]["input_tokens"], 0);
    assert_eq!(written["usage"]["output_tokens"], 0);
    assert_eq!(
        (&written["usage"]["tier"], &written["tier"], &written["x"]),
        (&json!(5), &json!(6), &json!(2))
    );
}
