use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use buttress_core::{Outcome, RetryBudget};
use tower_layer::Layer;

use crate::{Backoff, Budget, ByClass, Decide, Exponential, Retry, RetryEvent};

/// Sends a request again when its attempt failed in a way that another one may mend.
///
/// | | default |
/// |---|---|
/// | [`max_attempts`](RetryLayer::max_attempts) | 3, the first counted |
/// | [`max_elapsed`](RetryLayer::max_elapsed) | none: the deadline that a request carries is kept anyhow |
/// | [`backoff`](RetryLayer::backoff) | [`Exponential`]: 500 ms, doubling up to 20 s, full jitter |
/// | [`budget`](RetryLayer::budget) | one of its own: a fifth of the calls, and 100 |
/// | [`decide_with`](RetryLayer::decide_with) | as the class of the outcome says |
/// | [`seed`](RetryLayer::seed) | chance |
/// | [`on_event`](RetryLayer::on_event) | nobody listens |
///
/// What the services that it makes share (its budget, and the number of the next call, from which
/// jitter is drawn) they share with those of its clones.
///
/// # Examples
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use buttress_core::Plain;
/// use buttress_retry::{Budget, Exponential, Ratio, RetryLayer};
///
/// let layer = RetryLayer::new(Plain)
///     .max_attempts(const { NonZeroU32::new(5).unwrap() })
///     .max_elapsed(Duration::from_secs(30))
///     .backoff(Exponential::millis::<200, 8_000>())
///     .budget(Budget::new(Ratio::percent::<10>()));
/// ```
#[derive(Clone)]
pub struct RetryLayer<P, B = Exponential, U = Budget, D = ByClass> {
    pub(crate) protocol: P,
    pub(crate) backoff: B,
    pub(crate) budget: U,
    pub(crate) decide: D,
    pub(crate) settings: Settings,
}

/// What has the same type whatever is retried.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) max_attempts: NonZeroU32,
    pub(crate) max_elapsed: Option<Duration>,
    pub(crate) seed: u64,
    /// How many calls have drawn jitter.
    pub(crate) drawn: Arc<AtomicU64>,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&RetryEvent<'_>) + Send + Sync;

// ===== impl RetryLayer =====

impl<P> RetryLayer<P> {
    /// Retries with the defaults above. `protocol` says what a result means, and how a request is
    /// copied: `Plain`, `Http`, or what is made of them.
    #[must_use]
    pub fn new(protocol: P) -> Self {
        const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();
        Self {
            protocol,
            backoff: Exponential::default(),
            budget: Budget::default(),
            decide: ByClass,
            settings: Settings {
                max_attempts: THREE,
                max_elapsed: None,
                seed: fastrand::u64(..),
                drawn: Arc::default(),
                observer: None,
            },
        }
    }
}

impl<P, B, U, D> RetryLayer<P, B, U, D> {
    /// How many attempts are made at most, the first counted. Default: 3. With 1, each request is
    /// passed on as it came.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// For how long a call may go on waiting and trying: no wait ends later than this after its
    /// beginning. An attempt that has begun by then is not cut short; that is for a timeout.
    /// Default: no bound. With zero, nothing is retried; a time that no clock can count is no
    /// bound.
    #[must_use]
    pub fn max_elapsed(mut self, time: Duration) -> Self {
        self.settings.max_elapsed = Some(time);
        self
    }

    /// How long to wait before each further attempt. Default: [`Exponential::default`].
    #[must_use]
    pub fn backoff<C: Backoff>(self, backoff: C) -> RetryLayer<P, C, U, D> {
        RetryLayer {
            protocol: self.protocol,
            backoff,
            budget: self.budget,
            decide: self.decide,
            settings: self.settings,
        }
    }

    /// What pays for retries: give clones of one [`Budget`] to several layers, and they stay within
    /// it together. Default: [`Budget::default`], for this layer alone.
    #[must_use]
    pub fn budget<V: RetryBudget>(self, budget: V) -> RetryLayer<P, B, V, D> {
        RetryLayer {
            protocol: self.protocol,
            backoff: self.backoff,
            budget,
            decide: self.decide,
            settings: self.settings,
        }
    }

    /// Asks `decide` whether an outcome calls for another attempt, request by request; where it
    /// answers `None`, the class of the outcome decides. Default: that alone.
    ///
    /// It runs after each attempt that could be followed by another. It can forbid one, or allow
    /// one for a class that is not retried by itself; it cannot exceed the number of attempts, the
    /// budget or the deadline, nor repeat what must not be repeated.
    ///
    /// To see the *reply* of a kind of request otherwise, such as an empty one as a failure, say
    /// `classify_with` on the protocol.
    ///
    /// ```
    /// use buttress_core::{Class, Plain};
    /// use buttress_retry::RetryLayer;
    ///
    /// #[derive(Clone)]
    /// struct Ask {
    ///     prompt: String,
    ///     urgent: bool,
    /// }
    ///
    /// // Somebody waits: rather an error now.
    /// let layer = RetryLayer::new(Plain)
    ///     .decide_with(|ask: &Ask, outcome| {
    ///         (ask.urgent && outcome.class == Class::Throttled).then_some(false)
    ///     });
    /// ```
    #[must_use]
    pub fn decide_with<Req, F>(self, decide: F) -> RetryLayer<P, B, U, F>
    where
        F: Fn(&Req, &Outcome) -> Option<bool> + Decide<Req>,
    {
        RetryLayer {
            protocol: self.protocol,
            backoff: self.backoff,
            budget: self.budget,
            decide,
            settings: self.settings,
        }
    }

    /// Draws jitter from this seed: calls that fail in the same order wait the same times. Default:
    /// another one for each layer.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Calls `observer` with every [`RetryEvent`], in the task that makes the call; see there for
    /// when. A second observer takes the place of the first. Default: none.
    #[must_use]
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&RetryEvent<'_>) + Send + Sync + 'static,
    {
        self.settings.observer = Some(Arc::new(observer));
        self
    }
}

impl<P, B, U, D, S> Layer<S> for RetryLayer<P, B, U, D>
where
    P: Clone,
    B: Clone,
    U: Clone,
    D: Clone,
{
    type Service = Retry<P, S, B, U, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::new(self.clone()))
    }
}

impl<P, B, U, D> fmt::Debug for RetryLayer<P, B, U, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("max_attempts", &self.settings.max_attempts)
            .field("max_elapsed", &self.settings.max_elapsed)
            .finish_non_exhaustive()
    }
}
