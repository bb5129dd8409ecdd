//! A stream put together is the whole reply, and a whole reply taken apart is its stream.

mod cases;
#[path = "../common/mod.rs"]
mod common;

use std::fs;

use buttress_core::Class;
use buttress_llm::{
    Dialect,
    fold::{self, Fold, FoldError, IncludeUsage},
};
use bytes::Bytes;
use serde_json::{Value, json};

use self::{
    cases::cases,
    common::{json_head, said, stream_head},
};

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn whole_of(dialect: Dialect, parts: &[&[u8]]) -> Result<Bytes, FoldError> {
    let mut fold = Fold::new(dialect);
    for part in parts {
        fold.push(Bytes::copy_from_slice(part))?;
    }
    fold.finish()
}

#[test]
fn a_stream_is_the_whole_reply_that_its_provider_would_have_given_at_every_split() {
    for case in cases() {
        let stream = case.stream();
        let whole = fold::whole(case.dialect, stream.as_bytes()).expect(case.name);
        assert_eq!(value(&whole), case.whole, "{}", case.name);
        let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
        assert_eq!(whole_of(case.dialect, &bytes).unwrap(), whole);
        for split in (1..stream.len()).step_by(5) {
            let (left, right) = stream.as_bytes().split_at(split);
            assert_eq!(whole_of(case.dialect, &[left, right]).unwrap(), whole);
        }
    }
}

#[test]
fn c4_what_is_cut_off_anywhere_is_no_reply() {
    for case in cases() {
        let stream = case.stream();
        // What follows the last event that says something may be missing.
        let needed = match case.dialect {
            Dialect::OpenAi => stream.len() - "\n\ndata: [DONE]\n\n".len(),
            _ => stream.trim_end().len(),
        };
        for end in 0..needed {
            let cut = fold::whole(case.dialect, &stream.as_bytes()[..end]);
            assert!(
                cut.is_err(),
                "{}: {end} of {} bytes",
                case.name,
                stream.len()
            );
        }
    }
}

#[test]
fn the_judge_finds_the_same_usage_in_the_stream_in_the_reply_and_in_the_stream_of_that() {
    for case in cases() {
        let (dialect, name) = (case.dialect, case.name);
        let stream = case.stream();
        let whole = fold::whole(dialect, stream.as_bytes()).unwrap();
        let again = fold::stream(dialect, &whole, IncludeUsage(true)).unwrap();
        let streamed = said(&dialect, &stream_head(), [stream.as_bytes()]);
        let folded = said(&dialect, &json_head(200), [&whole[..]]);
        let restreamed = said(&dialect, &stream_head(), [&again[..]]);
        assert!(streamed.usage.is_some_and(|usage| usage.exact), "{name}");
        assert_eq!(streamed.usage, folded.usage, "{name}");
        assert_eq!(streamed.usage, restreamed.usage, "{name}");
        assert_eq!(streamed.class(), restreamed.class(), "{name}");
        if name != "gemini blocked" {
            assert_eq!(folded.class(), Some(Class::Success), "{name}");
        }
    }
}

#[test]
fn a_whole_reply_taken_apart_and_put_together_is_itself() {
    for case in cases() {
        let reply = case.whole.to_string();
        let stream = fold::stream(case.dialect, reply.as_bytes(), IncludeUsage(true)).unwrap();
        let again = fold::whole(case.dialect, &stream).expect(case.name);
        assert_eq!(value(&again), case.whole, "{}", case.name);
    }
}

#[test]
fn openai_s_usage_is_in_a_stream_only_for_who_asked_for_it() {
    let case = &cases()[0];
    let reply = case.whole.to_string();
    let of = |asked| {
        let stream = fold::stream(Dialect::OpenAi, reply.as_bytes(), IncludeUsage(asked)).unwrap();
        String::from_utf8(stream.to_vec()).unwrap()
    };
    let (with, without) = (of(true), of(false));
    assert!(with.contains(r#""choices":[],"#) && with.contains("total_tokens"));
    // As OpenAI has it: null in every other chunk.
    assert_eq!(with.matches(r#""usage":null"#).count(), 2);
    assert!(!without.contains("usage"));
    for stream in [&with, &without] {
        assert!(stream.ends_with("data: [DONE]\n\n"));
    }
    // Without it, it could not become a whole reply again.
    let error = fold::whole(Dialect::OpenAi, without.as_bytes()).unwrap_err();
    assert_eq!(error, FoldError::NoUsage);
}

#[test]
fn anthropic_s_events_have_their_names_and_their_order() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == "anthropic text and call")
        .unwrap();
    let reply = case.whole.to_string();
    let stream = fold::stream(Dialect::Anthropic, reply.as_bytes(), IncludeUsage(false)).unwrap();
    let stream = String::from_utf8(stream.to_vec()).unwrap();
    let names: Vec<_> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    let blocks = [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]
    .repeat(3);
    assert_eq!(names.first(), Some(&"message_start"));
    assert_eq!(names[1..names.len() - 2], blocks);
    assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    for (name, data) in names.iter().zip(data) {
        assert_eq!(value(data.as_bytes())["type"], *name);
    }
}

#[test]
fn c4_what_failed_or_is_not_understood_is_no_reply() {
    let odd = |event, what| FoldError::Unknown { event, what };
    let start = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":1}}}"#;
    let block = r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let cases: [(Dialect, &[&str], FoldError); 14] = [
        (
            Dialect::OpenAi,
            &[r#"data: {"error":{"message":"x"}}"#],
            FoldError::Failed,
        ),
        (
            Dialect::OpenAi,
            &[r#"data: {"object":"error","message":"x"}"#],
            FoldError::Failed,
        ),
        (Dialect::OpenAi, &["data: {"], FoldError::Json { event: 0 }),
        (Dialect::OpenAi, &["data: 1"], odd(0, "it is no object")),
        (Dialect::OpenAi, &["data: [DONE]"], FoldError::Unfinished),
        (
            Dialect::OpenAi,
            &[r#"data: {"choices":[1]}"#],
            odd(0, "a choice is no object"),
        ),
        (
            Dialect::Anthropic,
            &[
                start,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
            ],
            FoldError::Failed,
        ),
        (
            Dialect::Anthropic,
            &[start, r#"data: {"type":"new_event"}"#],
            odd(1, "its type is not known"),
        ),
        (
            Dialect::Anthropic,
            &[
                start,
                block,
                r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"new_delta"}}"#,
            ],
            odd(2, "the type of its delta is not known"),
        ),
        (
            Dialect::Anthropic,
            &[start, block, block],
            odd(2, "a block begins twice"),
        ),
        (
            Dialect::Anthropic,
            &[start, start],
            odd(1, "a second message begins"),
        ),
        (
            Dialect::Anthropic,
            &[start, block, r#"data: {"type":"message_stop"}"#],
            FoldError::Unfinished,
        ),
        (
            Dialect::Gemini,
            &[r#"data: [{"error":{"code":503}}]"#],
            FoldError::Failed,
        ),
        (
            Dialect::Gemini,
            &[
                r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","partialArgs":[]}}]}}]}"#,
            ],
            odd(0, "the arguments of a call come in pieces"),
        ),
    ];
    for (dialect, events, expected) in cases {
        let stream = events.join("\n\n") + "\n\n";
        let error = fold::whole(dialect, stream.as_bytes()).unwrap_err();
        assert_eq!(error, expected, "{stream}");
        assert!(!error.to_string().is_empty());
    }
    for (dialect, reply) in [
        (Dialect::OpenAi, r#"{"error":{"message":"x"}}"#),
        (Dialect::Anthropic, r#"{"type":"error","error":{}}"#),
        (Dialect::Gemini, r#"{"error":{"code":429}}"#),
    ] {
        let error = fold::stream(dialect, reply.as_bytes(), IncludeUsage(true)).unwrap_err();
        assert_eq!(error, FoldError::Failed);
    }
    for dialect in Dialect::ALL {
        for reply in ["", "[]", "{}", r#"{"choices":[]}"#] {
            assert!(fold::stream(dialect, reply.as_bytes(), IncludeUsage(true)).is_err());
        }
    }
}

#[test]
fn what_servers_leave_out_is_not_missed() {
    // No finish_reason before `[DONE]`, and no blank line after it.
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]";
    let whole = value(&fold::whole(Dialect::OpenAi, stream.as_bytes()).unwrap());
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        whole["choices"][0]["message"],
        json!({"role": "assistant", "content": "Hi"})
    );
    // Without `[DONE]` it is not known to be whole.
    let cut = stream.strip_suffix("data: [DONE]").unwrap();
    let error = fold::whole(Dialect::OpenAi, cut.as_bytes()).unwrap_err();
    assert_eq!(error, FoldError::Unfinished);
    // Nor if an event was cut off, though all before it could be a whole reply.
    for case in cases() {
        let cut = case.stream().replace("data: [DONE]\n\n", "") + "data: {\"ch";
        let error = fold::whole(case.dialect, cut.as_bytes()).unwrap_err();
        assert_eq!(error, FoldError::Unfinished, "{}", case.name);
    }
    // What comes after the end is not read.
    let stream =
        format!("{stream}\n\ndata: {{\"choices\":[{{\"delta\":{{\"content\":\"?\"}}}}]}}\n\n");
    assert_eq!(
        value(&fold::whole(Dialect::OpenAi, stream.as_bytes()).unwrap()),
        whole
    );
}

#[test]
fn a_message_that_does_not_say_why_it_ended_was_said() {
    for (kind, reason) in [("text", "end_turn"), ("tool_use", "tool_use")] {
        let stream = [
            r#"{"type":"message_start","message":{"usage":{"input_tokens":1}}}"#.to_owned(),
            format!(r#"{{"type":"content_block_start","content_block":{{"type":"{kind}"}}}}"#),
            r#"{"type":"content_block_stop"}"#.to_owned(),
            r#"{"type":"message_stop"}"#.to_owned(),
        ]
        .map(|data| format!("data: {data}\n\n"))
        .concat();
        let whole = value(&fold::whole(Dialect::Anthropic, stream.as_bytes()).unwrap());
        assert_eq!(whole["stop_reason"], reason);
    }
}

#[test]
fn s4_what_is_endless_is_an_error() {
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
        "x".repeat(1 << 20)
    );
    let mut fold = Fold::new(Dialect::OpenAi);
    let pushed = (0..17)
        .map(|_| fold.push(event.clone().into()))
        .find(Result::is_err);
    assert_eq!(pushed, Some(Err(FoldError::TooLarge)));
    let choices: Vec<_> = (0..129).map(|index| json!({"index": index})).collect();
    let stream = format!("data: {}\n\n", json!({"choices": choices}));
    let error = fold::whole(Dialect::OpenAi, stream.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        FoldError::Unknown {
            event: 0,
            what: "it has more than 128 choices"
        }
    );
    let deep = format!("data: {{\"a\":{}}}\n\n", "[".repeat(10_000));
    let error = fold::whole(Dialect::Gemini, deep.as_bytes()).unwrap_err();
    assert_eq!(error, FoldError::Json { event: 0 });
}

#[test]
#[ignore = "needs the recorded replies, in the folder that BUTTRESS_RECORDED names"]
fn what_real_providers_streamed_folds_to_what_the_judge_heard() {
    let folder = std::env::var_os("BUTTRESS_RECORDED").expect("BUTTRESS_RECORDED");
    let mut folded = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dialect = match &name {
            name if name.starts_with("openai") => Dialect::OpenAi,
            name if name.starts_with("anthropic") => Dialect::Anthropic,
            _ => Dialect::Gemini,
        };
        let text = fs::read_to_string(&path).expect("text");
        let whole = if name.ends_with(".jsonl") {
            let mut stream: String = text
                .lines()
                .map(|line| format!("data: {line}\n\n"))
                .collect();
            if dialect == Dialect::OpenAi && !stream.contains("[DONE]") {
                stream.push_str("data: [DONE]\n\n");
            }
            let heard = said(&dialect, &stream_head(), [stream.as_bytes()]);
            let whole = fold::whole(dialect, stream.as_bytes()).expect(&name);
            let read = said(&dialect, &json_head(200), [&whole[..]]);
            assert_eq!(heard.usage, read.usage, "{name}");
            folded += 1;
            whole
        } else if name.ends_with(".json") && !name.contains("429") {
            Bytes::from(text)
        } else {
            continue;
        };
        let stream = fold::stream(dialect, &whole, IncludeUsage(true)).expect(&name);
        let again = fold::whole(dialect, &stream).expect(&name);
        assert_eq!(value(&again), value(&whole), "{name}");
    }
    assert!(folded >= 6, "only {folded} streams are there");
}
