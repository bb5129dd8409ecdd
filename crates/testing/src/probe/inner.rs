//! The inner service that a layer is put on.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::Future,
    marker::PhantomPinned,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    core::{Answer, Core, Point, Readiness, Sink},
    handle::Call,
    promise::Promise,
    reply::{Failure, Reply},
};

/// The inner service of a layer under test: it does what the test says, and watches how it is used.
///
/// Every instance has a number; a clone is another instance and starts unready, as the contract
/// says. Readiness is a reservation that belongs to one instance: it survives being polled again,
/// is spent by `call`, and is released with the instance. A `call` on an instance that was not
/// readied is recorded as a [`Violation`](super::Violation), and so is a future that is polled
/// again once it has ended. Its future is not `Unpin`.
///
/// Made by [`pair`](super::pair) for a test that drives it by hand, or by a
/// [`Probe`](super::Probe).
pub struct Inner<Req, Res = Reply, E = Box<dyn Error + Send + Sync>> {
    id: u64,
    core: Arc<Core>,
    shared: Arc<Shared<Req, Res, E>>,
}

pin_project! {
    /// The future of a call to [`Inner`].
    ///
    /// Dropped before its end, it counts as cancelled.
    pub struct ResponseFuture<Res, E> {
        flight: Flight<Res, E>,
        #[pin]
        pinned: PhantomPinned,
    }
}

/// What all instances share that depends on the types; the rest is in the [`Core`].
pub(super) struct Shared<Req, Res, E> {
    makers: Option<Makers<Res, E>>,
    by_hand: Mutex<ByHand<Req, Res, E>>,
}

/// How answers of the probe become replies and errors.
pub(super) struct Makers<Res, E> {
    pub(super) sink: MakeSink<Res, E>,
    pub(super) error: MakeError<E>,
}

/// Of a call's slot and number.
pub(super) type MakeSink<Res, E> = Box<dyn Fn(Arc<Slot<Res, E>>, u64) -> Sink + Send + Sync>;

pub(super) type MakeError<E> = Arc<dyn Fn(Failure) -> E + Send + Sync>;

pub(super) struct ByHand<Req, Res, E> {
    pub(super) calls: VecDeque<Call<Req, Res, E>>,
    pub(super) taker: Option<Waker>,
    pub(super) ready_errors: VecDeque<E>,
}

/// Where the answer of one call is put, and its future waits.
pub(super) struct Slot<Res, E> {
    state: Mutex<SlotState<Res, E>>,
}

pub(super) enum Given<Res, E> {
    Result(Result<Res, E>),
    Panic,
}

struct SlotState<Res, E> {
    given: Option<Given<Res, E>>,
    future: Option<Waker>,
    cancelled: bool,
    watcher: Option<Waker>,
}

/// The part of a future that must be seen to go.
struct Flight<Res, E> {
    call: u64,
    finished: bool,
    core: Arc<Core>,
    slot: Arc<Slot<Res, E>>,
}

// ===== impl Inner =====

impl<Req, Res, E> Inner<Req, Res, E> {
    pub(super) fn new(core: &Arc<Core>, shared: &Arc<Shared<Req, Res, E>>) -> Self {
        Self {
            id: core.born(None),
            core: Arc::clone(core),
            shared: Arc::clone(shared),
        }
    }
}

impl<Req, Res, E> Service<Req> for Inner<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = ResponseFuture<Res, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.core.at(Point::Ready);
        match self.core.poll_ready(self.id, cx.waker()) {
            Readiness::Ready => Poll::Ready(Ok(())),
            Readiness::Pending => Poll::Pending,
            Readiness::Failed(failure) => Poll::Ready(Err(self.shared.ready_error(failure))),
            Readiness::Panic => {
                panic!("the probe's inner service panics in poll_ready, as asked")
            }
        }
    }

    fn call(&mut self, request: Req) -> ResponseFuture<Res, E> {
        self.core.at(Point::Call);
        let Some(call) = self.core.call(self.id) else {
            panic!("the probe's inner service panics in call, as asked");
        };
        let slot = Arc::new(Slot::new());
        let flight = Flight {
            call,
            finished: false,
            core: Arc::clone(&self.core),
            slot: Arc::clone(&slot),
        };
        match &self.shared.makers {
            Some(makers) => self.core.expect(call, (makers.sink)(slot, call)),
            None => self.shared.offer(Call::new(call, request, slot)),
        }
        ResponseFuture {
            flight,
            pinned: PhantomPinned,
        }
    }
}

impl<Req, Res, E> Clone for Inner<Req, Res, E> {
    fn clone(&self) -> Self {
        Self {
            id: self.core.born(Some(self.id)),
            core: Arc::clone(&self.core),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<Req, Res, E> Drop for Inner<Req, Res, E> {
    fn drop(&mut self) {
        self.core.gone(self.id);
    }
}

impl<Req, Res, E> fmt::Debug for Inner<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

// ===== impl ResponseFuture =====

impl<Res, E> Future for ResponseFuture<Res, E> {
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let flight = self.project().flight;
        flight.core.at(Point::Future);
        if flight.finished {
            flight.core.violate(
                Promise::T1,
                format!(
                    "the future of call {} was polled again after its end",
                    flight.call
                ),
            );
            return Poll::Pending;
        }
        let given = match flight.core.panics(Point::Future) {
            true => Given::Panic,
            false => match flight.slot.poll_given(cx) {
                Poll::Ready(given) => given,
                Poll::Pending => return Poll::Pending,
            },
        };
        match given {
            Given::Result(result) => {
                flight.finish();
                Poll::Ready(result)
            }
            Given::Panic => {
                flight.core.event(&format!("call {} panics", flight.call));
                flight.finish();
                panic!("the probe's inner service panics in its future, as asked");
            }
        }
    }
}

impl<Res, E> fmt::Debug for ResponseFuture<Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("call", &self.flight.call)
            .finish_non_exhaustive()
    }
}

// ===== impl Flight =====

impl<Res, E> Flight<Res, E> {
    fn finish(&mut self) {
        self.finished = true;
        self.core.ended(self.call, true);
    }
}

impl<Res, E> Drop for Flight<Res, E> {
    fn drop(&mut self) {
        if !self.finished {
            self.core.at(Point::Drop);
            self.core.ended(self.call, false);
            self.slot.cancel();
        }
    }
}

// ===== impl Shared =====

impl<Req, Res, E> Shared<Req, Res, E> {
    pub(super) fn new(makers: Option<Makers<Res, E>>) -> Arc<Self> {
        Arc::new(Self {
            makers,
            by_hand: Mutex::new(ByHand {
                calls: VecDeque::new(),
                taker: None,
                ready_errors: VecDeque::new(),
            }),
        })
    }

    pub(super) fn by_hand(&self) -> MutexGuard<'_, ByHand<Req, Res, E>> {
        self.by_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, call: Call<Req, Res, E>) {
        let mut by_hand = self.by_hand();
        by_hand.calls.push_back(call);
        let taker = by_hand.taker.take();
        drop(by_hand);
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    fn ready_error(&self, failure: Failure) -> E {
        match &self.makers {
            Some(makers) => (makers.error)(failure),
            None => {
                let error = self.by_hand().ready_errors.pop_front();
                error.expect("an error for each failure of readiness")
            }
        }
    }
}

// ===== impl Slot =====

impl<Res, E> Slot<Res, E> {
    fn new() -> Self {
        Self {
            state: Mutex::new(SlotState {
                given: None,
                future: None,
                cancelled: false,
                watcher: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState<Res, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the answer, or gives it back if nobody waits for it any more.
    pub(super) fn give(&self, given: Given<Res, E>) -> Result<(), Given<Res, E>> {
        let mut state = self.state();
        if state.cancelled {
            return Err(given);
        }
        state.given = Some(given);
        let future = state.future.take();
        drop(state);
        if let Some(future) = future {
            future.wake();
        }
        Ok(())
    }

    fn poll_given(&self, cx: &mut Context<'_>) -> Poll<Given<Res, E>> {
        let mut state = self.state();
        match state.given.take() {
            Some(given) => Poll::Ready(given),
            None => {
                state.future = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        let given = state.given.take();
        let watcher = state.watcher.take();
        drop(state);
        drop(given);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    pub(super) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.cancelled {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<Res, E> Slot<Res, E> {
    /// The probe's half of it: makes the typed answer.
    pub(super) fn sink(
        self: Arc<Self>,
        call: u64,
        reply: Arc<dyn Fn(Reply) -> Res + Send + Sync>,
        error: Arc<dyn Fn(Failure) -> E + Send + Sync>,
    ) -> Sink
    where
        Res: Send + 'static,
        E: Send + 'static,
    {
        Box::new(move |answer, core| {
            let body = |content| super::body::Body::new(core, content);
            let given = match answer {
                Answer::Reply(content) => {
                    Given::Result(Ok(reply(Reply::new(call, false, body(content)))))
                }
                Answer::Fault(content) => {
                    Given::Result(Ok(reply(Reply::new(call, true, body(content)))))
                }
                Answer::Fail => Given::Result(Err(error(core.next_failure()))),
            };
            // A call that was cancelled meanwhile lets its answer go.
            drop(self.give(given));
        })
    }
}
