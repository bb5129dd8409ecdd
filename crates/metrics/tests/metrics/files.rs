//! The dashboard, the alert rules and the README, against what is emitted.

use std::collections::{BTreeMap, BTreeSet};

use buttress_metrics::{Kind, METRICS, Metric};
use metrics::Unit;
use serde_json::Value;

const ALERTS: &str = include_str!("../../dashboards/alerts.yml");
const DASHBOARD: &str = include_str!("../../dashboards/buttress.json");
const README: &str = include_str!("../../README.md");

/// The labels of every call, as Prometheus shows them.
const LABELS: [&str; 7] = [
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "server_address",
    "server_port",
    "endpoint",
];

/// What the exporter makes of a name.
fn exported(metric: &Metric) -> Vec<String> {
    let mut name = metric.name.replace('.', "_");
    if metric.unit == Unit::Seconds {
        name += "_seconds";
    }
    match metric.kind {
        Kind::Counter => vec![format!("{name}_total")],
        Kind::Gauge => vec![name],
        Kind::Histogram => ["bucket", "sum", "count"]
            .map(|suffix| format!("{name}_{suffix}"))
            .into(),
    }
}

/// Every name of a series, with the labels that it may have.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for metric in METRICS {
        let own = metric.labels.iter().map(|label| label.replace('.', "_"));
        let mut labels: BTreeSet<String> = own.collect();
        labels.extend(["endpoint", "job", "le"].map(str::to_owned));
        if metric.per_call {
            labels.extend(LABELS.map(str::to_owned));
        }
        for name in exported(metric) {
            all.insert(name, labels.clone());
        }
    }
    all
}

/// The words of a PromQL expression, without what stands in quotes.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    let unquoted = expression.split('"').step_by(2);
    unquoted
        .flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic()))
}

/// What an expression is made of: a word that is none of these is a misspelling.
fn check(expression: &str) {
    const LANGUAGE: [&str; 12] = [
        "sum",
        "by",
        "rate",
        "increase",
        "histogram_quantile",
        "and",
        "or",
        "label_values",
        "h",
        "d",
        "m",
        "e12",
    ];
    let series = series();
    let named: Vec<_> = words(expression)
        .filter_map(|word| series.get(word))
        .collect();
    assert!(!named.is_empty(), "no series in {expression}");
    for word in words(expression) {
        let is_label = named.iter().any(|labels| labels.contains(word));
        let known = series.contains_key(word) || is_label || LANGUAGE.contains(&word);
        assert!(known, "{word:?} in {expression}");
    }
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" || name == "definition" => found.push(text.into()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_only_what_is_emitted() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for expression in &found {
        check(&expression.replace("$__rate_interval", "5m"));
    }
}

#[test]
fn the_dashboard_shows_every_metric_of_calls_and_events() {
    // Of the two places one is enough, and some are for those who ask for them.
    let seldom = [
        "buttress.request.tokens",
        "buttress.request.token_details",
        "buttress.request.time_to_first_chunk",
        "buttress.request.time_per_output_chunk",
        "buttress.request.time_per_output_token",
        "buttress.request.cost.pico",
        "buttress.requests.unpriced",
        "buttress.request.finishes",
        "gen_ai.client.operation.time_per_output_chunk",
        "buttress.retry.stops",
        "buttress.failover.stops",
        "buttress.events",
    ];
    for metric in METRICS {
        let is_shown = exported(metric).iter().any(|name| DASHBOARD.contains(name));
        assert_eq!(is_shown, !seldom.contains(&metric.name), "{}", metric.name);
    }
}

#[test]
fn the_alerts_ask_only_for_what_is_emitted() {
    let mut expressions = Vec::new();
    let mut lines = ALERTS.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim_start().strip_prefix("expr:") else {
            continue;
        };
        let mut expression = expression.trim_start_matches([' ', '|']).to_owned();
        let indent = "          ";
        while let Some(more) = lines.next_if(|line| line.starts_with(indent)) {
            expression += more.trim();
            expression += " ";
        }
        expressions.push(expression);
    }
    assert_eq!(expressions.len(), ALERTS.matches("- alert:").count());
    for expression in &expressions {
        check(expression);
    }
    for alert in [
        "ButtressSpendSpike",
        "ButtressBudgetNearItsEnd",
        "ButtressBreakerOpen",
        "ButtressErrorRate",
        "ButtressSlowFirstToken",
    ] {
        assert!(ALERTS.contains(&format!("- alert: {alert}\n")), "{alert}");
    }
}

#[test]
fn the_readme_lists_every_metric_with_its_unit_labels_and_help() {
    for metric in METRICS {
        let unit = match metric.unit {
            Unit::Seconds => "s",
            _ => "",
        };
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let row = format!(
            "| `{}` | {kind} | {unit} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        );
        assert!(README.contains(&row), "the README lacks\n{row}");
    }
    let rows = README
        .lines()
        .filter(|line| line.starts_with("| `buttress.") || line.starts_with("| `gen_ai.client"));
    assert_eq!(rows.count(), METRICS.len(), "and has no other");
}

#[test]
fn buckets_rise_and_reach_from_10_ms_to_10_min() {
    for metric in METRICS {
        let is_histogram = metric.kind == Kind::Histogram;
        assert_eq!(is_histogram, !metric.buckets.is_empty(), "{}", metric.name);
        assert!(metric.buckets.windows(2).all(|pair| pair[0] < pair[1]));
    }
    let (first, last) = (
        buttress_metrics::SECONDS[0],
        buttress_metrics::SECONDS.last(),
    );
    assert!(first == 0.01 && last.is_some_and(|last| *last >= 600.0));
}
