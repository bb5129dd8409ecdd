//! What people and monitors look at.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{Html, IntoResponse},
};
use buttress_cache::Statistics;
use http::{Request, Response, header};
use serde_json::{Value, json};

use crate::{endpoint::Endpoint, fault::Fault, front, gateway::Gateway, route::Route};

/// `/`: one page that streams a chat, and shows what the gateway does meanwhile.
pub(crate) async fn index() -> impl IntoResponse {
    const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
         script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(include_str!("pages/index.html")))
}

/// `/healthz`: it runs, and says nothing of the endpoints.
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// In place of a page, for a peer that may not see it.
pub(crate) async fn hidden(
    State(gateway): State<Arc<Gateway>>,
    request: Request<Body>,
) -> Response<Body> {
    front::turn_away(&gateway, &request.into_parts().0, &Fault::Hidden)
}

/// `/status`: what the page shows, as JSON.
pub(crate) async fn status(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let endpoints: Vec<Value> = gateway
        .endpoints
        .iter()
        .map(|endpoint| shown(endpoint))
        .collect();
    let events: Vec<Value> = (gateway.journal.last().into_iter())
        .map(|(ago, endpoint, what)| {
            json!({ "seconds_ago": ago.as_secs(), "endpoint": *endpoint, "what": what })
        })
        .collect();
    let routes: Vec<Value> = gateway
        .routes
        .all()
        .map(|(model, route)| going(model, route))
        .collect();
    let status = json!({
        "simulated": gateway.simulated,
        "asks_for_key": !gateway.callers.is_empty(),
        "endpoints": endpoints,
        "routes": routes,
        "events": events,
        "cache": gateway.replies.is_on().then(|| kept(&gateway.replies.statistics())),
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(status))
}

fn shown(endpoint: &Endpoint) -> Value {
    let counters = &endpoint.counters;
    let (input, output) = counters.tokens();
    let left: serde_json::Map<_, Value> = (endpoint.limiter.standing(&()).into_iter())
        .map(|standing| (standing.unit.to_string(), standing.remaining.into()))
        .collect();
    json!({
        "name": *endpoint.name,
        "dialect": endpoint.dialect.as_str(),
        "base_url": endpoint.base_url,
        "models": endpoint.models,
        "circuit": endpoint.breaker.state().as_str(),
        "left": left,
        "in_flight": counters.in_flight(),
        "ended": counted(counters.ended()),
        "retried": counted(counters.retried()),
        "waited_ms": u64::try_from(counters.waited().as_millis()).unwrap_or(u64::MAX),
        "timed_out": counted(counters.timed_out()),
        "tokens": { "input": input, "output": output },
        "took_ms": u64::try_from(counters.took().as_millis()).unwrap_or(u64::MAX),
        "cost": counters.cost().to_string(),
    })
}

/// What the cache did.
fn kept(cache: &Statistics) -> Value {
    json!({
        "hits": cache.hits,
        "stale": cache.stale,
        "coalesced": cache.coalesced,
        "misses": cache.misses,
        "bypassed": cache.bypassed,
        "hit_rate": cache.hit_rate(),
        "tokens_saved": cache.tokens_saved,
        "money_saved": cache.money_saved.to_string(),
        "entries": cache.entries,
        "bytes": cache.bytes,
    })
}

/// Where calls for a model go at the moment.
fn going(model: &str, route: &Route) -> Value {
    let endpoints: Vec<Value> = (route.states().iter())
        .map(|state| {
            json!({
                "name": state.name(),
                "weight": state.weight(),
                "cooling_ms": state.cooling().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
                "recovering": state.recovering(),
            })
        })
        .collect();
    json!({ "model": model, "endpoints": endpoints })
}

/// What has happened at all, and how often.
fn counted<T: ToString>(counts: impl Iterator<Item = (T, u64)>) -> serde_json::Map<String, Value> {
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| (kind.to_string(), count.into()))
        .collect()
}

/// `/metrics`, in Prometheus' text format: what [`buttress_metrics`] counts, and beside it
///
/// | metric | labels | |
/// |---|---|---|
/// | `gateway_turned_away_total` | `reason` | requests that reached no route |
pub(crate) async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let mut text = gateway.telemetry.render();
    // Writing to a `String` does not fail.
    let _ = write_turned_away(&mut text, &gateway);
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

fn write_turned_away(out: &mut String, gateway: &Gateway) -> fmt::Result {
    let name = "gateway_turned_away_total";
    writeln!(
        out,
        "# HELP {name} Requests that reached no route, by reason.\n# TYPE {name} counter"
    )?;
    for (reason, count) in gateway.turned_away.counts() {
        writeln!(out, "{name}{{reason=\"{reason}\"}} {count}")?;
    }
    Ok(())
}
