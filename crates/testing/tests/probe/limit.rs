//! A limit on the calls at once, whose permit stays with the body to its end; and the ways to get
//! it wrong.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
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
    /// The permit goes with the first chunk.
    AtFirstChunk,
    /// The permit stays until the body is dropped.
    KeepsAtEnd,
    /// The permit stays until a broken body is dropped.
    KeepsOnError,
    /// The body ends before its trailers.
    LosesTrailers,
    /// The body waits on after its first chunk.
    Stalls,
    /// The body's reader is never woken.
    BlindBody,
    /// The inner service is asked with a waker that wakes nobody.
    BlindInner,
    /// The inner future is polled with a waker that wakes nobody.
    BlindFuture,
    /// Every other permit is lost.
    LosesEveryOther,
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
pub(crate) struct LimitLayer {
    permits: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
    count: usize,
    flaw: Flaw,
}

pub(crate) struct Limit<S> {
    inner: S,
    permits: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
    state: State,
    first_waker: Waker,
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
    pub(crate) struct ResponseFuture<F> {
        // Before the permit: the inner call is gone when the slot comes free.
        #[pin]
        future: F,
        permit: Held,
        flaw: Flaw,
    }
}

pin_project! {
    pub(crate) struct Guarded<B> {
        #[pin]
        body: B,
        frames: usize,
        permit: Held,
        flaw: Flaw,
    }
}

/// A permit, if it is still held.
struct Held {
    permit: Option<Arc<OwnedSemaphorePermit>>,
    /// Lost if the future is dropped.
    leaks: bool,
    /// Lost anyhow.
    lost: bool,
}

// ===== impl LimitLayer =====

impl LimitLayer {
    pub(crate) fn new(count: usize) -> Self {
        Self::flawed(count, Flaw::None)
    }

    pub(crate) fn flawed(count: usize, flaw: Flaw) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            calls: Arc::default(),
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
            calls: Arc::clone(&self.calls),
            state: State::Idle,
            first_waker: Waker::noop().clone(),
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
        let mut blind = Context::from_waker(Waker::noop());
        let cx = match self.flaw {
            Flaw::BlindInner => &mut blind,
            _ => cx,
        };
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
                    self.first_waker = cx.waker().clone();
                }
                State::Waiting(_) => match self.flaw {
                    Flaw::NoWaker => {
                        let mut blind = Context::from_waker(Waker::noop());
                        ready!(self.acquire(&mut blind));
                    }
                    Flaw::FirstWaker => {
                        let first = self.first_waker.clone();
                        ready!(self.acquire(&mut Context::from_waker(&first)));
                    }
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
            if let State::Ready(_) = self.state {
                return self.inner.poll_ready(cx);
            }
        }
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let State::Ready(mut held) = mem::replace(&mut self.state, State::Idle) else {
            panic!("called before it was ready");
        };
        ResponseFuture {
            future: self.inner.call(request),
            permit: Held {
                permit: held.pop(),
                leaks: self.flaw == Flaw::LeaksOnDrop,
                lost: self.flaw == Flaw::LosesEveryOther
                    && self.calls.fetch_add(1, Ordering::Relaxed) % 2 == 1,
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
            calls: Arc::clone(&self.calls),
            state,
            first_waker: Waker::noop().clone(),
            flaw: self.flaw,
        }
    }
}

impl<S> Drop for Limit<S> {
    fn drop(&mut self) {
        if self.flaw == Flaw::LeaksReserved {
            mem::forget(mem::replace(&mut self.state, State::Idle));
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
        let mut blind = Context::from_waker(Waker::noop());
        let cx = match this.flaw {
            Flaw::BlindFuture => &mut blind,
            _ => cx,
        };
        let result = ready!(this.future.poll(cx));
        this.permit.leaks = false;
        let permit = Held {
            permit: this
                .permit
                .permit
                .take()
                .filter(|_| *this.flaw != Flaw::AtTheHead),
            leaks: false,
            lost: this.permit.lost,
        };
        Poll::Ready(result.map(|response| {
            response.map(|body| Guarded {
                body,
                frames: 0,
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
        let mut blind = Context::from_waker(Waker::noop());
        let cx = match this.flaw {
            Flaw::Stalls if *this.frames > 0 => return Poll::Pending,
            Flaw::BlindBody => &mut blind,
            _ => cx,
        };
        let mut frame = ready!(this.body.as_mut().poll_frame(cx));
        *this.frames += 1;
        if *this.flaw == Flaw::LosesTrailers {
            frame = frame.filter(|frame| frame.as_ref().is_ok_and(Frame::is_data));
        }
        let over = match (&frame, *this.flaw) {
            (_, Flaw::AtFirstChunk) => true,
            (_, Flaw::KeepsAtEnd) | (Some(Err(_)), Flaw::KeepsOnError) => false,
            (Some(Ok(_)), Flaw::LateEnd) => false,
            (None | Some(Err(_)), _) => true,
            (Some(Ok(_)), _) => this.body.is_end_stream(),
        };
        if over {
            this.permit.release();
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

impl Held {
    fn release(&mut self) {
        let permit = self.permit.take();
        if self.leaks || self.lost {
            mem::forget(permit);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
