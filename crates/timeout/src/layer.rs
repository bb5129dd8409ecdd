use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use crate::{Limits, PerRequest, Same, Throughput, Timeout, TimeoutEvent, span::Span};

/// Ends calls that take too long.
///
/// Without any setter it keeps the deadline that a request carries, and nothing else.
///
/// | | default |
/// |---|---|
/// | [`total`](TimeoutLayer::total), [`attempt`](TimeoutLayer::attempt), [`headers`](TimeoutLayer::headers) | none |
/// | [`first_content`](TimeoutLayer::first_content), [`idle`](TimeoutLayer::idle), [`silence`](TimeoutLayer::silence), [`throughput`](TimeoutLayer::throughput) | none |
/// | [`pings_restart_idle`](TimeoutLayer::pings_restart_idle) | they do not |
/// | [`min_wait`](TimeoutLayer::min_wait) | 1 s |
/// | [`per_request`](TimeoutLayer::per_request) | the same for all |
/// | [`on_event`](TimeoutLayer::on_event) | nobody listens |
///
/// Every limit is a [`Duration`]. With zero nothing is waited for: what is there at once is
/// delivered, and the first time that there is nothing the call ends. From 30 years on it is no
/// limit.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_http::Http;
/// use buttress_timeout::TimeoutLayer;
///
/// let attempt = TimeoutLayer::new(Http)
///     .attempt(Duration::from_secs(120))
///     .first_content(Duration::from_secs(10))
///     .idle(Duration::from_secs(5));
/// ```
#[derive(Clone)]
pub struct TimeoutLayer<P, R = Same> {
    pub(crate) protocol: P,
    pub(crate) per_request: R,
    pub(crate) settings: Settings,
}

/// What has the same type whatever is timed.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// The most that a request may ask for.
    pub(crate) most: Limits,
    pub(crate) throughput: Option<Throughput>,
    pub(crate) pings: bool,
    pub(crate) min_wait: Span,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&TimeoutEvent<'_>) + Send + Sync;

// ===== impl TimeoutLayer =====

impl<P> TimeoutLayer<P> {
    /// Keeps the deadline that a request carries. `protocol` says where it is carried, what a
    /// response is and what a refusal: `Plain`, `Http`, or what is made of them.
    #[must_use]
    pub const fn new(protocol: P) -> Self {
        Self {
            protocol,
            per_request: Same,
            settings: Settings {
                limits: Limits::new(),
                most: Limits::new(),
                throughput: None,
                pings: false,
                min_wait: Span::new(Duration::from_secs(1)),
                observer: None,
            },
        }
    }
}

impl<P, R> TimeoutLayer<P, R> {
    /// How long the whole call may take, from `call` to the end of the response, body included.
    /// Default: none.
    ///
    /// This is for the outermost layer: it covers what waits inside, attempts and the waits between
    /// them. It travels with the request as its [deadline](buttress_core::CallInfo::deadline), where
    /// the protocol has a place for it and none that is earlier is there already; layers inside
    /// neither wait nor retry past it, and a timeout inside ends a moment before it. Where the process
    /// was stopped meanwhile, a call ends up to 50 ms after it has gone on, and its body as well: see
    /// [what is delivered](crate#what-is-there-is-delivered). Refused as
    /// [`TotalTimeout`](buttress_core::Reason::TotalTimeout).
    #[must_use]
    pub fn total(mut self, limit: Duration) -> Self {
        self.settings.limits.total = Span::new(limit);
        self
    }

    /// How long one attempt may take, from `call` to the end of the response, body included.
    /// Default: none.
    ///
    /// This is for the innermost layer, inside of a retry. Nobody else is told. Refused as
    /// [`AttemptTimeout`](buttress_core::Reason::AttemptTimeout). For a limit that a long stream may
    /// outlive, see [`headers`](Self::headers) and [`first_content`](Self::first_content).
    #[must_use]
    pub fn attempt(mut self, limit: Duration) -> Self {
        self.settings.limits.attempt = Span::new(limit);
        self
    }

    /// How long it may take from `call` until the response is there, whatever becomes of its body.
    /// Default: none.
    ///
    /// Where a `TrackLayer` inside peeks, the response is there with its first content. For the
    /// head itself, a layer of its own stands inside of that one, over `Plain`, whose work ends with
    /// the head: `TimeoutLayer::new(Plain).headers(limit)`. Refused as
    /// [`HeadersTimeout`](buttress_core::Reason::HeadersTimeout).
    #[must_use]
    pub fn headers(mut self, limit: Duration) -> Self {
        self.settings.limits.headers = Span::new(limit);
        self
    }

    /// How long it may take from `call` until the first content is there: text, reasoning or part
    /// of a tool call, and not heads, comments or pings. Over a service without a body: until the
    /// response is there. Default: none.
    ///
    /// If a response is read only after that, its body still has an eighth of the limit to deliver.
    /// Refused as [`FirstContentTimeout`](buttress_core::Reason::FirstContentTimeout).
    #[must_use]
    pub fn first_content(mut self, limit: Duration) -> Self {
        self.settings.limits.first_content = Span::new(limit);
        self
    }

    /// How long a body may pause between two pieces of content. Default: none.
    ///
    /// Until the first content, [`first_content`](Self::first_content) is the limit; where that is
    /// not set, this one is, from the first time that the body is waited for.
    ///
    /// A pause is cut after the limit, and before an eighth more, or a millisecond where that is
    /// more: a chunk only leaves a mark, and no clock is read for it. For whom the timer wakes late, see
    /// [what is delivered](crate#what-is-there-is-delivered). Refused as
    /// [`IdleTimeout`](buttress_core::Reason::IdleTimeout).
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.settings.limits.idle = Span::new(limit);
        self
    }

    /// How long a body may go without any sign of life: neither content nor a comment, a ping or
    /// part of an event. Default: none.
    ///
    /// It holds from the first time that the body is waited for to its end, and as exactly as
    /// [`idle`](Self::idle). It finds a dead connection early where models think long, if their
    /// servers send pings meanwhile. Refused as
    /// [`IdleTimeout`](buttress_core::Reason::IdleTimeout).
    #[must_use]
    pub fn silence(mut self, limit: Duration) -> Self {
        self.settings.limits.silence = Span::new(limit);
        self
    }

    /// How fast content must come, once it has begun. Default: however slowly.
    ///
    /// Time in which nobody waited for the body does not count, unless nothing at all had come in
    /// it, nor comes in an eighth of the grace after it. Refused as
    /// [`TooSlow`](buttress_core::Reason::TooSlow), within an eighth of the grace after one that was
    /// too slow.
    #[must_use]
    pub fn throughput(mut self, floor: Throughput) -> Self {
        self.settings.throughput = Some(floor);
        self
    }

    /// Comments and pings restart [`idle`](Self::idle), as content does. Default: they restart only
    /// [`silence`](Self::silence).
    #[must_use]
    pub fn pings_restart_idle(mut self) -> Self {
        self.settings.pings = true;
        self
    }

    /// What an endpoint must have been given before a caller's impatience says anything of it.
    /// Default: one second.
    ///
    /// A call that is ended by the deadline of its request, or by a limit that
    /// [`per_request`](Self::per_request) shortened, and that had less than this from the beginning,
    /// ends as [`Cancelled`](buttress_core::Class::Cancelled): it is not retried, and no breaker
    /// counts it. Otherwise impatient callers would trip what others share.
    #[must_use]
    pub fn min_wait(mut self, wait: Duration) -> Self {
        self.settings.min_wait = Span::new(wait);
        self
    }

    /// Asks `limits` what a request wants, once for each call, before anything else. Default: the
    /// same for all.
    ///
    /// A request can shorten each limit. It can lengthen it up to what `most` says, and not at all
    /// where `most` says nothing. A limit that the layer does not set, it sets for itself, within
    /// `most`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_core::Plain;
    /// use buttress_timeout::{Limits, TimeoutLayer};
    ///
    /// struct Ask {
    ///     prompt: String,
    ///     patience: Option<Duration>,
    /// }
    ///
    /// let layer = TimeoutLayer::new(Plain)
    ///     .total(Duration::from_secs(30))
    ///     .per_request(
    ///         Limits::new().total(Duration::from_secs(300)),
    ///         |ask: &Ask| match ask.patience {
    ///             Some(patience) => Limits::new().total(patience),
    ///             None => Limits::new(),
    ///         },
    ///     );
    /// ```
    #[must_use]
    pub fn per_request<Req, F>(self, most: Limits, limits: F) -> TimeoutLayer<P, F>
    where
        F: Fn(&Req) -> Limits + PerRequest<Req>,
    {
        TimeoutLayer {
            protocol: self.protocol,
            per_request: limits,
            settings: Settings {
                most,
                ..self.settings
            },
        }
    }

    /// Calls `observer` with every [`TimeoutEvent`], in the task that makes the call or reads its
    /// body; see there for when. A second observer takes the place of the first. Default: none.
    #[must_use]
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&TimeoutEvent<'_>) + Send + Sync + 'static,
    {
        self.settings.observer = Some(Arc::new(observer));
        self
    }
}

impl<P: Clone, R: Clone, S> Layer<S> for TimeoutLayer<P, R> {
    type Service = Timeout<P, S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.clone())
    }
}

impl<P, R> fmt::Debug for TimeoutLayer<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutLayer")
            .field("limits", &self.settings.limits)
            .field("throughput", &self.settings.throughput)
            .field("min_wait", &self.settings.min_wait)
            .finish_non_exhaustive()
    }
}
