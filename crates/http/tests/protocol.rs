//! What the protocols of clients and servers promise, but for what a body does.

use std::{convert::Infallible, time::Duration};

use buttress_core::{Reason, Refuse, Refused, Replay};
use buttress_http::{
    Body, Http, HttpServer, retry_after::whole_seconds, sse::is_event_stream, status_of_refusal,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{Empty, Full};

fn refuse(refused: Refused) -> Response<Body<Empty<Bytes>>> {
    let answer: Result<_, Infallible> = HttpServer.refuse(refused);
    answer.unwrap()
}

#[test]
fn a_refusal_is_answered_with_the_status_that_is_told_for_it() {
    for reason in Reason::ALL {
        let refused = Refused::new(reason);
        assert_eq!(
            refuse(refused).status(),
            status_of_refusal(refused),
            "{reason}"
        );
    }
}

#[test]
fn nobody_is_told_to_come_back_too_early() {
    for (wait, seconds) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), 1),
        (Duration::from_secs(2), 2),
        (Duration::new(2, 1), 3),
        (Duration::MAX, u64::MAX),
    ] {
        assert_eq!(whole_seconds(wait), seconds);
        let refused = Refused::new(Reason::Limited).with_retry_after(wait);
        let told = refuse(refused).headers().get(header::RETRY_AFTER).cloned();
        assert_eq!(told, Some(HeaderValue::from(seconds)));
    }
}

#[test]
fn an_event_stream_is_known_by_its_content_type_alone() {
    let says = |value: &'static str| {
        let value = HeaderValue::from_static(value);
        is_event_stream(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
    };
    for value in [
        "text/event-stream",
        "Text/Event-Stream",
        "text/event-stream;charset=utf-8",
        " text/event-stream ; charset=utf-8",
    ] {
        assert!(says(value), "{value}");
    }
    for value in [
        "",
        "text/event-streaming",
        "text/event",
        "application/json",
        "application/json; profile=text/event-stream",
        "text/plain, text/event-stream",
    ] {
        assert!(!says(value), "{value}");
    }
    assert!(!is_event_stream(&HeaderMap::new()));
}

#[test]
fn a_request_is_copied_whole_by_both_protocols_of_clients() {
    let mut request = Request::put("/x?y=1").header("x-one", "1").extension(7_u8);
    request = request.version(http::Version::HTTP_2);
    let request = request.body(Full::<Bytes>::from("hello")).unwrap();
    let idempotent = Http.idempotent_only();
    for copy in [Http.copy(&request), idempotent.copy(&request)] {
        let copy = copy.unwrap();
        assert_eq!(copy.method(), request.method());
        assert_eq!(copy.uri(), request.uri());
        assert_eq!(copy.version(), request.version());
        assert_eq!(copy.headers(), request.headers());
        assert_eq!(copy.extensions().get(), Some(&7_u8));
        assert!(Http.whole(&copy) && idempotent.whole(&copy));
    }
}
