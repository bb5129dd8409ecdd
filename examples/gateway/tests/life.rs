//! How calls end, how the gateway ends, and what it shows meanwhile.

mod support;

use std::time::Duration;

use buttress_testing::{Ending, Provider, Reply};
use serde_json::json;
use support::{Caller, Gateway, Upstream, config, metric};

const CHAT: &str = "/v1/chat/completions";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const STREAM: &str = "{\"model\":\"m-1\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"canary-prompt\"}]}";

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_caller_who_leaves_before_the_reply_ends_the_call_upstream() {
    let provider = Provider::openai()
        .reply(Reply::text("never").headers_after(HOUR))
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start(CHAT, "", "{\"model\":\"m-1\",\"messages\":[]}")
        .await;
    let log = provider.log();
    log.wait_for(1).await;
    drop(caller);
    log.wait_for_disconnects(1).await;
    assert_eq!(log.last().unwrap().ending(), Some(Ending::Disconnected));
    let lines = gateway.log();
    assert!(lines.contains("endpoint=up class=cancelled"), "{lines}");
}

#[tokio::test]
async fn a_caller_who_leaves_a_stream_ends_it_upstream() {
    let provider = Provider::openai()
        .reply(Reply::text("one two three").pace(HOUR))
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config(
        "openai",
        &provider.base_url(),
        "[limits]\nread = 1\n",
    ));
    let log = provider.log();

    // Of a reply that has a head but no content yet, nothing is delivered.
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", STREAM).await;
    log.wait_for(1).await;
    drop(caller);
    log.wait_for_disconnects(1).await;

    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    caller.head().await;
    assert_eq!(caller.chunk().await.unwrap(), CONTENT.as_bytes());
    drop(caller);
    assert!(upstream.left().await);
    let lines = gateway.log();
    assert!(lines.contains("status=200 class=cancelled"), "{lines}");
}

#[tokio::test]
async fn told_to_stop_it_lets_the_reply_under_way_finish_and_accepts_no_more() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    let mut idle = Caller::connect(gateway.address).await;
    assert_eq!(idle.get("/healthz", "").await.status(), 200);
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    caller.head().await;
    caller.chunk().await.unwrap();

    gateway.terminate();
    assert!(idle.closed().await);
    let refused = tokio::net::TcpStream::connect(gateway.address)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    upstream.chunk(END).await;
    upstream.say("0\r\n\r\n").await;
    assert_eq!(caller.chunk().await.unwrap(), END.as_bytes());
    assert_eq!(caller.chunk().await, None);
    assert!(caller.closed().await);
    let ended = gateway.ended();
    assert!(ended.success, "{ended:?}");
    assert!(ended.log.contains("status=200 class=success"), "{ended:?}");
    assert!(!ended.log.contains("cut off"), "{ended:?}");
}

#[tokio::test]
async fn told_to_stop_it_answers_whoever_has_asked_by_then() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", ""));
    let mut callers = Vec::new();
    for _ in 0..8 {
        let mut caller = Caller::connect(gateway.address).await;
        assert_eq!(caller.get("/healthz", "").await.status(), 200);
        callers.push(caller);
    }
    // What happens now, happens to it all at once.
    gateway.signal("STOP");
    for _ in 0..8 {
        callers.push(Caller::connect(gateway.address).await);
    }
    for caller in &mut callers {
        caller
            .send("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            .await;
    }
    gateway.terminate();
    gateway.signal("CONT");
    for caller in &mut callers {
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    assert!(gateway.ended().success);
}

#[tokio::test]
async fn told_to_stop_it_waits_no_longer_than_its_bound() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config(
        "openai",
        &upstream.origin(),
        "[limits]\ndrain = \"50 ms\"\n",
    ));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    gateway.terminate();
    let ended = gateway.ended();
    assert!(
        ended.success && ended.log.contains("some requests were cut off"),
        "{ended:?}"
    );
    assert!(ended.log.contains("class=cancelled"), "{ended:?}");
    assert!(upstream.left().await);
}

#[tokio::test]
async fn told_twice_to_stop_it_waits_no_more() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config(
        "openai",
        &upstream.origin(),
        "[limits]\ndrain = \"24 h\"\n",
    ));
    let mut caller = Caller::connect(gateway.address).await;
    let mut idle = Caller::connect(gateway.address).await;
    assert_eq!(idle.get("/healthz", "").await.status(), 200);
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    gateway.terminate();
    // That it has heard the first.
    assert!(idle.closed().await);
    gateway.terminate();
    assert!(gateway.ended().success);
}

#[tokio::test]
async fn a_call_is_one_line_of_the_log_without_prompt_or_key() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start(CHAT, "authorization: Bearer canary-caller\r\n", STREAM)
        .await;
    upstream.request().await;
    let reply = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"canary-reply\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}";
    upstream
        .reply(
            "200 OK",
            "content-type: application/json\r\nx-request-id: theirs\r\n",
            reply,
        )
        .await;
    caller.answer().await;
    caller
        .post(
            "/v1/embeddings?key=canary",
            "",
            "{\"model\":\"no\\u000asuch \\\"model\\\"\"}",
        )
        .await;
    caller
        .post(
            "/v1/embeddings?key=canary",
            "",
            "{\"model\":\"such \\\"model\\\"\"}",
        )
        .await;
    let log = gateway.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("method="))
        .collect();
    let first = "method=POST path=\"/v1/chat/completions\" model=\"m-1\" endpoint=up status=200 class=success input=7 output=3 ms=";
    assert!(
        lines[0].starts_with(first) && lines[0].ends_with(" id=\"theirs\""),
        "{log}"
    );
    assert!(
        lines[1].starts_with("method=POST path=\"/v1/embeddings\" status=400 class=malformed_body"),
        "{log}"
    );
    assert!(lines[2].starts_with("method=POST path=\"/v1/embeddings\" model=\"such \\\"model\\\"\" status=404 class=unknown_model"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn calls_are_counted_by_endpoint_and_class_and_while_they_last() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    let mut monitor = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    caller.head().await;
    let status = monitor.get("/status", "").await.json();
    let endpoint = &status["endpoints"][0];
    assert_eq!(
        (
            &status["simulated"],
            &endpoint["in_flight"],
            &endpoint["ended"]
        ),
        (&json!(false), &json!(1), &json!({}))
    );
    upstream.chunk(END).await;
    upstream.say("0\r\n\r\n").await;
    while caller.chunk().await.is_some() {}
    caller.post(CHAT, "", "{").await;

    let status = monitor.get("/status", "").await.json();
    let endpoint = &status["endpoints"][0];
    assert_eq!(
        (&endpoint["in_flight"], &endpoint["ended"]),
        (&json!(0), &json!({ "success": 1 }))
    );
    let metrics = monitor.get("/metrics", "").await;
    assert_eq!(
        metrics.header("content-type").as_deref(),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for (name, labels, count) in [
        ("buttress_attempts_total", &[("class", "success")][..], 1.0),
        ("buttress_attempts_total", &[("class", "cancelled")], 0.0),
        ("buttress_attempts_in_flight", &[("endpoint", "up")], 0.0),
        ("buttress_requests_total", &[("class", "success")], 1.0),
        ("buttress_requests_in_flight", &[], 0.0),
    ] {
        let found = metric(metrics.text(), name, labels);
        assert!(found == count, "{name} {labels:?}: {found}");
    }
    for line in [
        "# TYPE buttress_attempts_total counter",
        "gateway_turned_away_total{reason=\"malformed_body\"} 1",
    ] {
        assert!(
            metrics.text().lines().any(|found| found == line),
            "{line}\n{}",
            metrics.text()
        );
    }
}

#[tokio::test]
async fn the_page_is_shown_to_loopback() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", ""));
    let mut caller = Caller::connect(gateway.address).await;
    let page = caller.get("/", "").await;
    assert_eq!(page.status(), 200);
    assert_eq!(
        page.header("content-type").as_deref(),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("connect-src 'self'")
    );
    for element in [
        "id=\"prompt\"",
        "id=\"send\"",
        "id=\"reply\"",
        "id=\"status\" data-state=\"idle\"",
        "id=\"model\"",
    ] {
        assert!(page.text().contains(element), "{element}");
    }
    assert_eq!(caller.get("/healthz", "").await.text(), "ok\n");
}

#[tokio::test]
async fn told_to_stop_it_does_so_also_if_nobody_reads_its_log() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:9", ""));
    let mut caller = Caller::connect(gateway.address).await;
    // More lines than fit in a pipe.
    let path = format!("/{}", "x".repeat(200));
    for _ in 0..1000 {
        caller.get(&path, "").await;
    }
    gateway.terminate();
    assert!(gateway.ended_unread());
}
