//! Layers over http bodies, each call with its body read to the end.

use std::{
    fmt,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
    time::Duration,
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::{Completion, Outcome, Report};
use buttress_failover::Failover;
use buttress_http::{BoxError, Http, TrackLayer, Tracked};
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::RateLimitLayer;
use buttress_retry::RetryLayer;
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, util::MapResponseLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    call,
    metrics::install,
    now,
    plain::{Never, quotas},
    toys::{hedge::Hedge, permit::PermitLayer, resume::Resume},
};
use crate::row::{Group, Row};

/// The inner service: it says hello, at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello;

/// Listens, and does nothing with what it hears.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) watches: bool,
}

pub(super) const HELLO: Bytes = Bytes::from_static(b"hello");
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn group() -> Group {
    let track = TrackLayer::default;
    let listened = |duties: usize| {
        move |mut response: Response<buttress_http::Body<Full<Bytes>>>| {
            for _ in 0..duties {
                let listener = Listener { watches: false };
                response.body_mut().attach(Completion::new(listener));
            }
            response
        }
    };
    let tracked = || ServiceBuilder::new().layer(TrackLayer::default());
    let rows = vec![
        row("bare", || Hello).at_most(0),
        row("track", move || tracked().service(Hello)).at_most(0),
        row("track, one duty", move || {
            ServiceBuilder::new()
                .layer(MapResponseLayer::new(listened(1)))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        row("track, five duties", move || {
            ServiceBuilder::new()
                .layer(MapResponseLayer::new(listened(5)))
                .layer(track())
                .service(Hello)
        })
        .at_most(5),
        row("track, breaker", move || {
            ServiceBuilder::new()
                .layer(CircuitBreakerLayer::new(Http))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        row("track, rate limit", move || {
            ServiceBuilder::new()
                .layer(RateLimitLayer::new(Http, quotas()))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        row("track, attempt metrics", move || {
            install();
            ServiceBuilder::new()
                .layer(MetricsLayer::attempt(Http))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        // Its ledger, and the extensions of the request that carry it.
        row("track, request metrics", move || {
            install();
            ServiceBuilder::new()
                .layer(MetricsLayer::request(Http))
                .layer(track())
                .service(Hello)
        })
        .at_most(5),
        row("track, idle timeout", move || {
            ServiceBuilder::new()
                .layer(TimeoutLayer::new(Http).idle(SECOND))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        row("track, retry", move || {
            ServiceBuilder::new()
                .layer(RetryLayer::new(Http))
                .layer(track())
                .service(Hello)
        }),
        row("track, failover of two", move || {
            let endpoint = ServiceBuilder::new().layer(track()).service(Hello);
            Failover::new(Http, [endpoint, endpoint])
        })
        // It hears of a stream that breaks off.
        .at_most(1),
        row("track, cache, hit", move || {
            let key = |_: &Request<Full<Bytes>>| Keyed::new(1);
            CacheLayer::new(Http, key).layer(tracked().service(Hello))
        }),
        row("tower: retry", || {
            ServiceBuilder::new().retry(Never).service(Hello)
        }),
        row("tower: timeout", || {
            ServiceBuilder::new()
                .layer(tower::timeout::TimeoutLayer::new(SECOND))
                .service(Hello)
        }),
        row("tower: concurrency limit", || {
            ServiceBuilder::new()
                .layer(ConcurrencyLimitLayer::new(5))
                .service(Hello)
        }),
        // Until the layers exist.
        row("toy: track, permit", move || {
            ServiceBuilder::new()
                .layer(PermitLayer::new(Http, 5))
                .layer(track())
                .service(Hello)
        })
        .at_most(1),
        row("toy: track, hedge of two", move || {
            let endpoint = ServiceBuilder::new().layer(track()).service(Hello);
            Hedge::new(Http, [endpoint, endpoint])
        }),
        row("toy: track, resume", move || {
            Resume::new(tracked().service(Hello))
        }),
    ];
    Group { name: "http", rows }
}

pub(super) fn row<S, B>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + 'static,
    S::Error: fmt::Debug,
    B: http_body::Body<Data = Bytes, Error: fmt::Debug> + Unpin,
{
    asked(name, HELLO.len(), make)
}

/// A call whose reply is so long.
pub(super) fn asked<S, B>(name: &str, length: usize, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + 'static,
    S::Error: fmt::Debug,
    B: http_body::Body<Data = Bytes, Error: fmt::Debug> + Unpin,
{
    Row::new(name, move || {
        let mut service = make();
        move || {
            let request = Request::new(Full::new(Bytes::from_static(b"hi")));
            let mut body = call(&mut service, black_box(request)).into_body();
            let mut read = 0;
            while let Some(frame) = now(body.frame()) {
                let frame = black_box(frame).expect("a frame");
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            assert_eq!(read, length);
        }
    })
}

// ===== impl Hello =====

impl Service<Request<Full<Bytes>>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::new(HELLO))))
    }
}

// ===== impl Listener =====

impl Report for Listener {
    fn report(&mut self, outcome: &Outcome) {
        black_box(outcome);
    }

    fn watches(&self) -> bool {
        self.watches
    }
}
