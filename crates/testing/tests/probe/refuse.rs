//! Two more limits on the calls at once: one that refuses, with the ways to get that wrong, and one
//! that queues in its future.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use buttress_testing::probe::Reply;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// `poll_ready` says that it is dead.
    ReadyErr,
    /// The inner service is readied before the refusal.
    AsksInner,
    /// The inner service is asked before the refusal, whatever it says.
    PeeksInner,
    /// The inner service is called, and its reply never looked at.
    CallsInner,
    /// What `poll_ready` decided is decided anew in `call`.
    DecidesAgain,
    /// A place taken in `poll_ready`, and given back by `call` alone.
    CountsPlaces,
    /// The place is given back by its guard, and once more by hand.
    GivesTwice,
    /// The place is taken before the inner call, and its guard made after it.
    GuardsLate,
}

#[derive(Clone, Debug)]
pub(crate) struct RefuseLayer {
    permits: Arc<Semaphore>,
    flaw: Flaw,
}

pub(crate) struct Refuse<S> {
    inner: S,
    permits: Arc<Semaphore>,
    decision: Option<Decision>,
    flaw: Flaw,
}

enum Decision {
    /// The permit, unless it is counted by hand.
    Admit(Option<OwnedSemaphorePermit>),
    Refuse,
}

pin_project! {
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        future: Option<F>,
        slot: Option<Slot>,
    }
}

/// What is given back when it is dropped.
pub(crate) enum Slot {
    Permit {
        _permit: OwnedSemaphorePermit,
    },
    ByHand(Arc<Semaphore>),
    Twice {
        _permit: OwnedSemaphorePermit,
        permits: Arc<Semaphore>,
    },
}

/// A response to which a slot is fastened, if its work goes on after it.
pub(crate) trait Slotted {
    type With;

    fn with(self, slot: Option<Slot>) -> Self::With;
}

pin_project! {
    pub(crate) struct Guarded<B> {
        #[pin]
        body: B,
        slot: Option<Slot>,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct QueueLayer {
    permits: Arc<Semaphore>,
    /// Whoever queues is never woken.
    blind: bool,
}

#[derive(Clone)]
pub(crate) struct Queue<S> {
    inner: S,
    layer: QueueLayer,
}

// ===== impl RefuseLayer =====

impl RefuseLayer {
    pub(crate) fn new(count: usize) -> Self {
        Self::flawed(count, Flaw::None)
    }

    pub(crate) fn flawed(count: usize, flaw: Flaw) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            flaw,
        }
    }
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse {
            inner,
            permits: Arc::clone(&self.permits),
            decision: None,
            flaw: self.flaw,
        }
    }
}

// ===== impl Refuse =====

impl<S, Req> Service<Req> for Refuse<S>
where
    S: Service<Req, Response: Slotted, Error = BoxError>,
{
    type Response = <S::Response as Slotted>::With;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.flaw == Flaw::AsksInner {
            ready!(self.inner.poll_ready(cx))?;
        }
        if self.flaw == Flaw::PeeksInner {
            let _ = self.inner.poll_ready(cx)?;
        }
        if self.decision.is_none() {
            let decision = match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) if self.flaw == Flaw::CountsPlaces => {
                    permit.forget();
                    Decision::Admit(None)
                }
                Ok(permit) => Decision::Admit(Some(permit)),
                Err(_) if self.flaw == Flaw::ReadyErr => {
                    return Poll::Ready(Err("too many".into()));
                }
                Err(_) => Decision::Refuse,
            };
            self.decision = Some(decision);
        }
        match (&self.decision, self.flaw) {
            (Some(Decision::Refuse), Flaw::CallsInner) => self.inner.poll_ready(cx),
            (Some(Decision::Refuse), _) => Poll::Ready(Ok(())),
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let decision = self.decision.take().expect("called before it was ready");
        let again = match decision {
            Decision::Refuse if self.flaw == Flaw::DecidesAgain => {
                let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
                permit.map_or(Decision::Refuse, |permit| Decision::Admit(Some(permit)))
            }
            decision => decision,
        };
        match again {
            Decision::Admit(Some(permit)) if self.flaw == Flaw::GuardsLate => {
                permit.forget();
                let future = Some(self.inner.call(request));
                let slot = Some(Slot::ByHand(Arc::clone(&self.permits)));
                ResponseFuture { future, slot }
            }
            Decision::Admit(permit) => {
                let slot = match permit {
                    Some(permit) if self.flaw == Flaw::GivesTwice => Slot::Twice {
                        _permit: permit,
                        permits: Arc::clone(&self.permits),
                    },
                    Some(permit) => Slot::Permit { _permit: permit },
                    None => Slot::ByHand(Arc::clone(&self.permits)),
                };
                let future = Some(self.inner.call(request));
                let slot = Some(slot);
                ResponseFuture { future, slot }
            }
            Decision::Refuse => {
                if self.flaw == Flaw::CallsInner {
                    drop(self.inner.call(request));
                }
                ResponseFuture {
                    future: None,
                    slot: None,
                }
            }
        }
    }
}

impl<S: Clone> Clone for Refuse<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            permits: Arc::clone(&self.permits),
            decision: None,
            flaw: self.flaw,
        }
    }
}

// ===== impl ResponseFuture =====

impl<F, Res> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Res, BoxError>>,
    Res: Slotted,
{
    type Output = Result<Res::With, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else {
            return Poll::Ready(Err("too many".into()));
        };
        let result = ready!(future.poll(cx));
        let slot = this.slot.take();
        Poll::Ready(result.map(|response| response.with(slot)))
    }
}

// ===== impl Slot =====

impl Drop for Slot {
    fn drop(&mut self) {
        if let Self::ByHand(permits) | Self::Twice { permits, .. } = self {
            permits.add_permits(1);
        }
    }
}

impl Slotted for Reply {
    type With = Self;

    fn with(self, slot: Option<Slot>) -> Self {
        drop(slot);
        self
    }
}

impl<B: Body> Slotted for http::Response<B> {
    type With = http::Response<Guarded<B>>;

    fn with(self, slot: Option<Slot>) -> Self::With {
        self.map(|body| Guarded {
            slot: slot.filter(|_| !body.is_end_stream()),
            body,
        })
    }
}

// ===== impl Guarded =====

impl<B: Body> Body for Guarded<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.slot = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ===== impl Queue =====

impl QueueLayer {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            blind: false,
        }
    }

    pub(crate) fn blind(count: usize) -> Self {
        let blind = true;
        Self {
            blind,
            ..Self::new(count)
        }
    }

    async fn permit(self) -> Result<OwnedSemaphorePermit, BoxError> {
        let mut permit = pin!(self.permits.acquire_owned());
        let permit = poll_fn(|cx| match self.blind {
            true => permit
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop())),
            false => permit.as_mut().poll(cx),
        });
        Ok(permit.await?)
    }
}

impl<S> Layer<S> for QueueLayer {
    type Service = Queue<S>;

    fn layer(&self, inner: S) -> Queue<S> {
        let layer = self.clone();
        Queue { inner, layer }
    }
}

impl<S, Req> Service<Req> for Queue<S>
where
    S: Service<Req, Response: Slotted, Error = BoxError, Future: Send> + Clone + Send + 'static,
    Req: Send + 'static,
{
    type Response = <S::Response as Slotted>::With;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let permit = layer.permit().await?;
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            let call = inner.call(request);
            // The instance is not needed for longer, nor what it may hold.
            drop(inner);
            let response = call.await?;
            Ok(response.with(Some(Slot::Permit { _permit: permit })))
        })
    }
}
