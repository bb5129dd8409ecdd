use std::time::Duration;

use buttress_core::{Class, Outcome};
use buttress_http::Judge;
use buttress_llm::{Anthropic, AnyPath, Dialect, Gemini, OpenAi};

use crate::common::{head, said};

#[test]
fn the_head_alone_says_what_it_can() {
    let class = |judge: &dyn Fn(&http::response::Parts) -> Outcome, status, headers: &[_]| {
        judge(&head(status, headers)).class
    };
    let strict = |parts: &_| Anthropic.head(parts);
    let lenient = |parts: &_| AnyPath(Dialect::Anthropic).head(parts);
    for (status, content_type, chat, any) in [
        (200, "application/json", Class::Success, Class::Success),
        (
            200,
            "application/json; charset=utf-8",
            Class::Success,
            Class::Success,
        ),
        (
            200,
            "Application/Problem+JSON",
            Class::Success,
            Class::Success,
        ),
        (200, "text/event-stream", Class::Success, Class::Success),
        (200, "audio/mpeg", Class::Unavailable, Class::Success),
        (200, "text/plain", Class::Unavailable, Class::Success),
        (
            200,
            "text/html; charset=utf-8",
            Class::Unavailable,
            Class::Unavailable,
        ),
        (200, "", Class::Unavailable, Class::Success),
        (
            529,
            "application/json",
            Class::Unavailable,
            Class::Unavailable,
        ),
        (402, "application/json", Class::Denied, Class::Denied),
        (429, "text/html", Class::Throttled, Class::Throttled),
        (302, "text/html", Class::Unfit, Class::Unfit),
    ] {
        let headers = [("content-type", content_type)];
        assert_eq!(
            class(&strict, status, &headers),
            chat,
            "{status} {content_type}"
        );
        assert_eq!(
            class(&lenient, status, &headers),
            any,
            "{status} {content_type}"
        );
    }
    assert_eq!(class(&strict, 200, &[]), Class::Unavailable);
    assert_eq!(class(&lenient, 200, &[]), Class::Unavailable);
    assert_eq!(class(&strict, 204, &[]), Class::Success);
}

#[test]
fn the_hints_of_the_head_stay_where_the_body_has_none() {
    let headers = [
        ("content-type", "application/json"),
        ("retry-after-ms", "1500"),
        ("x-should-retry", "false"),
    ];
    let told = OpenAi.head(&head(429, &headers));
    assert_eq!(told.retry_after, Some(Duration::from_millis(1500)));
    assert_eq!(told.should_retry, Some(false));
    // The body's own word goes first.
    let body =
        r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Please retry in 7s."}}"#;
    let said = said(&Gemini, &head(429, &headers), [body.as_bytes()]);
    assert_eq!(
        said.ended.unwrap().or(&told).retry_after,
        Some(Duration::from_secs(7))
    );
    assert_eq!(said.ended.unwrap().or(&told).should_retry, Some(false));
}

#[test]
fn a_reply_that_cannot_be_read_has_no_meter() {
    let json = ("content-type", "application/json");
    assert!(
        OpenAi
            .meter(&head(200, &[json, ("content-encoding", "gzip")]))
            .is_none()
    );
    assert!(
        OpenAi
            .meter(&head(200, &[json, ("content-encoding", "identity")]))
            .is_some()
    );
    assert!(
        OpenAi
            .meter(&head(200, &[("content-type", "audio/mpeg")]))
            .is_none()
    );
    assert!(OpenAi.meter(&head(204, &[json])).is_none());
    assert!(
        Gemini
            .meter(&head(400, &[("content-type", "text/plain")]))
            .is_some()
    );
    assert!(
        Gemini
            .meter(&head(502, &[("content-type", "text/html")]))
            .is_none()
    );
}
