use std::{any::type_name, fmt, num::NonZeroUsize, sync::Arc};

use buttress_core::{Money, Usage};
use tower_layer::Layer;

use crate::{
    CallRecord, Labels, MetricsService, Undescribed,
    names::{ATTEMPT, Names, REQUEST},
    settings::{Settings, fixed},
    table::Table,
};

/// Measures calls: how many, how they end, how long they take, what they use and cost.
///
/// The same type stands in two places, and they count apart:
///
/// | | where | counts |
/// |---|---|---|
/// | [`request`](MetricsLayer::request) | outermost | what callers asked for, with all its attempts: `buttress.request.*` |
/// | [`attempt`](MetricsLayer::attempt) | around each client, inside of retry, breaker and limit | each call of a provider: `gen_ai.client.*`, `buttress.attempt.*` |
///
/// A stack with one of them has the attempts, whose names are OpenTelemetry's.
///
/// | | default |
/// |---|---|
/// | [`describe`](MetricsLayer::describe), [`describe_with`](MetricsLayer::describe_with) | nothing is said of a request |
/// | [`operation`](MetricsLayer::operation) | `chat` |
/// | [`provider`](MetricsLayer::provider), [`server`](MetricsLayer::server), [`endpoint`](MetricsLayer::endpoint) | none |
/// | [`max_models`](MetricsLayer::max_models) | 100; all others are `other` |
/// | [`price`](MetricsLayer::price) | what outcomes say, else unknown |
/// | [`per_chunk`](MetricsLayer::per_chunk) | off |
/// | [`on_call`](MetricsLayer::on_call) | nobody |
///
/// The services that it makes share their handles, with those of its clones.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_metrics::{Labels, MetricsLayer};
///
/// struct Ask {
///     model: String,
/// }
///
/// let layer = MetricsLayer::attempt(Plain)
///     .provider("openai")
///     .server("api.openai.com", 443)
///     .describe(|ask: &Ask| Labels::new().model(&ask.model));
/// ```
#[derive(Clone)]
pub struct MetricsLayer<P, D = Undescribed> {
    protocol: P,
    describe: D,
    settings: Arc<Settings>,
    table: Arc<Table>,
}

/// Where in a stack a [`MetricsLayer`] stands.
///
/// ```
/// assert_eq!(buttress_metrics::Place::Attempt.as_str(), "attempt");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Outermost: one call is what a caller asked for.
    Request,
    /// Innermost: one call is one attempt.
    Attempt,
}

// ===== impl MetricsLayer =====

impl<P> MetricsLayer<P> {
    /// For the outermost place. `protocol` says what a result means, how a response is followed to
    /// its end, and what a request carries: `Plain`, `Http`, or what is made of them.
    #[must_use]
    pub fn request(protocol: P) -> Self {
        Self::new(protocol, Place::Request)
    }

    /// For the place around a client. `protocol` as with [`request`](MetricsLayer::request).
    #[must_use]
    pub fn attempt(protocol: P) -> Self {
        Self::new(protocol, Place::Attempt)
    }

    fn new(protocol: P, place: Place) -> Self {
        Self {
            protocol,
            describe: Undescribed,
            settings: Arc::new(Settings::new(place)),
            table: Arc::default(),
        }
    }
}

impl<P, D> MetricsLayer<P, D> {
    /// Learns from a request whose call it is: asked once for each, before it is made. Where the
    /// [`Labels`] are silent, what the layer was told holds. Default: they are silent.
    #[must_use]
    pub fn describe<F, Req>(self, describe: F) -> MetricsLayer<P, F>
    where
        F: for<'a> Fn(&'a Req) -> Labels<'a>,
    {
        self.describe_with(describe)
    }

    /// As [`describe`](MetricsLayer::describe), by a [`Describe`](crate::Describe), which can say
    /// more: the model that answered, a name for the logs, where the trace goes on.
    #[must_use]
    pub fn describe_with<E>(self, describe: E) -> MetricsLayer<P, E> {
        MetricsLayer {
            protocol: self.protocol,
            describe,
            settings: self.settings,
            table: Arc::default(),
        }
    }

    /// What is done, where a request does not say: `gen_ai.operation.name`. Default: `chat`.
    #[must_use]
    pub fn operation(self, name: &str) -> Self {
        self.with(|settings| settings.fixed.operation = fixed(name))
    }

    /// Who is asked, where a request does not say: `gen_ai.provider.name`. The conventions know
    /// `openai`, `anthropic`, `gcp.gemini`, `aws.bedrock` and others. Default: none.
    #[must_use]
    pub fn provider(self, name: &str) -> Self {
        self.with(|settings| settings.fixed.provider = fixed(name))
    }

    /// The host that is called, and its port, where a request does not say. Default: none.
    #[must_use]
    pub fn server(self, address: &str, port: u16) -> Self {
        self.with(|settings| {
            settings.fixed.server_address = fixed(address);
            settings.fixed.server_port = Some(port);
        })
    }

    /// The name of the endpoint, where a request does not say. Default: none.
    #[must_use]
    pub fn endpoint(self, name: &str) -> Self {
        self.with(|settings| settings.fixed.endpoint = fixed(name))
    }

    /// How many models have labels of their own, in the order in which they come: the others are
    /// `other`. So many may ask, and so many may answer to each that asks. Default: 100.
    ///
    /// A caller who makes names up uses them up: where callers are not trusted, say which
    /// [`models`](MetricsLayer::models) there are.
    #[must_use]
    pub fn max_models(self, models: NonZeroUsize) -> Self {
        self.with(|settings| settings.max_models = models)
    }

    /// The models that have labels of their own: every other one is `other`, whether it asks or
    /// answers, in metrics, spans and logs. Default: the first that come.
    #[must_use]
    pub fn models<I>(self, models: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Arc<str>>,
    {
        let models: Arc<[Arc<str>]> = models.into_iter().map(Into::into).collect();
        self.with(|settings| settings.models = Some(models))
    }

    /// What a call costs, where its outcome does not say. Asked at the end of a call that used
    /// tokens which it has to pay for; the models are the ones that were named, also where their
    /// label is `other`. `None`: nobody knows, and it is counted as that, never as free.
    ///
    /// This is for counting alone. Where something innermost gives outcomes their cost (`TrackLayer`
    /// of `buttress-http` has a `price`), layers outside hear of it too, and a request has the sum of
    /// what each attempt cost where it was made: then this one is not asked.
    ///
    /// Default: nobody knows.
    #[must_use]
    pub fn price<F>(self, price: F) -> Self
    where
        F: Fn(&Labels<'_>, &Usage) -> Option<Money> + Send + Sync + 'static,
    {
        self.with(|settings| settings.price = Some(Arc::new(price)))
    }

    /// Measures the time between each piece of content and the next. It reads the clock for each.
    /// Default: off.
    #[must_use]
    pub fn per_chunk(self) -> Self {
        self.with(|settings| settings.per_chunk = true)
    }

    /// Is shown each call when it is over, after it was counted: [`log`](crate::log) writes a line.
    /// Default: nobody is.
    #[must_use]
    pub fn on_call<F>(self, observer: F) -> Self
    where
        F: Fn(&CallRecord<'_>) + Send + Sync + 'static,
    {
        self.with(|settings| settings.on_call = Some(Arc::new(observer)))
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Self {
            settings: Arc::new(settings),
            table: Arc::default(),
            ..self
        }
    }
}

impl<P: Clone, D: Clone, S> Layer<S> for MetricsLayer<P, D> {
    type Service = MetricsService<P, D, S>;

    fn layer(&self, inner: S) -> Self::Service {
        MetricsService::new(
            inner,
            self.protocol.clone(),
            self.describe.clone(),
            Arc::clone(&self.settings),
            Arc::clone(&self.table),
        )
    }
}

impl<P: fmt::Debug, D> fmt::Debug for MetricsLayer<P, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer")
            .field("protocol", &self.protocol)
            .field("describe", &format_args!("{}", type_name::<D>()))
            .field("settings", &self.settings)
            .finish()
    }
}

// ===== impl Place =====

impl Place {
    /// The name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Attempt => "attempt",
        }
    }

    pub(crate) const fn names(self) -> &'static Names {
        match self {
            Self::Request => &REQUEST,
            Self::Attempt => &ATTEMPT,
        }
    }
}
