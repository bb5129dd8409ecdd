//! Layers that do something with time: a quota that waits or refuses, and a breaker.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_testing::probe::Reply;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

// ===== Quota =====

const WINDOW: Duration = Duration::from_secs(60);

/// So many calls in any minute.
#[derive(Clone)]
pub(crate) struct QuotaLayer {
    admitted: Arc<Mutex<Vec<Instant>>>,
    quota: usize,
    waits: bool,
}

#[derive(Clone)]
pub(crate) struct Quota<S> {
    inner: S,
    layer: QuotaLayer,
}

impl QuotaLayer {
    pub(crate) fn new(quota: usize, waits: bool) -> Self {
        let admitted = Arc::default();
        Self {
            admitted,
            quota,
            waits,
        }
    }

    /// Admits a call, or says when to come again.
    fn admit(&self) -> Result<(), Instant> {
        let now = Instant::now();
        let mut admitted = self.admitted.lock().unwrap();
        admitted.retain(|at| now < *at + WINDOW);
        if admitted.len() < self.quota {
            admitted.push(now);
            return Ok(());
        }
        Err(admitted[0] + WINDOW)
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = Quota<S>;

    fn layer(&self, inner: S) -> Quota<S> {
        let layer = self.clone();
        Quota { inner, layer }
    }
}

impl<S> Service<u64> for Quota<S>
where
    S: Service<u64, Error = BoxError, Response: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            while let Err(at) = layer.admit() {
                if !layer.waits {
                    return Err("limited".into());
                }
                tokio::time::sleep_until(at).await;
            }
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        })
    }
}

// ===== Breaker =====

const FAILURES: u32 = 5;
const OPEN: Duration = Duration::from_secs(30);

/// Refuses for a while after five failures in a row.
#[derive(Clone)]
pub(crate) struct BreakerLayer {
    circuit: Arc<Mutex<Circuit>>,
    /// Each service has a circuit of its own.
    own: bool,
}

#[derive(Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
}

pub(crate) struct Breaker<S> {
    inner: S,
    circuit: Arc<Mutex<Circuit>>,
    admits: Option<bool>,
}

impl BreakerLayer {
    pub(crate) fn new(own: bool) -> Self {
        let circuit = Arc::default();
        Self { circuit, own }
    }

    pub(crate) fn open() -> Self {
        let layer = Self::new(false);
        layer.circuit.lock().unwrap().open_until = Some(Instant::now() + OPEN);
        layer
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        let circuit = match self.own {
            true => Arc::default(),
            false => Arc::clone(&self.circuit),
        };
        let admits = None;
        Breaker {
            inner,
            circuit,
            admits,
        }
    }
}

impl<S> Service<u64> for Breaker<S>
where
    S: Service<u64, Response = Reply, Error = BoxError, Future: Send + 'static>,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<Reply>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let circuit = &self.circuit;
        let admits = *self.admits.get_or_insert_with(|| {
            let open_until = circuit.lock().unwrap().open_until;
            open_until.is_none_or(|until| until <= Instant::now())
        });
        match admits {
            true => self.inner.poll_ready(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        if self.admits.take() == Some(false) {
            return Box::pin(async { Err("open".into()) });
        }
        let call = self.inner.call(request);
        let circuit = Arc::clone(&self.circuit);
        Box::pin(async move {
            let result = call.await;
            let failed = result.as_ref().map_or(true, Reply::is_fault);
            let mut circuit = circuit.lock().unwrap();
            circuit.failures = if failed { circuit.failures + 1 } else { 0 };
            if circuit.failures >= FAILURES {
                circuit.open_until = Some(Instant::now() + OPEN);
            }
            result
        })
    }
}

impl<S: Clone> Clone for Breaker<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            circuit: Arc::clone(&self.circuit),
            admits: None,
        }
    }
}
