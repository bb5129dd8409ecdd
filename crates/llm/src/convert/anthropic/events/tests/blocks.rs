use serde_json::json;

use super::{
    super::blocks::MOST_HELD,
    CONTEXT, EventWriter, frames, write,
    write::{call, finish, lines, piece, signature, start, text, thinks},
};
use crate::{
    Dialect,
    convert::{
        model::{Event, Finish},
        text::{Raw, Text},
    },
};

#[test]
fn one_block_is_open_at_a_time() {
    let written = write([
        start(),
        thinks("Hm"),
        text(""),
        thinks("so"),
        text("a"),
        text("b"),
        call(0, "i"),
        piece(0, ""),
        piece(0, r#"{\"a\":"#),
        piece(0, "1}"),
        call(1, "j"),
        Event::Object {
            candidate: 0,
            call: 1,
            arguments: Raw::of(r#"{"b":"c"}"#),
        },
        text("d"),
        Event::Redacted {
            candidate: 0,
            data: Text::plain("EmwK"),
        },
        finish(Finish::Stop),
        Event::End,
    ]);
    assert_eq!(
        lines(&written),
        [
            "start",
            r#"+0 thinking "" """#,
            r#" thinking_delta "Hm""#,
            r#" thinking_delta "so""#,
            "-0",
            r#"+1 text """#,
            r#" text_delta "a""#,
            r#" text_delta "b""#,
            "-1",
            r#"+2 tool_use "i" {} "f""#,
            r#" input_json_delta "{\"a\":""#,
            r#" input_json_delta "1}""#,
            "-2",
            r#"+3 tool_use "j" {} "f""#,
            r#" input_json_delta "{\"b\":\"c\"}""#,
            "-3",
            r#"+4 text """#,
            r#" text_delta "d""#,
            "-4",
            r#"+5 redacted_thinking "EmwK""#,
            "-5",
            // Whatever reason the endpoint gives.
            r#"stop "tool_use""#,
            "message_stop",
        ]
    );
}

#[test]
fn calls_that_are_mixed_are_told_one_after_the_other_as_soon_as_may_be() {
    let (mut writer, mut out) = (EventWriter::new(CONTEXT), bytes::BytesMut::new());
    let mut said = Vec::new();
    for event in [
        start(),
        call(0, "i"),
        piece(0, r#"{\"a\":\"}"#),
        call(1, "j"),
        piece(1, "{"),
        text("z"),
        piece(1, "}"),
        call(2, "k"),
        piece(0, r#"\"}"#),
        piece(0, r"\n"),
        piece(7, "{}"),
        piece(2, "{}"),
        Event::End,
    ] {
        let before = out.len();
        writer.write(event, &mut out);
        said.push(frames(std::str::from_utf8(&out[before..]).unwrap()).len());
    }
    assert_eq!(
        lines(std::str::from_utf8(&out).unwrap()),
        [
            "start",
            r#"+0 tool_use "i" {} "f""#,
            r#" input_json_delta "{\"a\":\"}""#,
            r#" input_json_delta "\"}""#,
            "-0",
            r#"+1 tool_use "j" {} "f""#,
            r#" input_json_delta "{""#,
            r#" input_json_delta "}""#,
            "-1",
            r#"+2 text """#,
            r#" text_delta "z""#,
            "-2",
            r#"+3 tool_use "k" {} "f""#,
            r#" input_json_delta "{}""#,
            "-3",
            r#"stop "tool_use""#,
            "message_stop",
        ]
    );
    // All that was held comes with the piece that closes the first.
    assert_eq!(said, [0, 2, 1, 0, 0, 0, 0, 0, 10, 0, 0, 1, 3]);
}

#[test]
fn s4_what_is_held_of_mixed_calls_is_bounded() {
    let long = "x".repeat(MOST_HELD / 4);
    let long = || Event::Arguments {
        candidate: 0,
        call: 1,
        piece: Text::new(&long, 0),
    };
    let mut events = vec![start(), call(0, "i"), call(1, "j"), long(), long(), long()];
    events.extend([piece(0, "{}"), long(), text("a"), long()]);
    let written = write(events.into_iter().chain([Event::End]));
    assert!(lines(&written).ends_with(&["message_stop".to_owned()]));

    let events = [
        start(),
        call(0, "i"),
        call(1, "j"),
        long(),
        long(),
        long(),
        long(),
    ];
    let written = write(events.into_iter().chain([piece(0, "{}"), Event::End]));
    assert_eq!(
        frames(&written).last().unwrap(),
        &json!({"type": "error", "request_id": null, "error": {"type": "api_error",
            "message": "the endpoint mixes calls of tools, of which 4 MiB are held at most"}})
    );
    assert!(written.len() < 2048);
}

#[test]
fn a_signature_ends_the_thinking_that_it_signs_or_stands_alone() {
    let sign = |of| Event::Signature {
        candidate: 0,
        signature: signature(of),
    };
    let written = write([
        start(),
        thinks("a"),
        sign(Dialect::Anthropic),
        thinks("b"),
        sign(Dialect::Gemini),
        text("c"),
        sign(Dialect::Gemini),
        Event::Call {
            candidate: 0,
            call: 0,
            id: None,
            name: Text::plain("f"),
            signature: Some(signature(Dialect::Gemini)),
        },
        Event::End,
    ]);
    assert_eq!(
        lines(&written),
        [
            "start",
            r#"+0 thinking "" """#,
            r#" thinking_delta "a""#,
            r#" signature_delta "CiQB""#,
            "-0",
            r#"+1 thinking "" """#,
            r#" thinking_delta "b""#,
            r#" signature_delta "gemini:CiQB""#,
            "-1",
            r#"+2 text """#,
            r#" text_delta "c""#,
            "-2",
            r#"+3 thinking "" """#,
            r#" signature_delta "gemini:CiQB""#,
            "-3",
            r#"+4 tool_use "toolu_000000000000002a_0__thought__CiQB" {} "f""#,
            "-4",
            r#"stop "tool_use""#,
            "message_stop",
        ]
    );
}
