use metrics::Unit;

/// One metric that this crate emits.
///
/// ```
/// use buttress_metrics::METRICS;
///
/// for metric in METRICS {
///     println!("{} ({:?}): {}", metric.name, metric.kind, metric.help);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, with dots. Prometheus shows it with underscores, and with its unit and `_total`
    /// where the exporter was told to name as is recommended.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
    /// Its labels of its own, beside those that say whose call it was.
    pub labels: &'static [&'static str],
    /// Whether it has the [`Labels`](crate::Labels) of a call. Those of events have only their own.
    pub per_call: bool,
    /// The upper bounds of its buckets. Empty, unless it is a histogram.
    pub buckets: &'static [f64],
}

/// What a metric is.
///
/// ```
/// assert_ne!(buttress_metrics::Kind::Counter, buttress_metrics::Kind::Gauge);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// It is distributed.
    Histogram,
}

/// Bounds for times of LLM calls, in seconds: from 10 ms to 11 min, each twice the one before.
///
/// Those of the OpenTelemetry conventions, which end at 82 s, and three more.
pub const SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];

/// Bounds for the time between two chunks, in seconds: from 1 ms to 10 s.
///
/// Those of the OpenTelemetry conventions begin at 10 ms, where many models are done already.
pub const CHUNK_SECONDS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.56, 5.12, 10.24,
];

/// Bounds for numbers of tokens, as the OpenTelemetry conventions have them: powers of four.
pub const TOKENS: &[f64] = &[
    1.,
    4.,
    16.,
    64.,
    256.,
    1024.,
    4096.,
    16384.,
    65536.,
    262_144.,
    1_048_576.,
    4_194_304.,
    16_777_216.,
    67_108_864.,
];

/// The names of one place.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) calls: &'static str,
    pub(crate) in_flight: &'static str,
    pub(crate) duration: &'static str,
    pub(crate) tokens: &'static str,
    pub(crate) details: &'static str,
    pub(crate) first_chunk: &'static str,
    pub(crate) chunk: &'static str,
    pub(crate) per_token: &'static str,
    pub(crate) cost: &'static str,
    pub(crate) unpriced: &'static str,
    pub(crate) finishes: &'static str,
}

pub(crate) const REQUEST: Names = Names {
    calls: "buttress.requests",
    in_flight: "buttress.requests.in_flight",
    duration: "buttress.request.duration",
    tokens: "buttress.request.tokens",
    details: "buttress.request.token_details",
    first_chunk: "buttress.request.time_to_first_chunk",
    chunk: "buttress.request.time_per_output_chunk",
    per_token: "buttress.request.time_per_output_token",
    cost: "buttress.request.cost.pico",
    unpriced: "buttress.requests.unpriced",
    finishes: "buttress.request.finishes",
};

pub(crate) const ATTEMPT: Names = Names {
    calls: "buttress.attempts",
    in_flight: "buttress.attempts.in_flight",
    duration: "gen_ai.client.operation.duration",
    tokens: "gen_ai.client.token.usage",
    details: "buttress.attempt.token_details",
    first_chunk: "gen_ai.client.operation.time_to_first_chunk",
    chunk: "gen_ai.client.operation.time_per_output_chunk",
    per_token: "buttress.attempt.time_per_output_token",
    cost: "buttress.attempt.cost.pico",
    unpriced: "buttress.attempts.unpriced",
    finishes: "buttress.attempt.finishes",
};

pub(crate) const RETRIES: &str = "buttress.retries";
pub(crate) const RETRY_DELAY: &str = "buttress.retry.delay";
pub(crate) const RETRY_STOPS: &str = "buttress.retry.stops";
pub(crate) const LIMITER_WAIT: &str = "buttress.limiter.wait";
pub(crate) const LIMITER_REFUSALS: &str = "buttress.limiter.refusals";
pub(crate) const BREAKER_STATE: &str = "buttress.breaker.state";
pub(crate) const BREAKER_TRANSITIONS: &str = "buttress.breaker.transitions";
pub(crate) const FAILOVERS: &str = "buttress.failovers";
pub(crate) const FAILOVER_STOPS: &str = "buttress.failover.stops";
pub(crate) const TIMEOUTS: &str = "buttress.timeouts";
pub(crate) const CACHE: &str = "buttress.cache.events";
pub(crate) const EVENTS: &str = "buttress.events";

/// A metric of calls, as it stands in the list below.
const fn of_calls(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        help,
        labels,
        per_call: true,
        buckets,
    }
}

const fn of_events(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric {
        per_call: false,
        ..of_calls(name, kind, unit, labels, buckets, help)
    }
}

use self::Kind::{Counter, Gauge, Histogram};

const USED: &[&str] = &["gen_ai.token.type", "estimated", "unbilled"];

/// Every metric that this crate emits: the README shows them, and a test holds the dashboard and
/// the alert rules against them.
pub const METRICS: &[Metric] = &[
    of_calls(
        ATTEMPT.duration,
        Histogram,
        Unit::Seconds,
        &["error.type"],
        SECONDS,
        "How long a call of a provider took, to the end of its reply.",
    ),
    of_calls(
        ATTEMPT.tokens,
        Histogram,
        Unit::Count,
        USED,
        TOKENS,
        "Tokens that a call of a provider used.",
    ),
    of_calls(
        ATTEMPT.first_chunk,
        Histogram,
        Unit::Seconds,
        &[],
        SECONDS,
        "Until the first content of a streamed reply.",
    ),
    of_calls(
        ATTEMPT.chunk,
        Histogram,
        Unit::Seconds,
        &[],
        CHUNK_SECONDS,
        "Between two pieces of content of a streamed reply. Only if asked for.",
    ),
    of_calls(
        ATTEMPT.per_token,
        Histogram,
        Unit::Seconds,
        &[],
        CHUNK_SECONDS,
        "Per output token after the first, of streamed replies that went well.",
    ),
    of_calls(
        ATTEMPT.calls,
        Counter,
        Unit::Count,
        &["class", "reason"],
        &[],
        "Calls of a provider that are over.",
    ),
    of_calls(
        ATTEMPT.in_flight,
        Gauge,
        Unit::Count,
        &[],
        &[],
        "Calls of a provider that are under way.",
    ),
    of_calls(
        ATTEMPT.details,
        Counter,
        Unit::Count,
        &["gen_ai.token.type"],
        &[],
        "The part of the tokens that was cached, written to a cache, or reasoning.",
    ),
    of_calls(
        ATTEMPT.cost,
        Counter,
        Unit::Count,
        &[],
        &[],
        "What calls of a provider cost, in 10^-12 of the currency of the prices.",
    ),
    of_calls(
        ATTEMPT.unpriced,
        Counter,
        Unit::Count,
        &[],
        &[],
        "Calls of a provider that may have cost something, nobody knows what.",
    ),
    of_calls(
        ATTEMPT.finishes,
        Counter,
        Unit::Count,
        &["finish"],
        &[],
        "Why models stopped.",
    ),
    of_calls(
        REQUEST.duration,
        Histogram,
        Unit::Seconds,
        &["error.type"],
        SECONDS,
        "How long a request took, with all its attempts, to the end of its reply.",
    ),
    of_calls(
        REQUEST.tokens,
        Histogram,
        Unit::Count,
        USED,
        TOKENS,
        "Tokens that a request used, in all its attempts.",
    ),
    of_calls(
        REQUEST.first_chunk,
        Histogram,
        Unit::Seconds,
        &[],
        SECONDS,
        "Until the first content of a streamed reply, with all attempts.",
    ),
    of_calls(
        REQUEST.chunk,
        Histogram,
        Unit::Seconds,
        &[],
        CHUNK_SECONDS,
        "Between two pieces of content of a streamed reply. Only if asked for.",
    ),
    of_calls(
        REQUEST.per_token,
        Histogram,
        Unit::Seconds,
        &[],
        CHUNK_SECONDS,
        "Per output token after the first, of streamed replies that went well.",
    ),
    of_calls(
        REQUEST.calls,
        Counter,
        Unit::Count,
        &["class", "reason"],
        &[],
        "Requests that are over.",
    ),
    of_calls(
        REQUEST.in_flight,
        Gauge,
        Unit::Count,
        &[],
        &[],
        "Requests that are under way.",
    ),
    of_calls(
        REQUEST.details,
        Counter,
        Unit::Count,
        &["gen_ai.token.type"],
        &[],
        "The part of the tokens that was cached, written to a cache, or reasoning.",
    ),
    of_calls(
        REQUEST.cost,
        Counter,
        Unit::Count,
        &[],
        &[],
        "What requests cost, in 10^-12 of the currency of the prices.",
    ),
    of_calls(
        REQUEST.unpriced,
        Counter,
        Unit::Count,
        &[],
        &[],
        "Requests that may have cost something, nobody knows what.",
    ),
    of_calls(
        REQUEST.finishes,
        Counter,
        Unit::Count,
        &["finish"],
        &[],
        "Why models stopped.",
    ),
    of_events(
        RETRIES,
        Counter,
        Unit::Count,
        &["class"],
        &[],
        "Attempts that failed and were to be followed by another.",
    ),
    of_events(
        RETRY_DELAY,
        Histogram,
        Unit::Seconds,
        &[],
        SECONDS,
        "Waits before another attempt.",
    ),
    of_events(
        RETRY_STOPS,
        Counter,
        Unit::Count,
        &["class", "stop"],
        &[],
        "Why there was no further attempt.",
    ),
    of_events(
        LIMITER_WAIT,
        Histogram,
        Unit::Seconds,
        &["result"],
        SECONDS,
        "Waits in a rate limit.",
    ),
    of_events(
        LIMITER_REFUSALS,
        Counter,
        Unit::Count,
        &["reason", "by", "unit"],
        &[],
        "Calls that a rate limit refused.",
    ),
    of_events(
        BREAKER_STATE,
        Gauge,
        Unit::Count,
        &["circuit"],
        &[],
        "State of a circuit: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed, 5 only observing.",
    ),
    of_events(
        BREAKER_TRANSITIONS,
        Counter,
        Unit::Count,
        &["circuit", "from", "to", "cause"],
        &[],
        "Changes of a circuit.",
    ),
    of_events(
        FAILOVERS,
        Counter,
        Unit::Count,
        &["endpoint", "class"],
        &[],
        "Attempts at an endpoint that failed, seen by a failover.",
    ),
    of_events(
        FAILOVER_STOPS,
        Counter,
        Unit::Count,
        &["endpoint", "class", "stop"],
        &[],
        "Who answered, and why no further endpoint was tried.",
    ),
    of_events(
        TIMEOUTS,
        Counter,
        Unit::Count,
        &["phase", "class"],
        &[],
        "Calls that took too long.",
    ),
    of_events(
        CACHE,
        Counter,
        Unit::Count,
        &["event", "status", "class"],
        &[],
        "What became of calls in a cache.",
    ),
    of_events(
        EVENTS,
        Counter,
        Unit::Count,
        &["event"],
        &[],
        "Everything else that layers told.",
    ),
];
