//! Keys of requests as clients send them, and of the form in which a reply is wanted.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_llm::{
    Dialect,
    key::{Bypass, ChatKey, ChatKeys},
};
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::Full;

use super::shared;

/// A body of which nothing is there yet.
#[derive(Clone)]
struct Slow;

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn ask(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("https://api.test/v1/chat/completions")
        .body(Full::from(body))
        .unwrap()
}

fn as_asked(body: &'static str) -> ChatKey {
    shared(Dialect::OpenAi)
        .of(&ask(body))
        .unwrap()
        .key_as_asked()
}

#[test]
fn a_body_in_memory_is_read_as_its_bytes_are() {
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let keys = shared(Dialect::OpenAi);
    let (one, other) = (ask(body), ask(body).map(|_| body));
    let (one, other) = (keys.of(&one).unwrap(), keys.read(&other).unwrap());
    assert_eq!(one.key(), other.key());
    assert_eq!(one.tags(), other.tags());
    assert_eq!(one.model(), Some("m"));
    assert!(one.stream());
}

#[test]
fn a_body_that_is_not_in_memory_has_no_key() {
    let request = ask("{}").map(|_| Slow);
    let keys = ChatKeys::shared(Dialect::OpenAi);
    assert_eq!(keys.of(&request).unwrap_err(), Bypass::NotInMemory);
}

#[test]
fn c6_who_wants_another_form_has_another_key_as_asked() {
    let whole = as_asked(r#"{"model":"m"}"#);
    let stream = as_asked(r#"{"model":"m","stream":true}"#);
    let usage = as_asked(r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#);
    assert!(whole != stream && stream != usage && usage != whole);
    assert_eq!(whole, as_asked(r#"{"stream":false,"model":"m"}"#));
    assert_eq!(
        whole,
        as_asked(r#"{"model":"m","stream_options":{"include_usage":true}}"#),
        "what is no stream has no usage at its end"
    );
    assert_eq!(whole.get(), u128::from_le_bytes(whole.to_bytes()));
}

#[test]
fn c6_a_stream_of_gemini_as_events_is_another_form_than_as_an_array() {
    let keys = shared(Dialect::Gemini);
    let chat = |method: &str| {
        let request = Request::post(format!("https://api.test/v1beta/models/m:{method}"));
        let request = request.body(r#"{"contents":[]}"#).unwrap();
        let chat = keys.read(&request).unwrap();
        (chat.key(), chat.key_as_asked())
    };
    let whole = chat("generateContent");
    let (array, events) = (
        chat("streamGenerateContent"),
        chat("streamGenerateContent?alt=sse"),
    );
    assert!(
        whole.0 == array.0 && array.0 == events.0,
        "the same is said"
    );
    assert!(whole.1 != array.1 && array.1 != events.1 && events.1 != whole.1);
    assert_eq!(whole, chat("generateContent?alt=json"), "it is so anyway");
}
