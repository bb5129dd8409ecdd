//! The Anthropic dialect, byte by byte.

mod support;

use buttress_testing::{Provider, Reply, Usage};
use serde_json::{Value, json};
use support::Raw;

const PATH: &str = "/v1/messages";

fn ask(streamed: bool) -> Value {
    json!({
        "model": "claude-test",
        "max_tokens": 100,
        "stream": streamed,
        "system": "Be brief",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Say it" }] }],
    })
}

#[tokio::test]
async fn a_whole_reply_has_content_stop_reason_and_usage() {
    let reply = Reply::text("Hello there")
        .reasoning("Hm")
        .tool_call("weather", r#"{"city":"Oslo"}"#)
        .usage(Usage::new(100, 20).cached(60).cache_write(30));
    let provider = Provider::anthropic().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(false)).await;
    assert_eq!(answer.header("request-id"), Some("req_00000001"));
    assert_eq!(
        answer.json(),
        json!({
            "id": "msg_00000001",
            "type": "message",
            "role": "assistant",
            "model": "claude-test",
            "content": [
                { "type": "thinking", "thinking": "Hm", "signature": "YnV0dHJlc3M=" },
                { "type": "text", "text": "Hello there" },
                { "type": "tool_use", "id": "toolu_00000001_0", "name": "weather", "input": { "city": "Oslo" } },
            ],
            "stop_reason": "tool_use",
            "stop_sequence": null,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 60,
                "output_tokens": 20,
            },
        })
    );
    let billed = provider.log().billed();
    assert_eq!(
        (
            billed.input,
            billed.cached,
            billed.cache_write,
            billed.output
        ),
        (100, 60, 30, 20)
    );
    provider.finish();
}

#[tokio::test]
async fn a_stream_is_named_events_from_message_start_to_message_stop() {
    let provider = Provider::anthropic()
        .reply(Reply::text("Hello there"))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(true)).await;
    let expected = [
        json!({ "type": "message_start", "message": {
            "id": "msg_00000001", "type": "message", "role": "assistant", "model": "claude-test",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {
                "input_tokens": 4, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0, "output_tokens": 1,
            },
        }}),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hello" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": " there" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": "end_turn", "stop_sequence": null },
            "usage": {
                "input_tokens": 4, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0, "output_tokens": 2,
            },
        }),
        json!({ "type": "message_stop" }),
    ];
    let text = answer.text();
    let events: Vec<_> = text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), expected.len(), "{text}");
    for (event, expected) in events.iter().zip(&expected) {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let name = name.strip_prefix("event: ").unwrap();
        assert_eq!(name, expected["type"]);
        assert_eq!(&serde_json::from_str::<Value>(data).unwrap(), expected);
    }
    provider.finish();
}

#[tokio::test]
async fn every_block_is_opened_filled_and_closed_in_turn() {
    let arguments = r#"{"city": "San Francisco"}"#;
    let reply = Reply::text("Let me look")
        .reasoning("One moment")
        .tool_call("weather", arguments)
        .tool_call("time", "");
    let provider = Provider::anthropic().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let events = client.ask(PATH, &ask(true)).await.events();
    let events: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let mut open = None;
    let mut blocks: Vec<(String, String)> = Vec::new();
    for event in &events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(open, None);
                open = event["index"].as_u64();
                assert_eq!(open, Some(blocks.len() as u64));
                blocks.push((
                    event["content_block"]["type"].as_str().unwrap().to_owned(),
                    String::new(),
                ));
            }
            "content_block_delta" => {
                assert_eq!(event["index"].as_u64(), open);
                let delta = &event["delta"];
                for field in ["text", "thinking", "partial_json"] {
                    blocks.last_mut().unwrap().1 += delta[field].as_str().unwrap_or_default();
                }
            }
            "content_block_stop" => {
                assert_eq!(event["index"].as_u64(), open);
                open = None;
            }
            _ => assert_eq!(open.filter(|_| event["type"] != "ping"), None),
        }
    }
    let expected = [
        ("thinking", "One moment"),
        ("text", "Let me look"),
        ("tool_use", arguments),
        ("tool_use", ""),
    ];
    assert_eq!(
        blocks,
        expected.map(|(kind, text)| (kind.to_owned(), text.to_owned()))
    );
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
}

#[tokio::test]
async fn an_error_has_the_envelope_with_the_request_id() {
    let script = Reply::error(529).then(
        Reply::error(429)
            .code("enforced_spend_limit_reached")
            .once(),
    );
    let provider = Provider::anthropic().reply(script).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(true)).await;
    assert_eq!(answer.status, 529);
    assert_eq!(
        answer.json(),
        json!({
            "type": "error",
            "error": { "type": "overloaded_error", "message": "Overloaded" },
            "request_id": "req_00000001",
        })
    );
    let error = client.ask(PATH, &ask(true)).await.json();
    assert_eq!(
        error["error"]["details"]["error_code"],
        "enforced_spend_limit_reached"
    );
    provider.finish();
}

#[tokio::test]
async fn the_model_list_has_the_dialects_form() {
    let provider = Provider::anthropic()
        .models(["claude-test"])
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client
        .send("GET /v1/models?limit=10 HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let models = client.answer().await.json();
    assert_eq!(models["data"][0]["id"], "claude-test");
    assert_eq!(models["last_id"], "claude-test");
}
