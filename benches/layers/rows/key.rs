//! The key of a chat, beside only reading its JSON and only hashing its bytes.

use std::hint::black_box;

use buttress_llm::{Dialect, key::ChatKeys, request::Peek};
use bytes::Bytes;
use http::Request;

use crate::row::{Group, Row};

/// A chat of ten turns and 2 KB, and one whose prompt is 100 KB.
pub(crate) fn groups() -> [Group; 2] {
    let long = "A flying buttress is an arch that extends from the upper part of a wall to a pier, to carry the forces of a vault to the ground.\\n".repeat(780);
    let long = format!(r#"{{"role":"user","content":"{long}"}}"#);
    [
        group("llm, the key of a chat of 2 KB", &chat()),
        group("llm, the key of a prompt of 100 KB", &ask(&long)),
    ]
}

/// A chat of ten turns and 2 KB.
pub(super) fn chat() -> Request<Bytes> {
    let turn = "Flying buttresses carry the thrust of a vault over the aisles to the ground. \\\"Why\\\" not use a thicker wall?\\nIt has windows.";
    let turns: Vec<_> = (0..10)
        .map(|k| {
            let role = ["user", "assistant"][k % 2];
            format!(r#"{{"role":"{role}","content":"{turn} {k}"}}"#)
        })
        .collect();
    ask(&turns.join(","))
}

fn ask(messages: &str) -> Request<Bytes> {
    let body = format!(
        r#"{{"model":"gpt-bench","messages":[{messages}],"temperature":0,"stream":true,"stream_options":{{"include_usage":true}},"max_completion_tokens":1000}}"#
    );
    Request::post("https://api.bench/v1/chat/completions")
        .header("content-type", "application/json")
        .header("user-agent", "OpenAI/Python 2.8.1")
        .header("accept", "application/json")
        .header("x-stainless-lang", "python")
        .header(
            "authorization",
            "Bearer sk-proj-0123456789abcdefghijklmnopqrstuv",
        )
        .body(body.into())
        .expect("a request")
}

fn group(name: &'static str, chat: &Request<Bytes>) -> Group {
    let len = chat.body().len();
    let peek = {
        let body = chat.body().clone();
        move || {
            let body = body.clone();
            move || {
                black_box(Peek::new(body.clone()).expect("a request"));
            }
        }
    };
    let request = chat.clone();
    let key = move || {
        let keys = ChatKeys::per_credential(Dialect::OpenAi);
        let request = request.clone();
        move || {
            black_box(keys.read(&request).expect("a key").key());
        }
    };
    let rows = vec![
        Row::new("peek at it", peek).passing(len, 1),
        Row::new("its key", key).passing(len, 1).at_most(1),
    ];
    Group { name, rows }
}
