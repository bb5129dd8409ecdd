//! What reading along allocates, counted at the allocator: a few buffers a stream, and nothing for
//! each chunk. Nothing else may run in this process meanwhile, so there is one test.

mod common;

use std::{
    alloc::System,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_llm::{Dialect, openai::UsageFilter, request::Peek};
use bytes::{Bytes, BytesMut};
use common::{meter, stream_head};
use http_body::{Body, Frame};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let region = Region::new(HEAP);
    let result = work();
    let change = region.change();
    drop(result);
    change.allocations + change.reallocations
}

/// The chunks of a stream, as a client hands them out.
fn chunks(dialect: Dialect) -> Vec<Bytes> {
    let words = [
        "Hello",
        "",
        " \\\"world\\\"",
        ".\\n",
        " A longer one, of more than a few words.",
    ];
    let data = |(i, word): (usize, &&str)| match dialect {
        Dialect::OpenAi => format!(
            "data: {{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{}\"}}\n\n",
            "x".repeat(i % 7)
        ),
        Dialect::Anthropic => format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n"
        ),
        _ => format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{word}\"}}]}},\"index\":0}}],\"usageMetadata\":{{\"promptTokenCount\":9,\"candidatesTokenCount\":{i},\"totalTokenCount\":{}}}}}\n\n",
            i + 9
        ),
    };
    let events = words.iter().cycle().enumerate().take(500).map(data);
    events
        .map(|event| BytesMut::from(&*event).freeze())
        .collect()
}

/// A body of these frames, which it does not allocate.
struct Frames(std::vec::IntoIter<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

#[test]
fn a_chunk_costs_no_allocation() {
    for dialect in Dialect::ALL {
        let chunks = chunks(dialect);
        let mut meter = meter(&dialect, &stream_head());
        let first = allocations(|| {
            for chunk in &chunks[..10] {
                meter.chunk(chunk);
            }
        });
        let rest = allocations(|| {
            for chunk in &chunks[10..] {
                meter.chunk(chunk);
            }
            (meter.verdict(false), meter.usage())
        });
        assert!(first < 20, "{dialect}: {first}");
        assert_eq!(rest, 0, "{dialect}");

        // One chunk in two frames: what an event spans is carried over in one buffer.
        let mut meter = common::meter(&dialect, &stream_head());
        let mut halves = Vec::new();
        for chunk in &chunks {
            halves.extend([chunk.slice(..20), chunk.slice(20..)]);
        }
        let split = allocations(|| {
            for chunk in &halves {
                meter.chunk(chunk);
            }
        });
        assert!(split < 40, "{dialect}: {split}");
    }

    let frames = Frames(chunks(Dialect::OpenAi).into_iter());
    let mut filter = std::pin::pin!(UsageFilter::new(frames));
    let mut cx = Context::from_waker(Waker::noop());
    let mut passed = 0;
    let filtered = allocations(|| {
        while let Poll::Ready(Some(frame)) = filter.as_mut().poll_frame(&mut cx) {
            passed += usize::from(frame.is_ok());
        }
    });
    assert_eq!(passed, 500);
    assert!(filtered < 20, "{filtered}");

    let body = Bytes::from_static(br#"{"model":"a","stream":true,"messages":[{"role":"user"}]}"#);
    assert_eq!(allocations(|| Peek::new(body)), 0);
}
