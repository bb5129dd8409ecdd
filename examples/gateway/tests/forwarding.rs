//! What reaches an endpoint, and what comes back, byte for byte.

mod support;

use serde_json::json;
use support::{Caller, Gateway, Upstream, config, metric};

/// White space, escapes, number forms and unknown fields that a re-encoding would lose.
const ODD: &str = "{ \"model\":\"m-1\" ,\"max_tokens\":64,\t\"x_new\":{\"b\":1.0,\"a\":1e2},\n \
                   \"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9 \\/ é\"}]}";

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// A stream of OpenAI's: its content, the chunk of the usage alone, its end.
const CONTENT: &str = concat!(
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüße\"}}]}\r\n\r\n",
    ": a comment\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
);
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A stream of Anthropic's.
const EVENTS: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// A gateway in front of one endpoint, and a caller.
async fn set_up(dialect: &str, base: &str) -> (Upstream, Gateway, Caller) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config(
        dialect,
        &format!("{}{base}", upstream.origin()),
        "",
    ));
    let caller = Caller::connect(gateway.address).await;
    (upstream, gateway, caller)
}

#[tokio::test]
async fn the_bytes_of_a_request_and_of_its_reply_stay_what_they_were() {
    for (dialect, base, path, target, reply) in [
        (
            "openai",
            "/v1",
            CHAT,
            "/v1/chat/completions",
            "{\"choices\" : [{\"message\":{\"content\":\"\\u00fc\"},\"finish_reason\":\"stop\"}],\n\"x\":1e2}",
        ),
        (
            "openai",
            "/some/where",
            CHAT,
            "/some/where/chat/completions",
            "{\"choices\":[]}",
        ),
        (
            "anthropic",
            "",
            MESSAGES,
            "/v1/messages",
            "{\"type\":\"message\", \"content\":[{\"type\":\"text\",\"text\":\"é\"}]}",
        ),
        (
            "anthropic",
            "/v1",
            MESSAGES,
            "/v1/messages",
            "{\"type\":\"message\",\"content\":[]}",
        ),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, base).await;
        caller.start(path, "", ODD).await;
        let request = upstream.request().await;
        assert_eq!(
            request.head.lines().next(),
            Some(format!("POST {target} HTTP/1.1").as_str())
        );
        assert_eq!(request.text(), ODD);
        upstream
            .reply(
                "200 OK",
                "content-type: application/json\r\nx-theirs: 1\r\n",
                reply,
            )
            .await;
        let answer = caller.answer().await;
        assert_eq!((answer.status(), answer.text()), (200, reply));
        assert_eq!(answer.header("x-theirs").as_deref(), Some("1"));
        assert_eq!(
            answer.header("content-length"),
            Some(reply.len().to_string())
        );
    }
}

#[tokio::test]
async fn a_body_in_chunks_goes_out_whole() {
    let (mut upstream, _gateway, mut caller) = set_up("openai", "").await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n";
    caller.send(head).await;
    for part in ODD.as_bytes().chunks(9) {
        caller
            .send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())
            .await;
    }
    caller.send("0\r\n\r\n").await;
    let request = upstream.request().await;
    assert_eq!(request.text(), ODD);
    assert_eq!(request.header("transfer-encoding"), None);
}

#[tokio::test]
async fn the_bytes_of_a_stream_stay_what_they_were_wherever_it_is_cut() {
    let asked = "{\"model\":\"m-1\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
    let whole = [CONTENT, USAGE, DONE].concat();
    for (dialect, path, body, stream) in [
        ("openai", CHAT, asked, whole.as_str()),
        (
            "anthropic",
            MESSAGES,
            "{\"model\":\"m-1\",\"stream\":true}",
            EVENTS,
        ),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, "").await;
        for size in [1, 7, 61, 4096] {
            caller.start(path, "", body).await;
            assert_eq!(upstream.request().await.text(), body);
            upstream.stream("").await;
            for part in stream.as_bytes().chunks(size) {
                upstream.chunk(part).await;
            }
            upstream.say("0\r\n\r\n").await;
            let answer = caller.answer().await;
            assert_eq!(answer.text(), stream, "{dialect} in parts of {size}");
            assert_eq!(
                answer.header("content-type").as_deref(),
                Some("text/event-stream; charset=utf-8")
            );
            assert_eq!(answer.header("cache-control").as_deref(), Some("no-cache"));
            assert_eq!(answer.header("x-accel-buffering").as_deref(), Some("no"));
        }
    }
}

#[tokio::test]
async fn a_part_of_a_stream_is_delivered_before_the_next_comes() {
    for (dialect, path, stream) in [("openai", CHAT, CONTENT), ("anthropic", MESSAGES, EVENTS)] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, "").await;
        caller
            .start(path, "", "{\"model\":\"m-1\",\"stream\":true}")
            .await;
        upstream.request().await;
        upstream.stream("").await;
        let mut delivered = String::new();
        let mut sent = String::new();
        for event in stream.split_inclusive("\n\n") {
            upstream.chunk(event).await;
            sent.push_str(event);
            // Until the first content, head and events are held back.
            if sent.contains("Gr") || sent.contains("\"text\"") {
                if delivered.is_empty() {
                    caller.head().await;
                }
                while delivered.len() < sent.len() {
                    delivered
                        .push_str(std::str::from_utf8(&caller.chunk().await.unwrap()).unwrap());
                }
            }
        }
        assert_eq!(delivered, stream);
    }
}

#[tokio::test]
async fn usage_that_the_caller_did_not_ask_for_is_asked_for_and_taken_out_wherever_it_is_cut() {
    let (mut upstream, gateway, mut caller) = set_up("openai", "").await;
    let stream = [CONTENT, USAGE, DONE].concat();
    let cuts = CONTENT.len()..=CONTENT.len() + USAGE.len();
    let calls = cuts.clone().count();
    for cut in cuts {
        caller
            .start(CHAT, "", "{\"model\":\"m-1\",\"stream\":true, \"x\":1.0}")
            .await;
        let request = upstream.request().await;
        let asked = json!({ "model": "m-1", "stream": true, "x": 1.0, "stream_options": { "include_usage": true } });
        assert_eq!(request.json(), asked);
        assert!(
            request
                .text()
                .ends_with("\"model\":\"m-1\",\"stream\":true, \"x\":1.0}"),
            "{}",
            request.text()
        );
        upstream.stream("").await;
        upstream.chunk(&stream[..cut]).await;
        upstream.chunk(&stream[cut..]).await;
        upstream.say("0\r\n\r\n").await;
        assert_eq!(
            caller.answer().await.text(),
            [CONTENT, DONE].concat(),
            "cut at {cut}"
        );
    }
    // It was taken out, and read.
    let metrics = caller.get("/metrics", "").await;
    let labels = [("endpoint", "up"), ("gen_ai_token_type", "input")];
    let counted = metric(metrics.text(), "gen_ai_client_token_usage_sum", &labels);
    assert!(counted == (7 * calls) as f64, "{}", metrics.text());
    drop(gateway);
}

#[tokio::test]
async fn nothing_is_added_to_a_request_that_is_no_chat_with_a_stream() {
    let unary = "{\"model\":\"m-1\",\"stream\":false}";
    let stream = "{\"model\":\"m-1\",\"stream\":true}";
    for (dialect, path, body) in [
        ("openai", CHAT, unary),
        ("openai", "/v1/responses", stream),
        ("anthropic", MESSAGES, stream),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, "").await;
        caller.start(path, "", body).await;
        assert_eq!(upstream.request().await.text(), body);
    }
}

#[tokio::test]
async fn a_route_renames_the_model_and_nothing_else() {
    for (dialect, path) in [
        ("openai", CHAT),
        ("openai", "/v1/embeddings"),
        ("anthropic", MESSAGES),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, "").await;
        let body = |model: &str| {
            format!("{{\"x\":{{\"model\":\"alias\"}},\n\"model\" : \"{model}\", \"y\":\"alias\"}}")
        };
        caller.start(path, "", body("alias")).await;
        assert_eq!(upstream.request().await.text(), body("m-real"));
    }
}

#[tokio::test]
async fn other_paths_of_a_dialect_are_forwarded_if_the_body_names_a_routed_model() {
    let version = "anthropic-version: 2024-01-01\r\n";
    for (dialect, path, headers) in [
        ("openai", "/v1/embeddings", ""),
        ("openai", "/v1/responses?x=1", ""),
        ("anthropic", "/v1/messages/count_tokens", ""),
        ("anthropic", "/v1/complete", version),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect, "/v1").await;
        caller
            .start(path, headers, "{\"model\":\"m-1\",\"input\":\"text\"}")
            .await;
        let request = upstream.request().await;
        assert_eq!(
            request.head.lines().next(),
            Some(format!("POST {path} HTTP/1.1").as_str())
        );
        assert_eq!(request.text(), "{\"model\":\"m-1\",\"input\":\"text\"}");
        upstream
            .reply(
                "200 OK",
                "content-type: application/json\r\n",
                "{\"any\":\"thing\"}",
            )
            .await;
        assert_eq!(caller.answer().await.text(), "{\"any\":\"thing\"}");
    }
}

#[tokio::test]
async fn the_stream_of_another_path_is_not_held_back_and_not_judged_by_its_events() {
    let (mut upstream, gateway, mut caller) = set_up("openai", "").await;
    caller
        .start("/v1/responses", "", "{\"model\":\"m-1\",\"stream\":true}")
        .await;
    upstream.request().await;
    upstream.stream("").await;
    let events = [
        "event: response.created\ndata: {\"type\":\"response.created\"}\n\n",
        "event: x\ndata: {}\n\n",
    ];
    upstream.chunk(events[0]).await;
    caller.head().await;
    assert_eq!(caller.chunk().await.unwrap(), events[0].as_bytes());
    upstream.chunk(events[1]).await;
    assert_eq!(caller.chunk().await.unwrap(), events[1].as_bytes());
    upstream.say("0\r\n\r\n").await;
    assert_eq!(caller.chunk().await, None);
    let log = gateway.log();
    assert!(
        log.contains("path=\"/v1/responses\" model=\"m-1\" endpoint=up status=200 class=success"),
        "{log}"
    );
}

#[tokio::test]
async fn the_first_endpoint_of_a_route_serves_callers_of_both_dialects_and_other_paths_go_to_theirs()
 {
    const REPLY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"both","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":2,"output_tokens":1}}"#;
    const ASKED: &str =
        r#"{"model":"both","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;

    let (mut openai, mut anthropic) = (Upstream::start().await, Upstream::start().await);
    let more = format!(
        "[[endpoint]]\nname = \"other\"\ndialect = \"anthropic\"\nbase_url = \"{}\"\n[[route]]\nmodel = \"both\"\nendpoints = [\"other\", \"up\"]\n",
        anthropic.origin()
    );
    let gateway = Gateway::start(&config("openai", &openai.origin(), &more));
    for (path, said) in [
        (MESSAGES, REPLY),
        (CHAT, r#""message":{"role":"assistant","content":"Hello""#),
    ] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.start(path, "", ASKED).await;
        assert!(
            anthropic
                .request()
                .await
                .head
                .starts_with("POST /v1/messages ")
        );
        anthropic
            .reply("200 OK", "content-type: application/json\r\n", REPLY)
            .await;
        let answer = caller.answer().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().contains(said), "{}", answer.text());
    }
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .start("/v1/embeddings", "", "{\"model\":\"both\"}")
        .await;
    openai.request().await;
    openai
        .reply("200 OK", "content-type: application/json\r\n", "{}")
        .await;
    assert_eq!(caller.answer().await.status(), 200);
}
