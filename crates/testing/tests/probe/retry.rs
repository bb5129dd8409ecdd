//! A retry of failures and of replies that say so, after a pause; and the ways to get it wrong.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_testing::probe::Reply;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

const PAUSE: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The later attempts are called on the instance of the first, which is spent.
    SpentReadiness,
    /// The first attempt is called on a clone, and the readied instance kept.
    ClonesIntoFuture,
    /// The next attempt is readied before the pause.
    ReadiesBeforePause,
    /// The failed reply lives through the pause.
    KeepsTheReply,
    /// An error of readiness is one more failed attempt.
    RetriesReadiness,
    /// After an error of readiness, a clone takes the place of the instance that failed.
    ReplacesFailed,
    /// Errors are wrapped.
    Wraps,
    /// The pause is made anew at every poll.
    NewSleep,
    /// The pause is different each time.
    Unseeded,
    /// Each service has a budget of its own, where there should be one for the layer.
    OwnBudget,
}

#[derive(Clone, Debug)]
pub(crate) struct RetryLayer {
    budget: Arc<AtomicU64>,
    flaw: Flaw,
}

#[derive(Clone, Debug)]
pub(crate) struct Retry<S> {
    inner: S,
    budget: Arc<AtomicU64>,
    flaw: Flaw,
}

pin_project! {
    pub(crate) struct ResponseFuture<S: Service<Req>, Req> {
        #[pin]
        state: State<S::Future>,
        kept: Option<Result<S::Response, S::Error>>,
        inner: S,
        request: Option<Req>,
        attempts: u32,
        budget: Arc<AtomicU64>,
        flaw: Flaw,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] future: F },
        Pausing { #[pin] sleep: Sleep },
        Readying,
    }
}

/// A response that may say that the upstream failed.
pub(crate) trait Fallible {
    fn failed(&self) -> bool;
}

/// A request that can be sent again.
pub(crate) trait Again: Sized {
    fn again(&self) -> Self;
}

// ===== impl RetryLayer =====

impl RetryLayer {
    pub(crate) fn new() -> Self {
        Self::flawed(Flaw::None)
    }

    pub(crate) fn flawed(flaw: Flaw) -> Self {
        Self {
            budget: Arc::new(AtomicU64::new(40)),
            flaw,
        }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        let budget = match self.flaw {
            Flaw::OwnBudget => Arc::new(AtomicU64::new(40)),
            _ => Arc::clone(&self.budget),
        };
        Retry {
            inner,
            budget,
            flaw: self.flaw,
        }
    }
}

// ===== impl Retry =====

impl<S, Req> Service<Req> for Retry<S>
where
    S: Service<Req, Response: Fallible, Error = BoxError> + Clone,
    Req: Again,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let ready = self.inner.poll_ready(cx);
        match self.flaw {
            Flaw::Wraps => ready.map_err(|error| format!("not ready: {error}").into()),
            _ => ready,
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut inner = self.inner.clone();
        if self.flaw != Flaw::ClonesIntoFuture {
            // The readied instance goes, the clone stays.
            mem::swap(&mut inner, &mut self.inner);
        }
        let again = request.again();
        ResponseFuture {
            state: State::Called {
                future: inner.call(request),
            },
            kept: None,
            inner,
            request: Some(again),
            attempts: 1,
            budget: Arc::clone(&self.budget),
            flaw: self.flaw,
        }
    }
}

// ===== impl ResponseFuture =====

impl<S, Req> Future for ResponseFuture<S, Req>
where
    S: Service<Req, Response: Fallible, Error = BoxError> + Clone,
    Req: Again,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Called { future } => {
                    let result = ready!(future.poll(cx));
                    let failed = result.as_ref().map_or(true, Fallible::failed);
                    if !failed || *this.attempts == ATTEMPTS || !withdraw(this.budget) {
                        return Poll::Ready(result);
                    }
                    if *this.flaw == Flaw::KeepsTheReply {
                        *this.kept = Some(result);
                    }
                    if *this.flaw == Flaw::ReadiesBeforePause {
                        ready!(this.inner.poll_ready(cx))?;
                    }
                    let sleep = tokio::time::sleep(pause(*this.flaw));
                    this.state.set(State::Pausing { sleep });
                }
                StateProj::Pausing { mut sleep } => {
                    if *this.flaw == Flaw::NewSleep && !sleep.is_elapsed() {
                        let polled = sleep.as_mut().poll(cx);
                        if polled.is_pending() {
                            let sleep = tokio::time::sleep(PAUSE);
                            this.state.set(State::Pausing { sleep });
                            if let StateProj::Pausing { sleep } = this.state.as_mut().project() {
                                ready!(sleep.poll(cx));
                            }
                        }
                    } else {
                        ready!(sleep.poll(cx));
                    }
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    if *this.flaw != Flaw::SpentReadiness {
                        match ready!(this.inner.poll_ready(cx)) {
                            Err(_) if *this.flaw == Flaw::RetriesReadiness => {
                                let sleep = tokio::time::sleep(PAUSE);
                                this.state.set(State::Pausing { sleep });
                                continue;
                            }
                            Err(_) if *this.flaw == Flaw::ReplacesFailed => {
                                *this.inner = this.inner.clone();
                                continue;
                            }
                            ready => ready?,
                        }
                    }
                    *this.attempts += 1;
                    *this.kept = None;
                    let request = this.request.take().expect("kept for the next attempt");
                    *this.request = Some(request.again());
                    let future = this.inner.call(request);
                    this.state.set(State::Called { future });
                }
            }
        }
    }
}

fn withdraw(budget: &AtomicU64) -> bool {
    budget
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

fn pause(flaw: Flaw) -> Duration {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    match flaw {
        Flaw::Unseeded => PAUSE + Duration::from_millis(CALLS.fetch_add(1, Ordering::Relaxed)),
        _ => PAUSE,
    }
}

// ===== impl Fallible, Again =====

impl Fallible for Reply {
    fn failed(&self) -> bool {
        self.is_fault()
    }
}

impl<B> Fallible for http::Response<B> {
    fn failed(&self) -> bool {
        self.status().is_server_error()
    }
}

impl Again for u64 {
    fn again(&self) -> Self {
        *self
    }
}

impl<B: Clone> Again for http::Request<B> {
    fn again(&self) -> Self {
        self.clone()
    }
}
