//! Over streamed replies.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Policy, Ratio, State, Window};
use buttress_http::{BoxError, Http, TrackLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt};

use crate::{after, all, count, secs};

/// Chunks that come when they are sent, and then an end or a failure.
#[derive(Clone, Default)]
struct Stream {
    chunks: Arc<Mutex<VecDeque<Result<&'static str, ()>>>>,
}

impl Stream {
    fn send(&self, chunk: Result<&'static str, ()>) {
        self.chunks.lock().unwrap().push_back(chunk);
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.chunks.lock().unwrap().pop_front();
        match next {
            Some(Ok("")) => Poll::Ready(None),
            Some(Ok(chunk)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
            }
            Some(Err(())) => Poll::Ready(Some(Err("cut".into()))),
            // Its reader polls again when something was sent.
            None => Poll::Pending,
        }
    }
}

/// Begins a reply of this stream.
async fn begin(
    breaker: &CircuitBreaker,
    stream: &Stream,
) -> Result<buttress_http::Body<Stream>, BoxError> {
    let stream = stream.clone();
    let service = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(Http).breaker(breaker))
        .layer(TrackLayer::default())
        .service_fn(move |_: Request<()>| {
            let stream = stream.clone();
            async move { Ok::<_, BoxError>(Response::new(stream)) }
        });
    Ok(service.oneshot(Request::new(())).await?.into_body())
}

/// The next chunk, which is there.
async fn next(body: &mut buttress_http::Body<Stream>) -> Option<bool> {
    body.frame().await.map(|frame| frame.is_ok())
}

fn policy() -> Policy {
    Policy::failure_rate(Ratio::percent::<100>(), Window::calls::<10>())
}

#[tokio::test(start_paused = true)]
async fn b11_a_streamed_call_is_counted_once_at_its_end() {
    let breaker = CircuitBreaker::new(policy());
    let counted = || {
        let counts = breaker.snapshot().rates[0];
        (counts.calls, counts.bad)
    };
    let stream = Stream::default();
    let mut body = begin(&breaker, &stream).await.unwrap();
    for _ in 0..3 {
        stream.send(Ok("hello"));
        assert_eq!(next(&mut body).await, Some(true));
        assert_eq!(counted(), (0, 0), "a head and some text are no success");
    }
    stream.send(Ok(""));
    assert_eq!(next(&mut body).await, None);
    assert_eq!(counted(), (1, 0));
    drop(body);
    assert_eq!(counted(), (1, 0));

    let stream = Stream::default();
    let mut body = begin(&breaker, &stream).await.unwrap();
    stream.send(Ok("hello"));
    assert_eq!(next(&mut body).await, Some(true));
    stream.send(Err(()));
    assert_eq!(next(&mut body).await, Some(false));
    drop(body);
    assert_eq!(counted(), (2, 1));

    // Its reader goes away: that says nothing.
    let mut body = begin(&breaker, &stream).await.unwrap();
    stream.send(Ok("hello"));
    assert_eq!(next(&mut body).await, Some(true));
    drop(body);
    assert_eq!(counted(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_judged_at_the_end_of_its_stream() {
    let breaker = CircuitBreaker::new(after(1));
    for (end, state) in [(Err(()), State::Open), (Ok(""), State::Closed)] {
        breaker.reset();
        all(&breaker, buttress_core::Class::Unavailable, 1);
        advance(secs(10)).await;
        let stream = Stream::default();
        let mut body = begin(&breaker, &stream).await.unwrap();
        stream.send(Ok("hello"));
        next(&mut body).await;
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(begin(&breaker, &stream).await.is_err());
        stream.send(end);
        next(&mut body).await;
        assert_eq!(breaker.state(), state);
    }
}

/// A circuit whose one probe, of thirty seconds, is a stream that has gone on for as long.
async fn streaming() -> (CircuitBreaker, Stream, buttress_http::Body<Stream>) {
    let breaker = CircuitBreaker::new(after(1).probe_timeout(secs(30)));
    all(&breaker, buttress_core::Class::Unavailable, 1);
    advance(secs(10)).await;
    let stream = Stream::default();
    let mut body = begin(&breaker, &stream).await.unwrap();
    for time in [29, 1] {
        assert!(begin(&breaker, &stream).await.is_err());
        advance(secs(time)).await;
        stream.send(Ok("hello"));
        next(&mut body).await;
    }
    (breaker, stream, body)
}

#[tokio::test(start_paused = true)]
async fn b6_a_probe_whose_stream_goes_on_is_not_lost() {
    for (end, state) in [(Ok(""), State::Closed), (Err(()), State::Open)] {
        let (breaker, stream, mut body) = streaming().await;
        for _ in 0..10 {
            advance(secs(29)).await;
            stream.send(Ok("hello"));
            next(&mut body).await;
        }
        assert_eq!(breaker.state(), State::HalfOpen, "until its end");
        stream.send(end);
        next(&mut body).await;
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn b6_while_a_stream_goes_on_shorter_calls_can_close_the_circuit() {
    let (breaker, stream, mut body) = streaming().await;
    let short = Stream::default();
    let mut probe = begin(&breaker, &short).await.unwrap();
    assert!(begin(&breaker, &short).await.is_err(), "one at a time");
    assert_eq!(breaker.snapshot().probes.unwrap().in_flight, 2);
    short.send(Ok(""));
    next(&mut probe).await;
    assert_eq!(breaker.state(), State::Closed);
    // What then comes of the stream is of before the change.
    stream.send(Err(()));
    next(&mut body).await;
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn b5_a_stream_that_gave_its_place_away_has_none_to_give_back() {
    let (breaker, _, body) = streaming().await;
    let short = Stream::default();
    let _probe = begin(&breaker, &short).await.unwrap();
    drop(body);
    assert!(begin(&breaker, &short).await.is_err());
    assert_eq!(breaker.snapshot().probes.unwrap().in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn b6_streams_that_all_go_on_close_the_circuit_with_the_first_that_ends() {
    let (breaker, stream, mut body) = streaming().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let other = Stream::default();
        let mut body = begin(&breaker, &other).await.unwrap();
        advance(secs(20)).await;
        other.send(Ok("hello"));
        next(&mut body).await;
        assert!(begin(&breaker, &other).await.is_err());
        advance(secs(10)).await;
        other.send(Ok("hello"));
        next(&mut body).await;
        others.push(body);
    }
    stream.send(Ok(""));
    next(&mut body).await;
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_slow_if_its_first_content_is_and_not_if_it_is_long() {
    let one = Window::calls::<1>();
    let policy = Policy::slow_rate(Ratio::percent::<100>(), secs(5), one).minimum_calls(count(1));
    for (first, rest, state) in [(5, 3600, State::Closed), (6, 0, State::Open)] {
        let breaker = CircuitBreaker::new(policy.clone());
        let stream = Stream::default();
        let mut body = begin(&breaker, &stream).await.unwrap();
        advance(secs(first)).await;
        stream.send(Ok("hello"));
        next(&mut body).await;
        advance(secs(rest)).await;
        stream.send(Ok(" you"));
        next(&mut body).await;
        assert_eq!(breaker.state(), State::Closed, "until its end");
        stream.send(Ok(""));
        next(&mut body).await;
        assert_eq!(breaker.state(), state, "{first}");
    }
}
