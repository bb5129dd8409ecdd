//! A stream without its usage chunk is every other byte of it, at every split.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use buttress_llm::openai::UsageFilter;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

/// A body of these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl Frames {
    fn of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let frame = |chunk| Frame::data(Bytes::copy_from_slice(chunk));
        Self(chunks.into_iter().map(frame).collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// The same, and then silence.
struct Unending(Frames);

impl Body for Unending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match Pin::new(&mut self.0).poll_frame(cx) {
            Poll::Ready(None) => Poll::Pending,
            ready => ready,
        }
    }
}

/// Every frame that comes out, stopping early where the body says that it has ended.
fn frames(body: Frames) -> Vec<Frame<Bytes>> {
    let mut filter = std::pin::pin!(UsageFilter::new(body));
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    while !filter.is_end_stream() {
        match filter.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frames.push(frame),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("frames are always ready"),
        }
    }
    assert!(matches!(
        filter.as_mut().poll_frame(&mut cx),
        Poll::Ready(None)
    ));
    frames
}

/// What comes out before the end is known.
fn frames_before_end<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Frame<Bytes>> {
    let mut filter = std::pin::pin!(UsageFilter::new(Unending(Frames::of(chunks))));
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = filter.as_mut().poll_frame(&mut cx) {
        frames.push(frame);
    }
    frames
}

fn filtered<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let frames = frames(Frames::of(chunks)).into_iter();
    let data: Vec<_> = frames
        .map(|frame| frame.into_data().expect("data"))
        .collect();
    assert!(data.iter().all(|data| !data.is_empty()), "no empty frame");
    data.concat()
}

fn content(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

const USAGE: &str = "data: {\"id\":\"c-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// The parts of a stream, of which those marked are taken out.
fn stream(end: &str) -> Vec<(String, bool)> {
    let part = |text: &str| (text.replace('\n', end), false);
    vec![
        part(": hello\n\n"),
        part("data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n"),
        part(&content("")),
        part(&content("Hello")),
        part(&content(", usage: {\\\"choices\\\":[]}")),
        part("event: ping\n\n"),
        part(&content(" world")),
        part(
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
        ),
        part("data: {\"choices\":[],\"usage\":null}\n\n"),
        part("data: nonsense\n\n"),
        (USAGE.replace('\n', end), true),
        part(": bye\n"),
        part(DONE),
        part("data: cut off"),
    ]
}

#[test]
fn exactly_the_usage_chunk_is_taken_out_at_every_split() {
    for end in ["\n", "\r\n"] {
        let parts = stream(end);
        let all: String = parts.iter().map(|(part, _)| &**part).collect();
        let kept: String = parts
            .iter()
            .filter(|(_, out)| !out)
            .map(|(part, _)| &**part)
            .collect();
        let all = all.as_bytes();
        // Between the two bytes of a line's end, an event is over with the first. What is left of the
        // event that was taken out is then a blank line, which means nothing.
        let same = |passed: Vec<u8>| {
            let passed = String::from_utf8(passed).unwrap();
            passed == kept || (end == "\r\n" && passed.replacen("\n: bye", ": bye", 1) == kept)
        };
        assert!(same(filtered([all])));
        assert!(same(filtered(all.chunks(1))));
        for split in 0..=all.len() {
            let (left, right) = all.split_at(split);
            let chunks = [left, right].into_iter().filter(|chunk| !chunk.is_empty());
            assert!(same(filtered(chunks)), "split at {split}");
        }
        for size in 2..200 {
            assert!(same(filtered(all.chunks(size))), "in chunks of {size}");
        }
    }
}

#[test]
fn a_frame_that_loses_nothing_is_the_same_memory() {
    let frames_in: Vec<_> = ["a", "b", "c", "d"]
        .map(|text| Bytes::from(content(text)))
        .into_iter()
        .chain([Bytes::from(content("e") + &content("f")), Bytes::from(DONE)])
        .collect();
    let body = Frames(frames_in.iter().cloned().map(Frame::data).collect());
    let frames_out = frames(body);
    assert_eq!(frames_out.len(), frames_in.len());
    for (before, after) in frames_in.iter().zip(&frames_out) {
        let after = after.data_ref().unwrap();
        assert_eq!(
            (before.as_ptr(), before.len()),
            (after.as_ptr(), after.len())
        );
    }
}

#[test]
fn trailers_come_last_and_after_what_was_held_back() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let mut body = Frames::of([content("a").as_bytes(), b"data: cut"]);
    body.0.push_back(Frame::trailers(trailers.clone()));
    let mut out = frames(body).into_iter();
    assert_eq!(out.next().unwrap().into_data().unwrap(), content("a"));
    assert_eq!(out.next().unwrap().into_data().unwrap(), "data: cut");
    assert_eq!(out.next().unwrap().into_trailers().unwrap(), trailers);
    assert!(out.next().is_none());
}

#[test]
fn s4_a_long_event_is_not_held_back_and_the_usage_after_it_is_found() {
    for long in [
        format!("data: {}\n\n", "x".repeat(9 << 20)),
        format!("data: a\ndata: {}\r\rdata: b\n\n", "x".repeat(65 << 10)),
        format!(": {}\n", "x".repeat(100 << 10)),
    ] {
        let kept = content("a") + &long;
        let all = kept.clone() + USAGE + DONE;
        for size in [1000, 4096, 1 << 16, all.len()] {
            let passed = filtered(all.as_bytes().chunks(size));
            assert!(
                passed == (kept.clone() + DONE).as_bytes(),
                "in chunks of {size}"
            );
        }
        // Nothing but the last 64 KiB can be missing of what went in.
        let mut passed = 0;
        let cut = &all.as_bytes()[..kept.len() - 1];
        for frame in frames_before_end(cut.chunks(1000)) {
            passed += frame.into_data().unwrap().len();
        }
        assert!(cut.len() - passed <= 64 << 10);
    }
}

#[test]
fn a_comment_is_not_held_back_though_no_blank_line_follows_it() {
    let out = frames_before_end([": a\n: b", "\n", "data: x"].map(str::as_bytes));
    let out: Vec<_> = out
        .into_iter()
        .map(|frame| frame.into_data().unwrap())
        .collect();
    assert_eq!(out, [": a\n", ": b\n"]);
}

#[test]
fn the_size_is_bounded_and_not_promised() {
    let body = http_body_util::Full::<Bytes>::from(content("a") + USAGE);
    let hint = UsageFilter::new(body).size_hint();
    assert_eq!(hint.lower(), 0);
    assert_eq!(
        hint.upper(),
        Some((content("a").len() + USAGE.len()) as u64)
    );
}

#[test]
fn the_usage_chunk_is_found_after_one_that_begins_like_it() {
    let null = "data: {\"choices\":[],\"usage\":null}\n\n";
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let stream = [null, usage, null, usage].concat();
    assert_eq!(filtered([stream.as_bytes()]), null.repeat(2).as_bytes());
}
