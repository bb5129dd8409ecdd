//! The gateway as a process, and the two ends of its connections, byte by byte.
#![allow(dead_code, unused_imports)] // Each test uses a part of it.

mod process;
mod wire;

use serde_json::json;

pub(crate) use self::{
    process::{Ended, Gateway, run, run_with},
    wire::{Answer, Caller, Upstream},
};

/// What a metric counts in all, of the series that have these labels.
pub(crate) fn metric(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &str| {
        labels.iter().all(|(label, value)| {
            let pair = format!("{label}=\"{value}\"");
            series
                .match_indices(&pair)
                .any(|(at, _)| matches!(series.as_bytes()[at - 1], b'{' | b','))
        })
    };
    let samples = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('{')).then_some((rest, value))
    });
    samples
        .filter(|(series, _)| has(series))
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .sum()
}

/// Checks the envelope, and gives the message.
pub(crate) fn told(answer: &Answer, dialect: &str, status: u16, kind: &str) -> String {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(
        answer.header("content-type").as_deref(),
        Some("application/json")
    );
    let body = answer.json();
    let id = if dialect == "openai" {
        assert_eq!(body["error"].as_object().unwrap().len(), 4, "{body}");
        answer.header("x-request-id").unwrap()
    } else {
        assert_eq!(body["type"], "error");
        let id = answer.header("request-id").unwrap();
        assert_eq!(body["request_id"], json!(id));
        id
    };
    assert!(id.starts_with("req_"), "{id}");
    assert_eq!(body["error"]["type"], kind, "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// A configuration: an endpoint `up` of this dialect at this address, and routes to it for `m-*`
/// and, as `m-real`, for `alias`.
pub(crate) fn config(dialect: &str, base_url: &str, more: &str) -> String {
    let retry = match more.contains("[retry]") {
        true => "",
        // What is tested is mostly what becomes of one attempt.
        false => "[retry]\nattempts = 1\n",
    };
    format!(
        r#"listen = "127.0.0.1:0"

[[endpoint]]
name = "up"
dialect = "{dialect}"
base_url = "{base_url}"
key_env = "UP_KEY"

[[route]]
model = "alias"
endpoints = ["up"]
rename = "m-real"

[[route]]
model = "m-*"
endpoints = ["up"]

{more}
{retry}"#
    )
}
