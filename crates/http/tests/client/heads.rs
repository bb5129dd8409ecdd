//! Failures in the head of a response, and in its body.

use std::io;

use buttress_core::Class;
use buttress_http::client::{Error, Kind};
use http::Request;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tower_service::Service;

use crate::support::{
    Frames, Server, call, get, gone, may_have_been_served, reply, request, reset,
};

#[tokio::test]
async fn what_closes_without_an_answer_may_have_been_served() {
    let server = Server::answering("").await;
    may_have_been_served(&server.client(), Kind::Closed).await;
}

#[tokio::test]
async fn what_resets_without_an_answer_may_have_been_served() {
    let server = Server::after_head(|stream| async move { reset(&stream) }).await;
    may_have_been_served(&server.client(), Kind::Reset).await;
}

#[tokio::test]
async fn a_head_that_breaks_off_may_have_been_served() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-").await;
    may_have_been_served(&server.client(), Kind::Closed).await;

    let server = Server::after_head(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-").await?;
        reset(&stream)
    })
    .await;
    may_have_been_served(&server.client(), Kind::Reset).await;
}

#[tokio::test]
async fn a_head_that_is_not_http_is_malformed() {
    let heads = [
        "hello\r\n\r\n",
        "\u{0}\u{1}\u{2}\u{3}\r\n\r\n",
        "<html>Bad Gateway</html>\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/3.7 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname with space: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\u{0}b\r\n\r\n",
    ];
    for head in heads {
        let server = Server::answering(head).await;
        may_have_been_served(&server.client(), Kind::Malformed).await;
    }
}

#[tokio::test]
async fn s1_a_head_that_repeats_the_key_is_not_repeated() {
    for head in [
        format!("HTTP/1.1 {} \r\n\r\n", crate::support::CANARY),
        format!("{}\r\n\r\n", crate::support::CANARY),
        format!("HTTP/1.1 200 OK\r\n{} x\r\n\r\n", crate::support::CANARY),
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            crate::support::CANARY
        ),
    ] {
        let server = Server::answering(head).await;
        may_have_been_served(&server.client(), Kind::Malformed).await;
    }
}

#[tokio::test]
async fn a_head_that_says_two_lengths_is_malformed() {
    let lengths = [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "content-length: 2, 3\r\n",
        "content-length: 2, 2\r\n",
        "content-length: -1\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: two\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
    ];
    for length in lengths {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{length}\r\nok")).await;
        may_have_been_served(&server.client(), Kind::Malformed).await;
    }
}

#[tokio::test]
async fn s4_a_head_without_an_end_is_malformed() {
    let fields: [(&str, &str); 3] = [
        ("HTTP/1.1 200 OK\r\nx: ", "x"),
        ("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        ("HTTP/1.1 200 ", "x"),
    ];
    for (start, more) in fields {
        let more = more.repeat(1 << 14);
        let server = Server::after_head(move |mut stream| {
            let more = more.clone();
            async move {
                stream.write_all(start.as_bytes()).await?;
                loop {
                    stream.write_all(more.as_bytes()).await?;
                }
            }
        })
        .await;
        may_have_been_served(&server.client(), Kind::Malformed).await;
    }
}

#[tokio::test]
async fn a_head_of_more_than_a_hundred_fields_is_malformed() {
    let head = |fields| {
        let fields = "x: y\r\n".repeat(fields);
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok")
    };
    let server = Server::answering(head(99)).await;
    assert_eq!(reply(&server.client(), get("/x")).await, "ok");
    let server = Server::answering(head(100)).await;
    may_have_been_served(&server.client(), Kind::Malformed).await;
}

#[tokio::test]
async fn s4_informational_responses_without_an_end_are_malformed() {
    let server = Server::after_head(|mut stream| async move {
        loop {
            stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await?;
        }
    })
    .await;
    let client = server.client();
    let error = may_have_been_served(&client, Kind::Malformed).await;
    let text = "found more than 128 informational responses, expected a final one";
    assert!(error.to_string().ends_with(text), "{error}");
}

#[tokio::test]
async fn informational_responses_are_waited_through() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(128);
    let head = format!("{early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let server = Server::answering(head).await;
    assert_eq!(reply(&server.client(), get("/x")).await, "ok");
}

/// What the body of a reply ends with, after these bytes and a close.
async fn body_error(server: &Server) -> Error {
    let response = call(&server.client(), request()).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    crate::support::assert_silent(&error);
    error
}

#[tokio::test]
async fn a_body_that_breaks_off_says_how() {
    let rows: [(&str, Kind); 6] = [
        ("content-length: 9\r\n\r\nhello", Kind::Closed),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Kind::Closed,
        ),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhel", Kind::Closed),
        (
            "transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
            Kind::Malformed,
        ),
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nhello\r\n",
            Kind::Malformed,
        ),
        (
            "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            Kind::Malformed,
        ),
    ];
    for (rest, kind) in rows {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        let error = body_error(&server).await;
        assert_eq!(error.kind(), kind, "{rest}: {error:#?}");
        assert_eq!(Kind::of_body(&error), kind, "{rest}: {error:#?}");
        assert_eq!(error.outcome().class, Class::Unavailable);
        // Only hyper's own word: it knows of a short body on HTTP/1.1.
        assert_eq!(error.to_string(), format!("{}: {kind}", server.addr));
    }
}

#[tokio::test]
async fn a_body_that_is_reset_says_so() {
    let server = Server::after_head(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        stream.write_all(head).await?;
        reset(&stream)
    })
    .await;
    // A reset may overtake the head on its way.
    match call(&server.client(), request()).await {
        Ok(response) => {
            let error = response.into_body().collect().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Reset, "{error:#?}");
        }
        Err(error) => assert_eq!(error.kind(), Kind::Reset, "{error:#?}"),
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole() {
    let server = Server::answering("HTTP/1.1 200 OK\r\n\r\nhello").await;
    assert_eq!(reply(&server.client(), get("/x")).await, "hello");
}

#[tokio::test]
async fn half_a_close_after_the_answer_is_no_failure() {
    let server = Server::after_head(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(head).await?;
        stream.shutdown().await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    assert_eq!(reply(&server.client(), get("/x")).await, "hello");
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_servers_fault() {
    let server = Server::new(|_, mut stream| async move {
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    for client in [server.client(), server.client().http2_only()] {
        // As of a caller of ours that went away while it was sending.
        let failure = Err(io::ErrorKind::ConnectionReset.into());
        let body = Frames::new([Ok("hello"), failure]);
        let request = Request::post("/x").body(body).unwrap();
        let error = client.clone().call(request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::RequestBody, "{error:#?}");
        assert_eq!(error.outcome().class, Class::Invalid);
    }
}
