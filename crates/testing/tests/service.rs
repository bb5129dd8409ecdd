//! The provider in process: the same scripts on paused time, without sockets.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_testing::{Dialect, Ending, FailureKind, Provider, Reply, ReplyBody, Running};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

const HOUR: Duration = Duration::from_secs(3600);

async fn call(provider: &Running, streamed: bool) -> Response<ReplyBody> {
    let ask = provider.ask("test", "Say it");
    let ask = if streamed { ask.streamed() } else { ask };
    provider.service().oneshot(ask.request()).await.unwrap()
}

async fn text(response: Response<ReplyBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_dialect_answers_whole_and_streamed() {
    for dialect in Dialect::ALL {
        let provider = Provider::new(dialect)
            .reply(Reply::text("Hello there"))
            .in_process()
            .unwrap();
        let whole = call(&provider, false).await;
        assert_eq!(whole.headers()["content-type"], "application/json");
        let length = whole.headers()["content-length"]
            .to_str()
            .unwrap()
            .to_owned();
        let whole = text(whole).await;
        assert_eq!(length, whole.len().to_string());
        assert!(whole.contains("Hello there"), "{whole}");

        let stream = call(&provider, true).await;
        assert!(!stream.headers().contains_key("content-length"));
        let mut body = stream.into_body();
        let mut frames = 0;
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            frames += 1;
            text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
            assert_eq!(body.is_end_stream(), provider.log().in_flight() == 0);
        }
        assert_eq!(
            frames,
            text.split_terminator("\n\n")
                .count()
                .max(text.matches("\r\n\r\n").count())
        );
        assert!(text.contains("Hello") && text.contains(" there"));
        assert_eq!(provider.log().billed().calls, 2);
        assert_eq!(provider.log().billed().output, 4);
        provider.finish();
    }
}

#[tokio::test(start_paused = true)]
async fn delays_and_pace_are_exact_on_the_paused_clock() {
    let reply = Reply::text("one two")
        .headers_after(Duration::from_secs(3))
        .first_event_after(Duration::from_secs(5))
        .pace(Duration::from_secs(7));
    let provider = Provider::openai().reply(reply).in_process().unwrap();
    let start = Instant::now();
    let mut body = call(&provider, true).await.into_body();
    assert_eq!(start.elapsed().as_secs(), 3);
    let mut times = Vec::new();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
        times.push(start.elapsed().as_secs());
    }
    // Role, two words, finish reason, usage, terminator.
    assert_eq!(times, [8, 15, 22, 29, 36, 43]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_or_the_body_is_seen_as_the_clients_leaving() {
    let reply = Reply::text("one two").headers_after(HOUR).times(1);
    let provider = Provider::openai()
        .reply(reply.then(Reply::text("one two").pace(HOUR)))
        .in_process()
        .unwrap();
    let log = provider.log();
    let request = provider.ask("test", "Say it").request();
    {
        let mut future = pin!(provider.service().oneshot(request));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert_eq!(log.in_flight(), 1);
    }
    assert_eq!((log.in_flight(), log.disconnected()), (0, 1));

    let mut body = call(&provider, true).await.into_body();
    body.frame().await.unwrap().unwrap(); // The role.
    body.frame().await.unwrap().unwrap(); // One word.
    drop(body);
    assert_eq!(log.disconnected(), 2);
    let seen = log.last().unwrap();
    assert_eq!(seen.ending(), Some(Ending::Disconnected));
    assert_eq!(seen.billed().output, 1, "what was sent is billed");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_to_its_last_frame_is_at_its_end() {
    let provider = Provider::openai()
        .reply(Reply::text("Hi"))
        .in_process()
        .unwrap();
    let mut body = call(&provider, false).await.into_body();
    assert!(!body.is_end_stream());
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.len() > 10);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    drop(body);
    assert_eq!(
        provider.log().last().unwrap().ending(),
        Some(Ending::Replied)
    );
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_request_is_refused_in_process_too() {
    let provider = Provider::anthropic().in_process().unwrap();
    let response = call(&provider, false).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body["type"], "error");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(provider)));
    let words = panic.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("no script expects it"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_fails_or_is_too_long_has_its_own_answer() {
    let provider = Provider::openai()
        .max_body(10)
        .reply(Reply::text("Hi"))
        .in_process()
        .unwrap();
    let long = Request::post("/v1/chat/completions").body(Full::new(Bytes::from(vec![b'x'; 11])));
    let response = provider.service().oneshot(long.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let request = Request::post("/v1/chat/completions").body(Broken).unwrap();
    let failure = provider.service().oneshot(request).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Request);
    assert_eq!(provider.log().received(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_socket_and_the_service_share_scripts_and_log() {
    let provider = Provider::openai()
        .reply(Reply::error(500).then(Reply::text("Hi")))
        .in_process()
        .unwrap();
    assert_eq!(call(&provider, false).await.status(), 500);
    let other = provider.service();
    let request = provider
        .ask("test", "Say it")
        .key("canary")
        .with("user", json!("me"))
        .request();
    assert_eq!(other.oneshot(request).await.unwrap().status(), 200);
    let seen = provider.log().last().unwrap();
    assert_eq!(seen.header("authorization"), Some("Bearer canary"));
    assert_eq!(seen.json().unwrap()["user"], "me");
    assert!(!format!("{seen:?}").contains("canary"));
    provider.finish();
}

/// A body that fails at once.
struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(Err("broken")))
    }
}
