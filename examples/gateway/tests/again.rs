//! What is tried again, what takes too long, and what of it the caller and the log learn.

mod support;

use support::{Answer, Caller, Gateway, Upstream, config, metric};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const ASK: &str = "{\"model\":\"m-1\"}";
const STREAM: &str = "{\"model\":\"m-1\",\"stream\":true}";
const JSON: &str = "content-type: application/json\r\n";
const DELTA: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";

/// Three attempts, with waits that nobody notices, and a hint of two seconds is too long.
const QUICK: &str = "[retry]\nbase = \"1 ms\"\ncap = \"1 s\"\n";

/// The rest of a line of the log, from this word on.
fn word<'a>(log: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = log.split_once(&format!(" {name}="))?;
    rest.split([' ', '\n']).next()
}

async fn whole(upstream: &mut Upstream) {
    let body = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    upstream.reply("200 OK", JSON, body).await;
}

async fn stream_to_its_end(upstream: &mut Upstream) {
    upstream.stream("").await;
    upstream.chunk(DELTA).await;
    upstream
        .chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
        .await;
    upstream.chunk("data: [DONE]\n\n").await;
    upstream.say("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_call_is_made_again_until_it_is_answered_and_says_how_often() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "x-mine: kept\r\n", ASK).await;
    let mut sent = Vec::new();
    sent.push(upstream.request().await);
    upstream.reply("503 Down", JSON, "{}").await;
    sent.push(upstream.request().await);
    let hint = format!("{JSON}retry-after-ms: 1\r\n");
    upstream.reply("429 Slow Down", &hint, "{}").await;
    sent.push(upstream.request().await);
    whole(&mut upstream).await;
    let answer = caller.answer().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("3"));
    for request in &sent {
        assert_eq!(request.text(), ASK);
        assert_eq!(request.head, sent[0].head);
    }
    let status = caller.get("/status", "").await.json();
    let endpoint = &status["endpoints"][0];
    assert_eq!(endpoint["retried"]["unavailable"], 1);
    assert_eq!(endpoint["retried"]["throttled"], 1);
    assert_eq!(endpoint["ended"]["success"], 1);
    assert_eq!(endpoint["tokens"]["output"], 2);
    let events = status["events"].as_array().unwrap();
    let what: Vec<_> = events
        .iter()
        .map(|event| event["what"].as_str().unwrap().split_once(" delay"))
        .collect();
    assert!(
        what[1..].iter().rev().map(|what| what.unwrap().0).eq([
            "retry.again attempt=1 class=unavailable",
            "retry.again attempt=2 class=throttled"
        ]),
        "{status}"
    );
    let metrics = caller.get("/metrics", "").await;
    for (name, class) in [
        ("buttress_retries_total", "throttled"),
        ("buttress_attempts_total", "throttled"),
        ("buttress_attempts_total", "success"),
        ("buttress_requests_total", "success"),
    ] {
        let found = metric(metrics.text(), name, &[("class", class)]);
        assert!(found == 1.0, "{name} {class}: {found}");
    }
    let log = gateway.log();
    assert_eq!(word(&log, "attempts"), Some("3"), "{log}");
    assert_eq!(word(&log, "after"), Some("unavailable,throttled"), "{log}");
    assert_eq!(log.matches("method=").count(), 1, "{log}");
}

#[tokio::test]
async fn a_failure_that_stays_is_told_as_it_came_with_the_number_of_attempts() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", ASK).await;
    for number in 1..=3 {
        upstream.request().await;
        let body = format!("{{\"error\":{{\"message\":\"number {number}\"}}}}");
        upstream.reply("500 Broken", JSON, body).await;
    }
    let answer = caller.answer().await;
    assert_eq!(answer.status(), 500);
    assert!(answer.text().contains("number 3"), "{answer:?}");
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("3"));

    // And where there is no reply at all.
    caller.start(CHAT, "", ASK).await;
    for _ in 1..=3 {
        upstream.request().await;
        upstream.hang_up();
    }
    let answer = caller.answer().await;
    assert_eq!(answer.status(), 502);
    assert!(
        answer.text().contains("at the last of 3 attempts"),
        "{answer:?}"
    );
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("3"));
}

#[tokio::test]
async fn an_endpoint_does_not_say_how_often_it_was_asked() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    let headers = format!("{JSON}x-gateway-attempts: 77\r\n");
    caller.start(CHAT, "", ASK).await;
    upstream.request().await;
    upstream.reply("400 Bad", &headers, "{}").await;
    assert_eq!(caller.answer().await.header("x-gateway-attempts"), None);
    caller.start(CHAT, "", ASK).await;
    upstream.request().await;
    upstream.reply("503 Down", &headers, "{}").await;
    upstream.request().await;
    upstream.reply("400 Bad", &headers, "{}").await;
    let answer = caller.answer().await;
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("2"));
}

#[tokio::test]
async fn what_another_attempt_would_not_mend_is_told_at_once() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    let quota = "{\"error\":{\"message\":\"spent\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}";
    for (status, hints, body) in [
        (400, "", "{}"),
        (401, "", "{}"),
        (404, "", "{}"),
        (429, "", quota),
        // Longer than the cap: the caller may have something better to do.
        (429, "retry-after: 2\r\n", "{}"),
        (503, "x-should-retry: false\r\n", "{}"),
    ] {
        caller.start(CHAT, "", ASK).await;
        upstream.request().await;
        let (status_line, headers) = (format!("{status} Whatever"), format!("{JSON}{hints}"));
        upstream.reply(&status_line, &headers, body).await;
        let answer = caller.answer().await;
        assert_eq!((answer.status(), answer.text()), (status, body));
        assert_eq!(answer.header("x-gateway-attempts"), None);
        if let Some((name, value)) = hints.trim_end().split_once(": ") {
            assert_eq!(answer.header(name).as_deref(), Some(value));
        }
    }
}

#[tokio::test]
async fn an_error_inside_of_a_200_is_tried_again_before_the_first_content_and_not_after_it() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(error).await;
    upstream.say("0\r\n\r\n").await;
    upstream.request().await;
    stream_to_its_end(&mut upstream).await;
    let answer = caller.answer().await;
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("2"));
    assert!(
        answer.text().starts_with(DELTA) && answer.text().ends_with("data: [DONE]\n\n"),
        "{answer:?}"
    );

    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(DELTA).await;
    upstream.chunk(error).await;
    upstream.say("0\r\n\r\n").await;
    let answer = caller.answer().await;
    assert_eq!(answer.header("x-gateway-attempts"), None);
    assert_eq!(answer.text(), format!("{DELTA}{error}"));
    let log = gateway.log();
    assert!(log.contains("class=interrupted"), "{log}");
}

#[tokio::test]
async fn a_call_of_another_kind_is_made_again_only_if_it_did_not_begin_or_has_a_key() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start("/v1/embeddings", "", ASK).await;
    upstream.request().await;
    upstream.reply("500 Broken", JSON, "{}").await;
    assert_eq!(caller.answer().await.status(), 500);

    caller
        .start("/v1/embeddings", "idempotency-key: 7\r\n", ASK)
        .await;
    let key = |request: &Answer| request.header("idempotency-key");
    assert_eq!(key(&upstream.request().await).as_deref(), Some("7"));
    upstream.reply("500 Broken", JSON, "{}").await;
    assert_eq!(key(&upstream.request().await).as_deref(), Some("7"));
    upstream.reply("200 OK", JSON, "{}").await;
    let answer = caller.answer().await;
    assert_eq!(answer.header("x-gateway-attempts").as_deref(), Some("2"));
}

#[tokio::test]
async fn an_endpoint_without_a_first_content_in_time_is_asked_again() {
    for (dialect, path) in [("openai", CHAT), ("anthropic", MESSAGES)] {
        let mut upstream = Upstream::start().await;
        let quick =
            "[timeouts]\nfirst_content = \"200 ms\"\n[retry]\nattempts = 2\nbase = \"1 ms\"\n";
        let gateway = Gateway::start(&config(dialect, &upstream.origin(), quick));
        let mut caller = Caller::connect(gateway.address).await;
        caller.start(path, "", STREAM).await;
        // A head, and comments, and no content.
        upstream.request().await;
        upstream.stream("").await;
        upstream.chunk(": thinking\n\n").await;
        assert!(upstream.left().await);
        upstream.hang_up();
        // And nothing at all.
        upstream.request().await;
        assert!(upstream.left().await);
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 504);
        let said = "endpoint `up`: no first content in time, at the last of 2 attempts";
        assert!(answer.text().contains(said), "{answer:?}");
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("true"));
        let metrics = caller.get("/metrics", "").await;
        let labels = [("endpoint", "up"), ("phase", "first content")];
        let found = metric(metrics.text(), "buttress_timeouts_total", &labels);
        assert!(found == 2.0, "{}", metrics.text());
        let log = gateway.log();
        assert!(
            log.contains(" class=unavailable ")
                && log.contains(" attempts=2 ")
                && log.contains(" timeout=\"no first content in time\""),
            "{log}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_stalls_is_broken_off_and_the_log_says_why() {
    let mut upstream = Upstream::start().await;
    let config = config(
        "openai",
        &upstream.origin(),
        "[timeouts]\nidle = \"1 min\"\n",
    );
    // What the endpoint says itself goes before what is said for all.
    let own = "\n[endpoint.timeouts]\nidle = \"200 ms\"\n\n[[route]]";
    let gateway = Gateway::start(&config.replacen("\n[[route]]", own, 1));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(DELTA).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(caller.chunk().await.as_deref(), Some(DELTA.as_bytes()));
    assert!(upstream.left().await);
    // Nothing that looks like an end.
    assert!(caller.closed().await);
    let log = gateway.log();
    assert!(
        log.contains(" status=200 class=interrupted ")
            && log.contains(" timeout=\"no further content in time\""),
        "{log}"
    );
}

#[tokio::test]
async fn the_total_bounds_attempts_and_waits_together() {
    let mut upstream = Upstream::start().await;
    let quick =
        "[timeouts]\ntotal = \"400 ms\"\n[retry]\nattempts = 10\nbase = \"1 ms\"\ncap = \"1 ms\"\n";
    let gateway = Gateway::start(&config("openai", &upstream.origin(), quick));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", ASK).await;
    upstream.request().await;
    upstream.reply("500 Broken", JSON, "{}").await;
    upstream.request().await;
    assert!(upstream.left().await);
    let answer = caller.answer().await;
    assert_eq!(answer.status(), 504);
    assert!(answer.text().contains("call timed out"), "{answer:?}");
    let log = gateway.log();
    assert!(log.contains(" timeout=\"call timed out\""), "{log}");
}

#[tokio::test]
async fn a_key_that_is_denied_gives_way_to_the_next_at_once() {
    let mut upstream = Upstream::start().await;
    let config = config("openai", &upstream.origin(), QUICK)
        .replace("\"UP_KEY\"", "[\"UP_KEY\", \"SPARE_KEY\"]");
    let gateway = Gateway::start(&config);
    let mut caller = Caller::connect(gateway.address).await;
    let keys = [
        "Bearer the-endpoints-canary-key",
        "Bearer the-spare-canary-key",
    ];
    caller
        .start(CHAT, "authorization: Bearer mine\r\n", ASK)
        .await;
    for (key, status) in [(keys[0], "401 Unauthorized"), (keys[1], "200 OK")] {
        let request = upstream.request().await;
        assert_eq!(request.header("authorization").as_deref(), Some(key));
        upstream.reply(status, JSON, "{}").await;
    }
    assert_eq!(caller.answer().await.status(), 200);
    // And the next call begins with it.
    caller.start(CHAT, "", ASK).await;
    let request = upstream.request().await;
    assert_eq!(request.header("authorization").as_deref(), Some(keys[1]));
    whole(&mut upstream).await;
    assert_eq!(caller.answer().await.status(), 200);
    let status = caller.get("/status", "").await;
    assert!(
        status.text().contains("credentials.benched key=UP_KEY"),
        "{status:?}"
    );
    let metrics = caller.get("/metrics", "").await;
    let labels = [("endpoint", "up"), ("class", "denied")];
    let found = metric(metrics.text(), "buttress_retries_total", &labels);
    assert!(found == 1.0, "{}", metrics.text());
    let log = gateway.log();
    // Nothing was waited for, and it is told all the same.
    assert!(log.contains(" attempts=2 after=denied "), "{log}");
    assert!(!(log + status.text()).contains("canary"));
}

#[tokio::test]
async fn a_caller_who_leaves_while_an_attempt_waits_has_made_one() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), QUICK));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", ASK).await;
    upstream.request().await;
    let hint = format!("{JSON}retry-after: 1\r\n");
    upstream.reply("503 Down", &hint, "{}").await;
    // When the page shows that it waits, the caller leaves.
    let mut monitor = Caller::connect(gateway.address).await;
    while !(monitor.get("/status", "").await.text()).contains("retry.again attempt=1") {}
    drop(caller);
    while !(monitor.get("/status", "").await.text()).contains("\"in_flight\":0") {}
    let metrics = monitor.get("/metrics", "").await;
    for (name, class, count) in [
        ("buttress_attempts_total", "unavailable", 1.0),
        ("buttress_requests_total", "cancelled", 1.0),
    ] {
        assert!(metric(metrics.text(), name, &[]) == count);
        let found = metric(metrics.text(), name, &[("class", class)]);
        assert!(found == count, "{name} {class}: {found}");
    }
    let log = gateway.log();
    assert!(log.contains("class=cancelled"), "{log}");
    assert_eq!(word(&log, "attempts"), None, "{log}");
    let waited: u64 = word(&log, "waited_ms").unwrap().parse().unwrap();
    assert!(waited < 1000, "{log}");
}
