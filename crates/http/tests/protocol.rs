//! What the protocols of clients and servers promise, but for what a body does.

use std::{
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{
    Class, Classify, Completion, Outcome, ProtocolExt, Reason, Refuse, Refused, Replay, Report,
    Sent, Track, settle,
};
use buttress_http::{
    Body, Grpc, GrpcServer, Http, HttpServer, TrackLayer, Tracked, retry_after::whole_seconds,
    sse::is_event_stream, status_of_refusal,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

fn refuse(refused: Refused) -> Response<Body<Empty<Bytes>>> {
    let answer: Result<_, Infallible> = HttpServer.refuse(refused);
    answer.unwrap()
}

#[test]
fn a_refusal_is_answered_with_the_status_that_is_told_for_it() {
    for &reason in Reason::ALL {
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

/// What a layer hears of a call.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Option<Outcome>>>);

impl Report for Hears {
    fn report(&mut self, outcome: &Outcome) {
        *self.0.lock().unwrap() = Some(*outcome);
    }
}

impl Hears {
    fn of<P, B, E>(protocol: &P, result: &mut Result<Response<B>, E>) -> Self
    where
        P: Classify<Response<B>, E> + Track<Response<B>>,
    {
        let hears = Self::default();
        settle(protocol, result, Completion::new(hears.clone()));
        hears
    }

    fn heard(&self) -> (Class, Sent) {
        let outcome = self.0.lock().unwrap().expect("the call is over");
        (outcome.class, outcome.sent)
    }
}

/// What a handler answered, as the body around it knows it.
async fn answered(status: u16, text: &'static str) -> Response<Body<Full<Bytes>>> {
    let handler = service_fn(move |()| async move {
        let response = Response::builder().status(status);
        Ok::<_, Infallible>(response.body(Full::from(text)).unwrap())
    });
    let handler = handler.map_request(|_: Request<()>| ());
    let tracked = TrackLayer::default().layer(handler);
    tracked.oneshot(Request::new(())).await.unwrap()
}

#[tokio::test]
async fn what_ones_own_handler_answered_was_worked_on_whatever_it_was() {
    for text in ["", "some text"] {
        for (status, class) in [
            (200, Class::Success),
            (401, Class::Denied),
            (422, Class::Invalid),
            (429, Class::Throttled),
            (500, Class::Unavailable),
        ] {
            let mut result = Ok::<_, Infallible>(answered(status, text).await);
            let seen = HttpServer.classify(result.as_ref());
            assert_eq!((seen.class, seen.sent), (class, Sent::Yes));
            // Beside it somebody to whom it is a provider's answer.
            let (ours, theirs) = (
                Hears::of(&HttpServer, &mut result),
                Hears::of(&Http, &mut result),
            );
            let Ok(response) = result;
            response.into_body().collect().await.unwrap();
            assert_eq!(ours.heard(), (class, Sent::Yes), "{status}");
            assert_eq!(theirs.heard(), (class, Sent::Maybe), "{status}");
        }
    }
}

#[tokio::test]
async fn what_a_handler_was_dropped_or_panicked_over_was_worked_on() {
    let mut result = Ok::<_, Infallible>(answered(401, "some text").await);
    let ours = Hears::of(&HttpServer, &mut result);
    drop(result);
    assert_eq!(ours.heard(), (Class::Denied, Sent::Yes));

    let mut result = Ok::<_, Infallible>(answered(200, "some text").await);
    let ours = Hears::of(&HttpServer, &mut result);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _held = result;
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    assert_eq!(ours.heard(), (Class::Cancelled, Sent::Yes));
}

#[test]
fn a_handler_that_failed_was_called_and_a_refusal_of_a_layer_inside_was_none() {
    let mut failed = Err::<Response<Body<Full<Bytes>>>, _>(io::Error::other("what?"));
    assert_eq!(
        Hears::of(&HttpServer, &mut failed).heard(),
        (Class::Unavailable, Sent::Yes)
    );
    let refused = Refused::new(Reason::Limited);
    let mut failed = Err::<Response<Body<Full<Bytes>>>, _>(io::Error::other(refused));
    assert_eq!(
        Hears::of(&HttpServer, &mut failed).heard(),
        (Class::Refused, Sent::No)
    );
    let mut answer = Ok::<_, Infallible>(refuse(refused));
    assert_eq!(
        Hears::of(&HttpServer, &mut answer).heard(),
        (Class::Refused, Sent::No)
    );
}

#[tokio::test]
async fn a_classifier_of_a_server_says_what_it_was_and_may_say_that_it_was_not_sent() {
    type Answer<'a, 'b> = Result<&'a Response<Body<Full<Bytes>>>, &'b Infallible>;
    for (says, sent) in [
        (Outcome::new(Class::Invalid), Sent::Yes),
        (Outcome::new(Class::Invalid).not_sent(), Sent::No),
    ] {
        let protocol = HttpServer.classify_with(move |_: Answer<'_, '_>| Some(says));
        let mut result = Ok::<_, Infallible>(answered(200, "no such model").await);
        let ours = Hears::of(&protocol, &mut result);
        let Ok(response) = result;
        response.into_body().collect().await.unwrap();
        assert_eq!(ours.heard(), (Class::Invalid, sent));
    }
}

#[tokio::test]
async fn a_status_that_peek_finds_in_the_trailers_is_a_handlers_word_too() {
    let handler = service_fn(|_: Request<()>| async {
        let trailers = HeaderMap::from_iter([(
            header::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("16"),
        )]);
        let body = Empty::<Bytes>::new().with_trailers(async { Some(Ok(trailers)) });
        Ok::<_, Infallible>(Response::new(body))
    });
    let tracked = TrackLayer::new(Grpc).layer(handler);
    let mut result = tracked.oneshot(Request::new(())).await;
    let seen = result.as_ref().unwrap().body().seen();
    assert_eq!((seen.class, seen.sent), (Class::Denied, Sent::Maybe));
    let ours = Hears::of(&GrpcServer, &mut result);
    drop(result);
    assert_eq!(ours.heard(), (Class::Denied, Sent::Yes));
}
