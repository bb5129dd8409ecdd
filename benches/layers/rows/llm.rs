//! Reading along in a stream, beside only finding its events.

use std::{hint::black_box, sync::Arc};

use buttress_http::{Judge, sse::Decoder};
use buttress_llm::Dialect;
use bytes::Bytes;
use http::Response;

use crate::row::{Group, Row};

/// So many events of content in a stream, as in the bench of the gateway.
const EVENTS: usize = 60;

const WORDS: [&str; 12] = [
    "A",
    " butt",
    "ress",
    " carries",
    " the",
    " thrust",
    " of",
    " a",
    " vault",
    ",\\n",
    " über",
    " \\\"Gothic\\\"",
];

pub(crate) fn openai() -> Group {
    const HEAD: &str = r#"data: {"id":"chatcmpl-C8Zw0bUttre55","object":"chat.completion.chunk","created":1790000000,"model":"gpt-bench","service_tier":"default","system_fingerprint":"fp_0123456789","choices":["#;
    let words = (0..EVENTS).map(|k| {
        let (word, padding) = (WORDS[k * 7 % WORDS.len()], &"q8ZkW2xLmT0aVbN4"[..1 + k * 5 % 16]);
        format!("{HEAD}{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{padding}\"}}\n\n")
    });
    let end = [
        format!(
            "{HEAD}{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":null}}\n\n"
        ),
        format!(
            "{HEAD}],\"usage\":{{\"prompt_tokens\":87,\"completion_tokens\":60,\"total_tokens\":147}}}}\n\n"
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    group(
        "llm, a stream of OpenAI's",
        Dialect::OpenAi,
        words.chain(end),
    )
}

pub(crate) fn anthropic() -> Group {
    let begin = [
        r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-bench","id":"msg_01BUttress","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":87,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}}
"#,
        r#"event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
"#,
    ];
    let end = [
        r#"event: content_block_stop
data: {"type":"content_block_stop","index":0}
"#,
        r#"event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":87,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":60}}
"#,
        r#"event: message_stop
data: {"type":"message_stop"}
"#,
    ];
    let words = (0..EVENTS).map(|k| {
        let word = WORDS[k * 7 % WORDS.len()];
        format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n")
    });
    let [begin, end] = [begin.to_vec(), end.to_vec()]
        .map(|events| events.into_iter().map(|event| format!("{event}\n")));
    group(
        "llm, a stream of Anthropic's",
        Dialect::Anthropic,
        begin.chain(words).chain(end),
    )
}

fn group(name: &'static str, dialect: Dialect, events: impl Iterator<Item = String>) -> Group {
    let chunks: Arc<[Bytes]> = events.map(Bytes::from).collect();
    let bytes = chunks.iter().map(Bytes::len).sum();
    let find = {
        let chunks = chunks.clone();
        move || {
            let chunks = chunks.clone();
            move || {
                let (mut decoder, mut found) = (Decoder::new(), 0);
                for chunk in &*chunks {
                    let mut rest = &chunk[..];
                    while let Some(event) = decoder.scan(&mut rest) {
                        black_box(event.expect("an event"));
                        found += 1;
                    }
                }
                assert_eq!(found, chunks.len());
            }
        }
    };
    let (head, ()) = Response::builder()
        .header("content-type", "text/event-stream")
        .body(())
        .expect("a response")
        .into_parts();
    let read = {
        let chunks = chunks.clone();
        move || {
            let (chunks, head) = (chunks.clone(), head.clone());
            move || {
                let mut meter = dialect.meter(&head).expect("a meter for a stream");
                for chunk in &*chunks {
                    black_box(meter.chunk(chunk));
                }
                let used = meter.usage().map(|usage| usage.total());
                assert_eq!(used, Some(147));
            }
        }
    };
    let rows = vec![
        Row::new("find the events", find).passing(bytes, chunks.len()),
        Row::new("read them: content, errors, usage", read).passing(bytes, chunks.len()),
    ];
    Group { name, rows }
}
