//! A limit on the calls at once, whose permit stays with the body to its end; and the ways to get
//! it wrong.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// A derived `Clone`: the clone has the permit too.
    CopiedPermit,
    /// Asked again, it takes another permit.
    AcquiresTwice,
    /// Asked again, it starts anew to wait.
    ForgetsReady,
    /// The inner service is readied first, and held while the permit is waited for.
    InnerFirst,
    /// The permit goes with the head of the reply.
    AtTheHead,
    /// The body says neither how long it is nor when it is over.
    HalfABody,
    /// The body does not ask whether it is over after a frame.
    LateEnd,
    /// Each service of the layer has its own permits.
    OwnPermits,
    /// A dropped future keeps its permit.
    LeaksOnDrop,
    /// A dropped readied clone keeps its permit.
    LeaksReserved,
    /// Only the first waker is kept.
    FirstWaker,
    /// No waker is kept.
    NoWaker,
    /// It wakes itself instead of waiting.
    Spins,
}

#[derive(Clone, Debug)]
pub struct LimitLayer {
    permits: Arc<Semaphore>,
    count: usize,
    flaw: Flaw,
}

pub struct Limit<S> {
    inner: S,
    permits: Arc<Semaphore>,
    state: State,
    flaw: Flaw,
}

enum State {
    Idle,
    Waiting(Acquire),
    Ready(Vec<Arc<OwnedSemaphorePermit>>),
}

type Acquire =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

pin_project! {
    pub struct ResponseFuture<F> {
        // Before the permit: the inner call is gone when the slot comes free.
        #[pin]
        future: F,
        permit: Held,
        flaw: Flaw,
    }
}

pin_project! {
    pub struct Guarded<B> {
        #[pin]
        body: B,
        permit: Held,
        flaw: Flaw,
    }
}

/// A permit, if it is still held.
struct Held {
    permit: Option<Arc<OwnedSemaphorePermit>>,
    leaks: bool,
}

// ===== impl LimitLayer =====

impl LimitLayer {
    pub fn new(count: usize) -> Self {
        Self::flawed(count, Flaw::None)
    }

    pub fn flawed(count: usize, flaw: Flaw) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            count,
            flaw,
        }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        let permits = match self.flaw {
            Flaw::OwnPermits => Arc::new(Semaphore::new(self.count)),
            _ => Arc::clone(&self.permits),
        };
        Limit {
            inner,
            permits,
            state: State::Idle,
            flaw: self.flaw,
        }
    }
}

// ===== impl Limit =====

impl<S, B, OutB> Service<http::Request<B>> for Limit<S>
where
    S: Service<http::Request<B>, Response = http::Response<OutB>, Error = BoxError>,
{
    type Response = http::Response<Guarded<OutB>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.flaw == Flaw::InnerFirst {
            ready!(self.inner.poll_ready(cx))?;
        }
        loop {
            match &mut self.state {
                State::Ready(held) => {
                    match self.flaw {
                        Flaw::AcquiresTwice => {
                            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                                held.push(Arc::new(permit));
                            }
                        }
                        Flaw::ForgetsReady => {
                            self.state = State::Idle;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        _ => {}
                    }
                    return self.inner.poll_ready(cx);
                }
                State::Idle => {
                    self.state =
                        State::Waiting(Box::pin(Arc::clone(&self.permits).acquire_owned()));
                    if self.flaw == Flaw::FirstWaker {
                        ready!(self.acquire(cx));
                    }
                }
                State::Waiting(_) => match self.flaw {
                    Flaw::NoWaker => {
                        let mut blind = Context::from_waker(std::task::Waker::noop());
                        ready!(self.acquire(&mut blind));
                    }
                    Flaw::FirstWaker => match Arc::clone(&self.permits).try_acquire_owned() {
                        Ok(permit) => self.state = State::Ready(vec![Arc::new(permit)]),
                        Err(_) => return Poll::Pending,
                    },
                    Flaw::Spins => match Arc::clone(&self.permits).try_acquire_owned() {
                        Ok(permit) => self.state = State::Ready(vec![Arc::new(permit)]),
                        Err(_) => {
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                    },
                    _ => ready!(self.acquire(cx)),
                },
            }
            if self.flaw == Flaw::ForgetsReady && matches!(self.state, State::Ready(_)) {
                return self.inner.poll_ready(cx);
            }
        }
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let State::Ready(mut held) = std::mem::replace(&mut self.state, State::Idle) else {
            panic!("called before it was ready");
        };
        ResponseFuture {
            future: self.inner.call(request),
            permit: Held {
                permit: held.pop(),
                leaks: self.flaw == Flaw::LeaksOnDrop,
            },
            flaw: self.flaw,
        }
    }
}

impl<S> Limit<S> {
    fn acquire(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Waiting(acquire) = &mut self.state else {
            return Poll::Ready(());
        };
        let permit = ready!(acquire.as_mut().poll(cx)).expect("never closed");
        self.state = State::Ready(vec![Arc::new(permit)]);
        Poll::Ready(())
    }
}

impl<S: Clone> Clone for Limit<S> {
    fn clone(&self) -> Self {
        let state = match &self.state {
            State::Ready(held) if self.flaw == Flaw::CopiedPermit => State::Ready(held.clone()),
            _ => State::Idle,
        };
        Self {
            inner: self.inner.clone(),
            permits: Arc::clone(&self.permits),
            state,
            flaw: self.flaw,
        }
    }
}

impl<S> Drop for Limit<S> {
    fn drop(&mut self) {
        if self.flaw == Flaw::LeaksReserved {
            std::mem::forget(std::mem::replace(&mut self.state, State::Idle));
        }
    }
}

// ===== impl ResponseFuture =====

impl<F, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<http::Response<B>, BoxError>>,
{
    type Output = Result<http::Response<Guarded<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        this.permit.leaks = false;
        let permit = Held {
            permit: this
                .permit
                .permit
                .take()
                .filter(|_| *this.flaw != Flaw::AtTheHead),
            leaks: false,
        };
        Poll::Ready(result.map(|response| {
            response.map(|body| Guarded {
                body,
                permit,
                flaw: *this.flaw,
            })
        }))
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
        let over = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(_)) => *this.flaw != Flaw::LateEnd && this.body.is_end_stream(),
        };
        if over {
            this.permit.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.flaw != Flaw::HalfABody && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.flaw {
            Flaw::HalfABody => SizeHint::default(),
            _ => self.body.size_hint(),
        }
    }
}

// ===== impl Held =====

impl Drop for Held {
    fn drop(&mut self) {
        if self.leaks {
            std::mem::forget(self.permit.take());
        }
    }
}
