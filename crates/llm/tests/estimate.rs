//! Estimates against what a tokenizer counted, and what a request adds up to.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::Usage;
use buttress_llm::estimate::{self, Estimate};
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

const ENGLISH: &str = include_str!("texts/english.txt");
const CHINESE: &str = include_str!("texts/chinese.txt");
const CODE: &str = include_str!("texts/code.py.txt");
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn input(body: &Value) -> u64 {
    Estimate::of_body(body.to_string().as_bytes()).input
}

/// One message of OpenAI's.
fn message(content: &Value) -> u64 {
    input(&json!({"model": "m", "messages": [{"role": "user", "content": content}]}))
}

/// What a message costs that says nothing.
const NOTHING: u64 = 7;

#[test]
fn texts_count_as_a_tokenizer_counts_them_within_the_stated_error() {
    // Counted with o200k, tiktoken-rs 0.7. None of them was fitted to.
    for (text, tokens, error) in [
        (ENGLISH, 263.0, -0.042),
        (CHINESE, 267.0, 0.097),
        (CODE, 302.0, -0.007),
    ] {
        let found = estimate::text(text) as f64 / tokens - 1.0;
        assert!((found - error).abs() < 0.001, "{found:+.3} of {tokens}");
    }
}

#[test]
fn a_conversation_counts_alike_in_every_dialect() {
    let openai = json!({"model": "m", "temperature": 0.5, "user": ENGLISH, "messages": [
        {"role": "system", "content": CODE},
        {"role": "user", "content": [{"type": "text", "text": ENGLISH}]},
    ]});
    let anthropic = json!({"model": "m", "max_tokens": 9, "metadata": {"user_id": ENGLISH},
        "system": [{"type": "text", "text": CODE, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": ENGLISH}]});
    let gemini = json!({"systemInstruction": {"parts": [{"text": CODE}]},
        "safetySettings": [{"category": ENGLISH}],
        "contents": [{"role": "user", "parts": [{"text": ENGLISH}]}]});
    let texts = estimate::text(ENGLISH) + estimate::text(CODE);
    // Of the two texts only the sum is rounded. One of the messages is no message to two of them.
    let range = |messages: u64| texts + 3 + 4 * messages - 1..=texts + 3 + 4 * messages;
    for (body, messages) in [(openai, 2), (anthropic, 1), (gemini, 1)] {
        assert!(range(messages).contains(&input(&body)), "{body}");
    }
}

#[test]
fn escapes_and_space_between_members_change_nothing() {
    let body = json!({"messages": [{"role": "user", "content": CHINESE}]});
    let mut escaped = String::new();
    for char in body.to_string().chars() {
        match char {
            ' '..='~' => escaped.push(char),
            _ => escaped += &format!("\\u{:04x}", u32::from(char)),
        }
    }
    let pretty = serde_json::to_string_pretty(&body).unwrap();
    let estimate = Estimate::of_body(body.to_string().as_bytes());
    assert_eq!(Estimate::of_body(escaped.as_bytes()), estimate);
    assert_eq!(Estimate::of_body(pretty.as_bytes()), estimate);
}

#[test]
fn an_image_counts_as_one_however_it_is_sent_and_however_large() {
    assert_eq!(message(&json!("")), NOTHING);
    let large = format!("/9j/{}", "A".repeat(1 << 20));
    for part in [
        json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}"), "detail": "high"}}),
        json!({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}),
        json!({"type": "input_image", "image_url": "https://example.com/cat.png"}),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": large}}),
        json!({"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}}),
        json!({"type": "image", "source": {"type": "file", "file_id": "file_011CNha8iCJcU1wXNR6q4V8w"}}),
        json!({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        json!({"inline_data": {"mime_type": "image/webp", "data": "UklGRiQAAABXRUJQVlA4"}}),
        json!({"inlineData": {"mimeType": "image/heic", "data": "AAAAGGZ0eXBoZWlj"}}),
        json!({"inlineData": {"mimeType": "image/avif", "data": "AAAAIGZ0eXBhdmlm"}}),
        json!({"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/cat.png"}}),
    ] {
        assert_eq!(
            message(&json!([part.clone()])),
            NOTHING + 1_000,
            "{part:.200}"
        );
        assert_eq!(message(&json!([part.clone(), part])), NOTHING + 2_000);
    }
}

#[test]
fn other_data_counts_by_its_length() {
    let wave = format!("UklGRiQAAABXQVZF{}", "A".repeat(12_784));
    let pdf = format!("data:application/pdf;base64,{}", "A".repeat(12_800 - 28));
    for part in [
        json!({"type": "input_audio", "input_audio": {"data": wave, "format": "wav"}}),
        json!({"type": "file", "file": {"file_data": pdf}}),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A".repeat(12_800)}}),
    ] {
        assert_eq!(message(&json!([part])), NOTHING + 100);
    }
}

#[test]
fn tools_are_counted_as_they_are_written_and_ids_are_not() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string", "description": ENGLISH}}});
    let tools =
        json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}]);
    let with = input(&json!({"messages": [], "tools": tools}));
    let text = estimate::text(&tools.to_string());
    assert_eq!(with, text + 3);
    assert!(text > estimate::text(ENGLISH));

    // Arguments as a string, and as an object.
    let arguments = json!({"city": "Leeds", "unit": "celsius"});
    let call =
        |call: Value| input(&json!({"messages": [{"role": "assistant", "tool_calls": [call]}]}));
    let openai = call(
        json!({"id": "call_9pw1qnYScqvGrCH58HWCvFH6", "type": "function",
        "function": {"name": "weather", "arguments": arguments.to_string()}}),
    );
    let anthropic = call(
        json!({"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "name": "weather", "input": arguments}),
    );
    assert_eq!(openai, anthropic);
    let gemini = call(
        json!({"functionCall": {"name": "weather", "args": arguments}, "thoughtSignature": PNG}),
    );
    assert_eq!(openai, gemini);
    assert!(openai > NOTHING + 10 && openai < NOTHING + 20, "{openai}");
}

#[test]
fn the_bound_of_the_reply_is_the_smallest_that_is_told() {
    for (body, bound) in [
        (r#"{}"#, None),
        (r#"{"max_tokens":9}"#, Some(9)),
        (r#"{"max_tokens":9,"max_completion_tokens":7}"#, Some(7)),
        (r#"{"max_output_tokens":9}"#, Some(9)),
        (
            r#"{"generationConfig":{"maxOutputTokens":8,"temperature":0}}"#,
            Some(8),
        ),
        (r#"{"max_tokens":-1}"#, None),
        (r#"{"max_tokens":"9"}"#, None),
        (r#"{"max_tokens":null}"#, None),
        (r#"{"generationConfig":[]}"#, None),
    ] {
        let estimate = Estimate::of_body(body.as_bytes());
        assert_eq!(estimate.max_output, bound, "{body}");
        assert_eq!(estimate.total(100), 3 + bound.unwrap_or(100));
    }
    let estimate = Estimate::of_body(b"{\"max_tokens\":9}");
    assert_eq!(estimate.usage(100), Usage::new(3, 9).estimated());
    let most = Estimate::of_body(b"{\"max_tokens\":1e300}");
    assert_eq!(most.total(0), u64::MAX, "and no overflow");
}

#[test]
fn what_is_no_request_counts_as_a_text() {
    for text in [
        "",
        "hello there",
        "[1,2",
        "{\"messages\":",
        "\"text\"",
        "[]",
        "{} x",
        "\u{feff}{}",
    ] {
        let estimate = Estimate::of_body(text.as_bytes());
        assert_eq!(
            (estimate.input, estimate.max_output),
            (estimate::text(text), None),
            "{text}"
        );
    }
    let invalid = Estimate::of_body(b"{\"messages\":[\"\xff\xfe\"]}");
    assert!(invalid.input < 10);
    for odd in [
        json!({"messages": 1}),
        json!({"messages": {"role": 1, "content": null}}),
        json!({"tools": null}),
    ] {
        assert!(input(&odd) < 10, "{odd}");
    }
}

#[test]
fn s7_ten_thousand_levels_are_an_estimate_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{\"content\":", "}")] {
        let body = format!(
            "{{\"messages\":{}1{}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        );
        assert_eq!(
            Estimate::of_body(body.as_bytes()).input,
            estimate::text(&body)
        );
        let body = format!(
            "{{\"messages\":{}\"hello\"{}}}",
            open.repeat(127),
            close.repeat(127)
        );
        assert!(
            Estimate::of_body(body.as_bytes()).input < 10,
            "as deep as it may be"
        );
    }
}

/// A body of frames that are there at once, and then an end or not.
#[derive(Clone)]
struct Frames(&'static [&'static str], bool);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.0.split_first(), self.1) {
            (Some((first, rest)), _) => {
                self.0 = rest;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(first.as_bytes())))))
            }
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn a_request_is_estimated_by_what_it_carries_or_else_by_a_body_in_memory() {
    const PARTS: &[&str] = &["{\"prompt\":\"Once ", "", "upon a time\"}"];
    let whole = Estimate::of_body(PARTS.concat().as_bytes());
    let full = Request::new(Full::<Bytes>::from(PARTS.concat()));
    assert_eq!(Estimate::of(&full), Some(whole));
    assert_eq!(
        full.into_body().collect().await.unwrap().to_bytes(),
        PARTS.concat(),
        "still there"
    );
    assert_eq!(
        Estimate::of(&Request::new(Frames(PARTS, true))),
        Some(whole)
    );

    let mut live = Request::new(Frames(PARTS, false));
    assert_eq!(Estimate::of(&live), None);
    live.extensions_mut().insert(whole);
    assert_eq!(Estimate::of(&live), Some(whole));
}
