//! What is told to those who ask in the wrong way.

mod support;

use serde_json::json;
use support::{Caller, Gateway, config};

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";
const PATHS: [(&str, &str); 8] = [
    ("/v1/chat/completions", POST),
    ("/v1/messages", POST),
    ("/v1/models", GET),
    ("/v1/models/m-1", GET),
    ("/", GET),
    ("/status", GET),
    ("/metrics", GET),
    ("/healthz", GET),
];

fn gateway() -> Gateway {
    Gateway::start(&config("openai", "http://127.0.0.1:1", ""))
}

async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> support::Answer {
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .send(format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n"
        ))
        .await;
    if method == "HEAD" {
        caller.answer_without_body().await
    } else {
        caller.answer().await
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_told_with_those_that_it_does() {
    let gateway = gateway();
    for (path, allow) in PATHS {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"] {
            if allow.contains(method) {
                continue;
            }
            for (version, header) in [
                ("", "x-request-id"),
                ("anthropic-version: 1\r\n", "request-id"),
            ] {
                let anthropic = !version.is_empty() || path == "/v1/messages";
                if path == "/v1/chat/completions" && anthropic {
                    continue;
                }
                let header = if anthropic { "request-id" } else { header };
                let answer = ask(&gateway, method, path, version).await;
                assert_eq!(answer.status(), 405, "{method} {path}");
                assert_eq!(
                    answer.header("allow").as_deref(),
                    Some(allow),
                    "{method} {path}"
                );
                assert_eq!(
                    answer.header("content-type").as_deref(),
                    Some("application/json")
                );
                let id = answer.header(header).unwrap();
                let body = answer.json();
                let takes = if allow == GET { "GET" } else { "POST" };
                let said = format!("found method {method}, expected {takes}");
                assert_eq!(body["error"]["message"], said);
                if anthropic {
                    assert_eq!(
                        (&body["type"], &body["error"]["type"], &body["request_id"]),
                        (&json!("error"), &json!("not_found_error"), &json!(id))
                    );
                } else {
                    assert_eq!(body["error"]["type"], "invalid_request_error");
                }
            }
        }
    }
}

#[tokio::test]
async fn options_says_what_a_path_takes() {
    let gateway = gateway();
    for (path, allow) in PATHS {
        let answer = ask(&gateway, "OPTIONS", path, "").await;
        assert_eq!((answer.status(), answer.body.len()), (204, 0), "{path}");
        assert_eq!(answer.header("allow").as_deref(), Some(allow), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let answer = ask(&gateway, "OPTIONS", "*", "").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.header("allow").as_deref(),
        Some("GET, HEAD, POST, OPTIONS")
    );
    assert_eq!(ask(&gateway, "OPTIONS", "/nowhere", "").await.status(), 404);
}

#[tokio::test]
async fn head_is_a_get_without_the_body() {
    let gateway = gateway();
    for (path, allow) in PATHS {
        let answer = ask(&gateway, "HEAD", path, "").await;
        let status = if allow == GET { 200 } else { 405 };
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn every_path_that_is_not_there_has_an_envelope_and_an_id() {
    let gateway = gateway();
    for path in [
        "/v1/models/nobody",
        "/v1/models/%ff",
        "/v1/models/",
        "/v1",
        "/favicon.ico",
        "/v1/files/x",
    ] {
        for (version, header) in [
            ("", "x-request-id"),
            ("anthropic-version: 1\r\n", "request-id"),
        ] {
            let answer = ask(&gateway, "GET", path, version).await;
            assert_eq!(answer.status(), 404, "{path}");
            assert!(answer.header(header).unwrap().starts_with("req_"), "{path}");
            assert!(answer.json()["error"]["message"].is_string(), "{path}");
        }
    }
    let log = gateway.log();
    assert!(
        log.contains("path=\"/v1/models/nobody\" status=404 class=unknown_model"),
        "{log}"
    );
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_what_was_found_and_what_is_expected() {
    let gateway = gateway();
    for (kind, found) in [
        (
            "content-type: multipart/form-data; boundary=x\r\n",
            "`multipart/form-data; boundary=x`",
        ),
        ("content-type: text/plain\r\n", "`text/plain`"),
        ("", "no content-type"),
    ] {
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .send(format!("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: 15\r\n\r\n{{\"model\":\"m-1\"}}"))
            .await;
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 404);
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let said = "expected `application/json`: what this path leads to is found by the `model` in its body";
        assert_eq!(
            message,
            format!("found {found}, {said}").replace("found `", "found content-type `")
        );
    }
    let mut caller = Caller::connect(gateway.address).await;
    let answer = caller.post("/v1/embeddings", "", "{}").await;
    assert_eq!(
        answer.json()["error"]["message"],
        "the body names no `model`, by which it is found where this path leads to"
    );
}

#[tokio::test]
async fn a_path_that_leaves_the_base_url_is_told_why_it_is_not_sent() {
    let gateway = gateway();
    for (path, found) in [
        ("/v1/../admin", "a dot segment"),
        ("/v1/%2e%2e/admin", "a dot segment"),
        ("/v1//x", "an empty segment"),
        ("/v1/x/%5c", "a backslash"),
    ] {
        let mut caller = Caller::connect(gateway.address).await;
        let answer = caller.post(path, "", "{\"model\":\"m-1\"}").await;
        assert_eq!(answer.status(), 400);
        let said = format!("found {found}, expected a path that stays under the base URL");
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.ends_with(&said), "{message}");
    }
}
