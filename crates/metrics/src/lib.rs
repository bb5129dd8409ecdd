//! A tower layer that measures calls to LLM providers, to the end of the stream.
//!
//! [`MetricsLayer`] counts calls and times them, adds up their tokens and what they cost, and follows
//! each with a span. It speaks to the [`metrics`] facade and to [`tracing`], so that any exporter
//! works: Prometheus, StatsD, OpenTelemetry. [`Observer`] does the same for what other layers tell:
//! retries, waits, circuits, failovers.
//!
//! # When to use it
//!
//! Twice in a stack: [`MetricsLayer::request`] outermost counts what callers asked for,
//! [`MetricsLayer::attempt`] around each client what that took. With one of them, take the attempts.
//!
//! # When not
//!
//! - For a server's own HTTP metrics: `tower-http` and others have them, and know routes and
//!   methods. This is for calls whose outcome has a class and a number of tokens.
//! - To know what one caller spent: that is a budget's, and takes exact books. A label for each caller
//!   is a series for each caller.
//!
//! # Examples
//!
//! ```
//! use buttress_core::{Money, Plain};
//! use buttress_metrics::{Labels, MetricsLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! struct Ask {
//!     model: String,
//! }
//!
//! let client = service_fn(|ask: Ask| async move { Ok::<_, std::io::Error>(ask.model) });
//! let layer = MetricsLayer::attempt(Plain)
//!     .provider("openai")
//!     .describe(|ask: &Ask| Labels::new().model(&ask.model))
//!     .price(|labels, usage| match labels.request_model {
//!         Some("gpt-4.1-mini") => Some(Money::from_pico(400_000).times(usage.total())),
//!         _ => None, // unknown, and not free
//!     });
//! // Installing an exporter is the program's business, before or after this.
//! let reply = layer.layer(client).oneshot(Ask { model: "gpt-4.1-mini".into() }).await;
//! assert_eq!(reply.unwrap(), "gpt-4.1-mini");
//! # }
//! ```
//!
//! Customised, over HTTP, with Prometheus, both places, traces, a line in the log for each call and
//! the events of another layer:
//!
//! ```
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use buttress_metrics::{Describe, Labels, METRICS, MetricsLayer, Observer, Traceparent, log};
//! use bytes::Bytes;
//! use http::{HeaderValue, Request, Response};
//! use http_body_util::Full;
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower::{ServiceBuilder, service_fn};
//! use tracing::Span;
//!
//! type Ask = Request<Full<Bytes>>;
//!
//! #[derive(Clone)]
//! struct Mine;
//!
//! impl<Res> Describe<Ask, Res> for Mine {
//!     fn labels<'a>(&'a self, ask: &'a Ask) -> Labels<'a> {
//!         match ask.extensions().get::<&str>() {
//!             Some(model) => Labels::new().model(model),
//!             None => Labels::new(),
//!         }
//!     }
//!
//!     fn request_id(&self, ask: &Ask) -> Option<String> {
//!         Some(ask.headers().get("x-request-id")?.to_str().ok()?.to_owned())
//!     }
//!
//!     fn propagate(&self, ask: &mut Ask, span: &Span) {
//!         let parent = ask.headers().get("traceparent").and_then(|value| value.to_str().ok());
//!         let child = Traceparent::join(parent, span).to_string();
//!         if let Ok(value) = HeaderValue::from_str(&child) {
//!             ask.headers_mut().insert("traceparent", value);
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), metrics_exporter_prometheus::BuildError> {
//! let mut prometheus = PrometheusBuilder::new().with_recommended_naming(true);
//! for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
//!     let name = Matcher::Full(metric.name.to_owned());
//!     prometheus = prometheus.set_buckets_for_metric(name, metric.buckets)?;
//! }
//! let recorder = prometheus.build_recorder();
//! let scrape = recorder.handle(); // `scrape.render()` is what `/metrics` answers
//! metrics::set_global_recorder(recorder).expect("the first one");
//!
//! let observer = Observer::new();
//! let east = observer.endpoint("east");
//! // RetryLayer::new(Http).on_event(move |event| east.see(event))
//! # let _ = east;
//! let client = service_fn(|_: Ask| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new()
//!     .layer(MetricsLayer::request(Http).describe_with(Mine).on_call(log))
//!     // failover, retry, breaker, limit
//!     .layer(
//!         MetricsLayer::attempt(Http)
//!             .provider("openai")
//!             .server("api.openai.com", 443)
//!             .endpoint("east")
//!             .describe_with(Mine),
//!     )
//!     .layer(TrackLayer::default())
//!     .service(client);
//! let stack = check::<Ask, _>(stack);
//! # Ok(())
//! # }
//! ```
//!
//! # Names
//!
//! Attempts have the names of OpenTelemetry's conventions for generative AI, of version **1.41.0**
//! of the [semantic conventions](https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai):
//! the last before they moved to a repository of their own, which has made no version yet. They are
//! in development there, and what changes will change here with a new minor version. In Prometheus
//! `gen_ai.client.operation.duration` is `gen_ai_client_operation_duration_seconds`.
//!
//! The conventions speak of calls of a provider, so that is what these names count. What they do not
//! know begins with `buttress.`: requests, classes, cost, events. [`METRICS`] is the whole list; the
//! [README](https://docs.rs/crate/buttress-metrics) shows it.
//!
//! # What counts
//!
//! Every call that begins is in flight until it ends, and is then counted once, with its class: also
//! one that its caller drops, or that panics. A streamed reply ends with its body, and has what was
//! known by then: a dropped one its tokens so far, marked as estimated.
//!
//! An attempt that failed has its tokens among the attempts'. A request has the sum over all its
//! attempts, those that were given up included, where the protocol carries a
//! [`Ledger`](buttress_core::Ledger). Tokens of a reply that was paid for by another call are marked
//! `unbilled`.
//!
//! A cost is known if the outcome says it, or the [`price`](MetricsLayer::price) does. Else the call
//! is counted in `…unpriced`: unknown is never free. Amounts are whole: 10⁻¹² of a currency.
//!
//! # Bounds
//!
//! A label that a request can influence has so many values and no more: models 100, or those that are
//! [listed](MetricsLayer::models), other names 64, label sets 1024 for each layer; events have
//! [bounds](Observer::MAX_SETS) of their own. What is beyond is `other`. A name that is empty, longer
//! than 128 bytes or not printable is `other`, too. The [id](Describe::request_id) of a request in spans
//! and logs has 128 characters, all of them visible ASCII.
//!
//! # Text
//!
//! No text of a prompt or a reply is recorded, unless [`Describe::prompt`] and [`Describe::reply`]
//! give it; what they leave out is nowhere. Errors are seen by their class alone.
//!
//! # Spans
//!
//! `buttress.request`, and within it `buttress.attempt`, at level `INFO`, with the attributes of the
//! conventions and the target `buttress_metrics`; they end with the body. Turn them off in the
//! subscriber: a span that nobody wants costs nothing. [`Describe::propagate`] joins the caller's
//! trace, and passes it on: with [`Traceparent`], or with `tracing-opentelemetry`:
//!
//! ```text
//! fn propagate(&self, ask: &mut Request<B>, span: &Span) {
//!     let propagator = TraceContextPropagator::new();
//!     let _ = span.set_parent(propagator.extract(&HeaderExtractor(ask.headers())));
//!     propagator.inject_context(&span.context(), &mut HeaderInjector(ask.headers_mut()));
//! }
//! ```
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | operation | `chat` |
//! | provider, server, endpoint, models | not labelled |
//! | models with a label of their own | the first 100 |
//! | cost | what outcomes say |
//! | time between chunks | not measured |
//! | buckets | the exporter's; [`Metric::buckets`] has good ones |
//!
//! # Cost
//!
//! Handles are asked for once for each label set, and again if another recorder is installed. Then a
//! call allocates nothing, reads the clock twice, and holds a lock of its own only for reading. Over
//! a tracked body there is one allocation for the duty to report its end. In the outer place, over a
//! protocol that carries it, there is one more for the ledger: attempts write into it that may outlive
//! the call, so it can be no part of that duty; and each attempt below such a one has its own. And
//! `http::Extensions` that hold nothing yet take three to carry it: put a `CallInfo` into requests
//! that have one, and there are none. Figures are in the
//! [README](https://docs.rs/crate/buttress-metrics).

mod call;
mod circuits;
mod future;
mod handles;
mod labels;
mod layer;
mod names;
mod observer;
mod record;
mod rules;
mod series;
mod service;
mod settings;
mod span;
mod table;
mod traceparent;

pub use self::{
    future::ResponseFuture,
    handles::describe,
    labels::{Describe, Labels, Undescribed},
    layer::{MetricsLayer, Place},
    names::{CHUNK_SECONDS, Kind, METRICS, Metric, SECONDS, TOKENS},
    observer::Observer,
    record::{CallRecord, log},
    service::MetricsService,
    traceparent::{Traceparent, TraceparentError},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
