//! What becomes of an event.

use crate::names::{
    BREAKER_TRANSITIONS, CACHE, EVENTS, FAILOVER_STOPS, FAILOVERS, LIMITER_REFUSALS, LIMITER_WAIT,
    RETRIES, RETRY_DELAY, RETRY_STOPS, TIMEOUTS,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    event: &'static str,
    /// The counter.
    pub(crate) count: Option<&'static str>,
    /// The fact that says how long, and the histogram.
    pub(crate) time: Option<(&'static str, &'static str)>,
    /// The facts that are labels.
    pub(crate) labels: &'static [&'static str],
    /// A label that no fact says.
    pub(crate) also: Option<(&'static str, &'static str)>,
}

/// The event that says the state of a circuit.
pub(crate) const CHANGED: &str = "circuit_breaker.changed";

/// Events by their names, which are the layers' own.
const RULES: &[Rule] = &[
    rule("retry.again", RETRIES, &["class"]).with_time("delay", RETRY_DELAY),
    rule("retry.done", RETRY_STOPS, &["class", "stop"]),
    wait("rate_limit.admitted").with("result", "admitted"),
    wait("rate_limit.limited").with("result", "limited"),
    wait("rate_limit.left").with("result", "left"),
    rule(
        CHANGED,
        BREAKER_TRANSITIONS,
        &["circuit", "from", "to", "cause"],
    ),
    rule("failover.failed", FAILOVERS, &["endpoint", "class"]),
    rule(
        "failover.done",
        FAILOVER_STOPS,
        &["endpoint", "class", "stop"],
    ),
    rule("timeout.elapsed", TIMEOUTS, &["phase", "class"]),
    rule("timeout.expired", TIMEOUTS, &["class"]).with("phase", "expired"),
];

/// Counted beside its wait.
const LIMITED: Rule = rule(
    "rate_limit.limited",
    LIMITER_REFUSALS,
    &["reason", "by", "unit"],
);

/// What becomes of the event of this name: one or two things.
pub(crate) fn of(event: &'static str) -> (Rule, Option<Rule>) {
    let also = (event == LIMITED.event).then_some(LIMITED);
    let found = RULES.iter().find(|rule| rule.event == event).copied();
    let rule = found.unwrap_or_else(|| {
        let (name, labels) = match event.starts_with("cache.") {
            true => (CACHE, &["status", "class"][..]),
            false => (EVENTS, &[][..]),
        };
        rule(event, name, labels).with("event", event)
    });
    (rule, also)
}

const fn rule(event: &'static str, count: &'static str, labels: &'static [&'static str]) -> Rule {
    Rule {
        event,
        count: Some(count),
        time: None,
        labels,
        also: None,
    }
}

const fn wait(event: &'static str) -> Rule {
    Rule {
        count: None,
        ..rule(event, "", &[]).with_time("waited", LIMITER_WAIT)
    }
}

// ===== impl Rule =====

impl Rule {
    const fn with_time(self, fact: &'static str, histogram: &'static str) -> Self {
        Self {
            time: Some((fact, histogram)),
            ..self
        }
    }

    const fn with(self, label: &'static str, value: &'static str) -> Self {
        Self {
            also: Some((label, value)),
            ..self
        }
    }
}
