//! Limits on rates, beside their peers, all on tokio's clock.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use buttress_core::{Outcome, Plain, ProtocolExt, Usage};
use buttress_http::{HttpServer, TrackLayer};
use buttress_rate_limit::{
    Cost, Limiter, Quota, Quotas, RateLimitLayer, SlidingCounter, SlidingLog,
};
use bytes::Bytes;
use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::DefaultKeyedStateStore},
};
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer, service_fn};
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor,
};
use tower_service::Service;

use super::{
    call,
    http::{self as over_http, HELLO},
    plain::{Echo, Failed},
    rival::{Rival, shared},
};
use crate::row::{Group, Row};

/// governor's clock, read as ours is.
#[derive(Clone, Copy, Debug)]
struct Tokio(Instant);

const KEYS: u32 = 512;

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Echo).at_most(0),
        Row::new("governor: direct", || {
            let governor = direct();
            move || {
                black_box(governor.check().is_ok());
            }
        })
        .at_most(0),
        row("direct", || limit(Quotas::requests(most())).layer(Echo)).at_most(0),
        row("direct, two quotas", || {
            let quotas = Quotas::requests(most()).and_tokens(most());
            limit(quotas).layer(Echo)
        })
        .at_most(0),
        row("direct, settled", || {
            let used = Outcome::SUCCESS.with_usage(Usage::new(10, 5));
            let protocol =
                Plain.classify_with(move |_: Result<&u32, &Failed>| Some(black_box(used)));
            RateLimitLayer::new(protocol, Quotas::tokens(most()))
                .cost(|_: &u32| Cost::tokens(10, 20))
                .layer(Echo)
        })
        .at_most(0),
        row("direct, may wait", || {
            let layer = limit(Quotas::requests(most()));
            layer.wait(Duration::from_secs(1)).layer(Echo)
        })
        .at_most(0),
        row("direct, sliding log", || {
            let limiter = Limiter::new(Quotas::requests(most())).counting::<SlidingLog>();
            RateLimitLayer::with_store(Plain, limiter, buttress_rate_limit::AllCalls).layer(Echo)
        }),
        row("direct, sliding counter", || {
            let limiter = Limiter::new(Quotas::requests(most())).counting::<SlidingCounter>();
            RateLimitLayer::with_store(Plain, limiter, buttress_rate_limit::AllCalls).layer(Echo)
        })
        .at_most(0),
        Row::new("refused", || {
            let one = Quota::per_hour(NonZeroU32::MIN);
            let mut service = limit(Quotas::requests(one)).layer(Echo);
            call(&mut service, 1);
            move || {
                let refused = super::now(service.call(black_box(1)));
                black_box(refused.is_err());
            }
        })
        .at_most(0),
        Row::new("governor: keyed", || {
            let store = DefaultKeyedStateStore::<u32>::default();
            let governor = Governor::<u32, _>::new(most(), store, Tokio(Instant::now()));
            let mut key = 0;
            move || {
                key = (key + 1) % KEYS;
                black_box(governor.check_key(&key).is_ok());
            }
        })
        .at_most(0),
        Row::new("keyed", || {
            let layer = limit(Quotas::requests(most())).key(|key: &u32| *key);
            let mut service = layer.layer(Echo);
            let mut key = 0;
            move || {
                key = (key + 1) % KEYS;
                black_box(call(&mut service, key));
            }
        })
        .at_most(0),
        Row::new("governor: 2 threads", || {
            let governor = Arc::new(direct());
            let theirs = Arc::clone(&governor);
            let rival = Rival::new(move || {
                black_box(theirs.check().is_ok());
            });
            move || {
                let _: &Rival = &rival;
                black_box(governor.check().is_ok());
            }
        })
        .at_most(0)
        .waiting(),
        Row::new("direct: 2 threads", || {
            let layer = limit(Quotas::requests(most()));
            let (mut service, mut other) = (layer.layer(Echo), layer.layer(Echo));
            let rival = Rival::new(move || {
                black_box(call(&mut other, 1));
            });
            move || {
                let _: &Rival = &rival;
                black_box(call(&mut service, black_box(1)));
            }
        })
        .at_most(0)
        .waiting(),
        row("tower-resilience: rate limiter", || theirs().layer(Echo)),
        shared("tower-resilience: 2 threads", || theirs().layer(Echo)),
        // Of one service alone: it is not shared.
        row("tower: rate limit", || {
            let second = Duration::from_secs(1);
            tower::limit::RateLimitLayer::new(u64::MAX, second).layer(Echo)
        }),
    ];
    Group {
        name: "rate limit",
        rows,
    }
}

/// In front of a service of axum's, whose reply is read to its end. The peer has a clock of its own,
/// and no layer of it hears of the end.
pub(crate) fn axum() -> Group {
    fn served(_: Request<Full<Bytes>>) -> Ready<Result<Response<Body>, Infallible>> {
        ready(Ok(Response::new(Body::from(HELLO))))
    }
    let rows = vec![
        over_http::row("bare", || service_fn(served)),
        over_http::row("tower_governor: one key", || {
            let mut config = GovernorConfigBuilder::default().key_extractor(GlobalKeyExtractor);
            let config = config.per_nanosecond(1).burst_size(1 << 20).finish();
            GovernorLayer::new(config.expect("a quota")).layer(service_fn(served))
        }),
        over_http::row("track", || TrackLayer::default().layer(service_fn(served))),
        over_http::row("track, one key", || {
            let layer = RateLimitLayer::new(HttpServer, Quotas::requests(most()));
            let layer = layer.key(|_: &Request<Full<Bytes>>| ());
            layer.layer(TrackLayer::default().layer(service_fn(served)))
        }),
    ];
    Group {
        name: "rate limit, axum",
        rows,
    }
}

/// More than anybody asks for.
fn most() -> Quota {
    let quota = Quota::with_period(Duration::from_nanos(1)).expect("more than zero");
    quota.allow_burst(NonZeroU32::new(1 << 20).expect("not zero"))
}

fn limit(quotas: Quotas) -> RateLimitLayer<Plain> {
    RateLimitLayer::new(Plain, quotas)
}

fn theirs() -> tower_resilience_ratelimiter::RateLimiterLayer {
    let layer = tower_resilience_ratelimiter::RateLimiterLayer::builder();
    let layer = layer.limit_for_period(usize::MAX / 2);
    let layer = layer.refresh_period(Duration::from_secs(1));
    layer.build().expect("a limiter")
}

type Governor<K, S> = RateLimiter<K, S, Tokio, NoOpMiddleware<Duration>>;

fn direct() -> Governor<NotKeyed, InMemoryState> {
    Governor::new(most(), InMemoryState::default(), Tokio(Instant::now()))
}

fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: std::fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        move || {
            black_box(call(&mut service, black_box(1)));
        }
    })
}

// ===== impl Tokio =====

impl Clock for Tokio {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }
}
