//! What the meters say of replies that are no streams: whole ones, and the errors of each provider,
//! with the bytes that decide money standing here as they stand on the wire.

mod anthropic;
#[path = "../common/mod.rs"]
mod common;
mod gemini;
mod head;
mod openai;

use buttress_core::{Class, Outcome, Usage};
use buttress_http::{Judge, class_of_status};
use buttress_llm::{Dialect, OpenAi};
use common::{Said, json_head, said, said_at_every_split};
use http::StatusCode;

/// What is said in the end of a reply of this status with this body.
fn outcome(dialect: Dialect, status: u16, body: &str) -> Outcome {
    let parts = json_head(status);
    let said = said_at_every_split(&dialect, &parts, body.as_bytes());
    assert_eq!(said.open, said.ended, "known once the body is there");
    let head = dialect.head(&parts);
    let said = said.ended.expect("a verdict");
    if head.failed() {
        assert!(said.failed(), "a failed head stays one");
    }
    said
}

fn class(dialect: Dialect, status: u16, body: &str) -> Class {
    outcome(dialect, status, body).class
}

fn whole(dialect: Dialect, body: &str) -> Said {
    said_at_every_split(&dialect, &json_head(200), body.as_bytes())
}

#[test]
fn other_paths_of_a_dialect_are_read_as_far_as_they_are_alike() {
    for (dialect, body, usage) in [
        (
            Dialect::OpenAi,
            r#"{"object":"list","data":[{"object":"embedding","embedding":[0.1,-2e-3],"index":0}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Some(Usage::new(8, 0)),
        ),
        (
            Dialect::OpenAi,
            r#"{"object":"response","status":"completed","error":null,"output":[],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":0},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":123}}"#,
            Some(Usage::new(36, 87)),
        ),
        (Dialect::OpenAi, r#"{"object":"list","data":[]}"#, None),
        (
            Dialect::OpenAi,
            r#"{"text":"Hi","usage":{"type":"duration","seconds":3}}"#,
            None,
        ),
        (
            Dialect::Anthropic,
            r#"{"input_tokens":2095}"#,
            Some(Usage::new(2095, 0)),
        ),
        (Dialect::Gemini, r#"{"totalTokens":31}"#, None),
        (Dialect::Gemini, r#"{"embedding":{"values":[0.013]}}"#, None),
    ] {
        let said = whole(dialect, body);
        assert_eq!(said.class(), Some(Class::Success), "{body}");
        assert_eq!(said.usage, usage, "{body}");
    }
}

#[test]
fn an_error_inside_a_200_is_of_its_own_class() {
    for (dialect, body, expected) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Class::Denied,
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{}}}"#,
            Class::Throttled,
        ),
        (
            Dialect::OpenAi,
            r#"{"object":"error","message":"x","type":"internal","code":503}"#,
            Class::Unavailable,
        ),
        (
            Dialect::OpenAi,
            r#"{"error":"CUDA out of memory"}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Gemini,
            r#"[{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}]"#,
            Class::Throttled,
        ),
    ] {
        assert_eq!(class(dialect, 200, body), expected, "{body}");
    }
}

#[test]
fn what_is_no_reply_at_all_is_unavailable() {
    for dialect in Dialect::ALL {
        for body in [
            "",
            " ",
            "null",
            "\"text\"",
            "{",
            "{\"id\":1",
            "<html></html>",
            "{\"a\":}",
            "{\"a\":1]",
        ] {
            let class = whole(dialect, body).class();
            let not_whole = class.is_none() && !body.starts_with('n');
            assert!(
                not_whole || class == Some(Class::Unavailable),
                "{body} {class:?}"
            );
        }
        // Here the reply was whole once, and delivered.
        for body in ["{}{}", "{} x", "[{}]]"] {
            for chunks in [1, body.len()] {
                let said = said(&dialect, &json_head(200), body.as_bytes().chunks(chunks));
                assert_eq!(said.class(), Some(Class::Unavailable), "{body}");
            }
        }
    }
}

#[test]
fn s7_a_reply_ten_thousand_levels_deep_is_unavailable() {
    for (open, close) in [("{\"a\":", "}"), ("[", "]"), ("{\"error\":[", "]}")] {
        let body = format!(
            "{{\"usage\":{}1{}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        );
        for status in [200, 400] {
            let said = said(&OpenAi, &json_head(status), body.as_bytes().chunks(1000));
            let class = said
                .class()
                .unwrap_or(class_of_status(StatusCode::from_u16(status).unwrap()));
            assert_eq!(
                class,
                if status == 200 {
                    Class::Unavailable
                } else {
                    Class::Invalid
                }
            );
        }
    }
}

#[test]
fn s4_a_body_without_end_is_not_kept() {
    // More than is kept of an error, and then of a reply: given up, judged by status and end.
    let filler = format!("{{\"a\":\"{}", "x".repeat(70_000));
    let of_error = said(&OpenAi, &json_head(429), filler.as_bytes().chunks(1000));
    assert_eq!(of_error.open, Some(Outcome::new(Class::Throttled)));

    let filler = format!(
        "{{\"a\":\"{}\",\"usage\":{{\"prompt_tokens\":1}}}}",
        "x".repeat(5 << 20)
    );
    let chunks = filler.as_bytes().chunks(1 << 16);
    let reply = said(&OpenAi, &json_head(200), chunks);
    assert_eq!((reply.ended, reply.usage), (Some(Outcome::SUCCESS), None));
    assert_eq!(
        reply.content_at,
        Some(2 << 16),
        "past what may be an error it is content"
    );
    let cut = said(
        &OpenAi,
        &json_head(200),
        filler.as_bytes()[..filler.len() - 1].chunks(1 << 16),
    );
    assert_eq!(cut.ended, None);
}
