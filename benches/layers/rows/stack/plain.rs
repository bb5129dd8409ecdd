use std::time::Duration;

use buttress_cache::{CacheLayer, Keyed};
use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::Plain;
use buttress_failover::Failover;
use buttress_rate_limit::RateLimitLayer;
use buttress_retry::RetryLayer;
use buttress_timeout::TimeoutLayer;
use tower::{Layer, ServiceBuilder};
use tower_service::Service;

use super::super::{
    plain::{Echo, Failed, budgeted, quotas, row, their_retry},
    rival::shared,
};
use crate::row::Group;

/// What each layer makes of the one below.
trait Calls:
    Service<u32, Response = u32, Error = Failed, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Calls for S where
    S: Service<u32, Response = u32, Error = Failed, Future: Send> + Clone + Send + Sync + 'static
{
}

const TOTAL: Duration = Duration::from_secs(60);
const ATTEMPT: Duration = Duration::from_secs(10);

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Echo).at_most(0),
        row("attempt timeout", timeout).at_most(0),
        row("and rate limit", limited).at_most(0),
        row("and breaker", guarded).at_most(0),
        row("and retry", endpoint).at_most(0),
        row("and failover of two", of_two).at_most(0),
        row("and total timeout: the whole stack", whole).at_most(0),
        row("the whole stack, a hit of its cache", || {
            total().layer(cached(of_two()))
        })
        .at_most(0),
        // One endpoint, since the peers have no failover.
        row("total timeout, retry, breaker, limit, timeout", || {
            total().layer(endpoint())
        })
        .at_most(0),
        row("tower-resilience: the same five", theirs),
        row("tower: timeout, retry, timeout", || {
            ServiceBuilder::new()
                .timeout(TOTAL)
                .retry(budgeted())
                .timeout(ATTEMPT)
                .service(Echo)
        }),
    ];
    Group {
        name: "the whole stack, over Plain, without metrics",
        rows,
    }
}

/// The same calls, one thread of two.
pub(crate) fn threads() -> Group {
    let rows = vec![
        shared("bare", || Echo),
        shared("the whole stack", whole),
        shared("the whole stack, a hit of its cache", || {
            total().layer(cached(of_two()))
        }),
        shared("total timeout, retry, breaker, limit, timeout", || {
            total().layer(endpoint())
        }),
        shared("tower-resilience: the same five", theirs),
    ];
    Group {
        name: "the whole stack, over Plain, another thread on it",
        rows,
    }
}

fn timeout() -> impl Calls {
    TimeoutLayer::new(Plain).attempt(ATTEMPT).layer(Echo)
}

fn limited() -> impl Calls {
    RateLimitLayer::new(Plain, quotas()).layer(timeout())
}

fn guarded() -> impl Calls {
    CircuitBreakerLayer::new(Plain).layer(limited())
}

fn endpoint() -> impl Calls {
    RetryLayer::new(Plain).layer(guarded())
}

fn of_two() -> impl Calls {
    Failover::new(Plain, [endpoint(), endpoint()])
}

fn total() -> TimeoutLayer<Plain> {
    TimeoutLayer::new(Plain).total(TOTAL)
}

fn whole() -> impl Calls {
    total().layer(of_two())
}

fn cached(inner: impl Calls) -> impl Calls {
    CacheLayer::new(Plain, |ask: &u32| Keyed::of(ask)).layer(inner)
}

fn theirs()
-> impl Service<u32, Response = u32, Error: std::fmt::Debug> + Clone + Send + Sync + 'static {
    let limit = |time| {
        tower_resilience_timelimiter::TimeLimiterLayer::builder()
            .timeout_duration(time)
            .cancel_running_future(true)
            .build()
    };
    let breaker = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .build()
        .expect("a circuit breaker");
    let limiter = tower_resilience_ratelimiter::RateLimiterLayer::builder()
        .limit_for_period(usize::MAX / 2)
        .refresh_period(Duration::from_secs(1))
        .build()
        .expect("a limiter");
    let attempts = breaker.layer(limiter.layer(limit(ATTEMPT).layer(Echo)));
    limit(TOTAL).layer(their_retry().layer(attempts))
}
