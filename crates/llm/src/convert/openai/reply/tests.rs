mod read;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{read_reply, write_reply};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        context::Context,
        model::{
            Arguments, Call, Candidate, Counts, Finish, Media, Part, PartKind, Reasoned, Reply,
            Signature, Source,
        },
        read::{Names, Reader},
        text::{Raw, Text},
        write::Writer,
    },
};

const CONTEXT: Context = Context {
    created: 1_700_000_000,
    unique: 0x1a,
    include_usage: false,
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

fn again(reply: &Value) -> Value {
    let text = reply.to_string();
    write(&read(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A reply with one choice of these members.
fn with_choice(members: &str) -> String {
    format!(r#"{{"id":"x","created":1,"model":"m","choices":[{{"index":0,{members}}}]}}"#)
}

fn with_message(members: &str) -> String {
    with_choice(&format!(
        r#""message":{{"role":"assistant",{members}}},"finish_reason":"stop""#
    ))
}

fn candidate(parts: Vec<PartKind<'_>>) -> Reply<'_> {
    let parts = parts.into_iter().map(|kind| Part { kind, at: 0 }).collect();
    Reply {
        candidates: vec![Candidate {
            parts,
            ..Candidate::default()
        }],
        ..Reply::default()
    }
}

fn message(reply: &Reply<'_>) -> Value {
    write(reply)["choices"][0]["message"].clone()
}

fn text(text: &str) -> PartKind<'_> {
    PartKind::Text {
        text: Text::new(text, 0),
        signature: None,
    }
}

fn of(of: Dialect, value: &str) -> Option<Signature<'_>> {
    let value = Text::new(value, 0);
    Some(Signature { of, value })
}

/// Without the place where it stood.
fn anywhere(finish: Finish<'_>) -> Finish<'_> {
    let plain = |word: Text<'_>| Text::of(&word.decode());
    match finish {
        Finish::Other(word) => Finish::Other(plain(word)),
        Finish::Sequence(word) => Finish::Sequence(word.map(plain)),
        finish => finish,
    }
}

#[test]
fn what_every_dialect_can_say_is_said_again() {
    let reply = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_001,
        "model": "gpt-4.1-nano",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi \"there\"\n\u{1f600}",
                    "refusal": null,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "call_a", "type": "function",
                         "function": {"name": "f", "arguments": "{\"a\":\"\\\"\"}"}},
                        {"id": "call_b", "type": "function",
                         "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "logprobs": {"content": []},
                "finish_reason": "tool_calls",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": null, "refusal": "No."},
                "logprobs": null,
                "finish_reason": "content_filter",
            },
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 7,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        "system_fingerprint": "fp_1",
        "service_tier": "default",
    });
    assert_eq!(again(&reply), reply);
}

#[test]
fn each_reason_to_finish_has_a_word() {
    let stop = Text::plain("END");
    for (members, finish, written) in [
        (
            r#""finish_reason":"stop""#,
            Some(Finish::Stop),
            json!(["stop"]),
        ),
        (
            r#""finish_reason":"stop","stop_reason":"END""#,
            Some(Finish::Sequence(Some(stop))),
            json!(["stop", "END"]),
        ),
        (
            r#""finish_reason":"stop","stop_reason":151643"#,
            Some(Finish::Stop),
            json!(["stop"]),
        ),
        (
            r#""finish_reason":"length""#,
            Some(Finish::Length),
            json!(["length"]),
        ),
        (
            r#""finish_reason":"tool_calls""#,
            Some(Finish::Calls),
            json!(["tool_calls"]),
        ),
        (
            r#""finish_reason":"function_call""#,
            Some(Finish::Calls),
            json!(["tool_calls"]),
        ),
        (
            r#""finish_reason":"content_filter""#,
            Some(Finish::Filtered),
            json!(["content_filter"]),
        ),
        (
            r#""finish_reason":"insufficient_system_resource""#,
            Some(Finish::Other(Text::plain("insufficient_system_resource"))),
            json!(["stop", "insufficient_system_resource"]),
        ),
        (r#""finish_reason":null"#, None, json!([null])),
        (r#""x":[]"#, None, json!([null])),
    ] {
        let reply = with_choice(&format!(r#""message":{{"content":"a"}},{members}"#));
        let reply = read(&reply).unwrap();
        let told = reply.candidates[0].finish.clone().map(anywhere);
        assert_eq!(told, finish, "{members}");
        let choice = &write(&reply)["choices"][0];
        let words: Vec<_> = ["finish_reason", "stop_reason", "native_finish_reason"]
            .iter()
            .filter_map(|name| choice.get(name).cloned())
            .collect();
        assert_eq!(Value::from(words), written, "{members}");
    }
    let mut reply = candidate(vec![]);
    reply.candidates[0].finish = Some(Finish::Paused);
    let choice = &write(&reply)["choices"][0];
    assert_eq!(
        [&choice["finish_reason"], &choice["native_finish_reason"]],
        ["stop", "pause_turn"]
    );
}

#[test]
fn a_stop_after_a_call_is_for_the_call() {
    for members in [
        r#""tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]"#,
        r#""function_call":{"name":"f","arguments":"{}"}"#,
    ] {
        let reply = with_message(members);
        let reply = read(&reply).unwrap();
        assert_eq!(reply.candidates[0].finish, Some(Finish::Calls));
    }
}

#[test]
fn a_name_that_is_written_here_is_not_written_twice() {
    let rest = || {
        vec![
            (Text::plain("usage"), Raw::of("1")),
            (Text::of("\"x"), Raw::of("[2]")),
        ]
    };
    let reply = Reply {
        rest: rest(),
        usage: Some(Counts {
            rest: vec![(Text::plain("total_tokens"), Raw::of("9"))],
            ..Counts::default()
        }),
        ..Reply::default()
    };
    let said = write(&reply);
    assert_eq!(said["\"x"], json!([2]));
    assert_eq!(said["usage"]["total_tokens"], 0);
}

#[test]
fn what_another_provider_wants_back_goes_where_a_caller_echoes_it() {
    let reply = candidate(vec![
        PartKind::Reasoning(Box::new(Reasoned {
            text: Text::plain("one,"),
            signature: of(Dialect::Anthropic, "c2ln"),
            redacted: None,
        })),
        PartKind::Reasoning(Box::new(Reasoned {
            redacted: Some(Text::plain("ZGF0YQ==")),
            ..Reasoned::default()
        })),
        PartKind::Text {
            text: Text::plain("Hi "),
            signature: of(Dialect::Gemini, "Z2Vt"),
        },
        PartKind::Reasoning(Box::new(Reasoned {
            text: Text::plain(" two"),
            ..Reasoned::default()
        })),
        text("there"),
        PartKind::Call(Box::new(Call {
            id: Some(Text::plain("call_1")),
            name: Text::plain("f"),
            arguments: Arguments::Object(Raw::of("{}")),
            signature: of(Dialect::Gemini, "A+/B"),
        })),
        PartKind::Call(Box::new(Call {
            id: None,
            name: Text::plain("g"),
            arguments: Arguments::Object(Raw::of("{}")),
            signature: of(Dialect::Gemini, "AAAA"),
        })),
    ]);
    let call = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let said = json!({
        "role": "assistant",
        "content": "Hi there",
        "refusal": null,
        "reasoning_content": "one, two",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "one,", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        ],
        "extra_content": {"google": {"thought_signature": "Z2Vt"}},
        "tool_calls": [
            call("call_1__thought__A-_B", "f"),
            call("call_000000000000001a_1__thought__AAAA", "g"),
        ],
    });
    assert_eq!(message(&reply), said);
    // And it is read again from there.
    let again = json!({"choices": [{"message": said}]}).to_string();
    let again = read(&again).unwrap();
    let kinds: Vec<_> = again.candidates[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Reasoning(reasoned) => (
                reasoned.text.written().to_owned(),
                reasoned
                    .signature
                    .as_ref()
                    .map(|proof| proof.value.written()),
            ),
            PartKind::Text { text, signature } => (
                text.written().to_owned(),
                signature.as_ref().map(|proof| proof.value.written()),
            ),
            PartKind::Call(call) => (
                call.id.as_ref().unwrap().written().to_owned(),
                call.signature.as_ref().map(|proof| proof.value.written()),
            ),
            kind => panic!("{kind:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("one,".to_owned(), Some("c2ln")),
            (String::new(), None),
            ("Hi there".to_owned(), Some("Z2Vt")),
            ("call_1".to_owned(), Some("A+/B")),
            ("call_000000000000001a_1".to_owned(), Some("AAAA")),
        ]
    );
}

#[test]
fn a_reply_without_an_id_a_time_or_a_model_gets_them() {
    assert_eq!(
        write(&Reply::default()),
        json!({"id": "chatcmpl-000000000000001a", "object": "chat.completion",
            "created": 1_700_000_000, "model": "", "choices": []})
    );
}

#[test]
fn an_image_has_a_place() {
    let reply = candidate(vec![PartKind::Image(Box::new(Media {
        source: Source::Data {
            mime: Text::plain("image/png"),
            data: Text::plain("AAAA"),
        },
        detail: None,
    }))]);
    assert_eq!(
        message(&reply)["images"],
        json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])
    );
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_as_json(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,3}"), 1..4),
    ) {
        let mut text = with_choice(
            r#""message":{"content":"a\n","refusal":"no","reasoning":"hm","x":{"y":[]},
                "thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"c2ln"}],
                "extra_content":{"google":{"thought_signature":"AAAA"}},
                "tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},
            "finish_reason":"stop","usage":{"prompt_tokens":1}"#,
        );
        for (at, new) in changes {
            let at = at.index(text.len());
            text.replace_range(at..=at, &new);
        }
        if let Ok(reply) = read(&text) {
            // It panics unless it is JSON.
            write(&reply);
        }
    }
}
