//! Recorded streams, replayed. The recordings here are written by hand after the dialects' facts.

use std::time::Duration;

use buttress_testing::{Dialect, Ending, Fault, Provider, Reply, ReplyBody, Running, StartError};
use http::Response;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::Instant;
use tower::ServiceExt;

const OPENAI: &str = r#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}
{"id":"a","choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}],"usage":null}
{"id":"a","choices":[{"index":0,"delta":{"content":"Hello"}}],"usage":null}

{"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}
{"id":"a","choices":[],"usage":{"prompt_tokens":16,"completion_tokens":30,"prompt_tokens_details":{"cached_tokens":4}}}
"#;

const ANTHROPIC: &str = r#"{"type":"message_start","message":{"usage":{"input_tokens":12,"cache_read_input_tokens":5,"output_tokens":1}}}
{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
{"type":"ping"}
{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}
{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"!"}}
{"type":"content_block_stop","index":0}
{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":30}}
{"type":"message_stop"}"#;

const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"Hello"}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"thoughtsTokenCount":185}}
{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":28,"thoughtsTokenCount":185}}"#;

async fn call(provider: &Running, streamed: bool) -> Response<ReplyBody> {
    let ask = provider.ask("test", "Say it");
    let ask = if streamed { ask.streamed() } else { ask };
    provider.service().oneshot(ask.request()).await.unwrap()
}

async fn text(response: Response<ReplyBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(recording: &str) -> impl Iterator<Item = &str> {
    recording.lines().filter(|line| !line.is_empty())
}

#[tokio::test(start_paused = true)]
async fn a_recording_goes_out_byte_for_byte_in_the_dialects_framing() {
    let openai: String = lines(OPENAI)
        .map(|line| format!("data: {line}\n\n"))
        .collect();
    let anthropic: String = lines(ANTHROPIC)
        .map(|line| {
            let (_, name) = line.split_once("\"type\":\"").unwrap();
            format!(
                "event: {}\ndata: {line}\n\n",
                name.split('"').next().unwrap()
            )
        })
        .collect();
    let gemini: String = lines(GEMINI)
        .map(|line| format!("data: {line}\r\n\r\n"))
        .collect();
    for (dialect, recording, expected, billed) in [
        (
            Dialect::OpenAi,
            OPENAI,
            openai + "data: [DONE]\n\n",
            (16, 30, 4),
        ),
        (Dialect::Anthropic, ANTHROPIC, anthropic, (17, 30, 5)),
        (Dialect::Gemini, GEMINI, gemini, (9, 213, 0)),
    ] {
        let provider = Provider::new(dialect)
            .reply(Reply::recorded(recording))
            .in_process()
            .unwrap();
        for calls in 1..3 {
            assert_eq!(text(call(&provider, true).await).await, expected);
            let (input, output, cached) = billed;
            let bill = provider.log().billed();
            assert_eq!(
                (bill.calls, bill.input, bill.output, bill.cached),
                (calls, input * calls, output * calls, cached * calls)
            );
        }
        provider.finish();
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_keeps_the_pace_that_is_set_and_takes_faults() {
    let reply = Reply::recorded(OPENAI)
        .first_event_after(Duration::from_secs(3))
        .pace(Duration::from_secs(1));
    let script = reply.then(Reply::recorded(OPENAI).fault(Fault::Reset { after: 1 }));
    let provider = Provider::openai().reply(script).in_process().unwrap();
    let start = Instant::now();
    text(call(&provider, true).await).await;
    assert_eq!(start.elapsed().as_secs(), 3 + 5);
    let cut = call(&provider, true).await.into_body().collect().await;
    cut.unwrap_err();
    let seen = provider.log().last().unwrap();
    assert_eq!(seen.ending(), Some(Ending::BrokenOff));
    assert_eq!(seen.billed().output, 15, "one of two contents");
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_usage_nobody_knows_is_billed_for_what_it_says() {
    let payloads = ["one", "two", "three"]
        .map(|text| json!({ "choices": [{ "delta": { "content": text } }] }));
    let provider = Provider::openai()
        .reply(Reply::events(payloads))
        .in_process()
        .unwrap();
    text(call(&provider, true).await).await;
    let billed = provider.log().billed();
    assert_eq!((billed.input, billed.output), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_recorded_stream_is_no_whole_reply() {
    let provider = Provider::openai()
        .reply(Reply::recorded(OPENAI))
        .in_process()
        .unwrap();
    assert_eq!(call(&provider, false).await.status(), 501);
    let end = std::panic::AssertUnwindSafe(|| provider.finish());
    let words = std::panic::catch_unwind(end)
        .unwrap_err()
        .downcast::<String>()
        .unwrap();
    assert!(
        words.contains("its reply is a stream, and it asks for none"),
        "{words}"
    );
}

#[tokio::test]
async fn a_line_that_is_no_json_stops_the_start_and_is_named() {
    let provider = Provider::openai().reply(Reply::recorded("{}\n\n{\"a\":\n"));
    let error = provider.start().await.unwrap_err();
    assert!(matches!(error, StartError::Script(_)));
    assert!(
        error.to_string().contains("line 3 of the recording"),
        "{error}"
    );
}
