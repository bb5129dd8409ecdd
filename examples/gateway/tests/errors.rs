//! What a caller is told when there is no reply, in the dialect that the caller speaks.

mod support;

use std::net::TcpListener;

use serde_json::json;
use support::{Answer, Caller, Gateway, Upstream, config};

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

/// Checks the envelope, and gives the message.
fn told(answer: &Answer, dialect: &str, status: u16, kind: &str) -> String {
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
        ("/v1/messages", "", named, "anthropic"),
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
async fn a_model_of_the_other_dialect_says_where_it_is_served() {
    for (dialect, path, other, there) in [
        ("openai", MESSAGES, "anthropic", CHAT),
        ("anthropic", CHAT, "openai", MESSAGES),
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
async fn an_upstreams_error_keeps_status_body_and_hints() {
    for (dialect, path, error) in [
        (
            "openai",
            CHAT,
            "{\"error\": {\"message\":\"slow down\",\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}",
        ),
        (
            "anthropic",
            MESSAGES,
            "{\"type\":\"error\", \"error\":{\"type\":\"overloaded_error\",\"message\":\"slow down\"}}",
        ),
    ] {
        let mut upstream = Upstream::start().await;
        let gateway = Gateway::start(&config(dialect, &upstream.origin(), ""));
        let mut caller = Caller::connect(gateway.address).await;
        for status in [
            400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529,
        ] {
            for body in ["{\"model\":\"m-1\"}", "{\"model\":\"m-1\",\"stream\":true}"] {
                caller.start(path, "", body).await;
                upstream.request().await;
                let hints = "content-type: application/json\r\nretry-after: 7\r\nretry-after-ms: 7000\r\nx-should-retry: false\r\n";
                upstream
                    .reply(&format!("{status} Whatever"), hints, error)
                    .await;
                let answer = caller.answer().await;
                assert_eq!((answer.status(), answer.text()), (status, error));
                for (name, value) in [
                    ("retry-after", "7"),
                    ("retry-after-ms", "7000"),
                    ("x-should-retry", "false"),
                ] {
                    assert_eq!(answer.header(name).as_deref(), Some(value), "{status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_error_inside_of_a_200_reaches_the_caller_as_it_came() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    caller
        .start(CHAT, "", "{\"model\":\"m-1\",\"stream\":true}")
        .await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(error).await;
    upstream.say("0\r\n\r\n").await;
    let answer = caller.answer().await;
    assert_eq!((answer.status(), answer.text()), (200, error));
    let log = gateway.log();
    assert!(log.contains("status=200 class=unavailable"), "{log}");
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

#[tokio::test]
async fn a_stream_that_breaks_off_does_not_end_as_if_it_were_whole() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start(CHAT, "", "{\"model\":\"m-1\",\"stream\":true}")
        .await;
    upstream.request().await;
    upstream.stream("").await;
    upstream
        .chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n")
        .await;
    caller.head().await;
    caller.chunk().await.unwrap();
    upstream.hang_up();
    assert!(caller.closed().await, "no last chunk");
    let log = gateway.log();
    assert!(log.contains("status=200 class=interrupted"), "{log}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_not_passed_on() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", "{\"model\":\"m-1\"}").await;
    upstream.request().await;
    upstream
        .reply(
            "308 Permanent Redirect",
            "location: https://elsewhere.example/\r\n",
            "",
        )
        .await;
    let answer = caller.answer().await;
    let said = told(&answer, "openai", 502, "server_error");
    assert!(
        said.starts_with("endpoint `up` answered with a redirect (308"),
        "{said}"
    );
    assert_eq!(answer.header("location"), None);
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
}

#[tokio::test]
async fn a_reply_that_ends_before_its_length_is_logged_as_what_it_was() {
    let whole =
        "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}";
    for (dialect, path, base) in [
        ("openai", CHAT, ""),
        ("openai", "/v1/embeddings", ""),
        ("anthropic", MESSAGES, ""),
    ] {
        let mut upstream = Upstream::start().await;
        let gateway = Gateway::start(&config(
            dialect,
            &format!("{}{base}", upstream.origin()),
            "",
        ));
        for sent in [&whole[..20], whole] {
            let mut caller = Caller::connect(gateway.address).await;
            caller.start(path, "", "{\"model\":\"m-1\"}").await;
            upstream.request().await;
            upstream
                .say(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{sent}",
                    whole.len() + 10
                ))
                .await;
            upstream.hang_up();
            let head = caller.head().await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            caller.gone().await;
        }
        let log = gateway.log();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains("status=200"))
            .collect();
        assert_eq!(lines.len(), 2, "{log}");
        for line in lines {
            assert!(line.contains("class=interrupted"), "{log}");
        }
    }
}

#[tokio::test]
async fn a_success_without_a_reply_is_not_passed_on_as_one() {
    for (dialect, path, kind) in [
        ("openai", CHAT, "server_error"),
        ("anthropic", MESSAGES, "api_error"),
    ] {
        for (status, headers) in [
            ("204 No Content", ""),
            ("205 Reset Content", ""),
            ("200 OK", "content-type: application/json\r\n"),
            ("200 OK", "content-type: text/event-stream\r\n"),
            ("304 Not Modified", ""),
        ] {
            let mut upstream = Upstream::start().await;
            let gateway = Gateway::start(&config(dialect, &upstream.origin(), ""));
            let mut caller = Caller::connect(gateway.address).await;
            caller.start(path, "", "{\"model\":\"m-1\"}").await;
            upstream.request().await;
            if status.starts_with("200") {
                upstream.reply(status, headers, "").await;
            } else {
                upstream.say(format!("HTTP/1.1 {status}\r\n\r\n")).await;
            }
            let answer = caller.answer().await;
            let said = told(&answer, dialect, 502, kind);
            let code = &status[..3];
            assert!(
                said.starts_with("endpoint `up` answered with ") && said.contains(code),
                "{said}"
            );
            let log = gateway.log();
            assert!(
                log.contains("status=502 class=unavailable"),
                "{status} {log}"
            );
        }
    }
    // Elsewhere it may be the whole reply.
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start("/v1/whatever", "", "{\"model\":\"m-1\"}")
        .await;
    upstream.request().await;
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(caller.answer().await.status(), 204);
}
