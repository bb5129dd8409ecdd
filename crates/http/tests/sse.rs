//! The decoder, the filter and the encoder of event streams, from outside.

use std::time::Duration;

use buttress_http::sse::{Decoder, Error, EventRef, Filter, Message};
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
        let passed = filter.push(&Bytes::copy_from_slice(chunk), |event| {
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

#[test]
fn a_byte_order_mark_counts_only_as_the_first_bytes() {
    let seen = everywhere(
        Decoder::new,
        b"\xef\xbb\xbf\n\xef\xbb\xbfdata: lost\ndata: kept\n\n",
    );
    assert_eq!(texts(&seen), [("message", "kept")]);
    let seen = everywhere(Decoder::new, b"\xef\xbbdata: lost\ndata: kept\n\n");
    assert_eq!(texts(&seen), [("message", "kept")]);
    let seen = everywhere(Decoder::new, b"\xef\xbb\xbf: comment\r\ndata: kept\r\n\r\n");
    assert_eq!(texts(&seen), [("message", "kept")]);
    assert_eq!(seen.comments, 1);
}

#[test]
fn an_event_is_yielded_at_the_carriage_return_of_its_blank_line() {
    let mut decoder = Decoder::new();
    let mut chunk = Bytes::from_static(b"data: a\r\n\r");
    let event = decoder
        .decode(&mut chunk)
        .expect("an event")
        .expect("no error");
    assert_eq!(event.frame(), "data: a\r\n\r");
    let mut chunk = Bytes::from_static(b"\ndata: b\r\n\r\n");
    let event = decoder
        .decode(&mut chunk)
        .expect("an event")
        .expect("no error");
    assert_eq!(event.frame(), "data: b\r\n\r\n");
    assert_eq!(event.span(), 11..22);
}

#[test]
fn an_event_in_one_chunk_is_a_slice_of_it() {
    let whole = Bytes::from_static(b": hi\nevent: a\nid: 7\ndata: one\n\ndata: two\n\n");
    let mut chunk = whole.clone();
    let mut decoder = Decoder::new();
    for (text, frame) in [("one", 5..31), ("two", 31..42)] {
        let event = decoder
            .decode(&mut chunk)
            .expect("an event")
            .expect("no error");
        assert_eq!(event.text(), text);
        assert_eq!(event.id(), "7");
        assert_eq!(event.frame().as_ptr(), whole[frame.clone()].as_ptr());
        assert_eq!(event.span(), frame.start as u64..frame.end as u64);
        let at = event.data().as_ptr();
        assert_eq!(event.into_data().as_ptr(), at);
        assert!(whole.as_ptr_range().contains(&at));
    }
}

#[test]
fn the_data_of_several_lines_is_joined_by_line_feeds() {
    let input =
        b"data: a\r\n: comment\r\ndata\revent: x\ndatas: no\ndata:b\ndata:  c\n\ndata: d\n\n";
    let seen = everywhere(Decoder::new, input);
    assert_eq!(texts(&seen), [("x", "a\n\nb\n c"), ("message", "d")]);
    assert_eq!(seen.comments, 1);
}

#[test]
fn the_last_of_several_types_and_ids_counts() {
    let input = b"event: a\nevent: b\nid: 1\nid: 2\ndata: x\n\nevent: c\nevent\nid\ndata: y\n\n";
    let seen = everywhere(Decoder::new, input);
    assert_eq!(texts(&seen), [("b", "x"), ("message", "y")]);
    assert_eq!(seen.events[0].id, "2");
    assert_eq!(seen.events[1].id, "");
}

#[test]
fn the_id_of_an_event_that_is_cut_off_does_not_count() {
    let seen = everywhere(Decoder::new, b"id: 1\ndata: x\n\nid: 2\ndata: y\n");
    assert_eq!(seen.last_id, b"1");
    assert_eq!(seen.pending, 14);
}

#[test]
fn a_field_is_known_by_its_whole_name_only() {
    let input =
        b"dat: a\ndatax: b\nDATA: c\n data: d\ndata : e\nids: 1\nevents: x\nretryx: 1\ndata: f\n\n";
    let seen = everywhere(Decoder::new, input);
    assert_eq!(texts(&seen), [("message", "f")]);
    assert_eq!((seen.events[0].id.as_str(), seen.retry), ("", None));
}

#[test]
fn a_retry_beyond_what_can_be_counted_is_ignored() {
    let input = b"retry: 18446744073709551615\nretry: 18446744073709551616\nretry:\nretry\n\n";
    let seen = everywhere(Decoder::new, input);
    assert_eq!(seen.retry, Some(Duration::from_millis(u64::MAX)));
}

#[test]
fn an_event_without_data_is_yielded_only_if_asked_for() {
    let input = b"event: ping\n\nid: 4\n\nevent:\n\n: c\n\ndata: x\n\n";
    let seen = everywhere(Decoder::new, input);
    assert_eq!(texts(&seen), [("message", "x")]);
    let seen = everywhere(|| Decoder::new().dataless(true), input);
    assert_eq!(texts(&seen), [("ping", ""), ("message", "x")]);
}

#[test]
fn a_comment_is_settled_as_soon_as_its_line_ends() {
    let mut decoder = Decoder::new();
    let mut rest = &b": alive\n: half"[..];
    assert!(decoder.scan(&mut rest).is_none());
    assert_eq!(
        (decoder.comments(), decoder.position(), decoder.pending()),
        (1, 8, 6)
    );
    let mut rest = &b"\ndata: x\n: inside"[..];
    assert!(decoder.scan(&mut rest).is_none());
    assert_eq!(
        (decoder.comments(), decoder.position(), decoder.pending()),
        (2, 15, 16)
    );
}

#[test]
fn debug_and_errors_show_no_text() {
    let mut decoder = Decoder::new().max_event(39);
    let mut chunk = Bytes::from_static(
        b"event: canary\ndata: canary\n\ndata: canary canary canary canary canary\n",
    );
    let event = decoder
        .decode(&mut chunk)
        .expect("an event")
        .expect("no error");
    let error = decoder
        .decode(&mut chunk)
        .expect("a result")
        .expect_err("over the bound");
    let mut filter = Filter::new(Decoder::new());
    filter
        .push(&Bytes::from_static(b"data: canary"), |_| true)
        .expect("no error");
    let message = Message::new("canary").event("canary").id("canary\n");
    let injection = message
        .encode(&mut BytesMut::new())
        .expect_err("a line feed in the id");
    for shown in [
        format!("{event:?} {:?}", event.view()),
        format!("{decoder:?} {filter:?} {message:?}"),
        format!("{error} {error:?} {injection} {injection:?}"),
    ] {
        assert!(!shown.contains("canary"), "{shown}");
        assert!(!shown.contains("99, 97, 110"), "{shown}");
    }
}

#[test]
fn an_error_says_what_was_too_long_and_where_and_what_was_allowed() {
    let error = Error::Line {
        start: 12,
        limit: 34,
    };
    assert_eq!(
        error.to_string(),
        "the line that begins at byte 12 of the event stream is longer than 34 bytes"
    );
}

#[test]
fn the_bound_of_a_line_is_exact_at_every_split() {
    let bounded = || Decoder::new().max_line(10);
    let seen = everywhere(
        bounded,
        b"data: 1234\r\ndata: 5678\n\n: comment \ndata: x\n\n",
    );
    assert_eq!(seen.error, None);
    assert_eq!(texts(&seen), [("message", "1234\n5678"), ("message", "x")]);
    let seen = everywhere(bounded, b"data: x\n\ndata: 12345\n\ndata: x\n\n");
    assert_eq!(
        seen.error,
        Some(Error::Line {
            start: 9,
            limit: 10
        })
    );
    assert_eq!((seen.events.len(), seen.pending), (1, 0));
    let seen = everywhere(bounded, b": a comment");
    assert_eq!(
        seen.error,
        Some(Error::Line {
            start: 0,
            limit: 10
        })
    );
}

#[test]
fn the_bound_of_an_event_is_exact_at_every_split() {
    let bounded = || Decoder::new().max_event(20);
    let seen = everywhere(
        bounded,
        b"data: 123\ndata: 5678\r\n\r\n\n\n: 34567890\n: 34567890\n: 34567890\n",
    );
    assert_eq!(seen.error, None);
    assert_eq!(texts(&seen), [("message", "123\n5678")]);
    let seen = everywhere(bounded, b"data: x\n\ndata: 123\ndata: 56789\n\ndata: x\n\n");
    assert_eq!(
        seen.error,
        Some(Error::Event {
            start: 9,
            limit: 20
        })
    );
    assert_eq!(seen.events.len(), 1);
    let seen = everywhere(bounded, b"data: 123\n: 345678901\n\n");
    assert_eq!(
        seen.error,
        Some(Error::Event {
            start: 0,
            limit: 20
        })
    );
}

#[test]
fn of_two_bounds_the_one_that_is_passed_first_is_named() {
    let bounded = || Decoder::new().max_line(12).max_event(20);
    let seen = everywhere(bounded, b"data: 123\ndata: 56789012345\n\n");
    assert_eq!(
        seen.error,
        Some(Error::Event {
            start: 0,
            limit: 20
        })
    );
    let seen = everywhere(bounded, b"data: 123456789\n\n");
    assert_eq!(
        seen.error,
        Some(Error::Line {
            start: 0,
            limit: 12
        })
    );
}

#[test]
fn a_bound_of_nothing_allows_blank_lines() {
    let bounded = || Decoder::new().max_line(0).max_event(0);
    assert_eq!(everywhere(bounded, b"\n\r\n\r").error, None);
    let seen = everywhere(bounded, b"\n\n:\n");
    assert_eq!(seen.error, Some(Error::Line { start: 2, limit: 0 }));
}

#[test]
fn after_an_error_nothing_is_decoded() {
    let mut decoder = Decoder::new().max_line(3);
    let mut chunk = Bytes::from_static(b"abcd");
    let error = decoder
        .decode(&mut chunk)
        .expect("a result")
        .expect_err("too long");
    assert_eq!(decoder.error(), Some(error));
    for input in ["d\n\n", "\n", ""] {
        let mut chunk = Bytes::from(input);
        assert!(decoder.decode(&mut chunk).is_none());
        assert!(chunk.is_empty());
        let mut rest = input.as_bytes();
        assert!(decoder.scan(&mut rest).is_none());
        assert!(rest.is_empty());
    }
    assert_eq!(decoder.pending(), 0);
    let mut filter = Filter::new(decoder);
    assert_eq!(
        filter.push(&Bytes::from_static(b"data\n\n"), |_| true),
        Err(error)
    );
}

#[test]
fn a_chunk_that_loses_nothing_is_forwarded_as_it_is() {
    let mut filter = Filter::new(Decoder::new());
    let chunk = Bytes::from_static(b": hi\n\ndata: a\n\ndata: b\n\n");
    let out = filter.push(&chunk, |_| true).expect("no error");
    assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()));
    let out = filter
        .push(&chunk, |event| event.data() != b"b")
        .expect("no error");
    assert_eq!((out.as_ptr(), &out[..]), (chunk.as_ptr(), &chunk[..15]));
    let out = filter
        .push(&chunk, |event| event.data() != b"a")
        .expect("no error");
    assert_eq!(out, ": hi\n\ndata: b\n\n");
    let out = filter.push(&chunk, |_| false).expect("no error");
    assert_eq!((out.as_ptr(), &out[..]), (chunk.as_ptr(), &b": hi\n\n"[..]));
}

#[test]
fn what_is_held_back_is_forwarded_once_it_was_judged() {
    let mut filter = Filter::new(Decoder::new());
    let mut push = |chunk: &'static str| {
        let out = filter.push(&Bytes::from(chunk), |event| event.data() != b"usage");
        String::from_utf8(out.expect("no error").to_vec()).expect("text")
    };
    assert_eq!(push("data: one\n\nda"), "data: one\n\n");
    assert_eq!(push("ta: us"), "");
    assert_eq!(push("age"), "");
    assert_eq!(push("\n\n: x\nda"), ": x\n");
    assert_eq!(push("ta: two\n"), "");
    assert_eq!(
        push("\ndata: usage\n\ndata: [DONE]\n\n:"),
        "data: two\n\ndata: [DONE]\n\n"
    );
    assert_eq!(filter.finish(), ":");
}

#[test]
fn a_message_is_written_field_by_field() {
    let mut out = BytesMut::new();
    let message = Message::new("{\"n\":1}")
        .event("delta")
        .id("7")
        .retry(Duration::from_millis(1500));
    message.encode(&mut out).expect("nothing to refuse");
    assert_eq!(out, "event: delta\nid: 7\nretry: 1500\ndata: {\"n\":1}\n\n");
    out.clear();
    Message::new("")
        .event("")
        .id("")
        .encode(&mut out)
        .expect("nothing to refuse");
    assert_eq!(out, "id: \ndata: \n\n");
    out.clear();
    Message::comment("alive", &mut out).expect("nothing to refuse");
    assert_eq!(out, ": alive\n\n");
}

#[test]
fn a_message_that_would_inject_a_field_is_refused_and_writes_nothing() {
    let mut out = BytesMut::from("before");
    for bad in ["a\ndata: b", "a\rb", "a\0b", "\n"] {
        let at = bad.find(['\n', '\r', '\0']).expect("a bad byte");
        for (field, refused) in [
            ("event", Message::new("x").event(bad).encode(&mut out)),
            ("id", Message::new("x").event("y").id(bad).encode(&mut out)),
            ("comment", Message::comment(bad, &mut out)),
        ] {
            let text = refused.expect_err("injects").to_string();
            let found = format!(
                "the {field} of an event has the byte {:#04x} at {at}",
                bad.as_bytes()[at]
            );
            assert!(text.starts_with(&found), "{text}");
        }
    }
    assert_eq!(out, "before");
}

/// The rules of the WHATWG, word for word, over a whole stream that was decoded to text first.
fn model(input: &[u8], dataless: bool) -> Seen {
    let text = String::from_utf8_lossy(input);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    let mut seen = Seen::default();
    let (mut kind, mut data, mut last_id) = (String::new(), String::new(), String::new());
    for line in lines {
        if line.is_empty() {
            seen.last_id = last_id.clone().into_bytes();
            if !data.is_empty() || (dataless && !kind.is_empty()) {
                data.pop();
                seen.events.push(SeenEvent {
                    kind: if kind.is_empty() {
                        "message".to_owned()
                    } else {
                        kind.clone()
                    },
                    data: data.clone(),
                    id: last_id.clone(),
                    start: 0,
                    frame: Vec::new(),
                });
            }
            data.clear();
            kind.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => seen.comments += 1,
            "event" => kind = value.to_owned(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => last_id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                seen.retry = value.parse().ok().map(Duration::from_millis).or(seen.retry);
            }
            _ => {}
        }
    }
    seen
}

/// What the model knows of it.
fn modelled(mut seen: Seen) -> Seen {
    seen.pending = 0;
    seen.last_id = String::from_utf8_lossy(&seen.last_id)
        .into_owned()
        .into_bytes();
    for event in &mut seen.events {
        event.start = 0;
        event.frame.clear();
    }
    seen
}

/// Streams out of the pieces that matter.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"\n"[..]),
        2 => Just(&b"\r"[..]),
        2 => Just(&b"\r\n"[..]),
        3 => Just(&b"\n\n"[..]),
        4 => Just(&b"data"[..]),
        4 => Just(&b"data: "[..]),
        1 => Just(&b"event: "[..]),
        1 => Just(&b"event"[..]),
        1 => Just(&b"id: "[..]),
        1 => Just(&b"id"[..]),
        1 => Just(&b"retry: "[..]),
        2 => Just(&b":"[..]),
        2 => Just(&b" "[..]),
        3 => Just(&b"x"[..]),
        2 => Just(&b"12"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"\xef\xbb\xbf"[..]),
        1 => Just(&b"\xef"[..]),
        1 => Just(&b"\xe2\x82\xac"[..]),
        1 => Just(&b"\xe2\x82"[..]),
        1 => Just(&b"\xff"[..]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The stream in chunks that end at any of these places.
fn split<'a>(input: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = at.iter().map(|at| at.index(input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.iter()
        .map(|&end| &input[std::mem::replace(&mut start, end)..end])
        .collect()
}

proptest! {
    #[test]
    fn any_stream_is_decoded_as_the_whatwg_says(input in stream(), dataless: bool) {
        let seen = decode(Decoder::new().dataless(dataless), &[&input]);
        prop_assert_eq!(modelled(seen), model(&input, dataless));
    }

    #[test]
    fn any_split_gives_what_the_whole_gives(
        input in stream(),
        at: [prop::sample::Index; 6],
        dataless: bool,
        max_line in 0..40_usize,
        max_event in 0..80_usize,
    ) {
        let chunks = split(&input, &at);
        let free = || Decoder::new().dataless(dataless);
        let bounded = || free().max_line(max_line).max_event(max_event);
        let decoders: [&dyn Fn() -> Decoder; 2] = [&free, &bounded];
        for decoder in decoders {
            let whole = decode(decoder(), &[&input]);
            for read in [decode, scan, alternate] {
                prop_assert_eq!(&read(decoder(), &chunks), &whole);
                prop_assert_eq!(&read(decoder(), &bytes(&input)), &whole);
            }
        }
    }

    #[test]
    fn a_filter_takes_out_what_is_unwanted_and_nothing_else(
        input in stream(),
        at: [prop::sample::Index; 6],
        unwanted: u8,
    ) {
        let unwanted = |number: usize| unwanted >> (number % 8) & 1 == 1;
        let chunks = split(&input, &at);
        let (out, taken_out) = filter(&chunks, unwanted);
        let mut whole = decode(Decoder::new(), &[&input]);
        let mut number = 0;
        let mut gone = Vec::new();
        whole.events.retain(|event| {
            number += 1;
            if unwanted(number - 1) {
                gone.push(event.clone());
            }
            !unwanted(number - 1)
        });
        prop_assert_eq!(&taken_out, &gone);
        let frames: usize = gone.iter().map(|event| event.frame.len()).sum();
        prop_assert!(out.len() <= input.len() - frames);
        prop_assert!(out.len() + frames + gone.len() >= input.len());
        if gone.is_empty() {
            prop_assert_eq!(&out, &input);
        }
        let texts = |seen: &Seen| -> Vec<_> {
            seen.events.iter().map(|event| (event.kind.clone(), event.data.clone())).collect()
        };
        // Where the first event is gone, a later byte order mark may stand first; it counts no more
        // than before.
        let first: &[u8] = if unwanted(0) { b"\n" } else { b"" };
        prop_assert_eq!(texts(&decode(Decoder::new(), &[first, &out])), texts(&whole));
    }

    #[test]
    fn what_is_written_is_read_again(
        data in "[a\\n\\r :\\x00\u{feff}é]{0,12}",
        event in "[a :é]{0,5}",
        id in proptest::option::of("[a :é]{0,5}"),
    ) {
        let mut out = BytesMut::new();
        let mut message = Message::new(&data).event(&event);
        if let Some(id) = &id {
            message = message.id(id);
        }
        message.encode(&mut out).expect("nothing to refuse");
        let seen = decode(Decoder::new(), &[&out]);
        prop_assert_eq!(seen.events.len(), 1);
        let kind = if event.is_empty() { "message" } else { &event };
        prop_assert_eq!(&seen.events[0].kind, kind);
        prop_assert_eq!(&seen.events[0].data, &data.replace("\r\n", "\n").replace('\r', "\n"));
        prop_assert_eq!(&seen.events[0].id, &id.unwrap_or_default());
        prop_assert_eq!(seen.pending, 0);
    }
}

#[test]
fn s4_a_filter_that_meets_its_bound_gives_back_every_byte() {
    for size in [1, 3, 7, 40, 100] {
        let mut filter = Filter::new(Decoder::new().max_line(16));
        let stream = Bytes::from_static(
            b"data: a\n\ndata: gone\n\ndata: 0123456789abcdef0123456789\n\nrest",
        );
        let (mut out, mut rest) = (Vec::new(), stream.clone());
        while !rest.is_empty() {
            let chunk = rest.split_to(size.min(rest.len()));
            match filter.push(&chunk, |event| event.data() != b"gone") {
                Ok(passed) => out.extend_from_slice(&passed),
                Err(_) => break,
            }
        }
        out.extend_from_slice(&filter.finish());
        out.extend_from_slice(&rest);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "data: a\n\ndata: 0123456789abcdef0123456789\n\nrest",
            "in pieces of {size}"
        );
    }
}
