//! Limits on time, beside their peers.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::Plain;
use buttress_http::{Http, TrackLayer};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, service_fn};
use tower_http::timeout::TimeoutBody;
use tower_service::Service;

use super::{
    body::{self, CHUNK, Endless},
    call,
    plain::Echo,
};
use crate::row::{Group, Row};

/// Nothing, and then the same chunk, again and again.
#[derive(Debug)]
struct Paced {
    came: bool,
}

const SECOND: Duration = Duration::from_secs(1);

/// A call that is answered at once.
pub(crate) fn plain() -> Group {
    let tower = tower::timeout::TimeoutLayer::new(SECOND);
    let rows = vec![
        row("tower: timeout", move || tower.layer(Echo)),
        row("no limit", || TimeoutLayer::new(Plain).layer(Echo)).at_most(0),
        row("attempt", || {
            TimeoutLayer::new(Plain).attempt(SECOND).layer(Echo)
        })
        .at_most(0),
        row("total", || {
            TimeoutLayer::new(Plain).total(SECOND).layer(Echo)
        })
        .at_most(0),
        row("every limit", || every(Plain).layer(Echo)).at_most(0),
        row("tower-resilience: time limiter", || {
            tower_resilience_timelimiter::TimeLimiterLayer::builder()
                .timeout_duration(SECOND)
                .cancel_running_future(true)
                .build()
                .layer(Echo)
        }),
        row("bare", || Echo),
    ];
    Group {
        name: "timeout",
        rows,
    }
}

/// A call over http, up to its response.
pub(crate) fn http() -> Group {
    let rows = vec![
        head("track", none),
        head("headers", || none().headers(SECOND)),
        head("idle", idle).at_most(1),
        head("attempt", || none().attempt(SECOND)).at_most(1),
        // The extensions of the request, where the deadline travels.
        head("total", || none().total(SECOND)),
    ];
    Group {
        name: "timeout, http",
        rows,
    }
}

/// A chunk that is there, on its way through a body.
pub(crate) fn chunk() -> Group {
    let rows = vec![
        body::row("bare", || Endless(CHUNK)),
        body::row("tracked", || tracked(&none(), || Endless(CHUNK))),
        body::row("tracked, idle", || tracked(&idle(), || Endless(CHUNK))),
        body::row("tracked, every limit", || {
            tracked(&every(Http), || Endless(CHUNK))
        }),
        body::row("tower-http: timeout", || {
            Box::pin(TimeoutBody::new(SECOND, Endless(CHUNK)))
        }),
    ];
    Group {
        name: "timeout, one chunk",
        rows,
    }
}

/// A chunk that is waited for first.
pub(crate) fn paced() -> Group {
    let bare = || Paced { came: false };
    let rows = vec![
        waited("bare", bare),
        waited("tracked", move || tracked(&none(), bare)),
        waited("tracked, idle", move || tracked(&idle(), bare)),
        waited("tracked, every limit", move || tracked(&every(Http), bare)),
        waited("tower-http: timeout", move || {
            Box::pin(TimeoutBody::new(SECOND, bare()))
        }),
    ];
    Group {
        name: "timeout, one chunk after a wait",
        rows,
    }
}

fn none() -> TimeoutLayer<Http> {
    TimeoutLayer::new(Http)
}

fn idle() -> TimeoutLayer<Http> {
    TimeoutLayer::new(Http).idle(SECOND)
}

fn every<P>(protocol: P) -> TimeoutLayer<P> {
    TimeoutLayer::new(protocol)
        .total(60 * SECOND)
        .attempt(30 * SECOND)
        .headers(5 * SECOND)
        .first_content(10 * SECOND)
        .idle(SECOND)
        .silence(SECOND)
}

/// The body of a response that these limits are on.
fn tracked<B>(limits: &TimeoutLayer<Http>, make: impl Fn() -> B) -> buttress_http::Body<B>
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let client = service_fn(
        |_: Request<()>| -> Ready<Result<_, buttress_http::BoxError>> {
            ready(Ok(Response::new(make())))
        },
    );
    let mut service = limits.layer(TrackLayer::default().layer(client));
    call(&mut service, Request::new(())).into_body()
}

fn head(name: &str, limits: impl Fn() -> TimeoutLayer<Http> + 'static) -> Row {
    Row::new(name, move || {
        let client = service_fn(
            |_: Request<()>| -> Ready<Result<_, buttress_http::BoxError>> {
                ready(Ok(Response::new(Endless(CHUNK))))
            },
        );
        let mut service = limits().layer(TrackLayer::default().layer(client));
        move || {
            black_box(call(&mut service, black_box(Request::new(()))));
        }
    })
}

fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        move || {
            black_box(call(&mut service, black_box(1)));
        }
    })
}

fn waited<B>(name: &str, make: impl Fn() -> B + 'static) -> Row
where
    B: Body<Data = Bytes> + Unpin + 'static,
{
    Row::new(name, move || {
        let mut body = make();
        move || {
            let cx = &mut Context::from_waker(Waker::noop());
            let nothing = black_box(Pin::new(&mut body).poll_frame(cx));
            assert!(nothing.is_pending());
            let frame = black_box(Pin::new(&mut body).poll_frame(cx));
            assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
    })
    .at_most(0)
}

// ===== impl Paced =====

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.came = !self.came;
        if self.came {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(CHUNK))))
    }
}
