//! Failures before there is a connection.

use std::time::Duration;

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::support::{Server, deaf, fails, failure, gone, read_head};

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let (_deaf, addr) = deaf();
    let client = Client::direct(&format!("http://{addr}")).unwrap();
    let error = fails(&client, Kind::ConnectRefused, Class::Unavailable, Sent::No).await;
    assert_eq!(error.to_string(), format!("{addr}: connection refused"));
}

/// A label of more than 63 bytes is asked of no server, so this needs no network.
#[tokio::test]
async fn a_name_that_does_not_exist_is_a_mistake_in_the_configuration() {
    let name = format!("{}.invalid", "a".repeat(64));
    let client = Client::direct(&format!("http://{name}:1")).unwrap();
    let error = failure(&client).await;
    // musl and others say less clearly what they mean; the table of texts is tested by itself.
    if cfg!(target_env = "gnu") {
        assert_eq!(error.kind(), Kind::NoSuchName, "{error:#?}");
        assert_eq!(error.outcome().class, Class::Unfit);
    }
    assert_eq!(error.outcome().sent, Sent::No);
}

#[tokio::test(start_paused = true)]
async fn d2_a_backlog_that_is_full_ends_in_the_connect_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_secs(1), TcpStream::connect(addr)).await {
        waiting.push(stream.unwrap());
    }
    let client = Client::direct(&format!("http://{addr}"))
        .unwrap()
        .connect_timeout(Duration::from_secs(7));
    let start = Instant::now();
    fails(&client, Kind::ConnectTimeout, Class::Unavailable, Sent::No).await;
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_covers_the_tls_handshake() {
    let server = Server::new(|_, mut stream| async move {
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    let client = Client::direct(&format!("https://{}", server.addr)).unwrap();
    let start = Instant::now();
    fails(&client, Kind::ConnectTimeout, Class::Unavailable, Sent::No).await;
    assert_eq!(start.elapsed().as_secs(), 10, "the default");
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_is_a_timeout_and_not_a_panic() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = server.client().connect_timeout(Duration::ZERO);
    fails(&client, Kind::ConnectTimeout, Class::Unavailable, Sent::No).await;
}

#[tokio::test]
async fn a_timeout_longer_than_the_clock_is_none() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = server.client().connect_timeout(Duration::MAX);
    assert_eq!(
        crate::support::reply(&client, crate::support::get("/x")).await,
        ""
    );
}

/// Whether the request was written before the close was seen is a race, and it is told.
#[tokio::test]
async fn a_connection_closed_as_soon_as_it_was_accepted_is_a_broken_server() {
    for _ in 0..32 {
        let server = Server::new(|_, stream| async move {
            drop(stream);
            Ok(())
        })
        .await;
        let error = failure(&server.client()).await;
        let outcome = error.outcome();
        assert_eq!(outcome.class, Class::Unavailable, "{error:#?}");
        match error.kind() {
            Kind::Connect => assert_eq!(outcome.sent, Sent::No),
            Kind::Closed | Kind::Reset => assert_eq!(outcome.sent, Sent::Maybe),
            kind => panic!("{kind:?}: {error:#?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_not_http() {
    let server = Server::new(|_, mut stream| async move {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await?;
        read_head(&mut stream).await.map(drop)
    })
    .await;
    let error = failure(&server.client()).await;
    assert_eq!(error.outcome().class, Class::Unavailable, "{error:#?}");
}
