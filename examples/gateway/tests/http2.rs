//! HTTP/2 in front, with prior knowledge.

mod support;

use std::{future::poll_fn, net::SocketAddr};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::{Request, Response};
use support::{Caller, Gateway, Upstream, config};
use tokio::{net::TcpStream, task::JoinHandle};

const CHAT: &str = "/v1/chat/completions";
const UNARY: &str = "{\"model\":\"m-1\",\"messages\":[]}";
const STREAM: &str = "{\"model\":\"m-1\",\"stream\":true,\"messages\":[]}";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A caller whose requests share a connection.
struct Many {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

impl Many {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection): (_, Connection<TcpStream>) =
            h2::client::handshake(stream).await.unwrap();
        Self {
            send,
            connection: tokio::spawn(connection),
            authority: address.to_string(),
        }
    }

    async fn start(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.authority))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let mut send = self.send.clone().ready().await?;
        let (answer, mut rest) = send.send_request(request, body.is_none())?;
        if let Some(body) = body {
            rest.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        }
        Ok((answer, rest))
    }

    async fn post(&mut self, path: &str, body: &str) -> (ResponseFuture, h2::SendStream<Bytes>) {
        self.start("POST", path, Some(body)).await.unwrap()
    }

    /// Begins a request whose body is not there yet.
    async fn open(&mut self, path: &str) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::post(format!("http://{}{path}", self.authority));
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Closes the connection.
    async fn leave(self) {
        self.connection.abort();
        assert!(self.connection.await.unwrap_err().is_cancelled());
    }

    async fn get(&mut self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        self.start("GET", path, None).await?.0.await
    }
}

async fn text(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        text.extend(part);
    }
    Ok(String::from_utf8(text).unwrap())
}

/// Ends a body with so many bytes, as fast as they are taken.
async fn send(rest: &mut h2::SendStream<Bytes>, mut length: usize) {
    while length > 0 {
        rest.reserve_capacity(length);
        let taken = poll_fn(|cx| rest.poll_capacity(cx)).await;
        let taken = taken.expect("the stream was reset").unwrap().min(length);
        length -= taken;
        rest.send_data(Bytes::from(vec![b'x'; taken]), length == 0)
            .unwrap();
    }
}

async fn next(body: &mut RecvStream) -> Bytes {
    body.data().await.unwrap().unwrap()
}

#[tokio::test]
async fn http2_a_chat_is_served_whole_and_streamed() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Many::connect(gateway.address).await;

    let (answer, _) = caller.post(CHAT, UNARY).await;
    let request = upstream.request().await;
    assert_eq!(
        request.head.lines().next(),
        Some("POST /chat/completions HTTP/1.1")
    );
    assert_eq!(request.text(), UNARY);
    let reply = "{\"choices\" : []}";
    upstream
        .reply("200 OK", "content-type: application/json\r\n", reply)
        .await;
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-request-id"));
    assert_eq!(text(answer.body_mut()).await.unwrap(), reply);

    let (answer, _) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    // Each part before the next one comes.
    assert_eq!(next(answer.body_mut()).await, CONTENT);
    upstream.chunk(END).await;
    upstream.say("0\r\n\r\n").await;
    assert_eq!(text(answer.body_mut()).await.unwrap(), END);
    caller.leave().await;
    let log = gateway.log();
    assert_eq!(log.matches("class=success").count(), 2, "{log}");
}

#[tokio::test]
async fn http2_a_caller_who_resets_a_stream_ends_the_call_upstream_and_no_other() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Many::connect(gateway.address).await;

    // Before the reply.
    let (answer, mut request) = caller.post(CHAT, UNARY).await;
    upstream.request().await;
    request.send_reset(Reason::CANCEL);
    assert!(upstream.left().await);
    drop(answer);

    // And in the middle of it.
    let (answer, mut request) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();
    assert_eq!(next(answer.body_mut()).await, CONTENT);
    request.send_reset(Reason::CANCEL);
    assert!(upstream.left().await);

    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
    caller.leave().await;
    let log = gateway.log();
    assert_eq!(log.matches("class=cancelled").count(), 2, "{log}");
}

#[tokio::test]
async fn http2_a_caller_who_leaves_ends_all_calls_upstream() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Many::connect(gateway.address).await;
    let (answer, _) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();
    assert_eq!(next(answer.body_mut()).await, CONTENT);
    caller.leave().await;
    assert!(upstream.left().await);
    let log = gateway.log();
    assert!(log.contains("status=200 class=cancelled"), "{log}");
}

#[tokio::test]
async fn http2_told_to_stop_it_says_so_and_lets_the_streams_finish() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Many::connect(gateway.address).await;
    let idle = Many::connect(gateway.address).await;
    let (answer, _) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();
    assert_eq!(next(answer.body_mut()).await, CONTENT);

    gateway.terminate();
    idle.connection.await.unwrap().unwrap();
    let refused = loop {
        if let Err(error) = caller.get("/healthz").await {
            break error;
        }
    };
    assert!(refused.is_go_away() && refused.is_remote(), "{refused:?}");
    assert_eq!(refused.reason(), Some(Reason::NO_ERROR));

    upstream.chunk(END).await;
    upstream.say("0\r\n\r\n").await;
    assert_eq!(text(answer.body_mut()).await.unwrap(), END);
    drop(answer);
    caller.connection.await.unwrap().unwrap();
    let ended = gateway.ended();
    assert!(ended.success, "{ended:?}");
    assert!(ended.log.contains("status=200 class=success"), "{ended:?}");
    assert!(!ended.log.contains("cut off"), "{ended:?}");
}

#[tokio::test]
async fn http2_what_is_cut_off_at_the_end_is_counted_and_logged() {
    let mut upstream = Upstream::start().await;
    let limits = "[limits]\ndrain = \"50 ms\"\n";
    let gateway = Gateway::start(&config("openai", &upstream.origin(), limits));
    let mut caller = Many::connect(gateway.address).await;
    let (_answer, _request) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    gateway.terminate();
    let ended = gateway.ended();
    assert!(
        ended.success && ended.log.contains("some requests were cut off"),
        "{ended:?}"
    );
    assert!(ended.log.contains("class=cancelled"), "{ended:?}");
    assert!(upstream.left().await);
}

#[tokio::test]
async fn http2_told_to_stop_it_does_not_wait_for_one_who_says_nothing_and_has_no_request() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", ""));
    let mut caller = Many::connect(gateway.address).await;
    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
    // Nobody reads what the gateway says: this thread waits for its end.
    gateway.terminate();
    let ended = gateway.ended();
    assert!(ended.success && !ended.log.contains("cut off"), "{ended:?}");
}

#[tokio::test]
async fn http2_a_stream_that_breaks_off_does_not_end_as_if_it_were_whole() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let mut caller = Many::connect(gateway.address).await;
    let (answer, _) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();
    assert_eq!(next(answer.body_mut()).await, CONTENT);
    upstream.hang_up();
    let error = text(answer.body_mut()).await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
}

#[tokio::test]
async fn http2_a_body_over_the_limit_is_refused_and_the_connection_stays() {
    let limits = "[limits]\nbody = 100\nread = \"24 h\"\n";
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", limits));
    let mut caller = Many::connect(gateway.address).await;
    for _ in 0..100 {
        let (answer, mut rest) = caller.open(CHAT).await;
        rest.send_data(Bytes::from(vec![b'x'; 101]), false).unwrap();
        // It does not wait for the end of the body, and does not reset the stream either.
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.status(), 413);
        assert!(!answer.headers().contains_key("connection"));
        assert!(text(answer.body_mut()).await.unwrap().contains("100 bytes"));
        // More than the windows of stream and connection hold: what comes is read.
        send(&mut rest, 2 << 20).await;
    }
    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_a_caller_who_was_refused_and_goes_on_sending_is_cut_off() {
    let limits = "[limits]\nbody = 100\nread = \"300 ms\"\n";
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", limits));
    let mut caller = Many::connect(gateway.address).await;
    let (answer, mut rest) = caller.open(CHAT).await;
    rest.send_data(Bytes::from(vec![b'x'; 101]), false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    // By time here, and by bytes if it is faster.
    let reset = poll_fn(|cx| rest.poll_reset(cx)).await.unwrap();
    assert_eq!(reset, Reason::NO_ERROR);
    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_a_head_over_the_limit_is_refused() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", ""));
    let mut caller = Many::connect(gateway.address).await;
    let request = Request::get(format!("http://{}/healthz", gateway.address))
        .header("x-long", "x".repeat(64 << 10))
        .body(())
        .unwrap();
    let mut send = caller.send.clone().ready().await.unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    let refused = match answer.await {
        Ok(answer) => answer.status() == 431,
        Err(error) => error.is_reset(),
    };
    assert!(refused);
    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn http2_a_connection_without_a_request_is_let_go_and_one_with_a_long_reply_is_not() {
    let mut upstream = Upstream::start().await;
    let limits = "[limits]\nread = \"500 ms\"\n";
    let gateway = Gateway::start(&config("openai", &upstream.origin(), limits));
    let mut caller = Many::connect(gateway.address).await;
    let (answer, _) = caller.post(CHAT, STREAM).await;
    upstream.request().await;
    upstream.stream("").await;
    upstream.chunk(CONTENT).await;
    let mut answer = answer.await.unwrap();

    // One after the other: three times as long as a connection may be idle.
    for _ in 0..3 {
        let idle = Many::connect(gateway.address).await;
        idle.connection.await.unwrap().unwrap();
    }
    upstream.chunk(END).await;
    upstream.say("0\r\n\r\n").await;
    assert_eq!(
        text(answer.body_mut()).await.unwrap(),
        [CONTENT, END].concat()
    );
    drop(answer);
    caller.connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_a_preface_that_does_not_come_is_not_waited_for_without_end() {
    let limits = "[limits]\nread = \"200 ms\"\n";
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", limits));
    for begun in ["PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.send(begun).await;
        caller.gone().await;
    }
}

#[tokio::test]
async fn http2_a_connection_has_a_bounded_number_of_requests() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", ""));
    let caller = Many::connect(gateway.address).await;
    // Its settings come before its first answer.
    let mut caller = caller;
    assert_eq!(caller.get("/healthz").await.unwrap().status(), 200);
    assert_eq!(caller.send.current_max_send_streams(), 128);
}
