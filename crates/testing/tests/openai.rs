//! The OpenAI dialect, byte by byte.

mod support;

use buttress_testing::{Finish, Match, Provider, Reply, Usage};
use serde_json::{Value, json};
use support::Raw;

const PATH: &str = "/v1/chat/completions";

fn ask(streamed: bool) -> Value {
    json!({
        "model": "gpt-test",
        "stream": streamed,
        "messages": [{ "role": "user", "content": "Say it" }],
    })
}

fn parsed(events: &[String]) -> Vec<Value> {
    let chunks = events.iter().filter(|event| *event != "[DONE]");
    chunks
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}

#[tokio::test]
async fn a_whole_reply_has_text_finish_reason_and_usage() {
    let provider = Provider::openai()
        .reply(Reply::text("Hello there, friend"))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(false)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-request-id"), Some("req_00000001"));
    assert_eq!(
        answer.json(),
        json!({
            "id": "chatcmpl-00000001",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-test",
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": "Hello there, friend", "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5,
                "prompt_tokens_details": { "cached_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 0 },
            },
            "system_fingerprint": "fp_buttress",
        })
    );
    provider.finish();
}

#[tokio::test]
async fn a_stream_has_a_chunk_for_each_token_and_ends_with_done() {
    let provider = Provider::openai()
        .reply(Reply::text("Hello \"there\"").once())
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(true)).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(
        answer.text(),
        concat!(
            r#"data: {"id":"chatcmpl-00000001","object":"chat.completion.chunk","created":1700000000,"model":"gpt-test","system_fingerprint":"fp_buttress","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"chatcmpl-00000001","object":"chat.completion.chunk","created":1700000000,"model":"gpt-test","system_fingerprint":"fp_buttress","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"chatcmpl-00000001","object":"chat.completion.chunk","created":1700000000,"model":"gpt-test","system_fingerprint":"fp_buttress","choices":[{"index":0,"delta":{"content":" \"there\""},"logprobs":null,"finish_reason":null}]}"#,
            "\n\n",
            r#"data: {"id":"chatcmpl-00000001","object":"chat.completion.chunk","created":1700000000,"model":"gpt-test","system_fingerprint":"fp_buttress","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
            "\n\ndata: [DONE]\n\n",
        )
    );
    assert_eq!(answer.chunks.len(), 5, "an event a chunk");
    provider.finish();
}

#[tokio::test]
async fn a_stream_tells_its_usage_only_to_those_who_ask() {
    let usage = Usage::new(100, 10).cached(64).reasoning(4);
    let provider = Provider::openai()
        .reply(Reply::text("Hi").usage(usage))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let mut asked = ask(true);
    asked["stream_options"] = json!({ "include_usage": true });
    let answer = client.ask(PATH, &asked).await;
    let chunks = parsed(&answer.events());
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(
        last["usage"],
        json!({
            "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
            "prompt_tokens_details": { "cached_tokens": 64 },
            "completion_tokens_details": { "reasoning_tokens": 4 },
        })
    );
    assert!(
        others
            .iter()
            .all(|chunk| chunk.as_object().unwrap().contains_key("usage"))
    );
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let billed = provider.log().billed();
    assert_eq!((billed.calls, billed.input, billed.output), (1, 100, 10));
    assert_eq!(billed.cached, 64);
}

#[tokio::test]
async fn reasoning_and_tool_calls_are_streamed_in_parts_that_add_up() {
    let arguments = r#"{"city": "San Francisco", "unit": "celsius"}"#;
    let reply = Reply::text("Let me look")
        .reasoning("The user wants weather")
        .tool_call("weather", arguments)
        .tool_call("time", "{}");
    let provider = Provider::openai().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;

    let whole = client.ask(PATH, &ask(false)).await.json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "The user wants weather");
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], arguments);
    assert_eq!(message["tool_calls"][1]["id"], "call_00000001_1");
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");

    let streamed = client.ask(PATH, &ask(true)).await;
    let chunks = parsed(&streamed.events());
    let join = |pointer: &str, index: Option<u64>| {
        let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
        let of_call = deltas.filter(|delta| {
            index.is_none() || delta.pointer("/tool_calls/0/index").and_then(Value::as_u64) == index
        });
        of_call
            .filter_map(|delta| delta.pointer(pointer)?.as_str())
            .collect::<String>()
    };
    assert_eq!(join("/reasoning_content", None), "The user wants weather");
    assert_eq!(join("/content", None), "Let me look");
    assert_eq!(join("/tool_calls/0/function/name", Some(0)), "weather");
    assert_eq!(join("/tool_calls/0/function/arguments", Some(0)), arguments);
    assert_eq!(join("/tool_calls/0/id", Some(1)), "call_00000002_1");
    assert_eq!(join("/tool_calls/0/function/arguments", Some(1)), "{}");
    // One token for each word or so: 4 reasoning, 3 text, 2 names, 5 and 1 of arguments.
    assert_eq!(whole["usage"]["completion_tokens"], 4 + 3 + 2 + 5 + 1);
    assert_eq!(provider.log().billed().output, 2 * 15);
}

#[tokio::test]
async fn finish_reasons_and_chunk_counts_are_as_set() {
    let reply = Reply::text("one two three four")
        .finish(Finish::Length)
        .chunks(2);
    let provider = Provider::openai().reply(reply).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let chunks = parsed(&client.ask(PATH, &ask(true)).await.events());
    let texts: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(texts, ["", "one two", " three four"]);
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn an_error_has_the_envelope_and_the_hint() {
    let script = Reply::error(429)
        .retry_after("2")
        .then(
            Reply::error(429)
                .code("insufficient_quota")
                .message("Pay up"),
        )
        .then(Reply::error(500).once());
    let provider = Provider::openai().reply(script).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(true)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    let answer = client.ask(PATH, &ask(false)).await;
    assert_eq!(
        answer.json(),
        json!({ "error": {
            "message": "Pay up", "type": "insufficient_quota", "param": null, "code": "insufficient_quota",
        }})
    );
    let answer = client.ask(PATH, &ask(false)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["error"]["type"], "server_error");
    assert_eq!(provider.log().billed().calls, 0, "errors are free");
    provider.finish();
}

#[tokio::test]
async fn the_model_list_and_free_replies_are_served_beside_calls() {
    let provider = Provider::openai()
        .models(["gpt-test", "gpt-other"])
        .on(
            Match::path("/v1/embeddings"),
            Reply::json(json!({ "data": [] })),
        )
        .on(
            Match::path("/v1/audio"),
            Reply::bytes(201, "riff").header("content-type", "audio/wav"),
        )
        .reply(Reply::with(|request| {
            Reply::text(request.header("x-user").unwrap_or("nobody").to_owned())
        }))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client
        .send("GET /v1/models HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let models = client.answer().await.json();
    assert_eq!(models["data"][1]["id"], "gpt-other");
    let embeddings = client.ask("/v1/embeddings", &json!({ "input": "x" })).await;
    assert_eq!(embeddings.json(), json!({ "data": [] }));
    let audio = client.ask("/v1/audio", &json!({})).await;
    assert_eq!((audio.status, &audio.body[..]), (201, &b"riff"[..]));
    assert_eq!(audio.header("content-type"), Some("audio/wav"));
    let answer = client.ask(PATH, &ask(false)).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "nobody");
    provider.finish();
}

#[tokio::test]
async fn echo_says_what_was_asked() {
    let provider = Provider::openai()
        .reply(Reply::echo())
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &ask(false)).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Say it");
}
