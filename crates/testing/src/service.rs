//! The same provider in process: a `Service` without sockets.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{HeaderValue, Response, StatusCode, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::{
    Carrier, Failure, FailureKind, ReplyBody, Request,
    engine::Engine,
    log::{Ending, Exchange},
    plan::{Framing, Head, Part, Plan},
};

/// A provider as a `tower` service, without sockets: what it waits for is tokio's clock alone, so
/// that tests run on paused time.
///
/// It is always ready. The future reads the request's body to its end, then takes the script's next
/// reply; what would be a broken connection is a [`Failure`], of the call or of the body. A call
/// that a script leaves hanging is pending until it is dropped, which counts as the client's
/// leaving.
///
/// Comes from [`Running::service`](crate::Running::service); clones share scripts and log.
#[derive(Clone)]
pub struct ProviderService {
    engine: Arc<Engine>,
}

pin_project! {
    /// The future of a call to a [`ProviderService`].
    pub struct ReplyFuture<B> {
        engine: Arc<Engine>,
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Reading { parts: Option<Parts>, #[pin] body: B, read: BytesMut },
        Waiting { #[pin] delay: Sleep, decided: Option<Decided> },
        // Holds the exchange, whose end tells when the client left.
        Hanging { _exchange: Exchange },
        Done,
    }
}

/// A reply that is decided and not yet begun.
struct Decided {
    plan: Plan,
    exchange: Option<Exchange>,
    head_only: bool,
}

// ===== impl ProviderService =====

impl ProviderService {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl<B: Body> Service<http::Request<B>> for ProviderService {
    type Response = Response<ReplyBody>;
    type Error = Failure;
    type Future = ReplyFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ReplyFuture<B> {
        let (parts, body) = request.into_parts();
        ReplyFuture {
            engine: Arc::clone(&self.engine),
            state: State::Reading {
                parts: Some(parts),
                body,
                read: BytesMut::new(),
            },
        }
    }
}

impl fmt::Debug for ProviderService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderService")
            .field("dialect", &self.engine.dialect)
            .finish()
    }
}

// ===== impl ReplyFuture =====

impl<B: Body> Future for ReplyFuture<B> {
    type Output = Result<Response<ReplyBody>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let decided = match this.state.as_mut().project() {
                StateProj::Reading { parts, body, read } => {
                    let most = this.engine.max_body;
                    let decided = match ready!(poll_read(body, read, most, cx)) {
                        Read::Failed => {
                            this.state.set(State::Done);
                            return Poll::Ready(Err(Failure::new(FailureKind::Request)));
                        }
                        Read::TooLong => Decided {
                            plan: too_long(this.engine, most),
                            exchange: None,
                            head_only: false,
                        },
                        // Taken once: the state is left at once.
                        Read::Whole => match parts.take() {
                            Some(parts) => decide(this.engine, parts, read.split()),
                            None => return Poll::Pending,
                        },
                    };
                    match decided.plan.before_head {
                        Some(delay) => {
                            this.state.set(State::Waiting {
                                delay: sleep(delay),
                                decided: Some(decided),
                            });
                            continue;
                        }
                        None => decided,
                    }
                }
                StateProj::Waiting { delay, decided } => {
                    ready!(delay.poll(cx));
                    match decided.take() {
                        Some(decided) => decided,
                        None => return Poll::Pending,
                    }
                }
                StateProj::Hanging { .. } | StateProj::Done => return Poll::Pending,
            };
            return match decided.begin() {
                Ok(response) => {
                    this.state.set(State::Done);
                    Poll::Ready(Ok(response))
                }
                Err(NoReply::Failed(kind)) => {
                    this.state.set(State::Done);
                    Poll::Ready(Err(Failure::new(kind)))
                }
                Err(NoReply::Hanging(exchange)) => {
                    this.state.set(State::Hanging {
                        _exchange: exchange,
                    });
                    Poll::Pending
                }
            };
        }
    }
}

impl<B> fmt::Debug for ReplyFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyFuture").finish_non_exhaustive()
    }
}

// ===== impl Decided =====

enum NoReply {
    Failed(FailureKind),
    Hanging(Exchange),
}

impl Decided {
    fn begin(self) -> Result<Response<ReplyBody>, NoReply> {
        let Self {
            plan,
            exchange,
            head_only,
        } = self;
        let kind = match &plan.head {
            Head::Proper => return Ok(reply(plan, exchange, head_only)),
            Head::Spoiled(_) => FailureKind::Malformed,
            Head::Fail(kind) => *kind,
            Head::GoAway => FailureKind::Unstarted,
            // Interim responses without end, or nothing ever: a client waits for both.
            Head::Raw(bytes) if bytes.is_empty() => match (plan.parts.first(), exchange) {
                (Some(Part::Stall | Part::Repeat { .. }), Some(exchange)) => {
                    return Err(NoReply::Hanging(exchange));
                }
                (_, exchange) => {
                    end(exchange);
                    return Err(NoReply::Failed(FailureKind::Closed));
                }
            },
            Head::Raw(_) if matches!(plan.parts.first(), Some(Part::Reset)) => FailureKind::Reset,
            Head::Raw(_) => FailureKind::Malformed,
        };
        end(exchange);
        Err(NoReply::Failed(kind))
    }
}

fn end(exchange: Option<Exchange>) {
    if let Some(exchange) = exchange {
        exchange.end(Ending::BrokenOff);
    }
}

fn decide(engine: &Engine, parts: Parts, body: BytesMut) -> Decided {
    let head_only = parts.method == http::Method::HEAD;
    let request = Request::new(engine.dialect, parts, body.freeze());
    let (exchange, plan) = engine.answer(Carrier::InProcess, 0, request);
    Decided {
        plan,
        exchange: Some(exchange),
        head_only,
    }
}

fn too_long(engine: &Engine, most: usize) -> Plan {
    let message = format!("the body is longer than {most} bytes");
    engine.refuse(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

fn reply(mut plan: Plan, exchange: Option<Exchange>, head_only: bool) -> Response<ReplyBody> {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = plan.status;
    for (name, value) in std::mem::take(&mut plan.headers) {
        head.headers.append(name, value);
    }
    let length = match plan.framing {
        Framing::Length => Some(plan.length()),
        Framing::Short(by) => Some(plan.length() + by),
        Framing::Chunked | Framing::Close => None,
    };
    if let Some(length) = length {
        let length = HeaderValue::from(length);
        head.headers.insert(http::header::CONTENT_LENGTH, length);
    }
    if head_only {
        plan.parts.clear();
    }
    Response::from_parts(head, ReplyBody::new(plan, exchange))
}

enum Read {
    Whole,
    TooLong,
    Failed,
}

fn poll_read<B: Body>(
    mut body: Pin<&mut B>,
    read: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<Read> {
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(Read::Whole),
            Some(Err(_)) => return Poll::Ready(Read::Failed),
            Some(Ok(frame)) => {
                let Ok(mut data) = frame.into_data() else {
                    continue; // Trailers: no dialect has any.
                };
                use bytes::Buf;
                if data.remaining() > most - read.len() {
                    return Poll::Ready(Read::TooLong);
                }
                while data.has_remaining() {
                    let chunk = data.chunk();
                    let length = chunk.len();
                    read.extend_from_slice(chunk);
                    data.advance(length);
                }
            }
        }
    }
}
