//! HTTP/2, with a server of the `h2` crate, and with frames written out where that one is too
//! well behaved. What happens in a body is in `bodies`.

use std::{future::poll_fn, io, time::Duration};

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind};
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{Request, Response, header};
use http_body_util::Full;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};
use tower_service::Service;

use crate::support::{CANARY, Server, fails, get, gone, may_have_been_served, reply, request};

// Frames, and their flags.
pub(crate) const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// `:status: 200`, by its number in HPACK's static table.
pub(crate) const STATUS_200: [u8; 1] = [0x88];

/// Answers each request of one connection with `hello`.
pub(crate) async fn answer_all<S>(stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    serve(stream, |_, respond| answer(respond)).await
}

fn answer(mut respond: SendResponse<Bytes>) {
    // The client may be gone; then nobody wants it.
    if let Ok(mut body) = respond.send_response(Response::new(()), false) {
        let _gone = body.send_data(Bytes::from_static(b"hello"), true);
    }
}

async fn serve<S>(stream: S, handle: impl Fn(Request<()>, SendResponse<Bytes>)) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.map_err(io::Error::other)?;
        handle(request.map(drop), respond);
    }
    Ok(())
}

/// A server that hands every request to `handle`.
async fn handling(
    handle: impl Fn(Request<()>, SendResponse<Bytes>) + Clone + Send + 'static,
) -> Server {
    Server::new(move |_, stream| {
        let handle = handle.clone();
        async move { serve(stream, handle).await }
    })
    .await
}

pub(crate) fn client(server: &Server) -> Client {
    server.client().http2_only()
}

/// A frame, byte for byte.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn go_away(last: u32, reason: Reason, debug: &str) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(u32::from(reason).to_be_bytes());
    payload.extend(debug.as_bytes());
    frame(GOAWAY, 0, 0, &payload)
}

/// Greets a client, and reads until its first request.
pub(crate) async fn greet(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    until(stream, HEADERS).await?;
    stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await
}

async fn until(stream: &mut TcpStream, wanted: u8) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().unwrap()];
        stream.read_exact(&mut payload).await?;
        if head[3] == wanted {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn http_2_needs_no_tls_where_it_is_known() {
    let server = handling(|_, respond| answer(respond)).await;
    let client = client(&server);
    for _ in 0..3 {
        assert_eq!(reply(&client, get("/x")).await, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_refused_stream_was_not_begun() {
    let server = handling(|_, mut respond| respond.send_reset(Reason::REFUSED_STREAM)).await;
    fails(
        &client(&server),
        Kind::Unstarted,
        Class::Unstarted,
        Sent::No,
    )
    .await;
}

#[tokio::test]
async fn a_stream_that_is_reset_may_have_been_served() {
    for reason in [
        Reason::INTERNAL_ERROR,
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::PROTOCOL_ERROR,
        Reason::NO_ERROR,
    ] {
        let server = handling(move |_, mut respond| respond.send_reset(reason)).await;
        may_have_been_served(&client(&server), Kind::Reset).await;
    }
}

#[tokio::test]
async fn s1_a_stream_above_the_last_one_of_a_goaway_was_not_begun() {
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let server = Server::new(move |_, mut stream| async move {
            greet(&mut stream).await?;
            // A peer can write here what it likes, what we sent it too.
            stream.write_all(&go_away(0, reason, CANARY)).await?;
            gone(&mut stream).await;
            Ok(())
        })
        .await;
        fails(
            &client(&server),
            Kind::Unstarted,
            Class::Unstarted,
            Sent::No,
        )
        .await;
    }
}

#[tokio::test]
async fn a_stream_that_a_goaway_includes_may_have_been_served() {
    let server = Server::new(|_, mut stream| async move {
        greet(&mut stream).await?;
        let bytes = go_away(1, Reason::INTERNAL_ERROR, CANARY);
        stream.write_all(&bytes).await
    })
    .await;
    let error = crate::support::failure(&client(&server)).await;
    assert!(
        matches!(error.kind(), Kind::Closed | Kind::Reset),
        "{error:#?}"
    );
    assert_eq!(error.outcome().sent, Sent::Maybe);
}

#[tokio::test]
async fn a_goaway_lets_what_it_includes_finish_and_the_next_takes_another_connection() {
    let server = Server::new(|_, mut stream| async move {
        greet(&mut stream).await?;
        stream.write_all(&go_away(1, Reason::NO_ERROR, "")).await?;
        let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &STATUS_200);
        stream.write_all(&head).await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    let client = client(&server);
    for connections in 1..4 {
        assert_eq!(reply(&client, get("/x")).await, "");
        assert_eq!(server.accepted(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_closes_under_a_stream_may_have_served_it() {
    let server = Server::new(|_, mut stream| async move { greet(&mut stream).await }).await;
    let error = crate::support::failure(&client(&server)).await;
    assert!(
        matches!(error.kind(), Kind::Closed | Kind::Reset),
        "{error:#?}"
    );
    assert_eq!(error.outcome().sent, Sent::Maybe);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_2_is_malformed() {
    let server = Server::new(|_, mut stream| async move {
        let head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head).await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    let error = crate::support::failure(&client(&server)).await;
    assert_eq!(error.outcome().class, Class::Unavailable, "{error:#?}");
}

#[tokio::test]
async fn s4_a_head_over_its_bound_is_malformed() {
    let server = handling(|_, mut respond| {
        let response = Response::builder().header("x", "y".repeat(17 << 10));
        let _gone = respond.send_response(response.body(()).unwrap(), true);
    })
    .await;
    may_have_been_served(&client(&server), Kind::Malformed).await;
}

#[tokio::test]
async fn http2_informational_responses_are_waited_through_however_many() {
    let server = Server::new(|_, mut stream| async move {
        greet(&mut stream).await?;
        // `:status: 102`, the name by its number in HPACK's static table.
        let processing = frame(HEADERS, END_HEADERS, 1, b"\x08\x03102");
        stream.write_all(&processing.repeat(10_000)).await?;
        let done = frame(HEADERS, END_HEADERS | END_STREAM, 1, &STATUS_200);
        stream.write_all(&done).await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    assert_eq!(reply(&client(&server), get("/x")).await, "");
}

#[tokio::test]
async fn two_lengths_are_malformed_on_http_2_too() {
    let server = handling(|_, mut respond| {
        let response = Response::builder()
            .header("content-length", "0")
            .header("content-length", "0");
        let _gone = respond.send_response(response.body(()).unwrap(), true);
    })
    .await;
    may_have_been_served(&client(&server), Kind::Malformed).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_ping_is_given_up() {
    let server = Server::new(|_, mut stream| async move {
        greet(&mut stream).await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    let (interval, timeout) = (Duration::from_secs(20), Duration::from_secs(5));
    let client = client(&server).http2_keep_alive(interval, timeout);
    let start = Instant::now();
    may_have_been_served(&client, Kind::Timeout).await;
    assert_eq!(start.elapsed().as_secs(), 25);
}

#[tokio::test]
async fn headers_of_a_connection_do_not_pass_into_http_2() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let server = handling(move |request, respond| {
        seen.send(request).unwrap();
        answer(respond);
    })
    .await;
    let request = Request::post("/x")
        .header("host", "evil.example")
        .header("connection", "x-hop, keep-alive")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "websocket")
        .header("te", "gzip")
        .header("content-length", "99")
        .header("x-end", "2");
    let request = request.body(Full::from("hello")).unwrap();
    assert_eq!(reply(&client(&server), request).await, "hello");

    let request = requests.recv().await.unwrap();
    let uri = format!("http://{}/v1/x", server.addr);
    assert_eq!(request.uri(), uri.as_str());
    let names: Vec<_> = request
        .headers()
        .keys()
        .map(header::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["x-end", "user-agent", "content-length"]);
    assert_eq!(request.headers()["content-length"], "5");
}

#[tokio::test]
async fn a_dropped_future_resets_its_stream_and_leaves_the_others() {
    let (reached, mut began) = mpsc::unbounded_channel();
    let (reset, mut resets) = mpsc::unbounded_channel();
    let server = handling(move |request, mut respond| {
        if request.uri().path() == "/v1/quick" {
            return answer(respond);
        }
        reached.send(()).unwrap();
        let reset = reset.clone();
        tokio::spawn(async move {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
            reset.send(reason.unwrap()).unwrap();
        });
    })
    .await;
    let client = client(&server);
    let slow = tokio::spawn(client.clone().call(request()));
    began.recv().await.unwrap();
    slow.abort();
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
    assert_eq!(reply(&client, get("/quick")).await, "hello");
    assert_eq!(server.accepted(), 1);
}
