use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Class, Outcome, Refused};
use bytes::Bytes;
use http::{Response, response::Parts};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Body, BodyError, ByStatus, Judge,
    body::{Frames, Rest},
    tail::{End, Tail},
};

/// Makes every response body a tracked [`Body`]. It stands innermost, right around the client.
///
/// Its [`Judge`] says what a response means. Where the head does not say it all and the judge has
/// a [`Meter`](crate::Meter) for the body, the response is held back until its first content, the
/// end of its body, or a word of failure is there, so that an error inside a 200, or
/// `insufficient_quota` inside a 429, is known before any layer outside sees a response. Nothing
/// that was held back is lost, and its frames are delivered as they came. Holding back is bounded:
///
/// | bound | default |
/// |---|---|
/// | [bytes](TrackLayer::peek_bytes) | 64 KiB |
/// | [time](TrackLayer::peek_time) from the head on | 30 s |
///
/// # Examples
///
/// ```
/// use buttress_http::TrackLayer;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, service_fn};
///
/// let client = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("hello")))
/// });
/// let tracked = ServiceBuilder::new().layer(TrackLayer::default()).service(client);
/// # let _ = buttress_core::check::<Request<Full<Bytes>>, _>(tracked);
/// ```
///
/// A model that thinks long may hold its callers' connections without a head for five seconds,
/// and no longer:
///
/// ```
/// use std::time::Duration;
/// use buttress_http::{ByStatus, TrackLayer};
///
/// let layer = TrackLayer::new(ByStatus).peek_time(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TrackLayer<J = ByStatus> {
    judge: J,
    peek: Peek,
}

/// The service that [`TrackLayer`] makes.
#[derive(Clone, Copy, Debug)]
pub struct TrackService<S, J = ByStatus> {
    inner: S,
    judge: J,
    peek: Peek,
}

pin_project! {
    /// The future of a [`TrackService`].
    #[derive(Debug)]
    pub struct ResponseFuture<F, B: http_body::Body, J> {
        #[pin]
        state: State<F, B>,
        judge: J,
        peek: Peek,
    }
}

#[derive(Clone, Copy, Debug)]
struct Peek {
    bytes: usize,
    time: Duration,
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, B> {
        Head { #[pin] response: F },
        // Boxed, because a body that was polled cannot be moved into the response otherwise.
        Peek { body: Option<Pin<Box<B>>>, held: Option<Held>, #[pin] timer: Option<Sleep> },
        Done,
    }
}

#[derive(Debug)]
struct Held {
    parts: Parts,
    tail: Tail,
    frames: Frames,
    bytes: usize,
}

// ===== impl TrackLayer =====

impl<J> TrackLayer<J> {
    /// Judges responses with `judge`, and peeks within the default bounds where it has a meter.
    #[must_use]
    pub const fn new(judge: J) -> Self {
        Self {
            judge,
            peek: Peek {
                bytes: 64 << 10,
                time: Duration::from_secs(30),
            },
        }
    }

    /// Holds at most about this much of a body back: the chunk that passes the bound is the last
    /// one. The default is 64 KiB; with 0 nothing is held back.
    #[must_use]
    pub const fn peek_bytes(mut self, bytes: usize) -> Self {
        self.peek.bytes = bytes;
        self
    }

    /// Holds a response back for at most this long after its head came. The default is 30
    /// seconds; with zero, only what is there already is looked at.
    #[must_use]
    pub const fn peek_time(mut self, time: Duration) -> Self {
        self.peek.time = time;
        self
    }
}

impl Default for TrackLayer {
    fn default() -> Self {
        Self::new(ByStatus)
    }
}

impl<S, J: Clone> Layer<S> for TrackLayer<J> {
    type Service = TrackService<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        TrackService {
            inner,
            judge: self.judge.clone(),
            peek: self.peek,
        }
    }
}

// ===== impl TrackService =====

impl<S, J> TrackService<S, J> {
    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, J, Req, B> Service<Req> for TrackService<S, J>
where
    S: Service<Req, Response = Response<B>>,
    J: Judge + Clone,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let response = self.inner.call(request);
        ResponseFuture {
            state: State::Head { response },
            judge: self.judge.clone(),
            peek: self.peek,
        }
    }
}

// ===== impl ResponseFuture =====

impl<F, B, J, E> Future for ResponseFuture<F, B, J>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes>,
    J: Judge,
{
    type Output = Result<Response<Body<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { response } => {
                    let result = ready!(response.poll(cx));
                    // The inner future is gone before anybody hears of its result.
                    this.state.set(State::Done);
                    let (parts, body) = result?.into_parts();
                    let (seen, meter) = match parts.extensions.get::<Refused>() {
                        // A layer's own answer, whose body was erased on the way here.
                        Some(refused) => (refused.outcome(), None),
                        None => (this.judge.head(&parts), this.judge.meter(&parts)),
                    };
                    if meter.is_none() || this.peek.bytes == 0 || body.is_end_stream() {
                        return Poll::Ready(Ok(Response::from_parts(
                            parts,
                            Body::judged(body, seen, meter),
                        )));
                    }
                    let tail = Tail::new(seen, meter);
                    let held = Some(Held {
                        parts,
                        tail,
                        frames: Frames::new(),
                        bytes: 0,
                    });
                    this.state.set(State::Peek {
                        body: Some(Box::pin(body)),
                        held,
                        timer: None,
                    });
                }
                StateProj::Peek {
                    body: pinned,
                    held: holding,
                    mut timer,
                } => {
                    let (Some(body), Some(held)) = (pinned.as_mut(), holding.as_mut()) else {
                        unreachable!("both are taken when the future completes");
                    };
                    let rest = loop {
                        match body.as_mut().poll_frame(cx) {
                            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                                Ok(data) => {
                                    if held.reads(data) || held.bytes >= this.peek.bytes {
                                        break None;
                                    }
                                }
                                Err(frame) => {
                                    break Some(Rest::Ended {
                                        trailers: frame.into_trailers().ok(),
                                    });
                                }
                            },
                            Poll::Ready(Some(Err(error))) => {
                                break Some(Rest::Failed {
                                    error: Some(BodyError::Inner(error)),
                                });
                            }
                            Poll::Ready(None) => break Some(Rest::Ended { trailers: None }),
                            Poll::Pending => {
                                if timer.is_none() {
                                    timer.set(Some(sleep(this.peek.time)));
                                }
                                if let Some(timer) = timer.as_mut().as_pin_mut() {
                                    ready!(timer.poll(cx));
                                }
                                break None;
                            }
                        }
                    };
                    let (body, held) = (pinned.take(), holding.take());
                    this.state.set(State::Done);
                    let (Some(body), Some(held)) = (body, held) else {
                        unreachable!("both were there above");
                    };
                    return Poll::Ready(
                        Ok(held.into_response(rest.unwrap_or(Rest::Live { body }))),
                    );
                }
                StateProj::Done => panic!("polled after completion"),
            }
        }
    }
}

// ===== impl Held =====

impl Held {
    /// Looks at a chunk and keeps it. Says whether the meaning of the response is known by now.
    fn reads(&mut self, data: Bytes) -> bool {
        let progress = self.tail.measure(&data);
        self.bytes += data.len();
        self.frames.push_back((data, progress));
        self.tail.has_content() || self.tail.has_verdict()
    }

    fn into_response<B>(mut self, rest: Rest<B>) -> Response<Body<B>>
    where
        B: http_body::Body<Data = Bytes>,
    {
        match &rest {
            Rest::Live { .. } => self.tail.peeked(),
            Rest::Ended { trailers } => {
                if let Some(trailers) = trailers {
                    self.tail.trailers(trailers);
                }
                self.tail.end(End::Clean);
            }
            Rest::Failed { .. } => self.tail.end(End::Broken(Outcome::new(Class::Unavailable))),
        }
        Response::from_parts(self.parts, Body::held(self.frames, rest, self.tail))
    }
}
