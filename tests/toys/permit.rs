//! So many calls at once, each until the end of its body; one more is refused.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Classify, Outcome, Reason, Refuse, Refused, Report, Track};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use super::Follow;

#[derive(Clone, Debug)]
pub struct PermitLayer<P> {
    protocol: P,
    permits: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
pub struct Permit<P, S> {
    layer: PermitLayer<P>,
    inner: S,
}

#[derive(Debug)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl<P> PermitLayer<P> {
    pub fn new(protocol: P, permits: usize) -> Self {
        Self {
            protocol,
            permits: Arc::new(Semaphore::new(permits)),
        }
    }

    pub fn take(&self) -> OwnedSemaphorePermit {
        self.permits.clone().try_acquire_owned().unwrap()
    }

    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

impl<P: Clone, S> Layer<S> for PermitLayer<P> {
    type Service = Permit<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Permit {
            layer: self.clone(),
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Permit<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Refuse<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Follow<S::Future, P, Held, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.layer.protocol.clone();
        match self.layer.permits.clone().try_acquire_owned() {
            Ok(permit) => Follow::call(self.inner.call(request), protocol, Held(Some(permit))),
            Err(_) => Follow::answer(protocol.refuse(Refused::new(Reason::QueueFull))),
        }
    }
}

impl Report for Held {
    fn report(&mut self, _: &Outcome) {
        self.0 = None;
    }
}
