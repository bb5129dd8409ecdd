//! The decoder, the filter and the encoder of event streams, from outside.

use std::time::Duration;

use buttress_http::sse::{Decoder, Error, Event, EventRef, Filter, Message};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::Value;

/// What a stream amounts to, in a form that does not depend on how it was split.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    events: Vec<SeenEvent>,
    error: Option<Error>,
    retry: Option<Duration>,
    last_id: Vec<u8>,
    comments: u64,
    pending: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct SeenEvent {
    kind: String,
    data: String,
    id: String,
    start: u64,
    /// Without the line feed of a final CR LF, which belongs to it only if it came with it.
    frame: Vec<u8>,
}

// ===== impl SeenEvent =====

impl SeenEvent {
    fn new(event: &EventRef<'_>) -> Self {
        let mut frame = event.frame().to_vec();
        if frame.ends_with(b"\r\n") {
            frame.pop();
        }
        SeenEvent {
            kind: event.event_type().into_owned(),
            data: event.text().into_owned(),
            id: event.id().into_owned(),
            start: event.span().start,
            frame,
        }
    }
}

// ===== impl Seen =====

impl Seen {
    fn take<T>(&mut self, event: Result<T, Error>, look: impl FnOnce(T) -> SeenEvent) {
        assert_eq!(self.error, None, "nothing comes after an error");
        match event {
            Ok(event) => self.events.push(look(event)),
            Err(error) => self.error = Some(error),
        }
    }

    fn finish(mut self, decoder: &Decoder) -> Self {
        self.retry = decoder.retry();
        self.last_id = decoder.last_event_id().to_vec();
        self.comments = decoder.comments();
        self.pending = decoder.pending();
        self
    }
}

fn decode(mut decoder: Decoder, chunks: &[&[u8]]) -> Seen {
    let mut seen = Seen::default();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(event) = decoder.decode(&mut chunk) {
            seen.take(event, |event| SeenEvent::new(&event.view()));
        }
        assert!(chunk.is_empty(), "the whole chunk was taken");
    }
    seen.finish(&decoder)
}

fn scan(mut decoder: Decoder, chunks: &[&[u8]]) -> Seen {
    let mut seen = Seen::default();
    for &(mut chunk) in chunks {
        while let Some(event) = decoder.scan(&mut chunk) {
            seen.take(event, |event| SeenEvent::new(&event));
        }
        assert!(chunk.is_empty(), "the whole chunk was taken");
    }
    seen.finish(&decoder)
}

/// `scan` and `decode` in turn, an event each.
fn alternate(mut decoder: Decoder, chunks: &[&[u8]]) -> Seen {
    let mut seen = Seen::default();
    let mut turn = false;
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while !chunk.is_empty() {
            turn = !turn;
            if turn {
                if let Some(event) = decoder.decode(&mut chunk) {
                    seen.take(event, |event| SeenEvent::new(&event.view()));
                }
            } else {
                let mut rest = &chunk[..];
                if let Some(event) = decoder.scan(&mut rest) {
                    seen.take(event, |event| SeenEvent::new(&event));
                }
                chunk = chunk.slice(chunk.len() - rest.len()..);
            }
        }
    }
    seen.finish(&decoder)
}

/// What the filter lets through when it takes out the events that `unwanted` names by their number,
/// and those events.
fn filter(chunks: &[&[u8]], unwanted: impl Fn(usize) -> bool) -> (Vec<u8>, Vec<SeenEvent>) {
    let mut filter = Filter::new(Decoder::new());
    let mut out = Vec::new();
    let mut taken_out = Vec::new();
    let mut number = 0;
    for chunk in chunks {
        let passed = filter.push(Bytes::copy_from_slice(chunk), |event| {
            number += 1;
            if unwanted(number - 1) {
                taken_out.push(SeenEvent::new(event));
            }
            !unwanted(number - 1)
        });
        out.extend_from_slice(&passed.expect("no bound is passed"));
    }
    out.extend_from_slice(&filter.finish());
    (out, taken_out)
}

/// Byte by byte, with empty chunks between.
fn bytes(input: &[u8]) -> Vec<&[u8]> {
    input.chunks(1).flat_map(|byte| [&[][..], byte]).collect()
}

/// Each way to split in two, with empty chunks around.
fn halves(input: &[u8]) -> impl Iterator<Item = [&[u8]; 5]> {
    (0..=input.len()).map(|at| [&[], &input[..at], &[], &input[at..], &[]])
}

/// Every way of reading `input` in pieces gives the same, which is returned.
fn everywhere(decoder: impl Fn() -> Decoder, input: &[u8]) -> Seen {
    let whole = decode(decoder(), &[input]);
    for read in [decode, scan, alternate] {
        assert_eq!(read(decoder(), &[input]), whole, "in one piece");
        assert_eq!(read(decoder(), &bytes(input)), whole, "byte by byte");
        for halves in halves(input) {
            let at = halves[1].len();
            assert_eq!(read(decoder(), &halves), whole, "split at {at}");
        }
    }
    whole
}

fn texts(seen: &Seen) -> Vec<(&str, &str)> {
    let texts = seen.events.iter();
    texts
        .map(|event| (event.kind.as_str(), event.data.as_str()))
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hex digits"))
        .collect()
}

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("data/sse.json")).expect("valid JSON");
    let cases = file["cases"].as_array().expect("a list of cases").clone();
    assert_eq!(cases.len(), 34);
    cases
}

#[test]
fn every_whatwg_case_gives_the_same_events_at_every_split() {
    for case in vectors() {
        let name = case["name"].as_str().expect("a name");
        let input = hex(case["input_hex"].as_str().expect("an input"));
        let seen = everywhere(Decoder::new, &input);
        let expected: Vec<_> = case["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| ["type", "data", "id"].map(|key| event[key].as_str().expect("a text")))
            .collect();
        let found: Vec<_> = seen
            .events
            .iter()
            .map(|event| [&*event.kind, &*event.data, &*event.id])
            .collect();
        assert_eq!(found, expected, "{name}");
        let retry = case["retry_ms"].as_u64().map(Duration::from_millis);
        assert_eq!(seen.retry, retry, "{name}");
        assert_eq!(seen.error, None, "{name}");
    }
}
