//! A shared reply as bytes, and back.

use std::task::Waker;

use buttress_core::{Class, Finish, Money, Outcome, Progress, Share, Usage};
use buttress_http::{Body, Http, Shared};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::Full;
use proptest::prelude::*;

use crate::{
    megabyte,
    pipe::{Pipe, Piped, poll, rest},
    support::{Call, Caller, Heard, Lines},
};

type Kept = Shared<Full<Bytes>>;

/// Reads all of it once, so that it is over.
fn read(call: &Call) {
    let _ = rest(call.open().body);
}

/// A stream of content and none, with trailers.
fn stream() -> Call {
    let call = Call::begin();
    for chunk in ["+one ", ": ping", "", "+two ", "END", ": after it"] {
        call.pipe.send(chunk);
    }
    call.pipe.trailers("checksum", "12");
    call.pipe.end();
    read(&call);
    call
}

fn encoded(call: &Call) -> Vec<u8> {
    call.shared.encode().expect("it is over, and well")
}

/// The same call in another process.
fn there(bytes: &[u8]) -> Call {
    let shared = Shared::<Piped>::decode(bytes).expect("it was encoded");
    let (pipe, inside) = (Pipe::default(), Heard::default());
    Call {
        pipe,
        inside,
        shared,
    }
}

/// What a caller gets, frame by frame.
fn frames(caller: &mut Caller) -> Vec<String> {
    let mut all = Vec::new();
    while let std::task::Poll::Ready(Some(Ok(frame))) = poll(&mut caller.body, Waker::noop()) {
        all.push(match frame.into_data() {
            Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
            Err(frame) => format!("{:?}", frame.into_trailers().unwrap()),
        });
    }
    assert!(caller.body.is_end_stream());
    all
}

/// A reply with this head, read to its end.
fn with_head(head: &[(&'static str, &'static str)]) -> Kept {
    let mut response = Response::new(Body::ready("hello"));
    *response.status_mut() = StatusCode::CREATED;
    for (name, value) in head {
        let value = HeaderValue::from_static(value);
        response.headers_mut().append(*name, value);
    }
    response.extensions_mut().insert("only here");
    shared(response, Outcome::SUCCESS)
}

fn shared(response: Response<Body<Full<Bytes>>>, seen: Outcome) -> Kept {
    let shared = Http.share(response, &seen);
    let _ = rest(Response::<Body<_>>::into_body(Http.open(&shared)));
    shared
}

#[test]
fn c5_a_stream_that_was_bytes_is_the_same_stream_and_was_paid_for() {
    let here = stream();
    let there = there(&encoded(&here));
    let (mut one, mut other) = (here.open(), there.open());
    assert_eq!(one.body.size_hint().exact(), None);
    assert_eq!(other.body.size_hint().exact(), None);
    assert_eq!(frames(&mut one), frames(&mut other));
    assert_eq!(one.heard.progress(), other.heard.progress());
    assert_eq!(
        other.heard.progress()[..2],
        [Progress::FirstContent, Progress::Ping]
    );
    assert_eq!(one.heard.outcome(), other.heard.outcome());
    let ended = other.heard.outcome();
    assert!(!ended.usage.unwrap().billed && ended.cost == Some(Money::ZERO));
    assert_eq!(
        here.ended(),
        there.ended(),
        "what it had used is known still"
    );
    assert!(here.ended().unwrap().usage.unwrap().billed);
    assert!(Http.reopens(&there.shared));
}

#[test]
fn c5_a_reader_that_leaves_after_the_terminator_and_one_before_it_report_the_same_there() {
    let here = stream();
    let there = there(&encoded(&here));
    for chunks in 0..=6 {
        let [one, other] = [&here, &there].map(|call| {
            let mut caller = call.open();
            for _ in 0..chunks {
                let frame: Frame<_> = match poll(&mut caller.body, Waker::noop()) {
                    std::task::Poll::Ready(Some(Ok(frame))) => frame,
                    _ => panic!("a frame"),
                };
                drop(frame);
            }
            caller.leave().outcome()
        });
        assert_eq!(one, other, "{chunks} chunks");
    }
}

#[test]
fn a_reply_whose_length_is_known_has_that_length_there() {
    let (_, source) = Pipe::new();
    drop(source);
    let call = Call::answer(Lines, 200, 0, Pipe::whole(&["+one", "END"]), |_| ());
    read(&call);
    let there = there(&encoded(&call));
    let mut caller = there.open();
    assert_eq!(caller.body.size_hint().exact(), Some(7));
    assert_eq!(frames(&mut caller), ["+one", "END"]);
    assert_eq!(caller.body.size_hint().exact(), Some(0));
}

#[test]
fn a_reply_without_a_body_has_none_there() {
    let shared = shared(Response::new(Body::ready("")), Outcome::SUCCESS);
    let there = Kept::decode(&shared.encode().unwrap()).unwrap();
    let body = Response::<Body<_>>::into_body(Http.open(&there));
    assert!(body.is_end_stream());
    assert_eq!(Http.ended(&there), Some(Outcome::SUCCESS));
}

#[test]
fn c4_what_is_not_over_or_not_whole_or_has_not_ended_well_is_never_bytes() {
    let call = Call::begin();
    assert!(call.shared.encode().is_none(), "not begun");
    let mut one = call.open();
    call.pipe.send("+one");
    crate::text(&mut one.body);
    assert!(call.shared.encode().is_none(), "passing");
    call.pipe.end();
    drop(rest_or_error(&mut one));
    assert!(call.shared.encode().is_none(), "cut");

    for chunk in ["+one", "bad"] {
        let call = Call::begin();
        call.pipe.send("+one");
        call.pipe.send(chunk);
        call.pipe.fail();
        let mut one = call.open();
        drop(rest_or_error(&mut one));
        assert!(call.shared.encode().is_none(), "broken, after {chunk}");
    }

    let call = Call::of(Lines, 429, 0);
    call.pipe.send("END");
    call.pipe.end();
    read(&call);
    assert!(call.shared.encode().is_none(), "a failure");

    let call = Call::begin();
    let mut one = call.open();
    for _ in 0..9 {
        call.pipe.send_bytes(megabyte());
        crate::text(&mut one.body);
    }
    call.pipe.send("END");
    call.pipe.end();
    drop(one.read());
    assert!(call.shared.encode().is_none(), "larger than the cap");
}

fn rest_or_error(caller: &mut Caller) -> Vec<String> {
    let mut all = Vec::new();
    while let std::task::Poll::Ready(Some(next)) = poll(&mut caller.body, Waker::noop()) {
        match next {
            Ok(_) => all.push(String::new()),
            Err(_) => break,
        }
    }
    all
}

#[test]
fn what_broke_off_after_its_terminator_is_whole_there_as_it_is_here() {
    let call = Call::begin();
    call.pipe.send("+one");
    call.pipe.send("END");
    call.pipe.fail();
    read(&call);
    let there = there(&encoded(&call));
    let mut caller = there.open();
    assert_eq!(frames(&mut caller), ["+one", "END"]);
    assert_eq!(caller.heard.outcome().class, Class::Success);
}

/// Else whoever frames it by that length waits for bytes that nobody sends.
#[test]
fn what_broke_off_after_its_terminator_does_not_promise_the_length_that_did_not_come() {
    let length = |shared: &Shared<Piped>| {
        let response: Response<Body<Piped>> = Http.open(shared);
        response.headers().get("content-length").cloned()
    };
    for (sent, breaks) in [("+one+two", false), ("+one", true)] {
        let (pipe, source) = Pipe::with_length(11);
        let call = Call::answer(Lines, 200, 0, source, |_| ());
        pipe.send(sent);
        pipe.send("END");
        assert_eq!(length(&call.shared).unwrap(), "11", "it may still come");
        match breaks {
            true => pipe.fail(),
            false => pipe.end(),
        }
        read(&call);
        let there = there(&encoded(&call));
        for shared in [&call.shared, &there.shared] {
            let expected = (!breaks).then_some(HeaderValue::from_static("11"));
            assert_eq!(length(shared), expected);
        }
    }
}

#[test]
fn what_is_one_connections_or_one_clients_alone_stays_behind() {
    let kept = with_head(&[
        ("content-type", "text/plain"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("connection", "x-mine , Keep-Alive,\u{9}x-other"),
        ("connection", "close"),
        ("x-mine", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("proxy-connection", "close"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("set-cookie", "session=secret"),
    ]);
    let there = Kept::decode(&kept.encode().unwrap()).unwrap();
    let response: Response<Body<_>> = Http.open(&there);
    assert_eq!(response.status(), 201);
    assert!(response.extensions().get::<&str>().is_none());
    let mut head: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    head.sort();
    assert_eq!(head, ["content-type: text/plain", "x-two: 1", "x-two: 2"]);
}

#[test]
fn s1_what_is_not_to_be_printed_is_not_printed_there_either() {
    let mut secret = HeaderValue::from_static("secret");
    secret.set_sensitive(true);
    let mut response = Response::new(Body::ready("hello"));
    response.headers_mut().insert("x-key", secret);
    response
        .headers_mut()
        .insert("x-open", HeaderValue::from_static("said"));
    let kept = shared(response, Outcome::SUCCESS);
    let there = Kept::decode(&kept.encode().unwrap()).unwrap();
    let response: Response<Body<_>> = Http.open(&there);
    assert_eq!(response.headers()["x-key"], "secret");
    assert!(response.headers()["x-key"].is_sensitive());
    assert!(!response.headers()["x-open"].is_sensitive());
}

#[test]
fn everything_that_was_learned_of_the_outcome_is_known_there() {
    let mut usage = Usage::new(u64::MAX, 2).estimated();
    (usage.cached_input, usage.cache_write, usage.reasoning) = (3, 4, 5);
    let cost = Money::from_pico(u128::MAX);
    for finish in Finish::ALL {
        let outcome = Outcome::SUCCESS
            .with_usage(usage)
            .with_cost(cost)
            .with_finish(finish);
        let kept = shared(Response::new(Body::ended("hello", outcome)), outcome);
        let there = Kept::decode(&kept.encode().unwrap()).unwrap();
        assert_eq!(Http.ended(&there), Some(outcome));
    }
}

#[test]
fn s4_a_head_beyond_all_bounds_is_not_encoded() {
    for (lines, length, kept) in [(4096, 1, true), (4097, 1, false), (9, 32 << 10, false)] {
        let mut response = Response::new(Body::ready("hello"));
        for _ in 0..lines {
            let value = HeaderValue::from_str(&"v".repeat(length)).unwrap();
            response.headers_mut().append("x", value);
        }
        let bytes = shared(response, Outcome::SUCCESS).encode();
        assert_eq!(bytes.is_some(), kept, "{lines} lines of {length}");
        if let Some(bytes) = bytes {
            assert!(Kept::decode(&bytes).is_some());
        }
    }
}

#[test]
fn a_reply_as_large_as_a_recording_may_be_is_decoded() {
    let call = Call::begin();
    for _ in 0..7 {
        call.pipe.send_bytes(megabyte());
    }
    for _ in 0..(1 << 20) / 16 {
        call.pipe.send("+fifteen bytes.");
    }
    call.pipe.send("END");
    call.pipe.end();
    read(&call);
    let there = there(&encoded(&call));
    assert_eq!(rest(there.open().body).0, rest(call.open().body).0);
    assert!(Http.weight(&there.shared) >= Shared::<Piped>::MAX_BYTES - (2 << 20));
}

#[test]
fn s4_lengths_beyond_what_is_there_allocate_nothing() {
    // A version, 200, no flags, no headers, and then more frames or bytes than there can be.
    let head = [1, 0xc8, 1, 0, 0];
    let huge: [&[u8]; 4] = [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[
            1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ],
        &[0xff; 40],
        &[0x80; 40],
    ];
    for tail in huge {
        assert!(Kept::decode(&[&head[..], tail].concat()).is_none());
    }
    assert!(Kept::decode(&[&head[..], &[0]].concat()).is_some());
    assert!(Kept::decode(&vec![0; 64 << 20]).is_none());
    // As many empty frames as fit into the largest of what is read.
    let mut drip = [&head[..], &[0x80, 0x80, 0xc0, 0x01]].concat();
    drip.resize(drip.len() + (3 << 20) * 2, 0);
    assert!(Kept::decode(&drip).is_none());
}

fn replies() -> impl Strategy<Value = Vec<u8>> {
    let chunks = prop::collection::vec("(\\+[a-z]{0,40}|: ping|)", 0..12);
    (chunks, any::<bool>()).prop_map(|(chunks, trailers)| {
        let call = Call::begin();
        for chunk in chunks {
            call.pipe.send(&chunk);
        }
        call.pipe.send("END");
        if trailers {
            call.pipe.trailers("checksum", "12");
        }
        call.pipe.end();
        read(&call);
        encoded(&call)
    })
}

proptest! {
    #[test]
    fn s4_whatever_bytes_come_back_nothing_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if version && let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Some(shared) = Kept::decode(&bytes) {
            let _ = rest(Response::<Body<_>>::into_body(Http.open(&shared)));
        }
    }

    #[test]
    fn what_was_encoded_comes_back_the_same_and_what_was_cut_or_grew_not_at_all(
        bytes in replies(),
    ) {
        let again = Kept::decode(&bytes).expect("it was encoded");
        prop_assert!(again.encode().expect("it is over") == bytes);
        for length in 0..bytes.len() {
            prop_assert!(Kept::decode(&bytes[..length]).is_none(), "{length} bytes of it");
        }
        prop_assert!(Kept::decode(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn s4_a_reply_with_a_byte_that_is_another_is_refused_or_read_without_a_panic(
        bytes in replies(),
        at in any::<prop::sample::Index>(),
        with in 1..=255_u8,
    ) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        if let Some(shared) = Kept::decode(&bytes) {
            let _ = rest(Response::<Body<_>>::into_body(Http.open(&shared)));
            prop_assert!(Http.ended(&shared).is_some());
        }
    }
}
