//! One endpoint: its stacks of layers, and what a request needs to be one of its own.

use std::{sync::Arc, time::Duration};

use buttress_circuit_breaker::CircuitBreaker;
use buttress_http::{Http, IdempotentHttp, TrackLayer, client::ResponseBody};
use buttress_llm::{
    AnyPath, Dialect, WithModel,
    convert::{Conversion, ConvertError, Converted},
};
use buttress_rate_limit::Limiter;
use buttress_timeout::{Timeout, TimeoutLayer};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header, request};
use http_body_util::Full;
use tower::Layer;

use crate::{
    adapt::{Judged, judged},
    config::{self, Timeouts},
    headers::{is_callers, is_of_a_dialect, take_out},
    journal::Journal,
    quota,
    stack::{Observer, Parts, Stack},
    stats::Counters,
    target::Targets,
    telemetry::Telemetry,
};

/// Where calls go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: Arc<str>,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: String,
    pub(crate) models: Vec<String>,
    /// Which credential it uses, as far as it may be shown.
    pub(crate) credential: Arc<str>,
    /// How many tokens its models take.
    pub(crate) context: Option<u64>,
    pub(crate) counters: Arc<Counters>,
    targets: Targets,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) limiter: Limiter,
    pub(crate) counts_tokens: bool,
    pub(crate) chat: Chat,
    pub(crate) other: Other,
}

/// For replies of a model.
pub(crate) type Chat = Stack<WithModel<Dialect>, Judged>;

/// For any other call.
pub(crate) type Other = Timeout<Http, Stack<AnyPath, IdempotentHttp>>;

pub(crate) type Reply = Response<ReplyBody>;
pub(crate) type ReplyBody = buttress_http::Body<ResponseBody>;

// ===== impl Endpoint =====

impl Endpoint {
    pub(crate) fn new(
        endpoint: config::Endpoint,
        journal: &Journal,
        telemetry: &Telemetry,
    ) -> Self {
        let config::Endpoint {
            name,
            dialect,
            client,
            base_url,
            keys,
            credential,
            context,
            models,
            provider,
            server,
            retry,
            breaker,
            limit,
            timeouts,
        } = endpoint;
        let name: Arc<str> = name.into();
        let counters = Arc::new(Counters::default());
        let observer = Observer {
            endpoint: name.clone(),
            counters: counters.clone(),
            journal: journal.clone(),
            events: telemetry.events.endpoint(&name),
        };
        let parts = Parts {
            credentials: observer.credentials(dialect, keys),
            retry,
            breaker: observer.breaker(breaker.as_ref()),
            limiter: quota::limiter(&limit),
            limited: limit.quotas.is_some(),
            wait: limit.wait,
            dialect,
            client,
            provider: provider_label(provider.as_deref(), dialect),
            server,
            costs: telemetry.costs(provider.as_deref()),
            telemetry: telemetry.clone(),
            observer,
        };
        let total = TimeoutLayer::new(Http).total(timeouts.total);
        let total = total.on_event({
            let observer = parts.observer.clone();
            move |event| observer.timeout(event)
        });
        Self {
            targets: Targets::new(dialect, &base_url),
            chat: parts.stack(
                judged(),
                chat(&timeouts),
                // What an endpoint that crashed leaves is not passed on as if it were whole.
                TrackLayer::new(WithModel(dialect)).break_unfinished(true),
            ),
            // What it does to ask twice, nobody knows; nor what the content of a reply is, so that
            // none of it is waited for.
            other: total.layer(parts.stack(
                Http.idempotent_only(),
                other(&timeouts),
                TrackLayer::new(AnyPath(dialect)).peek_bytes(0),
            )),
            breaker: parts.breaker.clone(),
            limiter: parts.limiter.clone(),
            counts_tokens: limit.tokens,
            credential: credential.into(),
            context,
            counters,
            name,
            dialect,
            base_url,
            models,
        }
    }

    /// The request as it goes to this endpoint, from the head of the caller's.
    pub(crate) fn request(&self, mut head: request::Parts, body: Bytes) -> Request<Full<Bytes>> {
        head.uri = self.targets.of(head.uri);
        self.request_to(head, body)
    }

    fn request_to(&self, mut head: request::Parts, body: Bytes) -> Request<Full<Bytes>> {
        let headers = &mut head.headers;
        // Host and length are the client's business.
        take_out(headers, is_callers);
        // What is read as it passes must not be compressed.
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        Request::from_parts(head, Full::new(body))
    }

    /// The request of a caller who speaks another dialect, in this endpoint's.
    pub(crate) fn converted(
        &self,
        mut head: request::Parts,
        body: Bytes,
        model: &str,
        caller: Dialect,
    ) -> Result<(Request<Full<Bytes>>, Converted), ConvertError> {
        let converted = Conversion::new(caller, self.dialect).request(body)?;
        head.uri = self.targets.chat(model, converted.is_stream())?;
        take_out(&mut head.headers, is_of_a_dialect);
        let request = self.request_to(head, converted.body().clone());
        Ok((request, converted))
    }
}

/// The name of a provider as OpenTelemetry's conventions have it. Where nobody says who it is, it is
/// whose dialect it speaks.
fn provider_label(provider: Option<&str>, dialect: Dialect) -> Arc<str> {
    match provider.unwrap_or(dialect.as_str()) {
        "gemini" => "gcp.gemini".into(),
        name => name.into(),
    }
}

/// What one attempt may take that is answered with text as it comes.
fn chat(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = attempt(timeouts);
    // Unset, the first content would have the time between two pieces of it; models think longer.
    let layer = layer.first_content(timeouts.first_content.unwrap_or(Duration::MAX));
    or_none(layer, timeouts.idle, TimeoutLayer::idle)
}

/// What one may take of whose reply nobody knows what is content: its head comes instead of the
/// first content, and any of its bytes instead of more.
fn other(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = attempt(timeouts);
    let layer = or_none(layer, timeouts.first_content, TimeoutLayer::headers);
    or_none(
        layer,
        timeouts.silence.or(timeouts.idle),
        TimeoutLayer::silence,
    )
}

fn attempt(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = TimeoutLayer::new(Http);
    let layer = or_none(layer, timeouts.attempt, TimeoutLayer::attempt);
    or_none(layer, timeouts.silence, TimeoutLayer::silence)
}

fn or_none(
    layer: TimeoutLayer<Http>,
    limit: Option<Duration>,
    set: fn(TimeoutLayer<Http>, Duration) -> TimeoutLayer<Http>,
) -> TimeoutLayer<Http> {
    match limit {
        Some(limit) => set(layer, limit),
        None => layer,
    }
}
