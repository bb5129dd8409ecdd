//! What is measured, with which labels, and what tokens cost.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use buttress_core::Usage;
use buttress_http::{Http, Price, Tariff};
use buttress_llm::{ResponseModel, price::Prices};
use buttress_metrics::{Describe, Labels, METRICS, MetricsLayer, Observer, Traceparent};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Span;

use crate::{adapt::Asked, endpoint::Reply, face::Asks};

/// What a whole gateway measures. Its clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    scrape: PrometheusHandle,
    /// What the layers tell.
    pub(crate) events: Observer,
    /// What callers ask for.
    pub(crate) requests: Requests,
    prices: Arc<Prices>,
    described: Described,
}

/// Outermost of a call.
pub(crate) type Requests = MetricsLayer<Http, Described>;

/// Reads from a request whose call it is, and from the reply who answered.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    // Those that have labels of their own, in order.
    models: Arc<[Arc<str>]>,
}

/// What the calls of one endpoint cost.
#[derive(Clone, Debug)]
pub(crate) struct Costs {
    prices: Arc<Prices>,
    // Who sells; `None`: nobody knows.
    provider: Option<Arc<str>>,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

// ===== impl Telemetry =====

impl Telemetry {
    /// The models that are named here, or have a price, have labels of their own; what else callers
    /// ask for is `other`.
    pub(crate) fn new(prices: Prices, named: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut models: BTreeSet<_> = named.into_iter().collect();
        models.extend(prices.iter().map(|(_, model, _)| Arc::from(model)));
        let described = Described {
            models: models.into_iter().collect(),
        };
        Self {
            scrape: recorder(),
            events: Observer::new(),
            requests: described.of(MetricsLayer::request(Http)),
            prices: Arc::new(prices),
            described,
        }
    }

    /// Measures the attempts at an endpoint, around each.
    pub(crate) fn attempts<P>(&self, protocol: P) -> MetricsLayer<P, Described> {
        self.described.of(MetricsLayer::attempt(protocol))
    }

    /// What the calls of an endpoint cost, if it is said whose price list holds there.
    pub(crate) fn costs(&self, provider: Option<&str>) -> Costs {
        Costs {
            prices: self.prices.clone(),
            provider: provider.map(Arc::from),
        }
    }

    /// Everything that was measured, as Prometheus reads it.
    pub(crate) fn render(&self) -> String {
        self.scrape.render()
    }

    /// Puts what was measured in its buckets, so that it takes no more room if nobody scrapes.
    pub(crate) async fn upkeep(self) {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        loop {
            every.tick().await;
            self.scrape.run_upkeep();
        }
    }
}

/// The recorder of this process.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(name, metric.buckets)
                .expect("there are some");
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Whoever else has one wants it: the pages are empty then.
        let _ = metrics::set_global_recorder(recorder);
        handle
    };
    RECORDER.get_or_init(install).clone()
}

// ===== impl Described =====

impl Described {
    fn of<P>(&self, layer: MetricsLayer<P>) -> MetricsLayer<P, Self> {
        layer
            .describe_with(self.clone())
            .models(self.models.iter().cloned())
    }

    fn knows(&self, model: &str) -> bool {
        let found = self.models.binary_search_by(|known| (**known).cmp(model));
        found.is_ok()
    }
}

impl Describe<Request<Full<Bytes>>, Reply> for Described {
    fn labels<'a>(&'a self, request: &'a Request<Full<Bytes>>) -> Labels<'a> {
        let Some(Asked(asked)) = request.extensions().get() else {
            return Labels::new();
        };
        let labels = Labels::new().streamed(asked.body.stream());
        let labels = match asked.face.asks {
            Asks::Reply => labels,
            Asks::Other => labels.operation(operation(asked.path())),
        };
        match asked.model() {
            Some(model) => labels.model(model),
            None => labels,
        }
    }

    /// What its provider calls it, or that without its date, whichever is known here.
    fn response_model<'a>(&'a self, reply: &'a Reply) -> Option<&'a str> {
        let model: &ResponseModel = reply.extensions().get()?;
        let undated = || model.undated().filter(|name| self.knows(name));
        match self.knows(model.as_str()) {
            true => Some(model.as_str()),
            false => undated().or(Some(model.as_str())),
        }
    }

    fn propagate(&self, request: &mut Request<Full<Bytes>>, span: &Span) {
        let parent = request.headers().get(TRACEPARENT);
        let parent = parent.and_then(|value| value.to_str().ok());
        let child = Traceparent::join(parent, span).to_string();
        if let Ok(child) = HeaderValue::try_from(child) {
            request.headers_mut().insert(TRACEPARENT, child);
        }
    }
}

/// What is asked for at a path that is no chat's, in the words of the conventions.
fn operation(path: &str) -> &'static str {
    match path {
        "/v1/embeddings" => "embeddings",
        "/v1/completions" => "text_completion",
        "/v1/responses" => "generate_content",
        _ => "other",
    }
}

// ===== impl Costs =====

impl Price<Full<Bytes>> for Costs {
    fn tariff(&self, request: &Request<Full<Bytes>>) -> Option<Tariff> {
        let provider = self.provider.clone()?;
        let Asked(asked) = request.extensions().get::<Asked>()?.clone();
        let prices = self.prices.clone();
        Some(Box::new(move |usage: &Usage| {
            prices.price(&provider, asked.model()?, usage)
        }))
    }
}
