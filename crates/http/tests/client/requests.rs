//! What a request is on the wire, and which ones are not sent.

use std::{
    pin::Pin,
    task::{Context, Waker},
};

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body;
use http_body_util::{Empty, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tower_service::Service;

use crate::support::{Frames, Server, call, get, may_have_been_served, read_head, silent};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A server that hands out what it reads.
async fn reading() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (read, heads) = mpsc::unbounded_channel();
    let server = Server::new(move |_, mut stream| {
        let read = read.clone();
        async move {
            loop {
                read.send(read_head(&mut stream).await?).unwrap();
                stream.write_all(OK).await?;
            }
        }
    })
    .await;
    (server, heads)
}

async fn send<B>(client: &Client, request: Request<B>) -> StatusCode
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    client.clone().call(request).await.unwrap().status()
}

#[tokio::test]
async fn a_request_goes_under_the_base_url_with_the_clients_headers() {
    let (server, mut heads) = reading().await;
    let client = server.client();
    let addr = server.addr;
    let request = Request::post("/chat/completions?x=1&y=/../")
        .header("authorization", "Bearer key")
        .body(Full::from("hello"))
        .unwrap();
    send(&client, request).await;
    let agent = concat!("buttress/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        heads.recv().await.unwrap(),
        format!(
            "POST /v1/chat/completions?x=1&y=/../ HTTP/1.1\r\n\
             authorization: Bearer key\r\n\
             host: {addr}\r\n\
             user-agent: {agent}\r\n\
             content-length: 5\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn s6_the_callers_host_is_replaced() {
    let (server, mut heads) = reading().await;
    let request = Request::get("/x")
        .header("host", "evil.example")
        .header("host", "evil.example");
    send(&server.client(), request.body(Empty::new()).unwrap()).await;
    let head = heads.recv().await.unwrap();
    assert!(
        head.contains(&format!("\r\nhost: {}\r\n", server.addr)),
        "{head}"
    );
    assert!(!head.contains("evil"), "{head}");
}

#[tokio::test]
async fn s6_what_would_leave_the_base_url_is_not_sent() {
    let server = Server::answering(OK).await;
    let targets = [
        "http://evil.example/x",
        "evil.example:80",
        "//evil.example/x",
        "/../x",
        "/%2e%2e/x",
        "/x/..%2f..%2fy",
        "/x%5c..",
        "*",
    ];
    for target in targets {
        let error = call(&server.client(), get(target)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Request, "{target}: {error:#?}");
        assert_eq!(error.outcome().class, Class::Invalid);
        assert_eq!(error.outcome().sent, Sent::No);
    }
    let connect = Request::builder().method(Method::CONNECT).uri("/x");
    let connect = connect.body(Full::default()).unwrap();
    let error = call(&server.client(), connect).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Request);
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn s6_a_redirect_is_handed_back_and_not_followed() {
    let other = Server::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: http://{}/x\r\ncontent-length: 0\r\n\r\n",
            other.addr
        );
        let server = Server::answering(head).await;
        let response = call(&server.client(), crate::support::request())
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("location"));
        assert_eq!(server.accepted(), 1);
    }
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn a_user_agent_is_the_callers_or_the_clients() {
    let (server, mut heads) = reading().await;
    let client = server
        .client()
        .user_agent(HeaderValue::from_static("mine/2"));
    send(&client, get("/x")).await;
    let head = heads.recv().await.unwrap();
    assert!(head.contains("\r\nuser-agent: mine/2\r\n"), "{head}");
    let request = Request::get("/x").header("user-agent", "theirs/1");
    send(&client, request.body(Empty::new()).unwrap()).await;
    let head = heads.recv().await.unwrap();
    assert!(head.contains("\r\nuser-agent: theirs/1\r\n"), "{head}");
    assert!(!head.contains("mine"), "{head}");
}

#[tokio::test]
async fn the_version_of_a_request_is_the_connections_business() {
    let (server, mut heads) = reading().await;
    for version in [
        Version::HTTP_09,
        Version::HTTP_10,
        Version::HTTP_11,
        Version::HTTP_2,
        Version::HTTP_3,
    ] {
        let mut request = get("/x");
        *request.version_mut() = version;
        assert_eq!(send(&server.client(), request).await, 200);
        let head = heads.recv().await.unwrap();
        assert!(head.starts_with("GET /v1/x HTTP/1.1\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_body_is_framed_by_what_it_is() {
    let (server, mut heads) = reading().await;
    let client = server.client();

    let lying = Request::post("/x").header("content-length", "9999");
    send(&client, lying.body(Full::from("hello")).unwrap()).await;
    let head = heads.recv().await.unwrap();
    assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    assert!(!head.contains("9999"), "{head}");

    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let empty = Request::builder().method(method).uri("/x");
        send(&client, empty.body(Empty::new()).unwrap()).await;
        let head = heads.recv().await.unwrap();
        assert!(head.contains("\r\ncontent-length: 0\r\n"), "{head}");
    }

    send(&client, get("/x")).await;
    let head = heads.recv().await.unwrap();
    assert!(!head.contains("content-length"), "{head}");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked() {
    let server = Server::new(|_, mut stream| async move {
        let head = read_head(&mut stream).await?;
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        let mut body = [0; 23];
        stream.read_exact(&mut body).await?;
        assert_eq!(&body, b"3\r\nhel\r\n5\r\nlo wo\r\n0\r\n\r\n");
        stream.write_all(OK).await
    })
    .await;
    let body = Frames::new([Ok("hel"), Ok("lo wo")]);
    let request = Request::post("/x").body(body).unwrap();
    assert_eq!(send(&server.client(), request).await, 200);
}

#[tokio::test]
async fn s1_a_clients_debug_tells_where_it_goes_and_no_credential() {
    let proxies = buttress_http::client::Proxies::from_vars(|name| {
        let value = format!("http://user:{}@proxy.example:3128", crate::support::CANARY);
        (name == "ALL_PROXY").then_some(value)
    });
    let client = Client::direct("http://api.example.com/v1")
        .unwrap()
        .proxies(&proxies)
        .unwrap();
    let text = format!("{client:#?} {client:?} {proxies:#?}");
    assert!(text.contains("http://api.example.com/v1"), "{text}");
    assert!(text.contains("http://proxy.example:3128/"), "{text}");
    assert!(!text.contains("user"), "{text}");
    silent(&text);
    let future = client.clone().call(crate::support::request());
    silent(&format!("{future:#?}"));
}

#[tokio::test]
async fn a_refused_request_is_refused_each_time() {
    let server = Server::answering(OK).await;
    let client = server.client();
    for _ in 0..2 {
        let error = call(&client, get("/..")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Request);
    }
    assert_eq!(send(&client, get("/x")).await, 200);
}

#[tokio::test]
async fn nothing_that_a_request_carries_is_in_its_error() {
    let server = Server::answering("").await;
    may_have_been_served(&server.client(), Kind::Closed).await;
}

#[tokio::test]
#[should_panic = "polled after completion"]
async fn a_request_that_is_done_does_not_look_like_one_under_way() {
    let mut client = Client::direct("http://127.0.0.1:9").unwrap();
    let mut future = client.call(get("/.."));
    assert!((&mut future).await.is_err());
    let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "{polled:?}");
}
