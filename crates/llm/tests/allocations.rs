//! What reading along allocates, counted at the allocator: a few buffers a stream, and nothing for
//! each chunk. Nothing else may run in this process meanwhile, so there is one test.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

mod common;

use std::{
    alloc::System,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_core::Usage;
use buttress_http::{ByStatus, TrackLayer};
use buttress_llm::{
    CredentialsLayer, Dialect, Keys, ResponseModel, Secret, WithModel, estimate::Estimate,
    key::ChatKeys, openai::UsageFilter, price::Prices, request::Peek,
};
use bytes::{Bytes, BytesMut};
use common::{meter, stream_head};
use http::{Extensions, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};

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

fn main() {
    a_chunk_costs_no_allocation();
    a_price_costs_no_allocation_and_a_key_one();
    the_model_that_answered_costs_a_copy_of_its_name_to_those_who_ask();
}

fn the_model_that_answered_costs_a_copy_of_its_name_to_those_who_ask() {
    let event = Bytes::from_static(b"data: {\"model\":\"m\",\"choices\":[]}\n\n");
    let (mut unasked, mut asked) = (
        meter(&Dialect::OpenAi, &stream_head()),
        meter(&WithModel(Dialect::OpenAi), &stream_head()),
    );
    let without = allocations(|| unasked.chunk(&event));
    assert_eq!(allocations(|| asked.chunk(&event)), without + 1);
    // Once, though each event names it.
    assert_eq!(
        allocations(|| asked.chunk(&event)),
        allocations(|| unasked.chunk(&event))
    );
    let mut head = Extensions::new();
    assert_eq!(allocations(|| unasked.learned(&mut head)), 0);
    assert!(head.is_empty());
    asked.learned(&mut head);
    assert!(head.get::<ResponseModel>().is_some());
}

fn a_price_costs_no_allocation_and_a_key_one() {
    let prices = Prices::shipped();
    let usage = Usage::new(1000, 10);
    for model in [
        "gpt-5",
        "gpt-5-2025-08-07",
        "models/gpt-5",
        "ft:gpt-5:o::1",
        "unknown",
    ] {
        let count = allocations(|| prices.price("openai", model, &usage));
        assert_eq!(count, 0, "{model}");
    }

    let keys = ChatKeys::per_credential(Dialect::OpenAi);
    let request = Request::post("https://api.test/v1/chat/completions")
        .header("authorization", "Bearer sk-1")
        .body(r#"{"model":"m","temperature":0,"stream":true,"messages":[{"role":"user","content":"Hi\n"}]}"#)
        .expect("a request");
    keys.read(&request).expect("a key");
    let count = allocations(|| keys.read(&request).map(|chat| chat.key()));
    assert_eq!(count, 1, "the list of its values");
}

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
    assert_eq!(allocations(|| Estimate::of_body(&body)), 0);
    assert_eq!(allocations(|| Peek::new(body)), 0);

    // A call with a key costs one box for each response that is followed, of however many keys.
    let client = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    });
    let tracked = TrackLayer::new(ByStatus).layer(client);
    let bare = allocations(|| call(&mut { tracked }, request()));
    for ids in [&["a"][..], &["a", "b", "c"]] {
        let secrets = ids.iter().map(|id| Secret::new(id).unwrap());
        let layer = CredentialsLayer::new(Dialect::OpenAi, Keys::new(secrets).unwrap());
        for layer in [layer.clone(), layer.in_turn()] {
            let mut service = layer.layer(tracked);
            call(&mut service, request());
            let keyed = allocations(|| call(&mut service, request()));
            assert_eq!(keyed, bare + 1);
        }
    }
}

/// A request that has a credential already, so that its headers need not grow.
fn request() -> Request<()> {
    let request = Request::get("/v1/models").header("authorization", "Bearer caller");
    request.body(()).unwrap()
}

/// Calls, and reads the body to its end.
fn call<S, B>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut called = std::pin::pin!(service.call(request));
    let Poll::Ready(Ok(response)) = called.as_mut().poll(&mut cx) else {
        panic!("nothing here waits");
    };
    let mut body = std::pin::pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        assert!(frame.is_ok());
    }
}
