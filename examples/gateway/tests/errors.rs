//! What a caller is told when there is no reply, in the dialect that the caller speaks.

mod support;

use std::net::TcpListener;

use serde_json::json;
use support::{Caller, Gateway, Upstream, config, told};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

/// Nobody listens there.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn limited(dialect: &str) -> Gateway {
    let limits = "[limits]\nbody = 100\nread = \"300 ms\"\n";
    Gateway::start(&config(dialect, "http://127.0.0.1:1/v1", limits))
}

#[tokio::test]
async fn bad_input_is_told_in_the_callers_envelope() {
    for (dialect, path, not_found, too_large) in [
        (
            "openai",
            CHAT,
            "invalid_request_error",
            "invalid_request_error",
        ),
        (
            "anthropic",
            MESSAGES,
            "not_found_error",
            "request_too_large",
        ),
    ] {
        let gateway = limited(dialect);
        for (headers, body, status, kind, message) in [
            (
                "",
                "{",
                400,
                "invalid_request_error",
                "the body is not JSON",
            ),
            ("", "", 400, "invalid_request_error", "the body is not JSON"),
            (
                "",
                "[]",
                400,
                "invalid_request_error",
                "the body must be a JSON object",
            ),
            (
                "",
                "{}",
                400,
                "invalid_request_error",
                "the body names no `model`",
            ),
            (
                "",
                "{\"model\":1}",
                400,
                "invalid_request_error",
                "`model` must be a string",
            ),
            (
                "",
                "{\"model\":\"m-1\",\"model\":\"m-2\"}",
                400,
                "invalid_request_error",
                "`model` comes a second time",
            ),
            (
                "",
                "{\"model\":\"x\"}",
                404,
                not_found,
                "no route of this gateway takes the model `x`",
            ),
            (
                "content-encoding: gzip\r\n",
                "{}",
                415,
                "invalid_request_error",
                "the body has a content-encoding",
            ),
        ] {
            let mut caller = Caller::connect(gateway.address).await;
            let answer = caller.post(path, headers, body).await;
            let said = told(&answer, dialect, status, kind);
            assert!(said.starts_with(message), "{said}");
        }
        let long = format!("{{\"model\":\"m-1\",\"x\":\"{}\"}}", "x".repeat(100));
        let answer = Caller::connect(gateway.address)
            .await
            .post(path, "", &long)
            .await;
        let said = told(&answer, dialect, 413, too_large);
        assert_eq!(said, "the body is larger than 100 bytes");
    }
}

#[tokio::test]
async fn an_unknown_model_is_named_by_its_code() {
    let gateway = limited("openai");
    let answer = Caller::connect(gateway.address)
        .await
        .post(CHAT, "", "{\"model\":\"x\"}")
        .await;
    let error = answer.json()["error"].clone();
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("model_not_found"), &json!("model"))
    );
}

#[tokio::test]
async fn a_body_over_the_limit_that_waits_to_be_asked_for_is_not_asked_for() {
    let gateway = limited("openai");
    let mut caller = Caller::connect(gateway.address).await;
    caller.send(format!("POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 101\r\n\r\n")).await;
    assert_eq!(caller.answer().await.status(), 413);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for_without_end() {
    let gateway = limited("openai");
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .send("POST /v1/chat/completions HTTP/1.1\r\nhost: gate")
        .await;
    let mut silent = Caller::connect(gateway.address).await;
    assert!(caller.closed().await);
    assert!(silent.closed().await);
}

#[tokio::test]
async fn a_path_without_an_endpoint_is_not_found_and_its_dialect_is_told_by_path_or_header() {
    let gateway = limited("openai");
    let named = "{\"model\":\"m-1\"}";
    for (path, headers, body, dialect) in [
        ("/v1/embeddings", "", "{}", "openai"),
        ("/v1/embeddings", "", "{\"model\":\"x\"}", "openai"),
        ("/v2/chat/completions", "", named, "openai"),
        ("/chat/completions", "", named, "openai"),
        ("/v1x", "", named, "openai"),
        ("/v1/messages/count_tokens", "", "{}", "anthropic"),
        ("/v1/messages/count_tokens", "", named, "anthropic"),
        ("/v1/complete", VERSION, "{}", "anthropic"),
        ("/nowhere", VERSION, "{}", "anthropic"),
    ] {
        let kind = if dialect == "openai" {
            "invalid_request_error"
        } else {
            "not_found_error"
        };
        let answer = Caller::connect(gateway.address)
            .await
            .post(path, headers, body)
            .await;
        told(&answer, dialect, 404, kind);
    }
    let mut caller = Caller::connect(gateway.address).await;
    told(
        &caller.get("/v1/files", "").await,
        "openai",
        404,
        "invalid_request_error",
    );
    told(
        &caller.get("/v1/files", VERSION).await,
        "anthropic",
        404,
        "not_found_error",
    );
    let form = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data\r\ncontent-length: 15\r\n\r\n{named}"
    );
    caller.send(form).await;
    told(
        &caller.answer().await,
        "openai",
        404,
        "invalid_request_error",
    );
}

#[tokio::test]
async fn a_path_that_leaves_the_base_url_is_not_sent() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &format!("{}/v1", upstream.origin()), ""));
    for path in ["/v1/../admin", "/v1/%2e%2e/admin", "/v1//x", "/v1/x/%5c"] {
        let answer = Caller::connect(gateway.address)
            .await
            .post(path, "", "{\"model\":\"m-1\"}")
            .await;
        told(&answer, "openai", 400, "invalid_request_error");
    }
}

#[tokio::test]
async fn what_is_no_chat_stays_in_its_dialect_and_says_where_the_model_is_served() {
    for (dialect, path, other, there) in [
        ("openai", "/v1/messages/count_tokens", "anthropic", CHAT),
        ("anthropic", "/v1/embeddings", "openai", MESSAGES),
    ] {
        let gateway = limited(dialect);
        let answer = Caller::connect(gateway.address)
            .await
            .post(path, "", "{\"model\":\"m-1\"}")
            .await;
        let kind = if other == "openai" {
            "invalid_request_error"
        } else {
            "not_found_error"
        };
        let said = told(&answer, other, 404, kind);
        assert_eq!(
            said,
            format!(
                "the model `m-1` is served here in the dialect of {dialect} alone: POST {there}"
            )
        );
    }
}

#[tokio::test]
async fn a_chat_that_an_endpoint_of_another_dialect_cannot_be_asked_is_told_by_the_member() {
    for (dialect, path, body, other, said) in [
        (
            "openai",
            MESSAGES,
            "{\"model\":\"m-1\",\"messages\":[]}",
            "anthropic",
            "the body must have `max_tokens`",
        ),
        (
            "anthropic",
            CHAT,
            "{\"model\":\"m-1\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"logit_bias\":{\"1\":5}}",
            "openai",
            "endpoint `up`: `logit_bias` cannot be said in the dialect anthropic: it has no such member",
        ),
    ] {
        let gateway = limited(dialect);
        let answer = Caller::connect(gateway.address)
            .await
            .post(path, "", body)
            .await;
        assert_eq!(told(&answer, other, 400, "invalid_request_error"), said);
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_told_as_such_and_whether_to_try_again() {
    let unknown = "http://no-such-host.invalid/v1";
    for (dialect, path, kind) in [
        ("openai", CHAT, "server_error"),
        ("anthropic", MESSAGES, "api_error"),
    ] {
        for (base, message, again) in [
            (
                nowhere().as_str(),
                "endpoint `up`: connection refused",
                "true",
            ),
            (unknown, "endpoint `up`: ", "false"),
        ] {
            let gateway = Gateway::start(&config(dialect, base, ""));
            let answer = Caller::connect(gateway.address)
                .await
                .post(path, "", "{\"model\":\"m-1\"}")
                .await;
            let said = told(&answer, dialect, 502, kind);
            assert!(
                said.starts_with(message) && !said.contains("http"),
                "{said}"
            );
            // Without a resolver, nobody knows that there is no such host.
            if base != unknown || said.contains("no such") {
                assert_eq!(
                    answer.header("x-should-retry").as_deref(),
                    Some(again),
                    "{said}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_breaks_off_before_its_reply_is_a_bad_gateway() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    for garbage in [
        None,
        Some("HTTP/1.1 200 OK\r\ncontent-le"),
        Some("SMTP ready\r\n\r\n"),
    ] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.start(CHAT, "", "{\"model\":\"m-1\"}").await;
        upstream.request().await;
        if let Some(garbage) = garbage {
            upstream.say(garbage).await;
        }
        upstream.hang_up();
        let answer = caller.answer().await;
        told(&answer, "openai", 502, "server_error");
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("true"));
    }
}
