use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Carry, Classify, Refuse, Share, Track};
use tower_service::Service;

use crate::{AsIs, CacheKey, Flavours, Freshness, Lifetime, ResponseFuture, parts::Parts};

/// The service that [`CacheLayer`](crate::CacheLayer) makes.
///
/// It is always ready: what is kept does not wait for the inner service. Where that has to be
/// called, a clone of it is readied inside the future.
pub struct CacheService<P, K, T, S, L = Freshness, V = AsIs> {
    inner: S,
    parts: Arc<Parts<P, K, L, V, T>>,
}

// ===== impl CacheService =====

impl<P, K, T, S, L, V> CacheService<P, K, T, S, L, V> {
    pub(crate) const fn new(inner: S, parts: Arc<Parts<P, K, L, V, T>>) -> Self {
        Self { inner, parts }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the cache.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, K, T, S, L, V, Req> Service<Req> for CacheService<P, K, T, S, L, V>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Req: Send + 'static,
    P: Share<S::Response, Shared = T>
        + Carry<Req>
        + Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Send
        + Sync
        + 'static,
    K: CacheKey<Req> + Send + Sync + 'static,
    L: Lifetime<S::Response> + Send + Sync + 'static,
    V: Flavours<Req, S::Response> + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, K, T, S, L, V, Req>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(self.parts.clone(), &self.inner, request)
    }
}

impl<P, K, T, S: Clone, L, V> Clone for CacheService<P, K, T, S, L, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<P, K, T, S: fmt::Debug, L, V> fmt::Debug for CacheService<P, K, T, S, L, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("inner", &self.inner)
            .field("cache", &self.parts.cache)
            .finish_non_exhaustive()
    }
}
