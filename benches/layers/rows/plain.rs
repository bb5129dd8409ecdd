//! Layers over a service that is no HTTP: the work ends with the future.

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::{Fault, Plain, Refused};
use buttress_failover::Failover;
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::{Quotas, Rate, RateLimitLayer};
use buttress_retry::{RetryLayer, Unlimited};
use buttress_timeout::TimeoutLayer;
use tower::{
    ServiceBuilder,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    retry::{
        Policy,
        budget::{Budget, TpsBudget},
    },
};
use tower_layer::Layer;
use tower_service::Service;

use super::{call, metrics::install, rival::shared, toys::permit::PermitLayer};
use crate::row::{Group, Row};

/// The inner service: it gives back what it is given, at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo;

/// A user's own error.
#[derive(Debug)]
pub(super) enum Failed {
    Refused(Refused),
}

/// Never again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Never;

/// Never again, and as many retries saved up as the calls allow.
#[derive(Clone, Debug)]
pub(super) struct Budgeted(Arc<TpsBudget>);

/// More than will ever be used.
pub(super) fn quotas() -> Quotas {
    Quotas::requests(Rate::per_second(NonZeroU32::MAX))
}

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Echo).at_most(0),
        row("breaker", || {
            ServiceBuilder::new()
                .layer(CircuitBreakerLayer::new(Plain))
                .service(Echo)
        })
        .at_most(0),
        row("rate limit", || {
            ServiceBuilder::new()
                .layer(RateLimitLayer::new(Plain, quotas()))
                .service(Echo)
        })
        .at_most(0),
        row("attempt metrics", || {
            install();
            ServiceBuilder::new()
                .layer(MetricsLayer::attempt(Plain))
                .service(Echo)
        })
        .at_most(0),
        row("request metrics", || {
            install();
            ServiceBuilder::new()
                .layer(MetricsLayer::request(Plain))
                .service(Echo)
        })
        .at_most(0),
        row("timeout", || {
            ServiceBuilder::new()
                .layer(TimeoutLayer::new(Plain).attempt(SECOND))
                .service(Echo)
        })
        .at_most(0),
        row("retry", || {
            ServiceBuilder::new()
                .layer(RetryLayer::new(Plain))
                .service(Echo)
        })
        .at_most(0),
        row("retry, no budget", || {
            ServiceBuilder::new()
                .layer(RetryLayer::new(Plain).budget(Unlimited))
                .service(Echo)
        })
        .at_most(0),
        // It reads the clock when a call begins.
        row("retry, max elapsed", || {
            ServiceBuilder::new()
                .layer(RetryLayer::new(Plain).max_elapsed(SECOND))
                .service(Echo)
        })
        .at_most(0),
        row("retry, observed", || {
            let layer = RetryLayer::new(Plain).on_event(|event| {
                black_box(event);
            });
            ServiceBuilder::new().layer(layer).service(Echo)
        })
        .at_most(0),
        row("failover of two", || Failover::new(Plain, [Echo, Echo])).at_most(0),
        row("cache, hit", || {
            CacheLayer::new(Plain, |ask: &u32| Keyed::of(ask)).layer(Echo)
        })
        .at_most(0),
        row("tower: retry", || {
            ServiceBuilder::new().retry(Never).service(Echo)
        }),
        row("tower: retry, budget", || {
            ServiceBuilder::new().retry(budgeted()).service(Echo)
        }),
        row("tower-resilience: retry", || {
            let layer = tower_resilience_retry::RetryLayer::<u32, u32, Failed>::builder().build();
            ServiceBuilder::new().layer(layer).service(Echo)
        }),
        row("tower-resilience: retry, budget", || {
            ServiceBuilder::new().layer(their_retry()).service(Echo)
        }),
        row("tower: timeout", || {
            ServiceBuilder::new()
                .layer(tower::timeout::TimeoutLayer::new(SECOND))
                .service(Echo)
        }),
        row("tower: concurrency limit", || {
            ServiceBuilder::new()
                .layer(ConcurrencyLimitLayer::new(5))
                .service(Echo)
        }),
        row("tower-resilience: bulkhead", || bulkhead().layer(Echo)),
        // Until the layer exists.
        row("toy: permit", || {
            ServiceBuilder::new()
                .layer(PermitLayer::new(Plain, 5))
                .service(Echo)
        })
        .at_most(0),
    ];
    Group {
        name: "plain",
        rows,
    }
}

/// The same calls, one thread of two.
pub(crate) fn threads() -> Group {
    let rows = vec![
        shared("bare", || Echo),
        shared("retry", || RetryLayer::new(Plain).layer(Echo)),
        shared("timeout", || {
            TimeoutLayer::new(Plain).attempt(SECOND).layer(Echo)
        }),
        shared("failover of two", || Failover::new(Plain, [Echo, Echo])),
        shared("attempt metrics", || {
            install();
            MetricsLayer::attempt(Plain).layer(Echo)
        }),
        shared("request metrics", || {
            install();
            MetricsLayer::request(Plain).layer(Echo)
        }),
        shared("tower: retry, budget", || {
            ServiceBuilder::new().retry(budgeted()).service(Echo)
        }),
        shared("tower-resilience: retry, budget", || {
            their_retry().layer(Echo)
        }),
        shared("tower: timeout", || {
            tower::timeout::TimeoutLayer::new(SECOND).layer(Echo)
        }),
        shared("tower: concurrency limit", || {
            GlobalConcurrencyLimitLayer::new(5).layer(Echo)
        }),
        shared("tower-resilience: bulkhead", || bulkhead().layer(Echo)),
        shared("toy: permit", || PermitLayer::new(Plain, 5).layer(Echo)),
    ];
    Group {
        name: "plain, another thread on it",
        rows,
    }
}

/// Never again, on a budget.
pub(super) fn budgeted() -> Budgeted {
    Budgeted(Arc::new(TpsBudget::default()))
}

/// The peer's retry, on a budget that refills with the calls.
pub(super) fn their_retry<E>() -> tower_resilience_retry::RetryLayer<u32, u32, E> {
    let budget = tower_resilience_retry::RetryBudgetBuilder::new()
        .token_bucket()
        .build()
        .expect("a budget");
    tower_resilience_retry::RetryLayer::builder()
        .budget(budget)
        .build()
}

fn bulkhead() -> tower_resilience_bulkhead::BulkheadLayer {
    tower_resilience_bulkhead::BulkheadLayer::builder()
        .max_concurrent_calls(5)
        .reject_when_full()
        .build()
        .expect("a bulkhead")
}

pub(super) fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
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

// ===== impl Echo =====

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Failed;
    type Future = Ready<Result<u32, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(black_box(request)))
    }
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        self.source()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let Self::Refused(refused) = self;
        Some(refused)
    }
}

// ===== impl Never =====

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Ready<()>> {
        result.is_err().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

// ===== impl Budgeted =====

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}
