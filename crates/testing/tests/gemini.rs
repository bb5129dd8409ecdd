//! The Gemini dialect, byte by byte.

mod support;

use buttress_testing::{Dialect, Match, Provider, Reply, Usage};
use serde_json::{Value, json};
use support::Raw;

fn ask() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "Say it" }] }] })
}

fn path(streamed: bool) -> String {
    Dialect::Gemini.call_path("gemini-test", streamed)
}

#[tokio::test]
async fn a_whole_reply_has_parts_finish_reason_and_usage() {
    let reply = Reply::text("Hello there")
        .reasoning("Hm")
        .tool_call("weather", r#"{"city":"Oslo"}"#)
        .usage(Usage::new(100, 20).cached(60).reasoning(5));
    let provider = Provider::gemini()
        .on(Match::model("gemini-test"), reply)
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(&path(false), &ask()).await;
    assert_eq!(
        answer.json(),
        json!({
            "candidates": [{
                "content": {
                    "role": "model",
                    "parts": [
                        { "text": "Hm", "thought": true },
                        { "text": "Hello there" },
                        {
                            "functionCall": { "name": "weather", "args": { "city": "Oslo" } },
                            "thoughtSignature": "YnV0dHJlc3M=",
                        },
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
            }],
            "usageMetadata": {
                "promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5,
                "cachedContentTokenCount": 60, "totalTokenCount": 120,
            },
            "modelVersion": "gemini-test",
            "responseId": "buttress-00000001",
        })
    );
    provider.finish();
}

#[tokio::test]
async fn a_stream_counts_its_usage_on_every_chunk_and_ends_with_the_body() {
    let reply = Reply::text("Hello there").usage(Usage::new(9, 14).reasoning(10));
    let provider = Provider::gemini().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(&path(true), &ask()).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = answer.text();
    let events: Vec<Value> = text
        .split_terminator("\r\n\r\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            let candidate = &event["candidates"][0];
            (
                candidate["content"]["parts"][0]["text"].as_str().unwrap(),
                candidate["finishReason"].as_str(),
                event["usageMetadata"]["candidatesTokenCount"].as_u64(),
                event["usageMetadata"]["thoughtsTokenCount"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("Hello", None, Some(2), Some(10)),
            (" there", None, Some(4), Some(10)),
            ("", Some("STOP"), Some(4), Some(10)),
        ]
    );
    assert_eq!(provider.log().billed().output, 14);
    provider.finish();
}

#[tokio::test]
async fn without_alt_sse_a_stream_is_an_array() {
    let reply = Reply::text("Hello there").tool_call("weather", r#"{"city": "San Francisco"}"#);
    let provider = Provider::gemini().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let plain = path(true).replace("?alt=sse", "");
    let answer = client.ask(&plain, &ask()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let array = answer.json();
    let array = array.as_array().unwrap();
    assert_eq!(array.len(), 4);
    assert_eq!(answer.chunks.len(), 4);
    let call = &array[2]["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!(call["args"]["city"], "San Francisco");
}

#[tokio::test]
async fn an_error_has_code_status_and_details() {
    let retry = json!([{
        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s",
    }]);
    let script = Reply::error(429)
        .details(retry.clone())
        .then(Reply::error(400).code("API_KEY_INVALID").once());
    let provider = Provider::gemini().reply(script).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(&path(true), &ask()).await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        answer.json(),
        json!({ "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
            "details": retry,
        }})
    );
    let error = client.ask(&path(false), &ask()).await.json();
    assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(error["error"]["details"][0]["reason"], "API_KEY_INVALID");
    provider.finish();
}

#[tokio::test]
async fn the_model_list_has_the_dialects_form() {
    let provider = Provider::gemini()
        .models(["gemini-test"])
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client
        .send("GET /v1beta/models HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(
        client.answer().await.json()["models"][0]["name"],
        "models/gemini-test"
    );
}
