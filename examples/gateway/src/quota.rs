//! How much may be asked for: of an endpoint, and by a caller.

use std::{collections::HashMap, sync::Arc, time::Duration};

use buttress_core::Limits;
use buttress_http::{Http, standing};
use buttress_llm::{Dialect, estimate::Estimate};
use buttress_metrics::Observer;
use buttress_rate_limit::{
    AllCalls, Cost, Limiter, NoLimits, Quotas, RateLimit, RateLimitEvent, RateLimitLayer, Standing,
    Unit,
};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;

use crate::{callers::Caller, config, endpoint::Reply, journal::Journal, wall};

/// What is behind the limit of an endpoint.
pub(crate) type OfEndpoint<P, S> = RateLimit<P, S, Limiter, AllCalls, CostOf, LimitsOf>;

/// The limit of an endpoint, with the protocol of one of its stacks.
pub(crate) type EndpointLayer<P> = RateLimitLayer<P, Limiter, AllCalls, CostOf, LimitsOf>;

/// What is behind the limits of callers.
pub(crate) type OfCallers<S> = RateLimit<Http, S, Limiter<Name>, KeyOf, CostOf, NoLimits, Name>;

/// The limits of callers. Its clones are one.
pub(crate) type CallersLayer = RateLimitLayer<Http, Limiter<Name>, KeyOf, CostOf, NoLimits, Name>;

/// Who calls, if anybody is asked.
type Name = Option<Arc<str>>;

type KeyOf = fn(&Request<Full<Bytes>>) -> Name;
type CostOf = fn(&Request<Full<Bytes>>) -> Cost;
type LimitsOf = fn(&Reply) -> Option<Limits>;

/// What a reply is estimated at whose request sets no bound.
const OUTPUT: u64 = 1_000;

/// The limit of one endpoint: its quotas, and what its provider says of them.
pub(crate) fn of_endpoint<P>(
    protocol: P,
    limiter: &Limiter,
    dialect: Dialect,
    wait: Option<Duration>,
) -> EndpointLayer<P> {
    let limits: LimitsOf = match dialect {
        Dialect::OpenAi => |reply| Some(Dialect::OpenAi.limits(reply.headers(), wall::now())),
        Dialect::Anthropic => |reply| Some(Dialect::Anthropic.limits(reply.headers(), wall::now())),
        _ => |_| None,
    };
    let layer = RateLimitLayer::new(protocol, limiter.clone())
        .cost(cost as CostOf)
        .limits(limits);
    match wait {
        Some(longest) => layer.wait(longest),
        None => layer,
    }
}

/// The quotas of an endpoint.
pub(crate) fn limiter(limit: &config::Limit) -> Limiter {
    let none = Duration::ZERO;
    match &limit.quotas {
        Some(quotas) => Limiter::new(quotas.clone()),
        // Nobody asked to be held back.
        None => Limiter::new(Quotas::none()).longest_hold(none),
    }
}

/// The limits of all callers, each by its name.
pub(crate) fn of_callers(
    limits: HashMap<Arc<str>, config::Limit>,
    journal: &Journal,
    events: &Observer,
) -> CallersLayer {
    // Without a quota, nobody waits.
    let events = (!limits.is_empty()).then(|| events.clone());
    let limiter = Limiter::keyed(Quotas::none())
        .quotas_for(move |name: &Name| limits.get(name.as_ref()?)?.quotas.clone())
        .longest_hold(Duration::ZERO);
    let journal = journal.clone();
    RateLimitLayer::new(Http, Quotas::none())
        .limiter(limiter, caller as KeyOf)
        .cost(cost as CostOf)
        .on_event(move |event| {
            if let Some(events) = &events {
                events.see(event);
            }
            note(event, &Arc::from("callers"), &journal);
        })
}

/// Says in the head of an answer how its caller's limits stand, if there are any.
pub(crate) fn tell_standing(limits: &CallersLayer, caller: &Caller, headers: &mut HeaderMap) {
    let standing = limits.store().standing(&Some(caller.shared_name().clone()));
    if !standing.is_empty() {
        let told: Vec<_> = standing.iter().map(told).collect();
        standing::Standing::write(&told, headers);
    }
}

fn told(standing: &Standing) -> standing::Standing {
    const DAY: Duration = Duration::from_secs(86_400);
    let window = standing.rate.window();
    standing::Standing {
        name: match (standing.unit, window >= DAY) {
            (Unit::Requests, false) => "requests",
            (Unit::Requests, true) => "requests-day",
            (Unit::InputTokens, _) => "input-tokens",
            (Unit::OutputTokens, _) => "output-tokens",
            (_, false) => "tokens",
            (_, true) => "tokens-day",
        },
        quota: standing.rate.units(),
        window,
        remaining: standing.remaining,
        full_in: standing.full_in,
    }
}

/// Tells who was held back; all others are nothing to tell.
pub(crate) fn note(event: &RateLimitEvent<'_>, name: &Arc<str>, journal: &Journal) {
    if let RateLimitEvent::Queued { .. } | RateLimitEvent::Limited { .. } = event {
        journal.note(name, event);
    }
}

fn caller(request: &Request<Full<Bytes>>) -> Name {
    let caller: &Caller = request.extensions().get()?;
    Some(caller.shared_name().clone())
}

/// One request, and the tokens that it was estimated at where any limit counts them.
fn cost(request: &Request<Full<Bytes>>) -> Cost {
    let Some(estimate) = request.extensions().get::<Estimate>() else {
        return Cost::REQUEST;
    };
    Cost::tokens(estimate.input, estimate.max_output.unwrap_or(OUTPUT))
}
