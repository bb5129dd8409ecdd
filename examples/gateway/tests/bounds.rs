//! How much of a caller is let in, and how a caller is told who sends more.

mod support;

use buttress_http::client::Client;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use support::{Caller, Gateway, config};
use tower::ServiceExt;

const CHAT: &str = "/v1/chat/completions";

/// A body may have 100 bytes. Whatever waits for time to pass fails its test.
fn gateway(read: &str) -> Gateway {
    let limits = format!("[limits]\nbody = 100\nread = \"{read}\"\n");
    Gateway::start(&config("openai", "http://127.0.0.1:1/v1", &limits))
}

fn head(more: &str) -> String {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_any_of_it_comes() {
    let gateway = gateway("24 h");
    for length in [101_u64, 5_000_000_000, u64::MAX / 2] {
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .send(head(&format!("content-length: {length}\r\n")))
            .await;
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 413);
        let message = &answer.json()["error"]["message"];
        assert_eq!(message, "the body is larger than 100 bytes");
        // What is left of the body stands in the way of another request.
        assert_eq!(answer.header("connection").as_deref(), Some("close"));
        assert!(caller.ended().await);
    }
}

#[tokio::test]
async fn a_body_in_chunks_is_refused_as_soon_as_it_passes_the_limit() {
    let gateway = gateway("24 h");
    let mut caller = Caller::connect(gateway.address).await;
    caller.send(head("transfer-encoding: chunked\r\n")).await;
    for _ in 0..11 {
        caller.send("a\r\n0123456789\r\n").await;
    }
    let answer = caller.answer().await;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    assert!(caller.ended().await);
}

#[tokio::test]
async fn a_caller_who_reads_only_after_the_whole_body_still_sees_why_it_was_refused() {
    let gateway = gateway("24 h");
    let body = vec![b'x'; 16 << 20];
    for (more, status) in [("", 413), ("content-encoding: gzip\r\n", 415)] {
        let mut caller = Caller::connect(gateway.address).await;
        let length = format!("{more}content-length: {}\r\n", body.len());
        caller.send(head(&length)).await;
        // It would be reset by now if the connection were closed with bytes of it unread.
        caller.send(&body).await;
        assert_eq!(caller.answer().await.status(), status);
        assert!(caller.ended().await);
    }
}

#[tokio::test]
async fn a_client_that_sends_a_body_over_the_limit_is_told() {
    let gateway = gateway("24 h");
    let client = Client::direct(&format!("http://{}", gateway.address)).unwrap();
    for _ in 0..20 {
        let body = Full::new(Bytes::from(vec![b'x'; 4 << 20]));
        let request = http::Request::post(CHAT).body(body).unwrap();
        let answer = client.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 413);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(text.starts_with(b"{\"error\":"), "{text:?}");
    }
}

#[tokio::test]
async fn a_caller_who_was_refused_and_goes_on_sending_is_cut_off() {
    let gateway = gateway("300 ms");
    let mut caller = Caller::connect(gateway.address).await;
    caller.send(head("content-length: 5000000000000\r\n")).await;
    assert_eq!(caller.answer().await.status(), 413);
    // The test does not end otherwise.
    while caller.try_send(&[b'x'; 4096]).await.is_ok() {}
}

#[tokio::test]
async fn a_body_that_stops_is_a_request_that_timed_out() {
    let gateway = gateway("300 ms");
    for (path, name) in [(CHAT, "x-request-id"), ("/v1/messages", "request-id")] {
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50\r\n\r\n{{"
            ))
            .await;
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 408);
        assert!(answer.header(name).is_some());
        assert_eq!(answer.header("connection").as_deref(), Some("close"));
        let error = &answer.json()["error"];
        // It is the caller who is slow, and no server.
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["message"], "the body did not arrive within 0.3 s");
        assert!(caller.ended().await);
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let gateway = gateway("24 h");
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .send(format!(
            "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n",
            "x".repeat(64 << 10)
        ))
        .await;
    assert_eq!(caller.answer().await.status(), 431);
}
