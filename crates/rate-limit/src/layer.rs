use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use buttress_core::Limits;
use tower_layer::Layer;

use crate::{
    Algorithm, Cost, Key, Limiter, RateLimit, RateLimitEvent, Store, Waiters,
    ask::{AllCalls, NoLimits, OneRequest},
};

/// Admits calls as far as their quotas allow, and settles each at its end to what it used.
///
/// | | default |
/// |---|---|
/// | [`key`](RateLimitLayer::key) | none: all calls share the quotas |
/// | [`cost`](RateLimitLayer::cost) | one request, no tokens |
/// | [`limits`](RateLimitLayer::limits) | what a provider says is not read, but for the hint of a throttled call |
/// | [`wait`](RateLimitLayer::wait) | not at all: refuse at once |
/// | [`queue`](RateLimitLayer::queue) | 1024 calls of each key, once it waits |
/// | [`charge_delivered`](RateLimitLayer::charge_delivered) | off: where nothing certain was learned the estimate stands |
/// | [`on_event`](RateLimitLayer::on_event) | nobody listens |
///
/// The services that it makes share its levels and its queue, as do its clones and theirs, and all
/// other layers over the same [`Limiter`].
///
/// # Examples
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use buttress_core::Plain;
/// use buttress_rate_limit::{Cost, Quota, Quotas, Rate, RateLimitLayer};
///
/// struct Ask {
///     tenant: u32,
///     prompt: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), buttress_rate_limit::RateError> {
/// let quotas = Quotas::requests(Quota::per_minute(NonZeroU32::new(60).unwrap()))
///     .and_tokens(Rate::mirroring(100_000)?);
/// let layer = RateLimitLayer::new(Plain, quotas)
///     .key(|ask: &Ask| ask.tenant)
///     .cost(|ask: &Ask| Cost::tokens(ask.prompt.len() as u64 / 4, 500))
///     .wait(Duration::from_secs(20));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer<P, St = Limiter, G = AllCalls, C = OneRequest, L = NoLimits, K = ()> {
    pub(crate) protocol: P,
    pub(crate) store: St,
    pub(crate) key: G,
    pub(crate) cost: C,
    pub(crate) limits: L,
    pub(crate) waiters: Waiters<K>,
    pub(crate) settings: Settings,
}

/// What has the same type whatever is limited.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) longest: Option<Duration>,
    pub(crate) queue: usize,
    pub(crate) delivered: bool,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&RateLimitEvent<'_>) + Send + Sync;

// ===== impl RateLimitLayer =====

impl<P> RateLimitLayer<P> {
    /// Limits all calls together, to these [`Quotas`](crate::Quotas), or by this [`Limiter`].
    /// `protocol` says what a result means and how a refusal is answered: `Plain`, `Http`,
    /// `HttpServer`, or what is made of them.
    #[must_use]
    pub fn new(protocol: P, limiter: impl Into<Limiter>) -> Self {
        Self::with_store(protocol, limiter.into(), AllCalls)
    }
}

impl<P, A: Algorithm, C, L> RateLimitLayer<P, Limiter<(), A>, AllCalls, C, L> {
    /// Limits the calls of each key apart, to the same quotas. Default: all together.
    ///
    /// It runs once for each call, before anything else. To give keys quotas of their own, or to
    /// bound their number otherwise, make a [`Limiter`] and say [`limiter`](Self::limiter).
    #[must_use]
    pub fn key<Req, K, F>(self, key: F) -> RateLimitLayer<P, Limiter<K, A>, F, C, L, K>
    where
        F: Fn(&Req) -> K,
        K: Key,
    {
        let limiter = self.store.rekeyed();
        self.limiter(limiter, key)
    }

    /// Limits by this limiter, which others may share, and by the key that is in the request.
    ///
    /// ```
    /// use std::num::{NonZeroU32, NonZeroUsize};
    /// use buttress_core::Plain;
    /// use buttress_rate_limit::{Limiter, Quota, Quotas, RateLimitLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let minute = |n| Quotas::requests(Quota::per_minute(NonZeroU32::new(n).unwrap()));
    /// let limiter = Limiter::keyed(minute(60))
    ///     .max_keys(NonZeroUsize::new(10_000).unwrap())
    ///     .quotas_for(move |tenant: &u32| (*tenant == 7).then(|| minute(600)));
    /// let layer = RateLimitLayer::new(Plain, Quotas::none())
    ///     .limiter(limiter.clone(), |(tenant, _prompt): &(u32, String)| *tenant);
    /// assert_eq!(limiter.standing(&7)[0].remaining, 600);
    /// # }
    /// ```
    #[must_use]
    pub fn limiter<Req, K, B, F>(
        self,
        limiter: Limiter<K, B>,
        key: F,
    ) -> RateLimitLayer<P, Limiter<K, B>, F, C, L, K>
    where
        F: Fn(&Req) -> K,
        K: Key,
        B: Algorithm,
    {
        RateLimitLayer {
            protocol: self.protocol,
            waiters: limiter.waiters(),
            store: limiter,
            key,
            cost: self.cost,
            limits: self.limits,
            settings: self.settings,
        }
    }
}

impl<P, St, G, K> RateLimitLayer<P, St, G, OneRequest, NoLimits, K> {
    /// Limits by what is kept in a [`Store`](crate::Store) of your own, and by the key that is in
    /// the request.
    #[must_use]
    pub fn with_store(protocol: P, store: St, key: G) -> Self
    where
        St: Store<K>,
    {
        Self {
            protocol,
            waiters: store.waiters(),
            store,
            key,
            cost: OneRequest,
            limits: NoLimits,
            settings: Settings {
                longest: None,
                queue: 1024,
                delivered: false,
                observer: None,
            },
        }
    }
}

impl<P, St, G, C, L, K> RateLimitLayer<P, St, G, C, L, K> {
    /// What a request costs, by estimate: this is taken when the call begins, and settled when it
    /// has ended. Default: [`Cost::REQUEST`].
    ///
    /// It runs once for each call. Better too high than too low: what was not used goes back, what
    /// was used beyond is a debt that later calls wait for. `buttress-llm` estimates chat requests.
    #[must_use]
    pub fn cost<Req, F>(self, cost: F) -> RateLimitLayer<P, St, G, F, L, K>
    where
        F: Fn(&Req) -> Cost,
    {
        RateLimitLayer {
            protocol: self.protocol,
            store: self.store,
            key: self.key,
            cost,
            limits: self.limits,
            waiters: self.waiters,
            settings: self.settings,
        }
    }

    /// Reads from a response what its provider says remains, and keeps its key to that: see
    /// [`Limiter::tighten`]. Default: nothing is read.
    ///
    /// It runs when a response has begun, of any status. `buttress-llm` reads the headers of the
    /// providers that it knows.
    #[must_use]
    pub fn limits<Res, F>(self, limits: F) -> RateLimitLayer<P, St, G, C, F, K>
    where
        F: Fn(&Res) -> Option<Limits>,
    {
        RateLimitLayer {
            protocol: self.protocol,
            store: self.store,
            key: self.key,
            cost: self.cost,
            limits,
            waiters: self.waiters,
            settings: self.settings,
        }
    }

    /// Lets calls wait for their turn, each for so long at most, and no longer than the deadline
    /// that its request carries. Calls of one key are admitted in the order in which they were
    /// first polled, however large they are. One that would have to wait for longer is refused at
    /// once, with the wait that it would have been. Default: none waits.
    #[must_use]
    pub fn wait(mut self, longest: Duration) -> Self {
        self.settings.longest = Some(longest);
        self
    }

    /// How many calls of one key wait at most; more are refused with
    /// [`QueueFull`](buttress_core::Reason::QueueFull). Default: 1024.
    #[must_use]
    pub fn queue(mut self, calls: NonZeroUsize) -> Self {
        self.settings.queue = calls.get();
        self
    }

    /// Charges what is known to have been delivered of a reply that was cut short, where the
    /// provider did not say what it used: an estimate, or what a part of the stream said. Default:
    /// the reserved estimate stands, and what is known beyond it is charged too.
    #[must_use]
    pub fn charge_delivered(mut self) -> Self {
        self.settings.delivered = true;
        self
    }

    /// Calls `observer` with every [`RateLimitEvent`], in the task that makes the call or reads its
    /// response. A second observer takes the place of the first. Default: none.
    #[must_use]
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&RateLimitEvent<'_>) + Send + Sync + 'static,
    {
        self.settings.observer = Some(Arc::new(observer));
        self
    }

    /// Whether calls may wait.
    pub(crate) const fn waits(&self) -> bool {
        self.settings.longest.is_some()
    }

    /// What keeps the levels: the handle by which to check, reserve and read without a call. Get it
    /// after [`key`](RateLimitLayer::key), which makes another one.
    pub const fn store(&self) -> &St {
        &self.store
    }
}

impl<P, St, G, C, L, K, S> Layer<S> for RateLimitLayer<P, St, G, C, L, K>
where
    P: Clone,
    St: Clone,
    G: Clone,
    C: Clone,
    L: Clone,
{
    type Service = RateLimit<P, S, St, G, C, L, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let config = Self {
            protocol: self.protocol.clone(),
            store: self.store.clone(),
            key: self.key.clone(),
            cost: self.cost.clone(),
            limits: self.limits.clone(),
            waiters: self.waiters.clone(),
            settings: self.settings.clone(),
        };
        RateLimit::new(inner, Arc::new(config))
    }
}

impl<P, St: fmt::Debug, G, C, L, K> fmt::Debug for RateLimitLayer<P, St, G, C, L, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("store", &self.store)
            .field("wait", &self.settings.longest)
            .field("queue", &self.settings.queue)
            .finish_non_exhaustive()
    }
}
