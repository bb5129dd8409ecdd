//! Replies recorded from real providers, where there are any: in the folder that
//! `BUTTRESS_RECORDED` names, or else in `../shared/recorded` beside the workspace. They are not part
//! of it; without them, nothing is tested here.

mod common;

use std::{env, fs, path::PathBuf};

use buttress_core::{Class, Usage};
use buttress_llm::Dialect;
use common::{Said, json_head, said, stream_head};

fn recorded(name: &str) -> Option<String> {
    let folder = env::var_os("BUTTRESS_RECORDED").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/recorded"
            ))
        },
        PathBuf::from,
    );
    let text = fs::read_to_string(folder.join(name)).ok();
    if text.is_none() {
        eprintln!("{name} is not here: not tested");
    }
    text
}

/// What is said of a recorded stream, as it was and cut before its last event, at some splits.
fn stream(dialect: Dialect, name: &str, end: &str) -> Option<(Said, Said)> {
    let text = recorded(name)?;
    let event = |data: &str| format!("data: {data}\n\n");
    let mut events: Vec<_> = text.lines().map(event).collect();
    if !end.is_empty() {
        events.push(event(end));
    }
    let said_of = |stream: &str, size: usize| {
        let said = said(&dialect, &stream_head(), stream.as_bytes().chunks(size));
        Said {
            content_at: None,
            ..said
        }
    };
    let all = events.concat();
    let whole = said_of(&all, all.len());
    for size in [1, 2, 3, 7, 100, 1000, 16 << 10] {
        assert_eq!(said_of(&all, size), whole, "{name} in chunks of {size}");
    }
    let first = said(
        &dialect,
        &stream_head(),
        events.iter().map(String::as_bytes),
    );
    assert!(
        first.content_at.is_some_and(|at| at < all.len()),
        "{name} has content"
    );
    let cut = events[..events.len() - 1].concat();
    Some((whole, said_of(&cut, cut.len())))
}

fn assert_good(said: Said, usage: Usage) {
    assert_eq!(said.class(), Some(Class::Success));
    assert_eq!(said.usage, Some(usage));
}

#[test]
fn recorded_streams_are_whole_and_tell_their_usage() {
    if let Some((whole, cut)) = stream(Dialect::OpenAi, "openai-text.jsonl", "[DONE]") {
        assert_good(whole, Usage::new(16, 300));
        // The reason to finish came.
        assert_good(cut, Usage::new(16, 300));
        assert!(whole.open.is_some() && cut.open.is_none());
    }
    if let Some((whole, cut)) = stream(Dialect::OpenAi, "openai-compatible-reasoning.jsonl", "") {
        assert_good(
            whole,
            Usage {
                reasoning: 205,
                ..Usage::new(18, 219)
            },
        );
        assert_eq!((cut.ended, cut.usage), (None, None));
    }
    if let Some((whole, cut)) = stream(Dialect::Anthropic, "anthropic-text.jsonl", "") {
        assert_good(whole, Usage::new(12, 30));
        assert_eq!((cut.ended, cut.usage), (None, Some(Usage::new(12, 30))));
    }
    if let Some((whole, cut)) = stream(Dialect::Anthropic, "anthropic-tool.jsonl", "") {
        assert_good(whole, Usage::new(565, 48));
        assert_eq!(cut.ended, None);
    }
    if let Some((whole, cut)) = stream(Dialect::Gemini, "gemini-text.jsonl", "") {
        let usage = Usage {
            reasoning: 185,
            ..Usage::new(9, 208)
        };
        assert_good(whole, usage);
        assert_eq!((cut.ended, cut.usage), (None, Some(usage.estimated())));
    }
    if let Some((whole, cut)) = stream(Dialect::Gemini, "gemini-tool.jsonl", "") {
        let usage = Usage {
            reasoning: 45,
            ..Usage::new(29, 60)
        };
        assert_good(whole, usage);
        assert_eq!((cut.ended, cut.usage), (None, Some(usage.estimated())));
    }
}

#[test]
fn recorded_replies_and_errors_are_read() {
    for (dialect, name, status, class, usage) in [
        (
            Dialect::OpenAi,
            "openai-text.json",
            200,
            Class::Success,
            Some(Usage::new(16, 363)),
        ),
        (
            Dialect::Anthropic,
            "anthropic-text.json",
            200,
            Class::Success,
            Some(Usage::new(12, 29)),
        ),
        (
            Dialect::Gemini,
            "gemini-text.json",
            200,
            Class::Success,
            Some(Usage {
                reasoning: 244,
                ..Usage::new(9, 272)
            }),
        ),
        (
            Dialect::Gemini,
            "gemini-429.json",
            429,
            Class::Throttled,
            None,
        ),
    ] {
        let Some(text) = recorded(name) else { continue };
        for size in [1, 10, text.len()] {
            let said = said(&dialect, &json_head(status), text.as_bytes().chunks(size));
            assert_eq!(said.class(), Some(class), "{name}");
            assert_eq!(said.usage, usage, "{name}");
            if status == 429 {
                let wait = said.ended.unwrap().retry_after.map(|wait| wait.as_millis());
                assert_eq!(wait, Some(34_400));
            }
        }
    }
}
