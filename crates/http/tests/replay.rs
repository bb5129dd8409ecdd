//! What a body that is kept while it is sent promises.

mod pipe;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Poll, Waker},
};

use buttress_core::{Class, Refused, Replay};
use buttress_http::{BoxError, Http, ReplayBody, ReplayError, ReplayLayer, Replayable};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use pipe::{Pipe, Piped, Woken, error, poll, rest, text};

const CAP: usize = 1 << 20;

fn kept(source: Piped) -> ReplayBody<Piped> {
    ReplayBody::new(source, CAP)
}

#[test]
fn r11_a_replayed_body_is_the_same_with_its_trailers() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    pipe.send("one ");
    pipe.send("two");
    pipe.trailers("checksum", "12");
    pipe.end();
    let first = rest(original.copy().unwrap());
    assert_eq!(first.0, b"one two");
    assert_eq!(first.1.as_ref().unwrap()["checksum"], "12");
    let polls = pipe.polls();
    assert_eq!(rest(original.copy().unwrap()), first);
    assert_eq!(rest(original), first, "the kept one can be sent as well");
    assert_eq!(pipe.polls(), polls, "the source was read once");
}

#[test]
fn r11_the_second_reader_goes_on_where_the_first_was_dropped() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let mut first = original.copy().unwrap();
    pipe.send("one ");
    assert_eq!(text(&mut first), "one ");
    assert!(poll(&mut first, Waker::noop()).is_pending());
    drop(first);
    pipe.send("two ");
    let mut second = original.copy().unwrap();
    assert_eq!(text(&mut second), "one ");
    assert_eq!(text(&mut second), "two ");
    pipe.send("three");
    pipe.end();
    assert_eq!(rest(second).0, b"three");
    assert_eq!(rest(original).0, b"one two three");
}

proptest! {
    #[test]
    fn r11_any_readers_in_any_order_get_the_same_bytes(
        chunks in prop::collection::vec(0usize..6000, 0..12),
        // Which reader reads next; the last number replaces a reader by a fresh copy.
        turns in prop::collection::vec(0usize..5, 0..80),
    ) {
        let chunks: Vec<Vec<u8>> = (0..).zip(chunks).map(|(n, size)| vec![n; size]).collect();
        let (pipe, source) = Pipe::new();
        let original = kept(source);
        for chunk in &chunks {
            pipe.send_bytes(chunk.clone());
        }
        pipe.trailers("x", "y");
        pipe.end();
        let mut readers: Vec<_> = (0..3).map(|_| (original.copy().unwrap(), Vec::new())).collect();
        for turn in turns {
            let Some((reader, read)) = readers.get_mut(turn % 4) else {
                readers[0] = (original.copy().unwrap(), Vec::new());
                continue;
            };
            if let Poll::Ready(Some(Ok(frame))) = poll(reader, Waker::noop())
                && let Ok(data) = frame.into_data()
            {
                read.extend_from_slice(&data);
            }
        }
        for (reader, mut read) in readers {
            read.extend(rest(reader).0);
            prop_assert_eq!(read, chunks.concat());
        }
    }
}

#[test]
fn r11_a_body_over_its_cap_is_sent_once_and_not_again() {
    let (pipe, source) = Pipe::new();
    let original = ReplayBody::new(source, 10);
    let mut first = original.copy().unwrap();
    pipe.send("1234567890");
    assert_eq!(text(&mut first), "1234567890");
    assert!(original.whole(), "the cap is reached, and not passed");
    let early = original.copy().unwrap();
    pipe.send("1");
    assert_eq!(text(&mut first), "1");
    assert!(!original.whole());
    assert!(original.copy().is_none());
    pipe.send("and so on");
    pipe.end();
    assert_eq!(
        rest(first).0,
        b"and so on",
        "the one on its way is unharmed"
    );
    for mut late in [early, original] {
        let error = error(&mut late);
        assert_eq!(
            *error.downcast::<ReplayError>().unwrap(),
            ReplayError::Outgrown
        );
    }
}

#[test]
fn r11_a_body_known_to_be_larger_than_the_cap_is_not_kept_at_all() {
    let (pipe, source) = Pipe::with_length(11);
    let request = Request::new(ReplayBody::new(source, 10));
    assert!(!Http.whole(&request));
    assert!(Http.copy(&request).is_none());
    let mut body = request.into_body();
    assert_eq!(body.size_hint().exact(), Some(11));
    let sent = Bytes::from(vec![b'x'; 11]);
    pipe.send_bytes(sent.clone());
    let Poll::Ready(Some(Ok(frame))) = poll(&mut body, Waker::noop()) else {
        panic!("the chunk is there");
    };
    assert_eq!(frame.into_data().unwrap().as_ptr(), sent.as_ptr());
    assert!(body.is_end_stream());
    drop(pipe);
}

#[test]
fn r11_two_readers_of_a_large_body_may_differ_by_the_cap_and_no_more() {
    let (pipe, source) = Pipe::new();
    let original = ReplayBody::new(source, 10);
    let (mut fast, mut near) = (original.copy().unwrap(), original.copy().unwrap());
    let mut far = original.copy().unwrap();
    let send = |reader: &mut ReplayBody<Piped>, data: &str| {
        pipe.send(data);
        assert_eq!(text(reader), data);
    };
    send(&mut fast, "aaaaa");
    assert_eq!(text(&mut far), "aaaaa");
    assert_eq!(text(&mut near), "aaaaa");
    send(&mut fast, "bbbbb");
    assert_eq!(text(&mut near), "bbbbb");
    send(&mut fast, "ccccc");
    assert!(!original.whole());
    assert_eq!(text(&mut far), "bbbbb", "ten bytes behind");
    send(&mut fast, "ddddd");
    send(&mut fast, "eeeee");
    let behind = error(&mut far);
    assert_eq!(Refused::find(&*behind).unwrap().class(), Class::Refused);
    assert_eq!(
        *behind.downcast::<ReplayError>().unwrap(),
        ReplayError::Outgrown
    );
    drop(near);
    pipe.end();
    assert_eq!(rest(fast).0, b"");
}

#[test]
fn whoever_polls_drives_and_all_who_wait_are_woken() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    let ((one_woken, one_waker), (other_woken, other_waker)) = (Woken::new(), Woken::new());
    assert!(poll(&mut one, &one_waker).is_pending());
    assert!(poll(&mut other, &other_waker).is_pending());
    pipe.send("hello");
    assert_eq!((one_woken.times(), other_woken.times()), (1, 1));
    assert_eq!(text(&mut other), "hello");
    assert_eq!(text(&mut one), "hello");

    assert!(poll(&mut one, &one_waker).is_pending());
    pipe.fail();
    assert_eq!((one_woken.times(), other_woken.times()), (2, 1));
    assert_eq!(error(&mut other).to_string(), "broken");
    assert_eq!(error(&mut one).to_string(), ReplayError::Failed.to_string());
}

#[test]
fn a_reader_that_waits_is_woken_by_what_another_one_polled() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    let (woken, waker) = Woken::new();
    pipe.send("a");
    assert_eq!(text(&mut other), "a");
    assert_eq!(text(&mut one), "a");
    assert!(poll(&mut one, &waker).is_pending());
    // As a source does that looks at the clock: it need not wake whom it has told more meanwhile.
    pipe.send_quietly("b");
    assert_eq!(text(&mut other), "b");
    assert_eq!(woken.times(), 1);
    assert_eq!(text(&mut one), "b");
    assert!(poll(&mut one, &waker).is_pending());
    pipe.end();
    assert!(matches!(poll(&mut other, Waker::noop()), Poll::Ready(None)));
    assert_eq!(woken.times(), 2);
    assert!(matches!(poll(&mut one, Waker::noop()), Poll::Ready(None)));
}

#[test]
fn dropping_the_reader_that_polled_last_leaves_the_others_to_be_woken() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    let (woken, waker) = Woken::new();
    assert!(poll(&mut one, &waker).is_pending());
    assert!(poll(&mut other, Waker::noop()).is_pending());
    drop(other);
    pipe.send("hello");
    assert_eq!(woken.times(), 1);
    assert_eq!(text(&mut one), "hello");
}

#[test]
fn a_reader_that_comes_while_another_polls_is_woken_when_that_one_had_nothing() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    let (woken, waker) = Woken::new();
    let late = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    pipe.call({
        let late = late.clone();
        move || {
            assert!(poll(&mut other, &waker).is_pending());
            late.lock().unwrap().push(other);
        }
    });
    assert!(poll(&mut one, Waker::noop()).is_pending());
    assert_eq!(woken.times(), 1, "it polls the source itself now");
    pipe.send("hello");
    drop(one);
    assert_eq!(text(&mut late.lock().unwrap()[0]), "hello");
}

#[test]
fn an_error_goes_to_the_reader_that_hits_it_and_nothing_is_copied_any_more() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    pipe.send("hello");
    pipe.fail();
    assert_eq!(text(&mut one), "hello");
    let own = error(&mut one);
    assert_eq!(own.downcast::<io::Error>().unwrap().to_string(), "broken");
    assert!(pipe.is_gone(), "what has failed is let go");
    assert_eq!(text(&mut other), "hello", "what has passed is there");
    let typed = error(&mut other);
    assert_eq!(
        *typed.downcast::<ReplayError>().unwrap(),
        ReplayError::Failed
    );
    assert!(!original.whole());
    assert!(original.copy().is_none());
}

#[test]
fn a_source_that_panics_fails_for_everybody_else() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let (mut one, mut other) = (original.copy().unwrap(), original.copy().unwrap());
    let (woken, waker) = Woken::new();
    assert!(poll(&mut other, &waker).is_pending());
    pipe.panic();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        poll(&mut one, Waker::noop()).is_ready()
    }));
    assert!(panicked.is_err());
    assert_eq!(woken.times(), 1);
    let typed = error(&mut other);
    assert_eq!(
        *typed.downcast::<ReplayError>().unwrap(),
        ReplayError::Failed
    );
    assert!(original.copy().is_none());
    assert!(pipe.is_gone());
}

#[test]
fn the_size_and_the_end_are_those_of_the_source_for_every_reader() {
    let (pipe, source) = Pipe::with_length(9);
    let original = kept(source);
    assert!(!original.is_end_stream());
    let mut first = original.copy().unwrap();
    pipe.send("hello");
    assert_eq!(first.size_hint().exact(), Some(9));
    text(&mut first);
    assert_eq!(first.size_hint().exact(), Some(4));
    let mut second = original.copy().unwrap();
    assert_eq!(
        second.size_hint().exact(),
        Some(9),
        "its content-length is right"
    );
    pipe.send(" you");
    assert!(!first.is_end_stream());
    text(&mut first);
    assert!(first.is_end_stream(), "without another poll");
    assert!(pipe.is_gone());
    text(&mut second);
    assert_eq!(second.size_hint().exact(), Some(4));
    assert!(!second.is_end_stream());
    text(&mut second);
    assert!(second.is_end_stream());
    assert_eq!(original.size_hint().exact(), Some(9));
}

#[test]
fn r11_a_stream_of_unknown_length_stays_one() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    pipe.send("hello");
    pipe.trailers("checksum", "5");
    pipe.end();
    rest(original.copy().unwrap());
    let hint = original.size_hint();
    assert_eq!(
        (hint.lower(), hint.upper()),
        (5, None),
        "or its trailers would be lost"
    );
}

#[test]
fn an_empty_body_is_over_at_once_whatever_the_cap() {
    let body = ReplayBody::new(Empty::<Bytes>::new(), 0);
    assert!(body.is_end_stream());
    let copy = body.copy().unwrap();
    assert!(copy.is_end_stream());
    assert_eq!(copy.size_hint().exact(), Some(0));
}

#[test]
fn the_source_goes_with_its_last_reader() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let mut copy = original.copy().unwrap();
    assert!(poll(&mut copy, Waker::noop()).is_pending());
    drop(original);
    assert!(!pipe.is_gone());
    drop(copy);
    assert!(pipe.is_gone(), "though it still has the waker");
}

#[test]
fn s4_a_drip_of_single_bytes_is_bounded_by_its_frames() {
    let (pipe, source) = Pipe::new();
    let original = kept(source);
    let mut copy = original.copy().unwrap();
    let mut frames = 0;
    while original.whole() {
        pipe.send_bytes(Bytes::from_static(b"x"));
        assert_eq!(text(&mut copy), "x");
        frames += 1;
        assert!(
            frames < CAP / 16,
            "{frames} frames are kept for {CAP} bytes"
        );
    }
    pipe.end();
    assert_eq!(rest(copy).0, b"");
}

#[tokio::test]
async fn the_layer_makes_a_stream_replayable_and_passes_the_head_on() {
    let (pipe, source) = Pipe::new();
    pipe.send("hello");
    pipe.end();
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::new().max_bytes(5))
        .service(service_fn(async |request: Request<ReplayBody<Piped>>| {
            assert_eq!(request.uri(), "/path");
            let copy = Http.copy(&request).expect("it fits");
            let first = copy.into_body().collect().await?.to_bytes();
            assert!(Http.whole(&request));
            let second = request.into_body().collect().await?.to_bytes();
            assert_eq!(first, second);
            Ok::<_, BoxError>(Response::new(second))
        }));
    let response = service
        .oneshot(Request::post("/path").body(source).unwrap())
        .await
        .unwrap();
    assert_eq!(response.into_body(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_many_threads_get_the_same_bytes() {
    for _ in 0..20 {
        let (pipe, source) = Pipe::new();
        let original = kept(source);
        let readers: Vec<_> = (0..8)
            .map(|number| {
                let copy = original.copy().unwrap();
                tokio::spawn(async move {
                    let mut copy = copy;
                    let mut read = Vec::new();
                    while let Some(frame) = copy.frame().await {
                        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
                        // Some leave half-way, driving or not.
                        if number % 2 == 0 && read.len() > 2000 * number {
                            return None;
                        }
                    }
                    Some(read)
                })
            })
            .collect();
        drop(original);
        let mut sent = Vec::new();
        for number in 0..2000_u32 {
            let chunk = number.to_string();
            sent.extend_from_slice(chunk.as_bytes());
            pipe.send_bytes(chunk);
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        pipe.end();
        let mut whole = 0;
        for reader in readers {
            if let Some(read) = reader.await.unwrap() {
                assert_eq!(read, sent);
                whole += 1;
            }
        }
        assert!(whole >= 4, "{whole}");
    }
}

#[tokio::test]
async fn bytes_in_memory_may_be_kept_too() {
    let body = ReplayBody::new(Full::<Bytes>::from("hello"), CAP);
    let copy = body.copy().unwrap();
    assert_eq!(copy.collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(body.size_hint().exact(), Some(5));
}

/// What one attempt looks like on the wire. Each gets a connection of its own.
#[cfg(feature = "client")]
async fn attempt(
    listener: &tokio::net::TcpListener,
    request: Request<ReplayBody<Piped>>,
) -> String {
    use buttress_http::client::Client;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut received = String::new();
        // The body ends in an exclamation mark, in a chunk or not.
        while !received.ends_with("you!") && !received.ends_with("0\r\n\r\n") {
            let mut buffer = [0; 1024];
            let read = socket.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "it ends early: {received}");
            received.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        let answer = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        received
    };
    let client = Client::direct(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (received, answered) = tokio::join!(serve, client.oneshot(request));
    assert_eq!(answered.unwrap().status(), 503);
    received
}

#[cfg(feature = "client")]
#[tokio::test]
async fn r11_a_replayed_request_is_the_same_on_the_wire() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (body, framing) in [
        (Pipe::whole(&["hello ", "you!"]), "content-length: 10"),
        (
            {
                let (pipe, body) = Pipe::new();
                pipe.send("hello ");
                pipe.send("you!");
                pipe.end();
                body
            },
            "transfer-encoding: chunked",
        ),
    ] {
        let request = Request::post("/chat").body(kept(body)).unwrap();
        let first = attempt(&listener, Http.copy(&request).unwrap()).await;
        let second = attempt(&listener, Http.copy(&request).unwrap()).await;
        assert!(first.contains(framing), "{first}");
        assert_eq!(first, second);
        assert!(Http.whole(&request));
        assert_eq!(
            attempt(&listener, request).await,
            first,
            "the kept one itself"
        );
    }
}
