//! Connections that are kept, and what happens to them when callers leave.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc, task::yield_now, time};
use tower_service::Service;

use crate::support::{
    Server, call, failure, get, gone, may_have_been_served, read_head, reply, request,
};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A server that keeps its connections.
async fn keeping() -> Server {
    Server::new(|_, mut stream| async move {
        loop {
            read_head(&mut stream).await?;
            stream.write_all(HELLO).await?;
        }
    })
    .await
}

#[tokio::test]
async fn requests_after_each_other_share_a_connection() {
    let server = keeping().await;
    let client = server.client();
    for client in [&client, &client.clone(), &client.clone()] {
        assert_eq!(reply(client, request()).await, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_client_with_another_setting_has_a_pool_of_its_own() {
    let server = keeping().await;
    let client = server.client();
    let other = client.clone().connect_timeout(Duration::from_secs(1));
    for client in [&client, &other, &client, &other] {
        assert_eq!(reply(client, get("/x")).await, "hello");
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn without_idle_connections_each_request_has_its_own() {
    let server = keeping().await;
    let client = server.client().pool_max_idle(0);
    for connections in 1..4 {
        assert_eq!(reply(&client, get("/x")).await, "hello");
        assert_eq!(server.accepted(), connections);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_the_idle_timeout_and_no_longer() {
    let server = keeping().await;
    let client = server.client().pool_idle_timeout(Duration::from_secs(30));
    for (pause, connections) in [(0, 1), (29, 1), (29, 1), (31, 2), (29, 2)] {
        time::advance(Duration::from_secs(pause)).await;
        assert_eq!(reply(&client, get("/x")).await, "hello");
        assert_eq!(server.accepted(), connections, "after {pause} s");
    }
}

/// A server on another thread, so that nothing here notices it close: one reply, and a close when
/// it is told to. Returns its client after the reply.
async fn closed_while_idle() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (close, told) = channel();
    let (closed, seen) = channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(HELLO).unwrap();
        told.recv().unwrap();
        drop((stream, listener));
        closed.send(()).unwrap();
    });
    let client = Client::direct(&format!("http://{addr}")).unwrap();
    assert_eq!(reply(&client, get("/x")).await, "hello");
    // The connection goes back to the pool in a task of its own.
    for _ in 0..8 {
        yield_now().await;
    }
    close.send(()).unwrap();
    seen.recv().unwrap();
    server.join().unwrap();
    client
}

/// The race between a request and a close: this runtime polls its driver in `yield_now`, and then
/// this task before the connection's, so that the connection finds the request and the close at
/// once. Where the system was too slow to tell of the close by then, the request was written, and
/// that is what the error says.
#[tokio::test]
async fn a_request_that_was_not_written_to_a_kept_connection_was_not_begun() {
    for _ in 0..256 {
        let client = closed_while_idle().await;
        yield_now().await;
        let error = failure(&client).await;
        match error.kind() {
            Kind::Unstarted => {
                assert_eq!(error.outcome().class, Class::Unstarted);
                assert_eq!(error.outcome().sent, Sent::No);
                return;
            }
            Kind::Closed | Kind::Reset => assert_eq!(error.outcome().sent, Sent::Maybe),
            kind => panic!("{kind:?}: {error:#?}"),
        }
    }
    panic!("the request was written every time");
}

/// The same without a look at the driver in between: the request is written.
#[tokio::test]
async fn a_request_written_to_a_kept_connection_may_have_been_served() {
    for _ in 0..16 {
        let client = closed_while_idle().await;
        let error = failure(&client).await;
        assert!(
            matches!(error.kind(), Kind::Closed | Kind::Reset),
            "{error:#?}"
        );
        assert_eq!(error.outcome().class, Class::Unavailable);
        assert_eq!(error.outcome().sent, Sent::Maybe);
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_after_the_request_may_have_served_it() {
    let server = Server::new(|_, mut stream| async move {
        read_head(&mut stream).await?;
        stream.write_all(HELLO).await?;
        read_head(&mut stream).await.map(drop)
    })
    .await;
    let client = server.client();
    assert_eq!(reply(&client, get("/x")).await, "hello");
    may_have_been_served(&client, Kind::Closed).await;
    assert_eq!(server.accepted(), 1, "an attempt is an attempt");
}

/// A server that says when a request is there, and when its client is gone.
async fn watching(answer: &'static [u8]) -> (Server, mpsc::UnboundedReceiver<&'static str>) {
    let (say, said) = mpsc::unbounded_channel();
    let server = Server::new(move |_, mut stream: TcpStream| {
        let say = say.clone();
        async move {
            read_head(&mut stream).await?;
            stream.write_all(answer).await?;
            say.send("there").unwrap();
            gone(&mut stream).await;
            say.send("gone").unwrap();
            Ok(())
        }
    })
    .await;
    (server, said)
}

#[tokio::test]
async fn a_dropped_future_closes_its_connection() {
    let (server, mut said) = watching(b"").await;
    let future = tokio::spawn(server.client().call(request()));
    assert_eq!(said.recv().await, Some("there"));
    future.abort();
    assert_eq!(said.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_dropped_body_closes_its_connection() {
    let (server, mut said) = watching(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    let response = call(&server.client(), request()).await.unwrap();
    assert_eq!(said.recv().await, Some("there"));
    drop(response);
    assert_eq!(said.recv().await, Some("gone"));
}

#[tokio::test]
async fn a_future_dropped_in_the_handshake_closes_its_connection() {
    let (say, mut said) = mpsc::unbounded_channel();
    let server = Server::new(move |_, mut stream| {
        let say = say.clone();
        async move {
            say.send("there").unwrap();
            gone(&mut stream).await;
            say.send("gone").unwrap();
            Ok(())
        }
    })
    .await;
    let future = tokio::spawn(
        crate::tls::https(server.addr)
            .extra_root_pem(crate::tls::Authority::new().pem())
            .unwrap()
            .call(request()),
    );
    assert_eq!(said.recv().await, Some("there"));
    future.abort();
    assert_eq!(said.recv().await, Some("gone"));
}
