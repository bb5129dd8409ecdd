//! What it costs to convert: streams of 300 pieces in chunks of one event, and requests of 100 KB: of
//! long messages with calls, and of 1000 short ones.
//!
//! ```sh
//! cargo run --release -p buttress-llm --example converting
//! ```
//!
//! The goals are 300 MB/s or 3 µs a chunk, whichever is easier, and 300 µs.

use std::{error::Error, fmt::Write as _, hint::black_box};

use buttress_llm::{
    Dialect,
    convert::{Conversion, Converted},
};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

const ROUNDS: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<24} {:>8} {:>9} {:>9}",
        "a stream", "bytes", "MB/s", "µs/chunk"
    );
    let openai = openai();
    for from in Dialect::ALL {
        let events = match from {
            Dialect::OpenAi => openai.clone(),
            other => converted(Dialect::OpenAi, other, &openai)?,
        };
        for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
            let way = way(to, from)?;
            let bytes: usize = events.iter().map(Bytes::len).sum();
            let best = time(|| drop(black_box(convert(&way, &events))));
            println!(
                "{:<24} {bytes:>8} {:>9.0} {:>9.2}",
                format!("{from} to {to}"),
                bytes as f64 / best / 1e6,
                best * 1e6 / events.len() as f64,
            );
        }
    }

    for (name, openai) in [("a request", request()), ("of short messages", short())] {
        println!("\n{name:<24} {:>8} {:>9}", "bytes", "µs");
        requests(&openai)?;
    }
    Ok(())
}

fn requests(openai: &Bytes) -> Result<(), Box<dyn Error>> {
    for from in Dialect::ALL {
        let body = match from {
            Dialect::OpenAi => openai.clone(),
            other => Conversion::new(Dialect::OpenAi, other)
                .request(openai.clone())?
                .body()
                .clone(),
        };
        for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
            let way = Conversion::new(from, to);
            way.request(body.clone())?;
            let best = time(|| drop(black_box(way.request(body.clone()))));
            let (name, bytes) = (format!("{from} to {to}"), body.len());
            println!("{name:<24} {bytes:>8} {:>9.0}", best * 1e6);
        }
    }
    Ok(())
}

fn time(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// What a reply needs on its way from this endpoint to this caller.
fn way(caller: Dialect, endpoint: Dialect) -> Result<Converted, Box<dyn Error>> {
    let request = match caller {
        Dialect::OpenAi => {
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}"#
        }
        Dialect::Anthropic => {
            r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#
        }
        _ => r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#,
    };
    Ok(Conversion::new(caller, endpoint).request(request)?)
}

fn convert(way: &Converted, events: &[Bytes]) -> Vec<Bytes> {
    let (mut stream, mut out) = (way.stream(), BytesMut::new());
    let mut converted = Vec::with_capacity(events.len());
    for event in events {
        stream
            .push(event.clone(), &mut out)
            .expect("it is an event");
        converted.push(out.split().freeze());
    }
    stream.finish(&mut out).expect("it is complete");
    converted.push(out.freeze());
    converted
}

fn converted(from: Dialect, to: Dialect, events: &[Bytes]) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let all = convert(&way(to, from)?, events);
    Ok(all.into_iter().filter(|event| !event.is_empty()).collect())
}

const WORDS: [&str; 8] = [
    "The",
    " answer",
    " is",
    " 42",
    ".\\n\\n",
    " \\\"Why",
    "?\\\"",
    " internationalization",
];

fn openai() -> Vec<Bytes> {
    let head = r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-nano-2025-04-14","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":"#;
    let choice = |delta: &str, finish: &str| {
        format!(
            "{head}[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\"usage\":null}}\n\n"
        )
    };
    let mut events = vec![choice(
        r#"{"role":"assistant","content":"","refusal":null}"#,
        "null",
    )];
    for word in WORDS.iter().cycle().take(300) {
        events.push(choice(&format!(r#"{{"content":"{word}"}}"#), "null"));
    }
    events.push(choice("{}", r#""stop""#));
    events.push(format!(
        "{head}[],\"usage\":{{\"prompt_tokens\":16,\"completion_tokens\":300,\"total_tokens\":316,\"prompt_tokens_details\":{{\"cached_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":0}}}}}}\n\n"
    ));
    events.push("data: [DONE]\n\n".to_owned());
    events.into_iter().map(Bytes::from).collect()
}

/// A conversation of 1000 turns, in 100 KB.
fn short() -> Bytes {
    let turn = |turn: usize| {
        let role = if turn.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        let words: String = WORDS
            .iter()
            .cycle()
            .skip(turn % 7)
            .take(6)
            .copied()
            .collect();
        format!(r#"{{"role":"{role}","content":"{turn:04}{words:>52}"}}"#)
    };
    let turns: Vec<String> = (0..1000).map(turn).collect();
    let messages = turns.join(",");
    format!(r#"{{"model":"fast","max_tokens":1000,"messages":[{messages}]}}"#).into()
}

/// A conversation of 100 KB with a tool.
fn request() -> Bytes {
    let mut body = r#"{"model":"fast","stream":true,"max_tokens":1000,"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","properties":{"at":{"type":"string"}}}}}],"messages":[{"role":"system","content":"Be brief."}"#.to_owned();
    let text: String = WORDS.iter().cycle().take(120).copied().collect();
    for turn in 0.. {
        if body.len() > 100_000 {
            break;
        }
        let _ = write!(
            body,
            r#",{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"{text}","tool_calls":[{{"id":"call_{turn}","type":"function","function":{{"name":"look","arguments":"{{\"at\":\"{turn}\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{turn}","content":"{text}"}}"#
        );
    }
    body.push_str("]}");
    body.into()
}
