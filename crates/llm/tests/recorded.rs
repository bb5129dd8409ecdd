//! Real replies, recorded: converted to both other dialects and back, nothing is lost that the
//! tables say is kept.
//!
//! The recordings are no part of this repository. `.ci/run` says where they are.

#[path = "convert/summary.rs"]
mod summary;

use std::{fs, path::PathBuf};

use buttress_llm::{
    Dialect,
    convert::{Conversion, Converted},
};
use bytes::{Bytes, BytesMut};
use summary::Summary;

/// A request of this dialect, converted for another one.
fn converted(caller: Dialect, endpoint: Dialect) -> Converted {
    let request = match caller {
        Dialect::OpenAi => {
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream_options":{"include_usage":true}}"#
        }
        Dialect::Anthropic => {
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#
        }
        _ => r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#,
    };
    Conversion::new(caller, endpoint)
        .request(request)
        .expect("it can be said in every dialect")
}

fn stream(way: &Converted, text: &str, split: usize) -> String {
    let (mut stream, mut out) = (way.stream(), BytesMut::new());
    for part in text.as_bytes().chunks(split) {
        stream
            .push(Bytes::copy_from_slice(part), &mut out)
            .expect("it is a stream");
    }
    stream.finish(&mut out).expect("it is complete");
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

#[test]
#[ignore = "needs the recorded replies, in the folder that BUTTRESS_RECORDED names"]
fn what_real_providers_said_survives_the_way_to_each_dialect_and_back() {
    let folder = PathBuf::from(std::env::var_os("BUTTRESS_RECORDED").expect("BUTTRESS_RECORDED"));
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "json" || kind == "jsonl")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} files are there", files.len());

    for path in files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let text = fs::read_to_string(&path).expect("UTF-8");
        if name.contains("429") {
            continue; // An error: `ErrorBody` has its tests.
        }
        let from = match name.split('-').next() {
            Some("openai") => Dialect::OpenAi,
            Some("anthropic") => Dialect::Anthropic,
            _ => Dialect::Gemini,
        };
        for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
            let (there, back) = (converted(to, from), converted(from, to));
            let told = |summary: Summary| summary.told_by(from).told_by(to);
            if name.ends_with(".json") {
                let reply = there.reply(text.as_bytes()).expect("it is a reply");
                let original = told(Summary::of(from, text.as_bytes()));
                assert_eq!(told(Summary::of(to, &reply)), original, "{name} to {to}");
                let again = back.reply(&reply).expect("it is a reply");
                assert_eq!(told(Summary::of(from, &again)), original, "{name} by {to}");
                continue;
            }
            let mut events = String::new();
            for data in text.lines() {
                if from == Dialect::Anthropic {
                    let value: serde_json::Value = serde_json::from_str(data).expect("JSON");
                    events += &format!("event: {}\n", value["type"].as_str().expect("a type"));
                }
                events += &format!("data: {data}\n\n");
            }
            if from == Dialect::OpenAi {
                events += "data: [DONE]\n\n";
            }
            let original = told(Summary::of_stream(from, &events));
            for split in [1, 7, 4096] {
                let reply = stream(&there, &events, split);
                assert_eq!(
                    told(Summary::of_stream(to, &reply)),
                    original,
                    "{name} to {to}"
                );
                let again = stream(&back, &reply, split);
                assert_eq!(
                    told(Summary::of_stream(from, &again)),
                    original,
                    "{name} by {to}"
                );
            }
        }
        println!("{name}");
    }
}
