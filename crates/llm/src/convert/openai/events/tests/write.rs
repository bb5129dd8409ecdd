//! What others say, in chunks.

use super::*;

fn text<'a>(text: &'static str) -> Event<'a> {
    Event::Text {
        candidate: 0,
        text: Text::plain(text),
    }
}

fn reasoning<'a>(text: &'static str) -> Event<'a> {
    Event::Reasoning {
        candidate: 0,
        text: Text::plain(text),
    }
}

fn signature<'a>(of: Dialect, value: &'static str) -> Event<'a> {
    Event::Signature {
        candidate: 0,
        signature: Signature {
            of,
            value: Text::plain(value),
        },
    }
}

fn finish<'a>(finish: Finish<'a>) -> Event<'a> {
    Event::Finish {
        candidate: 0,
        finish,
    }
}

fn usage<'a>(output: u64) -> Event<'a> {
    Event::Usage(Counts {
        input: 3,
        output,
        ..Counts::default()
    })
}

#[test]
fn every_frame_says_who_replies() {
    let chunks = [
        r#"{"id":"c\"1","created":5,"model":"m\\","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"a\n"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":0}}}"#,
    ];
    let frame = |delta: Value, finish: Value| {
        json!({"id": "c\"1", "object": "chat.completion.chunk", "created": 5, "model": "m\\",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
    };
    let mut first = frame(json!({"content": "a\n"}), Value::Null);
    first["system_fingerprint"] = "fp".into();
    let mut last = frame(json!({}), Value::Null);
    last["choices"] = json!([]);
    last["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 0}});
    assert_eq!(
        values(&frames(CONTEXT, &chunks, vec![Event::End])),
        [
            frame(json!({"role": "assistant", "content": ""}), Value::Null),
            first,
            frame(json!({}), json!("length")),
            last,
        ]
    );
}

#[test]
fn the_usage_is_told_once_and_only_if_the_caller_asked_for_it() {
    let events = || {
        vec![
            usage(1),
            text("a"),
            usage(2),
            finish(Finish::Stop),
            Event::End,
        ]
    };
    let asked = values(&frames(CONTEXT, &[], events()));
    let told: Vec<_> = asked
        .iter()
        .filter(|value| !value["usage"].is_null())
        .collect();
    assert_eq!(told, [asked.last().unwrap()]);
    assert_eq!(told[0]["usage"]["completion_tokens"], 2);
    let context = Context {
        include_usage: false,
        ..CONTEXT
    };
    let silent = values(&frames(context, &[], events()));
    assert!(silent.iter().all(|value| value.get("usage").is_none()));
    assert_eq!(silent.len() + 1, asked.len());
}

#[test]
fn a_stream_that_never_started_says_who_replies_all_the_same() {
    let values = values(&frames(
        CONTEXT,
        &[],
        vec![Event::Ping, text("a"), Event::End],
    ));
    assert_eq!(values.len(), 2);
    for value in &values {
        assert_eq!(value["id"], "chatcmpl-000000000000001a");
        assert_eq!(value["created"], 1_700_000_000);
        assert_eq!(value["model"], "");
    }
}

#[test]
fn a_call_without_arguments_has_the_empty_object() {
    let call = |call, id: Option<&'static str>| Event::Call {
        candidate: 0,
        call,
        id: id.map(Text::plain),
        name: Text::plain("f"),
        signature: Some(Signature {
            of: Dialect::Gemini,
            value: Text::plain("A+/B"),
        }),
    };
    let empty = Event::Arguments {
        candidate: 0,
        call: 0,
        piece: Text::plain(""),
    };
    let object = Event::Object {
        candidate: 0,
        call: 1,
        arguments: Raw::of("{\"a\" : \"\\\"\"}"),
    };
    let begins = |index: u64, id: &str| {
        json!({"tool_calls": [{"index": index, "id": id, "type": "function",
            "function": {"name": "f", "arguments": ""}}]})
    };
    let arguments = |index: u64, piece: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
    let deltas = written(vec![
        call(0, Some("a")),
        empty,
        call(1, None),
        object,
        finish(Finish::Calls),
        Event::End,
    ]);
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            begins(0, "a__thought__A-_B"),
            begins(1, "call_000000000000001a_1__thought__A-_B"),
            arguments(1, "{\"a\" : \"\\\"\"}"),
            arguments(0, "{}"),
            json!({}),
        ]
    );
}

#[test]
fn a_signed_thought_is_told_again_whole() {
    let blocks = |deltas: &[Value]| -> Vec<Value> {
        deltas
            .iter()
            .filter_map(|delta| delta.get("thinking_blocks").cloned())
            .collect()
    };
    let deltas = written(vec![
        reasoning("one, "),
        reasoning("\\\"two\\\""),
        signature(Dialect::Anthropic, "c2ln"),
        Event::Redacted {
            candidate: 0,
            data: Text::plain("ZGF0YQ=="),
        },
        reasoning("three"),
        text("Hi"),
        signature(Dialect::Gemini, "Z2Vt"),
        reasoning("four"),
        signature(Dialect::Anthropic, "NA=="),
        signature(Dialect::OpenAi, "x"),
        finish(Finish::Stop),
        Event::End,
    ]);
    // They are numbered, without which OpenAI's SDK does not add one to the other.
    let thinking = |index: u64, text: &str, signature: &str| json!([{"index": index, "type": "thinking", "thinking": text, "signature": signature}]);
    assert_eq!(
        blocks(&deltas),
        [
            thinking(0, "one, \"two\"", "c2ln"),
            json!([{"index": 1, "type": "redacted_thinking", "data": "ZGF0YQ=="}]),
            thinking(2, "four", "NA=="),
        ]
    );
    let proof = json!({"extra_content": {"google": {"thought_signature": "Z2Vt"}}});
    assert_eq!(deltas.last(), Some(&proof));
}

#[test]
fn of_the_signatures_of_a_text_the_last_is_told() {
    let other = Event::Signature {
        candidate: 1,
        signature: Signature {
            of: Dialect::Gemini,
            value: Text::plain("b3RoZXI="),
        },
    };
    let deltas = written(vec![
        text("Hi"),
        signature(Dialect::Gemini, "b25l"),
        other,
        text("!"),
        signature(Dialect::Gemini, "dHdv"),
        finish(Finish::Stop),
        finish(Finish::Stop),
        Event::End,
    ]);
    // The SDK joins the texts of deltas.
    let proofs: Vec<&Value> = deltas
        .iter()
        .filter_map(|delta| delta.get("extra_content"))
        .collect();
    assert_eq!(proofs, [&json!({"google": {"thought_signature": "dHdv"}})]);
}

#[test]
fn what_else_was_told_of_a_reply_and_of_its_candidate_is_in_one_frame() {
    let rest = |members: &[(&'static str, &'static str)]| {
        let member =
            |(name, value): &(&'static str, &'static str)| (Text::plain(name), Raw::new(value, 0));
        Event::Rest(members.iter().map(member).collect())
    };
    let events = vec![
        text("a"),
        rest(&[("createTime", "\"T\""), ("both", "1")]),
        rest(&[("both", "2"), ("safetyRatings", "[]")]),
        text("b"),
        finish(Finish::Stop),
        Event::End,
    ];
    let told = values(&frames(CONTEXT, &[], events));
    let told = told.iter().find(|frame| frame.get("both").is_some());
    let told = told.expect("it is told");
    assert_eq!(told["choices"][0]["delta"]["content"], "b");
    assert_eq!(
        (&told["createTime"], &told["both"], &told["safetyRatings"]),
        (&json!("T"), &json!(2), &json!([]))
    );
}

#[test]
fn a_thought_that_is_too_long_is_not_told_again() {
    let long = "x".repeat(3 << 20);
    let thought = || Event::Reasoning {
        candidate: 0,
        text: Text::new(&long, 0),
    };
    for (pieces, told) in [(1, true), (2, false)] {
        let mut events: Vec<_> = (0..pieces).map(|_| thought()).collect();
        events.push(signature(Dialect::Anthropic, "c2ln"));
        // The next one is kept again.
        events.extend([
            reasoning("a"),
            signature(Dialect::Anthropic, "YQ=="),
            Event::End,
        ]);
        let blocks = written(events)
            .iter()
            .filter(|delta| delta.get("thinking_blocks").is_some())
            .count();
        assert_eq!(blocks, 1 + usize::from(told), "{pieces}");
    }
}

#[test]
fn each_reason_to_finish_has_a_word() {
    for (why, expected) in [
        (Finish::Stop, json!({"finish_reason": "stop"})),
        (Finish::Sequence(None), json!({"finish_reason": "stop"})),
        (
            Finish::Sequence(Some(Text::plain("END"))),
            json!({"finish_reason": "stop", "stop_reason": "END"}),
        ),
        (Finish::Length, json!({"finish_reason": "length"})),
        (Finish::Calls, json!({"finish_reason": "tool_calls"})),
        (Finish::Filtered, json!({"finish_reason": "content_filter"})),
        (
            Finish::Paused,
            json!({"finish_reason": "stop", "native_finish_reason": "pause_turn"}),
        ),
        (
            Finish::Other(Text::plain("MALFORMED_FUNCTION_CALL")),
            json!({"finish_reason": "stop", "native_finish_reason": "MALFORMED_FUNCTION_CALL"}),
        ),
    ] {
        let mut expected = expected;
        expected["index"] = 0.into();
        expected["delta"] = json!({});
        let values = values(&frames(CONTEXT, &[], vec![finish(why), Event::End]));
        assert_eq!(values.last().unwrap()["choices"][0], expected);
    }
}

#[test]
fn an_error_is_told_in_these_words_and_nothing_after_it() {
    let events = |of, envelope| {
        vec![
            text("a"),
            Event::Error { of, envelope },
            text("b"),
            Event::End,
        ]
    };
    for (of, envelope, error) in [
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Over\nloaded"}}"#,
            json!({"message": "Over\\nloaded", "type": "server_error", "param": null, "code": "overloaded_error"}),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow"}}"#,
            json!({"message": "Slow", "type": "rate_limit_error", "param": null, "code": "rate_limit_error"}),
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":400,"message":"Bad","status":"INVALID_ARGUMENT"}}"#,
            json!({"message": "Bad", "type": "invalid_request_error", "param": null, "code": "INVALID_ARGUMENT"}),
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":401,"message":"Key","status":"UNAUTHENTICATED","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            json!({"message": "Key", "type": "authentication_error", "param": null, "code": "API_KEY_INVALID"}),
        ),
        (
            Dialect::Anthropic,
            "{}",
            json!({"message": "the endpoint told of an error, and not of which", "type": "server_error", "param": null, "code": null}),
        ),
    ] {
        let frames = frames(CONTEXT, &[], events(of, envelope));
        let (before, last) = frames.trim_end().rsplit_once("\n\n").unwrap();
        assert!(before.contains(r#""content":"a""#) && !frames.contains(r#""content":"b""#));
        let last = last.strip_prefix("data: ").unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(last, json!({"error": error}), "{envelope}");
    }
}

#[test]
fn what_else_a_chunk_had_goes_with_the_next_frame() {
    let rest = |value: &'static str| {
        Event::Rest(vec![
            (Text::plain("a"), Raw::of(value)),
            (Text::plain("id"), Raw::of("\"not this\"")),
        ])
    };
    let events = vec![text("x"), rest("[1]"), text("y"), text("z"), Event::End];
    let values = values(&frames(CONTEXT, &[], events));
    let with: Vec<_> = values.iter().map(|value| value.get("a").cloned()).collect();
    assert_eq!(with, [None, None, Some(json!([1])), None]);
    assert!(values.iter().all(|value| value["id"] != "not this"));
}

#[test]
fn each_candidate_has_its_role_first() {
    let said = |candidate| Event::Text {
        candidate,
        text: Text::plain("a"),
    };
    let events = vec![said(0), said(1), said(0), said(1), Event::End];
    let roles: Vec<_> = values(&frames(CONTEXT, &[], events))
        .iter()
        .map(|value| {
            let choice = &value["choices"][0];
            (
                choice["index"].as_u64().unwrap(),
                choice["delta"]["role"] == "assistant",
            )
        })
        .collect();
    let expected = [
        (0, true),
        (0, false),
        (1, true),
        (1, false),
        (0, false),
        (1, false),
    ];
    assert_eq!(roles, expected);
}
