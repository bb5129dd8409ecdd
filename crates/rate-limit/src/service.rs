use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Carry, Classify, Refuse, Track};
use tower_service::Service;

use crate::{
    Key, Limiter, RateLimitLayer, ResponseFuture, Store,
    ask::{AllCalls, CostOf, KeyOf, LimitsOf, NoLimits, OneRequest},
    course::Course,
};

/// The service that [`RateLimitLayer`] makes.
///
/// It is always ready. Whether a call is admitted is decided in its future, and only then is a
/// clone of the inner service readied: a refusal neither asks nor waits for it, and a call that
/// waits for its quotas holds nothing of it.
pub struct RateLimit<P, S, St = Limiter, G = AllCalls, C = OneRequest, L = NoLimits, K = ()> {
    inner: S,
    config: Arc<RateLimitLayer<P, St, G, C, L, K>>,
}

// ===== impl RateLimit =====

impl<P, S, St, G, C, L, K> RateLimit<P, S, St, G, C, L, K> {
    pub(crate) const fn new(inner: S, config: Arc<RateLimitLayer<P, St, G, C, L, K>>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the limit.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// What keeps the levels.
    pub fn store(&self) -> &St {
        &self.config.store
    }
}

impl<P, S, St, G, C, L, K, Req> Service<Req> for RateLimit<P, S, St, G, C, L, K>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Carry<Req>
        + Clone
        + Send
        + Sync
        + 'static,
    St: Store<K> + Send + Sync + 'static,
    G: KeyOf<Req, K> + Send + Sync + 'static,
    C: CostOf<Req> + Send + Sync + 'static,
    L: LimitsOf<S::Response> + Send + Sync + 'static,
    K: Key,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S, Req, St, G, C, L, K>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let key = self.config.key.key(&request);
        let cost = self.config.cost.cost(&request);
        let course = Course::new(Arc::clone(&self.config), key, cost);
        ResponseFuture::new(self.inner.clone(), request, course)
    }
}

impl<P, S: Clone, St, G, C, L, K> Clone for RateLimit<P, S, St, G, C, L, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<P, S: fmt::Debug, St: fmt::Debug, G, C, L, K> fmt::Debug for RateLimit<P, S, St, G, C, L, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
