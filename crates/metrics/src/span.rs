//! The spans of requests and attempts.
//!
//! A span that nobody wants costs the look at its callsite.

use std::time::Duration;

use tracing::{Level, Span, field::Empty, info_span};

use crate::{CallRecord, Labels, Place, settings::Settings, table::is_name};

macro_rules! span {
    ($name:literal, $kind:literal, $labels:ident, $model:ident) => {
        info_span!(
            target: "buttress_metrics",
            $name,
            otel.name = Empty,
            otel.kind = $kind,
            otel.status_code = Empty,
            gen_ai.operation.name = $labels.operation,
            gen_ai.provider.name = $labels.provider,
            gen_ai.request.model = $model,
            gen_ai.response.model = Empty,
            gen_ai.request.stream = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            gen_ai.usage.cache_creation.input_tokens = Empty,
            gen_ai.usage.reasoning.output_tokens = Empty,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.input.messages = Empty,
            gen_ai.output.messages = Empty,
            server.address = $labels.server_address,
            server.port = $labels.server_port,
            error.type = Empty,
            buttress.endpoint = $labels.endpoint,
            buttress.request_id = Empty,
            buttress.attempt = Empty,
            buttress.attempts = Empty,
            buttress.class = Empty,
            buttress.reason = Empty,
            buttress.cost = Empty,
            buttress.estimated = Empty,
            trace_id = Empty,
            span_id = Empty,
            parent_span_id = Empty,
        )
    };
}

/// Whether nobody wants any span, which takes a look at one number.
#[inline]
pub(crate) fn is_off() -> bool {
    !tracing::level_enabled!(Level::INFO)
}

/// A call begins. The attempts' are children of the request's, since they are made in it.
#[cold]
pub(crate) fn begins(settings: &Settings, labels: &Labels<'_>, said: &Labels<'_>) -> Span {
    // Spans need no bound: the model is the one that was named, if it can be printed. Where it was
    // said which models there are, others are words of whoever calls.
    let is_free = settings.models.is_none();
    let named = said.request_model.filter(|name| is_free && is_name(name));
    let model = named.or(labels.request_model);
    let span = match settings.place {
        Place::Request => span!("buttress.request", "internal", labels, model),
        Place::Attempt => span!("buttress.attempt", "client", labels, model),
    };
    if !span.is_disabled() {
        names(&span, labels, model);
        if let Some(streamed) = said.streamed {
            span.record("gen_ai.request.stream", streamed);
        }
    }
    span
}

/// As the conventions want it: the operation, and the model.
#[cold]
fn names(span: &Span, labels: &Labels<'_>, model: Option<&str>) {
    let operation = labels.operation.unwrap_or("call");
    match model {
        Some(model) => span.record("otel.name", format_args!("{operation} {model}").to_string()),
        None => span.record("otel.name", operation),
    };
}

/// By what name the logs know the call.
#[cold]
pub(crate) fn tells(span: &Span, request_id: Option<&str>) {
    if let Some(id) = request_id {
        span.record("buttress.request_id", id);
    }
}

/// The call is over.
#[cold]
pub(crate) fn ends(span: &Span, call: &CallRecord<'_>) {
    if span.is_disabled() {
        return;
    }
    let outcome = call.outcome;
    span.record("buttress.class", outcome.class.as_str());
    match call.place {
        Place::Request => span.record("buttress.attempts", call.attempts),
        Place::Attempt => span.record("buttress.attempt", call.attempts),
    };
    if let Some(reason) = call.reason {
        span.record("buttress.reason", reason.as_str());
    }
    if outcome.failed() {
        span.record("error.type", outcome.class.as_str());
        span.record("otel.status_code", "ERROR");
    }
    if let Some(model) = call.labels.response_model.filter(|name| is_name(name)) {
        span.record("gen_ai.response.model", model);
    }
    if let Some(finish) = outcome.finish {
        span.record("gen_ai.response.finish_reasons", finish.name());
    }
    if let Some(first) = call.first_content {
        span.record("gen_ai.response.time_to_first_chunk", seconds(first));
    }
    if let Some(usage) = outcome.usage {
        span.record("gen_ai.usage.input_tokens", usage.input);
        span.record("gen_ai.usage.output_tokens", usage.output);
        let details = [
            ("gen_ai.usage.cache_read.input_tokens", usage.cached_input),
            (
                "gen_ai.usage.cache_creation.input_tokens",
                usage.cache_write,
            ),
            ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
        ];
        for (name, count) in details.into_iter().filter(|(_, count)| *count > 0) {
            span.record(name, count);
        }
        if !usage.exact {
            span.record("buttress.estimated", true);
        }
    }
    if let Some(cost) = outcome.cost {
        span.record("buttress.cost", cost.to_string());
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
