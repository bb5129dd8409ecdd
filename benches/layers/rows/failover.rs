//! What it costs to choose an endpoint, beside calling it.

use std::{
    fmt,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use buttress_core::{Plain, Reason, Refused};
use buttress_failover::{
    AnyService, ByKey, Candidates, Endpoint, Failover, LeastLoaded, Ordered, Strategy, StrategyExt,
    Variant, Variants, Weighted,
};
use tower_service::Service;

use super::{
    call,
    plain::{Echo, Failed},
};
use crate::row::{Group, Row};

/// Over a hundred.
const MANY: usize = 100;

pub(crate) fn group() -> Group {
    let rows = vec![
        row("endpoint", || Echo).at_most(0),
        row("the first of two", || Failover::new(Plain, [Echo, Echo])).at_most(0),
        row("the only one", || Failover::new(Plain, [Echo])).at_most(0),
        row("the first of two, observed", || {
            Failover::new(Plain, [Echo, Echo]).on_event(|event| {
                black_box(event);
            })
        })
        .at_most(0),
        row("the first of two, type-erased", || {
            Failover::new(Plain, [AnyService::new(Echo), AnyService::new(Echo)])
        })
        .at_most(1),
        row("the second of two, after a refusal", || {
            Failover::new(Plain, [Say::No, Say::Yes])
        }),
        row("of two, weighted", || {
            Failover::new(Plain, [Echo, Echo]).strategy(Weighted)
        })
        .at_most(0),
        row("of two, least loaded", || {
            Failover::new(Plain, [Echo, Echo]).strategy(LeastLoaded)
        })
        .at_most(0),
        row("of 100, the first", || many(Ordered)).at_most(0),
        row("of 100, weighted", || many(Weighted)).at_most(0),
        row("of 100, by key", || many(ByKey::new(key))).at_most(0),
        row("of 100, a variant", || {
            let variants = [Variant::new("new", "99", 1000)];
            many(Variants::new(key, variants, Ordered).expect("shares"))
        })
        .at_most(0),
        row("of 100, least loaded", || many(LeastLoaded)).at_most(0),
        row("of 100, among those of a closure", || {
            many(Weighted.among(|n: &u32, set: &mut Candidates<'_>| {
                let most = u64::from(*n);
                set.retain(|endpoint| endpoint.context() >= Some(most));
            }))
        })
        .at_most(0),
    ];
    Group {
        name: "failover",
        rows,
    }
}

/// Answers, or refuses.
#[derive(Clone, Copy)]
enum Say {
    Yes,
    No,
}

fn key(n: &u32) -> Option<u64> {
    Some(u64::from(*n))
}

fn many<C: Strategy<u32>>(strategy: C) -> Failover<Plain, Echo, C> {
    let endpoints = (0..MANY).map(|n| {
        Endpoint::new(n.to_string(), Echo)
            .weight(n as u32 + 1)
            .context(1000)
    });
    let service = Failover::over(Plain, endpoints).expect("endpoints");
    service.strategy(strategy)
}

fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        let mut number = 0_u32;
        move || {
            number = number.wrapping_add(1) % 1000;
            black_box(call(&mut service, black_box(number)));
        }
    })
}

// ===== impl Say =====

impl Service<u32> for Say {
    type Response = u32;
    type Error = Failed;
    type Future = Ready<Result<u32, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(match self {
            Self::Yes => Ok(black_box(request)),
            Self::No => Err(Refused::new(Reason::Limited).into()),
        })
    }
}
