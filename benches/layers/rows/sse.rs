//! A stream of server-sent events, through our decoder and through those of the registry.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_http::sse::{Decoder, Filter};
use bytes::Bytes;
use futures_core::Stream;

use crate::row::{Group, Row};

/// A body in chunks, as a client gives it.
#[derive(Debug)]
struct Source {
    chunks: Chunks,
    next: usize,
}

type Chunks = Arc<[Bytes]>;

/// So much passes in one piece of work.
const LENGTH: usize = 1 << 20;

pub(crate) fn groups() -> [Group; 4] {
    let openai = events(
        "data: {\"id\":\"chatcmpl-D8Z5oo6uDh67\",\"object\":\"chat.completion.chunk\",\"created\":1770933892,\"model\":\"gpt-4.1-nano\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
    );
    let anthropic = events(
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"",
    );
    [
        group(
            "sse, as OpenAI, an event a chunk",
            &whole(&openai),
            openai.len(),
        ),
        group(
            "sse, as Anthropic, an event a chunk",
            &whole(&anthropic),
            anthropic.len(),
        ),
        group(
            "sse, as OpenAI, chunks of 16 KiB",
            &cut(&openai, 16 << 10),
            openai.len(),
        ),
        group(
            "sse, as OpenAI, chunks of 100 bytes",
            &cut(&openai, 100),
            openai.len(),
        ),
    ]
}

fn events(head: &str) -> Vec<Bytes> {
    let mut length = 0;
    let mut k = 0;
    let mut events = Vec::new();
    while length < LENGTH {
        k += 7;
        let word = &"nevertheless, a buttress carries what a wall alone cannot"[..1 + k % 50];
        let event = Bytes::from(format!("{head}{word}\"}}}}]}}\n\n"));
        length += event.len();
        events.push(event);
    }
    events
}

fn whole(events: &[Bytes]) -> Chunks {
    // Parts of one buffer, as they are when a socket is read.
    let all = Bytes::from(events.concat());
    let mut rest = all;
    events
        .iter()
        .map(|event| rest.split_to(event.len()))
        .collect()
}

fn cut(events: &[Bytes], size: usize) -> Chunks {
    let mut rest = Bytes::from(events.concat());
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        chunks.push(rest.split_to(size.min(rest.len())));
    }
    chunks.into()
}

fn group(name: &'static str, chunks: &Chunks, events: usize) -> Group {
    let bytes = chunks.iter().map(Bytes::len).sum();
    let lines = chunks.iter().map(|chunk| ends(chunk)).sum();
    let row = |name: &str, expected: usize, pass: fn(Source) -> usize| {
        let chunks = chunks.clone();
        let make = move || {
            let chunks = chunks.clone();
            move || {
                let chunks = chunks.clone();
                assert_eq!(pass(Source { chunks, next: 0 }), expected);
            }
        };
        Row::new(name, make).passing(bytes, events)
    };
    let rows = vec![
        row("memchr2, line ends alone", lines, |source| {
            source.map(|chunk| ends(&chunk)).sum()
        }),
        row("scan", events, |source| {
            let (mut decoder, mut events) = (Decoder::new(), 0);
            for chunk in source {
                let mut rest = &chunk[..];
                while let Some(event) = decoder.scan(&mut rest) {
                    black_box(event.expect("an event").data());
                    events += 1;
                }
            }
            events
        }),
        row("decode", events, |source| {
            let (mut decoder, mut events) = (Decoder::new(), 0);
            for mut chunk in source {
                while let Some(event) = decoder.decode(&mut chunk) {
                    black_box(event.expect("an event").data());
                    events += 1;
                }
            }
            events
        }),
        row("decode, as text", events, |source| {
            let (mut decoder, mut events) = (Decoder::new(), 0);
            for mut chunk in source {
                while let Some(event) = decoder.decode(&mut chunk) {
                    black_box(event.expect("an event").text());
                    events += 1;
                }
            }
            events
        }),
        row("filter, all pass", events, |source| {
            let (mut filter, mut events) = (Filter::new(Decoder::new()), 0);
            for chunk in source {
                let passed = filter.push(&chunk, |event| {
                    events += 1;
                    !event.data().is_empty()
                });
                black_box(passed.expect("what passes"));
            }
            events
        }),
        row("sseer", events, |source| {
            each(sseer::event_stream::EventStream::new(source), |event| {
                black_box(event.expect("an event").data.len());
            })
        }),
        row("sse-stream", events, |source| {
            each(sse_stream::SseByteStream::new(source), |event| {
                black_box(event.expect("an event").data.map(|data| data.len()));
            })
        }),
        row("eventsource-stream", events, |source| {
            each(eventsource_stream::EventStream::new(source), |event| {
                black_box(event.expect("an event").data.len());
            })
        }),
    ];
    Group { name, rows }
}

fn ends(chunk: &[u8]) -> usize {
    memchr::memchr2_iter(b'\n', b'\r', chunk).count()
}

/// Shows every item to `see`, and says how many there were.
fn each<S: Stream>(stream: S, mut see: impl FnMut(S::Item)) -> usize {
    let (mut stream, mut seen) = (pin!(stream), 0);
    let cx = &mut Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(item)) = stream.as_mut().poll_next(cx) {
        see(item);
        seen += 1;
    }
    seen
}

// ===== impl Source =====

impl Iterator for Source {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.get(self.next).cloned();
        self.next += 1;
        chunk
    }
}

impl Stream for Source {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next().map(Ok))
    }
}
