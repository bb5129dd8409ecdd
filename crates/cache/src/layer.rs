use std::{any::type_name, fmt, sync::Arc, time::Duration};

use buttress_core::{Class, Outcome, Share};
use tower_layer::Layer;

use crate::{
    AsIs, Cache, CacheEvent, CacheKey, CacheService, Directives, Freshness, Keyed, Lifetime,
    Limited, Negative, Terms,
    lifetime::may_be_kept,
    parts::{Options, Parts},
};

/// Keeps replies, and makes one call for all who ask the same at once.
///
/// | | default |
/// |---|---|
/// | [`max_bytes`](CacheLayer::max_bytes) | 64 MiB |
/// | [`lifetime`](CacheLayer::lifetime) | fresh for five minutes, never stale; only what went well |
/// | [`cacheable`](CacheLayer::cacheable) | everything that has a key |
/// | [`heed`](CacheLayer::heed) | the caller's `Cache-Control` is not heeded |
/// | [`heed_reply`](CacheLayer::heed_reply) | that of the reply neither |
/// | [`flavours`](CacheLayer::flavours) | everybody gets the reply as it is recorded |
/// | [`weigh`](CacheLayer::weigh) | what the protocol says |
/// | [`next_waiter_tries`](CacheLayer::next_waiter_tries) | an error reaches all who waited |
/// | [`refreshes`](CacheLayer::refreshes) | 64 at a time, within five minutes each |
/// | [`refresh_pause`](CacheLayer::refresh_pause) | a second after one that failed |
///
/// The services that it makes share one cache, with those of its clones.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_cache::{CacheLayer, Freshness, Keyed};
/// use buttress_core::{Outcome, Plain};
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// let layer = CacheLayer::<_, _, (String, _)>::new(Plain, |prompt: &String| Keyed::of(prompt))
///     .max_bytes(16 << 20)
///     .weigh(|(reply, _): &(String, Outcome)| reply.len())
///     .lifetime(Freshness::new(minutes(10)).stale_if_error(minutes(60)));
/// ```
pub struct CacheLayer<P, K, T, L = Freshness, V = AsIs> {
    protocol: P,
    key: K,
    lifetime: L,
    flavours: V,
    cache: Cache<T>,
    options: Options<T>,
}

/// A key of requests that a function lets through: see [`CacheLayer::cacheable`].
#[derive(Clone, Copy)]
pub struct Only<K, F> {
    key: K,
    cacheable: F,
}

/// A key of requests that say what they ask of caches: see [`CacheLayer::heed`].
#[derive(Clone, Copy)]
pub struct Heeding<K, F> {
    key: K,
    directives: F,
}

// ===== impl CacheLayer =====

impl<P, K, T> CacheLayer<P, K, T>
where
    T: Clone + Send + Sync + 'static,
{
    /// How much is kept by default: 64 MiB.
    pub const DEFAULT_BYTES: u64 = 64 << 20;

    /// A cache of its own. `protocol` says what a result means, and how a response is shared and
    /// followed to its end: `Plain`, `Http`, or what is made of them. `key` says which question a
    /// request asks: a function of `&Req`, or what else is a [`CacheKey`].
    #[must_use]
    pub fn new(protocol: P, key: K) -> Self {
        Self {
            protocol,
            key,
            lifetime: Freshness::default(),
            flavours: AsIs,
            cache: Cache::new(Self::DEFAULT_BYTES),
            options: Options::default(),
        }
    }
}

impl<P, K, T, L, V> CacheLayer<P, K, T, L, V>
where
    T: Clone + Send + Sync + 'static,
{
    /// A new cache that keeps so many bytes: see [`Cache::new`]. Default: 64 MiB.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self {
            cache: Cache::new(bytes),
            ..self
        }
    }

    /// This cache, which it shares with whoever else has a handle to it. Default: one of its own.
    ///
    /// Layers that share one have to agree on what a key means.
    #[must_use]
    pub fn cache(self, cache: &Cache<T>) -> Self {
        Self {
            cache: cache.clone(),
            ..self
        }
    }

    /// The handle to its cache.
    #[must_use]
    pub fn handle(&self) -> Cache<T> {
        self.cache.clone()
    }

    /// For how long a reply serves: a [`Freshness`], or a function of `&Res` and `&Outcome` that
    /// gives one. Default: [`Freshness::default`].
    #[must_use]
    pub fn lifetime<L2>(self, lifetime: L2) -> CacheLayer<P, K, T, L2, V> {
        self.with_lifetime(|_| lifetime)
    }

    /// Keeps for so long also responses of class `Invalid` and `Unfit`, which say that the request
    /// is at fault, and would be so again. Default: no failure is kept. Terms of the reply bound it if
    /// [`heed_reply`](CacheLayer::heed_reply) comes after it.
    #[must_use]
    pub fn negative(self, time: Duration) -> CacheLayer<P, K, T, Negative<L>, V> {
        self.with_lifetime(|inner| Negative { inner, time })
    }

    /// How each caller wants its reply delivered: see [`Flavours`](crate::Flavours). Default:
    /// [`AsIs`].
    #[must_use]
    pub fn flavours<V2>(self, flavours: V2) -> CacheLayer<P, K, T, L, V2> {
        let Self {
            protocol,
            key,
            lifetime,
            cache,
            options,
            ..
        } = self;
        CacheLayer {
            protocol,
            key,
            lifetime,
            flavours,
            cache,
            options,
        }
    }

    /// Leaves the cache out where `cacheable` says no. It is asked before the key is made. Default:
    /// everything that has a key.
    #[must_use]
    pub fn cacheable<Req, F>(self, cacheable: F) -> CacheLayer<P, Only<K, F>, T, L, V>
    where
        F: Fn(&Req) -> bool,
    {
        self.with_key(|key| Only { key, cacheable })
    }

    /// Heeds what the caller asks of caches, read by `directives` from the request. Default: not.
    ///
    /// ```
    /// use buttress_cache::{CacheLayer, Directives, Keyed};
    /// use buttress_http::Http;
    /// use http::{Request, header::CACHE_CONTROL};
    /// # use http_body_util::Full;
    /// # type Ask = Request<Full<bytes::Bytes>>;
    /// # type Shared = buttress_http::Shared<Full<bytes::Bytes>>;
    /// # let key = |ask: &Ask| Keyed::of(ask.uri());
    /// let layer = CacheLayer::<_, _, Shared>::new(Http, key).heed(|ask: &Ask| {
    ///     let all = ask.headers().get_all(CACHE_CONTROL);
    ///     Directives::parse(all.iter().filter_map(|value| value.to_str().ok()))
    /// });
    /// ```
    #[must_use]
    pub fn heed<Req, F>(self, directives: F) -> CacheLayer<P, Heeding<K, F>, T, L, V>
    where
        F: Fn(&Req) -> Directives,
    {
        self.with_key(|key| Heeding { key, directives })
    }

    /// Heeds what the upstream lets caches do with its reply, read by `terms` from the response: it is
    /// kept for as long as the [lifetime](CacheLayer::lifetime) set so far says, and no longer than
    /// they do. Default: not, for the reasons that [`Terms`] gives.
    ///
    /// ```
    /// use buttress_cache::{CacheLayer, Keyed, Terms};
    /// use buttress_http::{Body, Http};
    /// use http::{Request, Response, header::{AGE, CACHE_CONTROL}};
    /// # use http_body_util::Full;
    /// # type Bytes = Full<bytes::Bytes>;
    /// # let key = |ask: &Request<Bytes>| Keyed::of(ask.uri());
    /// let layer = CacheLayer::<_, _, buttress_http::Shared<Bytes>>::new(Http, key)
    ///     .heed_reply(|reply: &Response<Body<Bytes>>| {
    ///         let all = reply.headers().get_all(CACHE_CONTROL);
    ///         let terms = Terms::parse(all.iter().filter_map(|value| value.to_str().ok()));
    ///         terms.aged(reply.headers().get(AGE).and_then(|age| age.to_str().ok()))
    ///     });
    /// ```
    #[must_use]
    pub fn heed_reply<Res, F>(self, terms: F) -> CacheLayer<P, K, T, Limited<L, F>, V>
    where
        F: Fn(&Res) -> Terms,
    {
        self.with_lifetime(|inner| Limited { inner, terms })
    }

    /// About how many bytes a reply takes in memory, asked once of each that is kept. Default: what
    /// the protocol says, which for `Plain` is the size of the type alone, without what it points
    /// to.
    ///
    /// It is asked under a lock of the cache, and must not call the cache.
    #[must_use]
    pub fn weigh<F>(mut self, weigh: F) -> Self
    where
        F: Fn(&T) -> usize + Send + Sync + 'static,
    {
        self.options.weigh = Some(Arc::new(weigh));
        self
    }

    /// When a call ends in an error, the next who waited for it makes it again with its own request,
    /// and so on, instead of being refused. Default: an error reaches all who waited.
    #[must_use]
    pub fn next_waiter_tries(mut self) -> Self {
        self.options.next_waiter_tries = true;
        self
    }

    /// How many stale replies are refreshed at a time, and within which time each. Those beyond are
    /// refreshed when they are asked for the next time. Default: 64, within five minutes.
    ///
    /// A refresh is a task of its own, on the runtime of the call that found the reply stale. It ends
    /// with its time, with the runtime, or when nothing can come of it any more.
    #[must_use]
    pub fn refreshes(mut self, most: usize, within: Duration) -> Self {
        self.options.refreshes = most;
        self.options.refresh_within = within;
        self
    }

    /// After a refresh that has not led to another reply, none is begun for the same key for so long,
    /// or for as long as the upstream asked to wait, if that is longer. Default: one second.
    #[must_use]
    pub fn refresh_pause(mut self, pause: Duration) -> Self {
        self.options.refresh_pause = pause;
        self
    }

    /// Calls `observer` for everything that happens, on the thread where it does, under no lock.
    #[must_use]
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&CacheEvent) + Send + Sync + 'static,
    {
        self.options.observer = Some(Arc::new(observer));
        self
    }

    /// Keeps these replies, as if they had just come, and says how many of them it could. One that is
    /// a stream is read to its end first. What is kept for a key already is replaced. It is put into
    /// the second level, if there is one, as fast as that takes it, and told as
    /// [`CacheEvent::Stored`].
    ///
    /// ```
    /// use buttress_cache::{CacheLayer, Keyed};
    /// use buttress_core::Plain;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let layer = CacheLayer::new(Plain, |ask: &&str| Keyed::of(*ask));
    /// let known = [("ping", "pong"), ("knock", "who is there?")];
    /// let warmed = layer.warm(known.map(|(ask, reply)| (Keyed::of(ask), reply.to_owned())));
    /// assert_eq!(warmed.await, 2);
    ///
    /// let never = service_fn(|_: &'static str| std::future::pending::<Result<String, buttress_core::Refused>>());
    /// assert_eq!(layer.layer(never).oneshot("ping").await.unwrap(), "pong");
    /// # }
    /// ```
    pub async fn warm<Res>(&self, replies: impl IntoIterator<Item = (Keyed, Res)>) -> usize
    where
        P: Share<Res, Shared = T>,
        L: Lifetime<Res>,
    {
        let mut warmed = 0;
        for (keyed, reply) in replies {
            let freshness = self.lifetime.freshness(&reply, &Outcome::SUCCESS);
            let shared = self.protocol.share(reply, &Outcome::SUCCESS);
            self.protocol.drain(&shared).await;
            let whole = self.protocol.reopens(&shared);
            let ended = self.protocol.ended(&shared).filter(|_| whole);
            let good = |outcome: &Outcome| outcome.class == Class::Success && may_be_kept(outcome);
            if let Some(outcome) = ended.filter(good) {
                if let Some(level) = self.cache.level() {
                    level.room().await;
                }
                let weight = self.options.weight(&self.protocol, &shared);
                let kept = self.cache.put(&keyed, shared, outcome, freshness, weight);
                if let Some(kept) = kept {
                    self.options.kept(&self.cache, kept);
                    warmed += 1;
                }
            }
        }
        warmed
    }

    fn with_lifetime<L2>(self, make: impl FnOnce(L) -> L2) -> CacheLayer<P, K, T, L2, V> {
        let Self {
            protocol,
            key,
            lifetime,
            flavours,
            cache,
            options,
        } = self;
        CacheLayer {
            protocol,
            key,
            lifetime: make(lifetime),
            flavours,
            cache,
            options,
        }
    }

    fn with_key<K2>(self, make: impl FnOnce(K) -> K2) -> CacheLayer<P, K2, T, L, V> {
        let Self {
            protocol,
            key,
            lifetime,
            flavours,
            cache,
            options,
        } = self;
        CacheLayer {
            protocol,
            key: make(key),
            lifetime,
            flavours,
            cache,
            options,
        }
    }
}

impl<P, K, T, L, V, S> Layer<S> for CacheLayer<P, K, T, L, V>
where
    P: Clone,
    K: Clone,
    L: Clone,
    V: Clone,
{
    type Service = CacheService<P, K, T, S, L, V>;

    fn layer(&self, inner: S) -> Self::Service {
        let this = self.clone();
        CacheService::new(
            inner,
            Arc::new(Parts {
                protocol: this.protocol,
                key: this.key,
                lifetime: this.lifetime,
                flavours: this.flavours,
                cache: this.cache,
                options: this.options,
            }),
        )
    }
}

impl<P: Clone, K: Clone, T, L: Clone, V: Clone> Clone for CacheLayer<P, K, T, L, V> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            key: self.key.clone(),
            lifetime: self.lifetime.clone(),
            flavours: self.flavours.clone(),
            cache: self.cache.clone(),
            options: self.options.clone(),
        }
    }
}

impl<P: fmt::Debug, K, T, L, V> fmt::Debug for CacheLayer<P, K, T, L, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("protocol", &self.protocol)
            .field("key", &format_args!("{}", type_name::<K>()))
            .field("lifetime", &format_args!("{}", type_name::<L>()))
            .field("cache", &self.cache)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

// ===== impl Only =====

impl<Req, K, F> CacheKey<Req> for Only<K, F>
where
    K: CacheKey<Req>,
    F: Fn(&Req) -> bool,
{
    fn key(&self, request: &Req) -> Option<Keyed> {
        (self.cacheable)(request)
            .then(|| self.key.key(request))
            .flatten()
    }

    fn directives(&self, request: &Req) -> Directives {
        self.key.directives(request)
    }
}

impl<K: fmt::Debug, F> fmt::Debug for Only<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Only")
            .field("key", &self.key)
            .field("cacheable", &format_args!("{}", type_name::<F>()))
            .finish()
    }
}

// ===== impl Heeding =====

impl<Req, K, F> CacheKey<Req> for Heeding<K, F>
where
    K: CacheKey<Req>,
    F: Fn(&Req) -> Directives,
{
    fn key(&self, request: &Req) -> Option<Keyed> {
        self.key.key(request)
    }

    fn directives(&self, request: &Req) -> Directives {
        (self.directives)(request)
    }
}

impl<K: fmt::Debug, F> fmt::Debug for Heeding<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heeding")
            .field("key", &self.key)
            .field("directives", &format_args!("{}", type_name::<F>()))
            .finish()
    }
}
