//! What `/metrics` tells of calls: who answered, and how the circuits stand.

mod support;

use buttress_testing::{Provider, Reply, Running};
use serde_json::{Value, json};
use support::{Caller, Gateway, config, metric};

const CHAT: &str = "/v1/chat/completions";
const COUNTS: [&str; 2] = ["buttress_requests_total", "buttress_attempts_total"];

fn ask(stream: bool) -> String {
    json!({
        "model": "alias",
        "stream": stream,
        "temperature": 0,
        "messages": [{"role": "user", "content": "Hello!"}],
    })
    .to_string()
}

/// `/metrics`, once nothing is under way.
async fn page(gateway: &Gateway) -> String {
    let mut monitor = Caller::connect(gateway.address).await;
    loop {
        let page = monitor.get("/metrics", "").await;
        let gauges = ["buttress_requests_in_flight", "buttress_attempts_in_flight"];
        if gauges.map(|gauge| metric(page.text(), gauge, &[])) == [0.0; 2] {
            return page.text().to_owned();
        }
        tokio::task::yield_now().await;
    }
}

/// How many calls this model answered, of requests and of attempts.
async fn answered_by(gateway: &Gateway, model: &str) -> [f64; 2] {
    let page = page(gateway).await;
    let labels = [
        ("gen_ai_request_model", "m-real"),
        ("gen_ai_response_model", model),
        ("class", "success"),
    ];
    COUNTS.map(|name| metric(&page, name, &labels))
}

async fn called(gateway: &Gateway, stream: bool) {
    let mut caller = Caller::connect(gateway.address).await;
    let answer = caller.post(CHAT, "", &ask(stream)).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// A reply of OpenAI's, which says that this model made it.
fn by(model: &str) -> Value {
    json!({
        "id": "c-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hi"},
        }],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    })
}

#[tokio::test]
async fn the_model_that_answered_is_told_of_requests_and_of_attempts_in_every_dialect() {
    for (dialect, provider) in [
        ("openai", Provider::openai()),
        ("anthropic", Provider::anthropic()),
        ("gemini", Provider::gemini()),
    ] {
        let provider = provider
            .reply(Reply::text("Hi there"))
            .start()
            .await
            .unwrap();
        let gateway = Gateway::start(&config(dialect, &provider.base_url(), ""));
        for (calls, stream) in [(1.0, false), (2.0, true)] {
            called(&gateway, stream).await;
            let counted = answered_by(&gateway, "m-real").await;
            assert_eq!(counted, [calls; 2], "{dialect} {stream}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_kept_is_its_models_each_time() {
    let provider = Provider::openai()
        .reply(Reply::text("Hi"))
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    for stream in [false, false, true] {
        called(&gateway, stream).await;
    }
    assert_eq!(answered_by(&gateway, "m-real").await, [3.0, 1.0]);
}

#[tokio::test]
async fn s1_a_model_that_nobody_knows_here_is_other_and_a_snapshot_is_its_model() {
    let start = async |model: &str| -> (Running, Gateway) {
        let reply = Reply::json(by(model));
        let provider = Provider::openai().reply(reply).start().await.unwrap();
        let gateway = Gateway::start(&config("openai", &provider.base_url(), ""));
        (provider, gateway)
    };
    for (model, label) in [
        ("m-real-2025-08-07", "m-real"),
        // It has a price.
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("m-real-large", "other"),
        ("sk-canary-of-a-key", "other"),
    ] {
        let (_provider, gateway) = start(model).await;
        called(&gateway, false).await;
        assert_eq!(answered_by(&gateway, label).await, [1.0; 2], "{model}");
        let page = page(&gateway).await;
        assert!(!page.contains("canary") && !gateway.log().contains("canary"));
    }
}

#[tokio::test]
async fn the_circuit_of_an_endpoint_is_shown_before_it_ever_changes() {
    let provider = Provider::openai()
        .reply(Reply::text("Hi"))
        .start()
        .await
        .unwrap();
    let labels = [("endpoint", "up"), ("circuit", "up")];
    for (more, circuits) in [("", 1), ("[breaker]\nenabled = false\n", 0)] {
        let gateway = Gateway::start(&config("openai", &provider.base_url(), more));
        let page = page(&gateway).await;
        let states = page
            .lines()
            .filter(|line| line.starts_with("buttress_breaker_state{"));
        assert_eq!(states.count(), circuits, "{page}");
        assert_eq!(metric(&page, "buttress_breaker_state", &labels), 0.0);
    }
}
