use std::{
    fmt,
    task::{Context, Poll},
};

use buttress_core::{Classify, Refuse, Track};
use tower_service::Service;

use crate::{CircuitBreaker, ResponseFuture, shared::Shut};

/// The service that [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) makes.
///
/// While its circuit is open it is ready at once, does not ask the inner service, and refuses the
/// next call. Else it is ready when the inner service is, and the call decides: should the circuit
/// have opened meanwhile, or others have taken the places of the probes, it refuses, and the inner
/// service stays ready.
pub struct CircuitBreakerService<P, S> {
    inner: S,
    protocol: P,
    breaker: CircuitBreaker,
    /// Decided when ready, and binding for the next call: the inner service was not asked.
    shut: Option<Shut>,
}

// ===== impl CircuitBreakerService =====

impl<P, S> CircuitBreakerService<P, S> {
    pub(crate) const fn new(inner: S, protocol: P, breaker: CircuitBreaker) -> Self {
        Self {
            inner,
            protocol,
            breaker,
            shut: None,
        }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the circuit.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, S, Req> Service<Req> for CircuitBreakerService<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Refuse<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.shut.is_some() {
            return Poll::Ready(Ok(()));
        }
        if self.breaker.shared().pass().is_none() {
            self.shut = self.breaker.shared().shut();
            if self.shut.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        if let Some(shut) = self.shut.take() {
            return ResponseFuture::refused(shut, protocol);
        }
        ResponseFuture::of(&self.breaker, protocol, || self.inner.call(request))
    }
}

/// A clone has decided nothing.
impl<P: Clone, S: Clone> Clone for CircuitBreakerService<P, S> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.protocol.clone(),
            self.breaker.clone(),
        )
    }
}

impl<P, S: fmt::Debug> fmt::Debug for CircuitBreakerService<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
