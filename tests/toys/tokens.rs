//! So many tokens in all: reserves an estimate, and settles it when the usage is known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Classify, Outcome, Reason, Refuse, Refused, Report, Track};
use tower_layer::Layer;
use tower_service::Service;

use super::Follow;

#[derive(Clone, Debug)]
pub struct TokensLayer<P> {
    protocol: P,
    quota: u64,
    estimate: u64,
    charged: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
pub struct Tokens<P, S> {
    layer: TokensLayer<P>,
    inner: S,
}

#[derive(Debug)]
pub struct Reservation {
    charged: Arc<AtomicU64>,
    estimate: u64,
}

impl<P> TokensLayer<P> {
    pub fn new(protocol: P, quota: u64, estimate: u64) -> Self {
        Self {
            protocol,
            quota,
            estimate,
            charged: Arc::default(),
        }
    }

    pub fn charged(&self) -> u64 {
        self.charged.load(Ordering::Relaxed)
    }
}

impl<P: Clone, S> Layer<S> for TokensLayer<P> {
    type Service = Tokens<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Tokens {
            layer: self.clone(),
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Tokens<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Refuse<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Follow<S::Future, P, Reservation, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let TokensLayer {
            protocol,
            quota,
            estimate,
            charged,
        } = self.layer.clone();
        let reserve = |sum: u64| sum.checked_add(estimate).filter(|sum| *sum <= quota);
        match charged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve) {
            Ok(_) => Follow::call(
                self.inner.call(request),
                protocol,
                Reservation { charged, estimate },
            ),
            Err(_) => Follow::answer(protocol.refuse(Refused::new(Reason::Limited))),
        }
    }
}

impl Report for Reservation {
    fn report(&mut self, outcome: &Outcome) {
        let used = match outcome.usage {
            Some(usage) if usage.billed => usage.total(),
            Some(_) => 0,
            None if outcome.unused() => 0,
            None => self.estimate,
        };
        self.charged.fetch_add(used, Ordering::Relaxed);
        self.charged.fetch_sub(self.estimate, Ordering::Relaxed);
    }
}
