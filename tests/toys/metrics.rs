//! Writes down how every call ended: around attempts, or around whole requests.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_core::{Carry, Class, Classify, Ledger, Outcome, Progress, Report, Track};
use tower_layer::Layer;
use tower_service::Service;

use super::Follow;

#[derive(Clone, Debug)]
pub struct MetricsLayer<P> {
    protocol: P,
    request: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub outcomes: Vec<Outcome>,
    pub chunks: usize,
    pub first_contents: usize,
}

#[derive(Clone, Debug)]
pub struct Metrics<P, S> {
    layer: MetricsLayer<P>,
    inner: S,
}

#[derive(Debug)]
pub struct Record {
    seen: Arc<Mutex<Seen>>,
    ledger: Option<Ledger>,
}

impl<P> MetricsLayer<P> {
    pub fn attempt(protocol: P) -> Self {
        Self {
            protocol,
            request: false,
            seen: Arc::default(),
        }
    }

    /// Around a whole request: sums up what its attempts used.
    pub fn request(protocol: P) -> Self {
        Self {
            protocol,
            request: true,
            seen: Arc::default(),
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn classes(&self) -> Vec<Class> {
        self.seen()
            .outcomes
            .iter()
            .map(|outcome| outcome.class)
            .collect()
    }
}

impl<P: Clone, S> Layer<S> for MetricsLayer<P> {
    type Service = Metrics<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics {
            layer: self.clone(),
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Metrics<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Carry<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Follow<S::Future, P, Record, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let MetricsLayer {
            protocol,
            request: whole,
            seen,
        } = self.layer.clone();
        let ledger = whole.then(|| {
            let mut info = protocol.info(&request).clone();
            let ledger = Ledger::under(info.ledger.as_ref());
            info.ledger = Some(ledger.clone());
            protocol.set_info(&mut request, info);
            ledger
        });
        Follow::call(self.inner.call(request), protocol, Record { seen, ledger })
    }
}

impl Report for Record {
    fn report(&mut self, outcome: &Outcome) {
        let total = self
            .ledger
            .as_ref()
            .map_or(*outcome, |ledger| ledger.total(outcome));
        self.seen.lock().unwrap().outcomes.push(total);
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        let mut seen = self.seen.lock().unwrap();
        seen.chunks += 1;
        seen.first_contents += usize::from(progress == Progress::FirstContent);
    }
}
