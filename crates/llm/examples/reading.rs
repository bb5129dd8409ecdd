//! What it costs to read along: the time of a meter over a stream, against one pass over the same
//! bytes that only finds the events.
//!
//! ```sh
//! cargo run --release -p buttress-llm --example reading [FILE.jsonl DIALECT]...
//! ```
//!
//! A file holds the data of one event a line; without one, streams of our own are read. The goal is a
//! ratio of at most 1.5 over a stream of hundreds of events.
//!
//! The first events of a stream are read in full, and learned from: with the meter itself that is 0.6 to
//! 0.7 µs for a stream of one event, 10 to 15 times a pass over it, and 1.2 to 2 µs for one of 12, 2.4 to
//! 4.5 times. No call notices that.

use std::{env, error::Error, fs, hint::black_box};

use buttress_http::{Judge, sse::Decoder};
use buttress_llm::{Dialect, request::Peek};
use bytes::Bytes;
use tokio::time::Instant;

/// So many events of content in a stream.
const EVENTS: usize = 300;

/// So many streams a measurement, of which the fastest counts: short enough to be left alone by
/// whatever else runs.
const STREAMS: u32 = 5;
const ROUNDS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let mut streams = Vec::new();
    for pair in args.chunks_exact(2) {
        let file = fs::read_to_string(&pair[0])?;
        let payloads = file.lines().map(str::to_owned).collect();
        streams.push((&*pair[0], pair[1].parse()?, payloads));
    }
    if streams.is_empty() {
        streams.extend([
            ("openai, text", Dialect::OpenAi, openai_text()),
            ("openai, obfuscated", Dialect::OpenAi, openai_obfuscated()),
            ("openai, two tools", Dialect::OpenAi, openai_tools()),
            ("anthropic, text", Dialect::Anthropic, anthropic_text()),
            ("gemini, text", Dialect::Gemini, gemini_text()),
        ]);
    }
    println!(
        "{:<28} {:>9} {:>12} {:>12} {:>7}",
        "stream", "bytes", "find ns/ev", "read ns/ev", "ratio"
    );
    for (name, dialect, payloads) in streams {
        let events = payloads.iter().map(|data| event(dialect, data));
        let chunks: Vec<_> = events.map(Bytes::from).collect();
        measure(name, dialect, &chunks);
        let whole = chunks.concat();
        let packed: Vec<_> = whole.chunks(16 << 10).map(Bytes::copy_from_slice).collect();
        measure("  in chunks of 16 KiB", dialect, &packed);
        for short in [1, 12] {
            let name = format!("  the first {short}");
            measure(&name, dialect, &chunks[..short.min(chunks.len())]);
        }
    }
    measure_request()
}

/// A conversation of 100 KB, on its way to another model.
fn measure_request() -> Result<(), Box<dyn Error>> {
    let text: String = words().map(|(_, word)| word).collect();
    let message = format!(r#"{{"role":"user","content":"{text}"}}"#);
    let messages = vec![message; 100_000 / (text.len() + 30)].join(",");
    let body = format!(r#"{{"model":"fast","stream":true,"messages":[{messages}]}}"#);
    let body = Bytes::from(body);
    let time = |work: &mut dyn FnMut()| {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            work();
            best = best.min(start.elapsed().as_secs_f64());
        }
        best * 1e6
    };
    let peek = time(&mut || drop(black_box(Peek::new(body.clone()))));
    let request = Peek::new(body.clone())?;
    let edit = time(&mut || {
        drop(black_box(
            request.edit().model("slow").include_usage().finish(),
        ));
    });
    let utf8 = time(&mut || {
        let _ = black_box(std::str::from_utf8(&body));
    });
    println!(
        "\na request of {} KB: {peek:.1} µs to read, {edit:.1} µs to edit ({utf8:.1} µs to check UTF-8 alone)",
        body.len() / 1000
    );
    Ok(())
}

fn measure(name: &str, dialect: Dialect, chunks: &[Bytes]) {
    let (parts, ()) = http::Response::builder()
        .header("content-type", "text/event-stream")
        .body(())
        .expect("a response")
        .into_parts();
    let (mut find, mut read, mut events) = (f64::INFINITY, f64::INFINITY, 0);
    // In turns, so that both see the same machine.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..STREAMS {
            events = 0;
            let mut decoder = Decoder::new();
            for chunk in chunks {
                let mut rest = &chunk[..];
                while let Some(event) = decoder.scan(&mut rest) {
                    events += usize::from(black_box(event).is_ok());
                }
            }
        }
        find = find.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for _ in 0..STREAMS {
            let mut meter = dialect.meter(&parts).expect("a meter for a stream");
            for chunk in chunks {
                black_box(meter.chunk(chunk));
            }
            black_box(meter.usage());
        }
        read = read.min(start.elapsed().as_secs_f64());
    }
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let each = |time: f64| time * 1e9 / f64::from(STREAMS) / events as f64;
    println!(
        "{name:<28} {bytes:>9} {:>12.1} {:>12.1} {:>7.2}",
        each(find),
        each(read),
        read / find
    );
}

fn event(dialect: Dialect, data: &str) -> String {
    match dialect {
        Dialect::Anthropic => {
            let kind = data.split('"').nth(3).unwrap_or_default();
            format!("event: {kind}\ndata: {data}\n\n")
        }
        _ => format!("data: {data}\n\n"),
    }
}

/// Words of different lengths, some with escapes.
fn words() -> impl Iterator<Item = (usize, &'static str)> {
    let words = [
        "The",
        " answer",
        " is",
        " 42",
        ",",
        " which",
        " everybody",
        " knows",
        ".\\n\\n",
        " \\\"Why",
        "?\\\"",
        " internationalization",
        " -",
        " ok",
    ];
    words.into_iter().cycle().enumerate().take(EVENTS)
}

fn openai_chunk(delta: &str, more: &str) -> String {
    chunk(
        &format!(
            r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}],"usage":null"#
        ),
        more,
    )
}

fn chunk(choices: &str, more: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-nano-2025-04-14","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":{choices}{more}}}"#
    )
}

/// As it begins and ends.
fn openai(content: impl Iterator<Item = String>) -> Vec<String> {
    let first = openai_chunk(r#"{"role":"assistant","content":"","refusal":null}"#, "");
    let finish = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null"#;
    let usage = r#"[],"usage":{"prompt_tokens":16,"completion_tokens":300,"total_tokens":316,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;
    let last = [chunk(finish, ""), chunk(usage, ""), "[DONE]".to_owned()];
    [first].into_iter().chain(content).chain(last).collect()
}

fn openai_text() -> Vec<String> {
    openai(words().map(|(_, word)| openai_chunk(&format!(r#"{{"content":"{word}"}}"#), "")))
}

fn openai_obfuscated() -> Vec<String> {
    openai(words().map(|(i, word)| {
        let more = format!(r#","obfuscation":"{}""#, &"xQ2pL9vR7s"[..i % 10]);
        openai_chunk(&format!(r#"{{"content":"{word}"}}"#), &more)
    }))
}

fn openai_tools() -> Vec<String> {
    openai(words().map(|(i, _)| {
        let index = i % 2;
        let delta = format!(
            r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{{\"usage\":{i}"}}}}]}}"#
        );
        openai_chunk(&delta, "")
    }))
}

fn anthropic_text() -> Vec<String> {
    let first = [
        r#"{"type":"message_start","message":{"model":"claude-sonnet-4-5","id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
    ];
    let last = [
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":60}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let content = words().map(|(_, word)| {
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#
        )
    });
    let first = first.into_iter().map(str::to_owned);
    first
        .chain(content)
        .chain(last.map(str::to_owned))
        .collect()
}

fn gemini_text() -> Vec<String> {
    words()
        .map(|(i, _)| {
            // Some ten words a chunk.
            let text: String = words().skip(i % 14).take(10).map(|(_, word)| word).collect();
            let finish = if i + 1 == EVENTS { r#","finishReason":"STOP""# } else { "" };
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}],"role":"model"}}{finish},"index":0}}],"usageMetadata":{{"promptTokenCount":9,"candidatesTokenCount":{i},"totalTokenCount":{},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":9}}],"thoughtsTokenCount":185}},"modelVersion":"gemini-2.5-pro","responseId":"bH6LaZW8Fp_3nsEPqtaSwQ4"}}"#,
                i + 194
            )
        })
        .collect()
}
