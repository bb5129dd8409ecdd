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
use buttress_core::{Class, Reason};
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

/// `/metrics`, in Prometheus' text format.
///
/// | metric | labels | |
/// |---|---|---|
/// | `gateway_calls_total` | `endpoint`, `class` | calls to an endpoint whose reply is over |
/// | `gateway_calls_in_flight` | `endpoint` | calls that are not |
/// | `gateway_retries_total` | `endpoint`, `class` | attempts after the first, by the class of the one before |
/// | `gateway_retry_wait_seconds_total` | `endpoint` | what was waited before them |
/// | `gateway_timeouts_total` | `endpoint`, `reason` | what took too long, and was ended |
/// | `gateway_tokens_total` | `endpoint`, `kind` (`input`, `output`) | tokens that replies told of |
/// | `gateway_turned_away_total` | `reason` | requests that reached no endpoint |
pub(crate) async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = write_metrics(&mut text, &gateway);
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

// The names of endpoints and classes need no escaping.
fn write_metrics(out: &mut String, gateway: &Gateway) -> fmt::Result {
    let endpoints = || {
        gateway
            .endpoints
            .iter()
            .map(|endpoint| (&endpoint.name, &endpoint.counters))
    };

    let name = "gateway_calls_total";
    head(
        out,
        name,
        "counter",
        "Calls to an endpoint whose reply is over, by class.",
    )?;
    for (endpoint, counters) in endpoints() {
        for (class, count) in counters.ended() {
            writeln!(
                out,
                "{name}{{endpoint=\"{endpoint}\",class=\"{class}\"}} {count}"
            )?;
        }
    }

    let name = "gateway_calls_in_flight";
    head(
        out,
        name,
        "gauge",
        "Calls to an endpoint whose reply is not over.",
    )?;
    for (endpoint, counters) in endpoints() {
        writeln!(
            out,
            "{name}{{endpoint=\"{endpoint}\"}} {}",
            counters.in_flight()
        )?;
    }

    let name = "gateway_retries_total";
    head(
        out,
        name,
        "counter",
        "Attempts after the first, by the class of the one before.",
    )?;
    for (endpoint, counters) in endpoints() {
        for (class, count) in counters.retried() {
            // By its class, or because it was asked for all the same: another key, or a reply that
            // says so.
            if class.again() || count > 0 {
                writeln!(
                    out,
                    "{name}{{endpoint=\"{endpoint}\",class=\"{class}\"}} {count}"
                )?;
            }
        }
    }

    let name = "gateway_retry_wait_seconds_total";
    head(out, name, "counter", "What was waited before them.")?;
    for (endpoint, counters) in endpoints() {
        let seconds = counters.waited().as_secs_f64();
        writeln!(out, "{name}{{endpoint=\"{endpoint}\"}} {seconds}")?;
    }

    let name = "gateway_timeouts_total";
    head(out, name, "counter", "What took too long, and was ended.")?;
    for (endpoint, counters) in endpoints() {
        for (reason, count) in counters.timed_out() {
            // What another call did is no timeout.
            if reason.class() == Class::Unavailable && reason != Reason::Coalesced {
                writeln!(
                    out,
                    "{name}{{endpoint=\"{endpoint}\",reason=\"{reason}\"}} {count}"
                )?;
            }
        }
    }

    let name = "gateway_tokens_total";
    head(out, name, "counter", "Tokens that replies told of.")?;
    for (endpoint, counters) in endpoints() {
        let (input, output) = counters.tokens();
        writeln!(
            out,
            "{name}{{endpoint=\"{endpoint}\",kind=\"input\"}} {input}"
        )?;
        writeln!(
            out,
            "{name}{{endpoint=\"{endpoint}\",kind=\"output\"}} {output}"
        )?;
    }

    let name = "gateway_turned_away_total";
    head(
        out,
        name,
        "counter",
        "Requests that reached no endpoint, by reason.",
    )?;
    for (reason, count) in gateway.turned_away.counts() {
        writeln!(out, "{name}{{reason=\"{reason}\"}} {count}")?;
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}
