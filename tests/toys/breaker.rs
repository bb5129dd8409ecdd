//! Refuses after three bad calls in a row, until it is reset.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Health, Outcome, Reason, Refuse, Refused, Report, Track};
use tower_layer::Layer;
use tower_service::Service;

use super::Follow;

const THRESHOLD: u32 = 3;

#[derive(Clone, Debug)]
pub struct BreakerLayer<P> {
    protocol: P,
    failures: Arc<AtomicU32>,
}

#[derive(Clone, Debug)]
pub struct Breaker<P, S> {
    layer: BreakerLayer<P>,
    // Decided when ready, binding for the next call: the inner service was not readied.
    refuses: bool,
    inner: S,
}

#[derive(Debug)]
pub struct Judgement(Arc<AtomicU32>);

impl<P> BreakerLayer<P> {
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            failures: Arc::default(),
        }
    }

    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl<P: Clone, S> Layer<S> for BreakerLayer<P> {
    type Service = Breaker<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker {
            layer: self.clone(),
            refuses: false,
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Breaker<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Refuse<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Follow<S::Future, P, Judgement, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.refuses = self.layer.failures() >= THRESHOLD;
        if !self.refuses {
            ready!(self.inner.poll_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.layer.protocol.clone();
        if self.refuses {
            return Follow::answer(protocol.refuse(Refused::new(Reason::CircuitOpen)));
        }
        Follow::call(
            self.inner.call(request),
            protocol,
            Judgement(self.layer.failures.clone()),
        )
    }
}

impl Report for Judgement {
    fn report(&mut self, outcome: &Outcome) {
        match outcome.class.health() {
            Health::Good => self.0.store(0, Ordering::Relaxed),
            Health::Bad => drop(self.0.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}
