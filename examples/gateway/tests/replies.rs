//! What becomes of replies that are not as they should be.

mod support;

use support::{Caller, Gateway, Upstream, config, metric, told};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

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
async fn a_stream_that_ends_without_its_terminator_does_not_end_as_if_it_were_whole() {
    let usage = ",\"stream_options\":{\"include_usage\":true}";
    for (cache, more) in [("", ""), ("", usage), ("[cache]\nsampled = true\n", "")] {
        let mut upstream = Upstream::start().await;
        let gateway = Gateway::start(&config("openai", &upstream.origin(), cache));
        let mut caller = Caller::connect(gateway.address).await;
        let ask = format!("{{\"model\":\"m-1\",\"stream\":true,\"messages\":[]{more}}}");
        caller.start(CHAT, "", &ask).await;
        upstream.request().await;
        // As from one that crashes, and whose replies end with the connection.
        upstream
            .say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            .await;
        upstream
            .say("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n")
            .await;
        caller.head().await;
        caller.chunk().await.unwrap();
        upstream.hang_up();
        assert!(caller.closed().await, "no last chunk");
        let log = gateway.log();
        assert!(log.contains("status=200 class=interrupted"), "{log}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_after_its_terminator_is_whole() {
    for (path, cache) in [
        (CHAT, ""),
        (CHAT, "[cache]\nsampled = true\n"),
        (MESSAGES, ""),
        (MESSAGES, "[cache]\nsampled = true\n"),
    ] {
        let mut upstream = Upstream::start().await;
        let gateway = Gateway::start(&config("openai", &upstream.origin(), cache));
        let mut caller = Caller::connect(gateway.address).await;
        let ask = "{\"model\":\"m-1\",\"max_tokens\":5,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"?\"}]}";
        caller.start(path, "", ask).await;
        upstream.request().await;
        upstream.stream("").await;
        for data in [
            "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}",
            "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
            "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
            "[DONE]",
        ] {
            upstream.chunk(format!("data: {data}\n\n")).await;
        }
        upstream.hang_up();
        let answer = caller.answer().await;
        assert!(answer.text().contains("Hi"), "{answer:?}");
        let page = caller.get("/metrics", "").await;
        let success = [("class", "success")];
        let successes = metric(page.text(), "buttress_requests_total", &success);
        assert!(successes == 1.0, "{path} {cache}: {}", page.text());
        let log = gateway.log();
        assert!(log.contains("status=200 class=success input=3"), "{log}");
    }
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
            // A wrong address is what its owner has to mend.
            let class = if code == "304" {
                "unfit"
            } else {
                "unavailable"
            };
            let told = format!("status=502 class={class}");
            assert!(log.contains(&told), "{status} {log}");
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

#[tokio::test]
async fn a_call_of_another_kind_may_be_answered_with_nothing() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start("/v1/embeddings", "", "{\"model\":\"m-1\"}")
        .await;
    upstream.request().await;
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(caller.head().await.starts_with("HTTP/1.1 204"));
    let metrics = Caller::connect(gateway.address)
        .await
        .get("/metrics", "")
        .await;
    let labels = [("endpoint", "up"), ("class", "success")];
    let of_embeddings = [
        labels[0],
        labels[1],
        ("gen_ai_operation_name", "embeddings"),
    ];
    for labels in [&labels[..], &of_embeddings] {
        let count = metric(metrics.text(), "buttress_attempts_total", labels);
        assert!(count == 1.0, "{}", metrics.text());
    }
    let log = gateway.log();
    assert!(log.contains("status=204 class=success"), "{log}");
}
