use std::{
    fmt,
    task::{Context, Poll},
};

use buttress_core::{Carry, Classify, Refuse, Track};
use tokio::time::Instant;
use tower_service::Service;

use crate::{PerRequest, ResponseFuture, Same, TimeoutLayer, plan::Plan};

/// The service that [`TimeoutLayer`] makes.
///
/// It is ready when the inner service is. Time counts from `call`.
#[derive(Clone)]
pub struct Timeout<P, S, R = Same> {
    inner: S,
    layer: TimeoutLayer<P, R>,
}

// ===== impl Timeout =====

impl<P, S, R> Timeout<P, S, R> {
    pub(crate) const fn new(inner: S, layer: TimeoutLayer<P, R>) -> Self {
        Self { inner, layer }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the limits.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, S, R, Req> Service<Req> for Timeout<P, S, R>
where
    S: Service<Req>,
    P: Carry<Req>
        + Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Clone,
    R: PerRequest<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let TimeoutLayer {
            protocol,
            per_request,
            settings,
        } = &self.layer;
        let asked = per_request.limits(&request);
        let info = protocol.info(&request);
        let carried = info.deadline.map(Instant::from_std);
        let observer = settings.observer.clone();
        let protocol = protocol.clone();
        let Ok(plan) = Plan::new(settings, &asked, carried) else {
            return ResponseFuture::expired(protocol, observer);
        };
        if let Some(deadline) = plan.deadline(carried) {
            let mut info = info.clone();
            info.deadline = Some(deadline.into_std());
            protocol.set_info(&mut request, info);
        }
        ResponseFuture::called(self.inner.call(request), plan, protocol, observer)
    }
}

impl<P, S: fmt::Debug, R> fmt::Debug for Timeout<P, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
