//! Bodies of HTTP/2 responses, and how they end. Those of HTTP/1.1 are in `heads`.

use std::{
    error::Error as StdError,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_core::{Class, Fault, Sent};
use buttress_http::{
    BodyError, TrackLayer,
    client::{Error, Kind, ResponseBody},
};
use bytes::Bytes;
use h2::Reason;
use http::{Method, Request};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::{io::AsyncWriteExt, sync::Notify};
use tower::{Layer, ServiceExt};

use crate::{
    http2::{END_HEADERS, END_STREAM, HEADERS, STATUS_200, client, frame, go_away, greet},
    support::{CANARY, Server, assert_silent, call, get, gone, request},
};

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;

/// A server that sends a head and `hello`; the rest, and its close, when it is told to.
struct Halting {
    server: Server,
    go: Arc<Notify>,
}

impl Halting {
    async fn new(head: &[u8], rest: Vec<u8>) -> Self {
        let go = Arc::new(Notify::new());
        let start = [
            frame(HEADERS, END_HEADERS, 1, head),
            frame(DATA, 0, 1, b"hello"),
        ]
        .concat();
        let told = go.clone();
        let server = Server::new(move |_, mut stream| {
            let (start, rest, told) = (start.clone(), rest.clone(), told.clone());
            async move {
                greet(&mut stream).await?;
                stream.write_all(&start).await?;
                told.notified().await;
                stream.write_all(&rest).await?;
                stream.shutdown().await?;
                gone(&mut stream).await;
                Ok(())
            }
        })
        .await;
        Self { server, go }
    }

    /// The body of a reply, of which `hello` was read.
    async fn begun(&self) -> ResponseBody {
        let response = call(&client(&self.server), request()).await.unwrap();
        let mut body = response.into_body();
        self.hello(&mut body).await;
        body
    }

    /// Reads `hello`, and lets the rest come.
    async fn hello<B>(&self, body: &mut B)
    where
        B: Body<Data = Bytes, Error: StdError> + Unpin,
    {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        self.go.notify_one();
    }
}

/// `:status: 200`, and a length as HPACK writes it where it is not indexed.
fn head_of_length(length: u8) -> [u8; 5] {
    let [status] = STATUS_200;
    // A name by its number, 15 + 13 in the static table, and a text of one character.
    [status, 0x0f, 13, 1, b'0' + length]
}

fn rst_stream(reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes())
}

/// It is over after a failure, once and for all.
fn assert_over(body: ResponseBody) {
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(body).poll_frame(&mut cx), Poll::Ready(None)));
}

#[tokio::test]
async fn a_body_that_is_reset_was_begun() {
    for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
        let peer = Halting::new(&STATUS_200, rst_stream(reason)).await;
        let mut body = peer.begun().await;
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Reset, "{error:#?}");
        assert_eq!(error.outcome().sent, Sent::Maybe);
        let text = format!("{}: connection reset", peer.server.addr);
        assert_eq!(error.to_string(), text);
        assert_over(body);
    }
}

#[tokio::test]
async fn s1_a_goaway_that_repeats_the_key_in_a_body_is_not_repeated() {
    let rest = go_away(0, Reason::INTERNAL_ERROR, CANARY);
    let peer = Halting::new(&STATUS_200, rest).await;
    let mut body = peer.begun().await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert_silent(&error);
    assert_eq!(error.kind(), Kind::Reset, "{error:#?}");
    assert_eq!(error.outcome().sent, Sent::Maybe);
    let source = error.source().and_then(StdError::source).unwrap();
    assert_eq!(source.to_string(), "HTTP/2 GOAWAY received: INTERNAL_ERROR");
    assert_over(body);
}

#[tokio::test]
async fn s1_nor_is_one_that_includes_the_stream_and_then_closes() {
    let rest = go_away(1, Reason::INTERNAL_ERROR, CANARY);
    let peer = Halting::new(&STATUS_200, rest).await;
    let mut body = peer.begun().await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert_silent(&error);
    assert_eq!(error.kind(), Kind::Closed, "{error:#?}");
    assert_over(body);
}

#[tokio::test]
async fn s1_a_goaway_that_repeats_the_key_is_not_repeated_by_a_tracked_body() {
    let rest = go_away(0, Reason::INTERNAL_ERROR, CANARY);
    let peer = Halting::new(&STATUS_200, rest).await;
    let tracked = TrackLayer::default().layer(client(&peer.server));
    let mut body = tracked.oneshot(request()).await.unwrap().into_body();
    peer.hello(&mut body).await;
    let error: BodyError<Error> = body.frame().await.unwrap().unwrap_err();
    assert_silent(&error);
    assert_eq!(
        Fault::cause(&error).map(Kind::of),
        Some(Kind::Reset),
        "{error:#?}"
    );
}

#[tokio::test]
async fn a_body_that_ends_before_its_length_is_no_whole_one() {
    for rest in [
        rst_stream(Reason::NO_ERROR),
        go_away(0, Reason::NO_ERROR, CANARY),
    ] {
        let peer = Halting::new(&head_of_length(9), rest).await;
        let mut body = peer.begun().await;
        assert_eq!(body.size_hint().exact(), Some(4));
        let error = body.frame().await.unwrap().unwrap_err();
        assert_silent(&error);
        assert_eq!(error.kind(), Kind::Closed, "{error:#?}");
        assert_eq!(error.outcome().class, Class::Unavailable);
        let text = format!(
            "{}: connection closed too early: body: found its end with 4 bytes missing, \
             expected all of its `content-length`",
            peer.server.addr
        );
        assert_eq!(error.to_string(), text);
        assert_over(body);
    }
}

#[tokio::test]
async fn a_body_that_is_whole_may_end_with_a_reset_that_is_no_error() {
    for rest in [
        rst_stream(Reason::NO_ERROR),
        go_away(0, Reason::NO_ERROR, ""),
        frame(DATA, END_STREAM, 1, b""),
    ] {
        let peer = Halting::new(&head_of_length(5), rest).await;
        let rest = peer.begun().await.collect().await.unwrap();
        assert_eq!(rest.to_bytes(), "");
    }
}

#[tokio::test]
async fn a_body_that_says_it_ends_before_its_length_is_malformed() {
    let rest = frame(DATA, END_STREAM, 1, b"");
    let peer = Halting::new(&head_of_length(9), rest).await;
    let error = peer.begun().await.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed, "{error:#?}");
}

#[tokio::test]
async fn a_head_alone_has_no_body_whatever_length_it_says() {
    // `HEAD`; and of `GET`, `:status: 304`, in place of the 200.
    for (method, status) in [(Method::HEAD, STATUS_200), (Method::GET, [0x8b])] {
        let head = [&status[..], &head_of_length(9)[1..]].concat();
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head);
        let server = Server::new(move |_, mut stream| {
            let head = head.clone();
            async move {
                greet(&mut stream).await?;
                stream.write_all(&head).await?;
                gone(&mut stream).await;
                Ok(())
            }
        })
        .await;
        let mut request: Request<Full<Bytes>> = get("/x");
        *request.method_mut() = method;
        let response = call(&client(&server), request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "9");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }
}
