//! Driving the inner service by hand.

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, thread};

use super::{
    core::{Core, Point},
    inner::{Given, Inner, Shared, Slot},
    promise::{Verdict, Violation},
};

/// What a test holds of an [`Inner`] that it drives by hand: its readiness, its calls, its counts.
///
/// The inner service is ready unless told otherwise, and answers no call by itself.
///
/// Dropping the handle panics if a promise was broken that the test did not take with
/// [`violations`](Self::violations): a test cannot pass by not looking.
pub struct Handle<Req, Res, E> {
    core: Arc<Core>,
    shared: Arc<Shared<Req, Res, E>>,
}

/// One call that an [`Inner`] received. Dropped without an answer, it stays unanswered for ever.
#[must_use = "a call that is dropped is never answered"]
pub struct Call<Req, Res, E> {
    number: u64,
    request: Req,
    slot: Arc<Slot<Res, E>>,
}

/// An inner service to put a layer on, and the handle to drive it with.
///
/// In the style of `tower_test::mock::pair`, but strict: see [`Inner`]. Time is what the test's
/// runtime says that it is; pause it.
///
/// ```
/// use buttress_testing::probe;
/// use tower::{Service, ServiceExt, timeout::Timeout};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let (inner, mut upstream) = probe::pair::<&str, &str, tower::BoxError>();
/// let mut service = Timeout::new(inner, Duration::from_secs(3));
///
/// // An upstream that answers.
/// let reply = tokio::spawn(service.ready().await.unwrap().call("hello"));
/// let call = upstream.next_call().await;
/// assert_eq!(*call.request(), "hello");
/// assert!(call.reply("hi"));
/// assert_eq!(reply.await.unwrap().unwrap(), "hi");
///
/// // One that does not: the call ends in time, and is cancelled.
/// let reply = tokio::spawn(service.ready().await.unwrap().call("anybody?"));
/// let mut call = upstream.next_call().await;
/// call.cancelled().await;
/// assert!(reply.await.unwrap().unwrap_err().is::<tower::timeout::error::Elapsed>());
/// assert_eq!(upstream.in_flight(), 0);
/// # }
/// ```
#[must_use]
pub fn pair<Req, Res, E>() -> (Inner<Req, Res, E>, Handle<Req, Res, E>) {
    let core = Core::new();
    let shared = Shared::new(None);
    let inner = Inner::new(&core, &shared);
    (inner, Handle { core, shared })
}

// ===== impl Handle =====

impl<Req, Res, E> Handle<Req, Res, E> {
    /// The next call, in order, as soon as there is one.
    pub async fn next_call(&mut self) -> Call<Req, Res, E> {
        poll_fn(|cx| {
            let mut by_hand = self.shared.by_hand();
            match by_hand.calls.pop_front() {
                Some(call) => Poll::Ready(call),
                None => {
                    by_hand.taker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next call, if there is one already.
    pub fn try_next_call(&mut self) -> Option<Call<Req, Res, E>> {
        self.shared.by_hand().calls.pop_front()
    }

    /// Makes every instance ready, or busy, from its next poll on. One that was readied stays so.
    pub fn set_ready(&mut self, ready: bool) {
        self.core.set_ready(ready);
    }

    /// Fails the readiness of the next instance that is polled for it, even a busy one.
    pub fn fail_ready(&mut self, error: E) {
        self.shared.by_hand().ready_errors.push_back(error);
        self.core.fail_ready();
    }

    /// Panics in the next `poll_ready` of an instance that is not ready yet.
    pub fn panic_in_ready(&mut self) {
        self.core.panic_at(Some(Point::Ready));
    }

    /// Panics in the next `call`.
    pub fn panic_in_call(&mut self) {
        self.core.panic_at(Some(Point::Call));
    }

    /// How many instances are readied and not called.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.core.reserved()
    }

    /// How many calls have a future that neither ended nor was dropped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.core.in_flight()
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.core.calls()
    }

    /// How many times readiness was polled.
    #[must_use]
    pub fn ready_polls(&self) -> u64 {
        self.core.ready_polls()
    }

    /// How many instances live: the first one and its clones.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.core.instances()
    }

    /// What the inner service did so far, a line each, with its time.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        self.core.transcript()
    }

    /// Takes the promises that were broken so far.
    #[must_use]
    pub fn violations(&mut self) -> Vec<Violation> {
        self.core.take_violations()
    }
}

impl<Req, Res, E> Drop for Handle<Req, Res, E> {
    fn drop(&mut self) {
        if !thread::panicking() && self.core.has_violations() {
            let mut verdict = Verdict::default();
            verdict.add(self.core.take_violations());
            verdict.assert_kept();
        }
    }
}

impl<Req, Res, E> fmt::Debug for Handle<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

// ===== impl Call =====

impl<Req, Res, E> Call<Req, Res, E> {
    pub(super) fn new(number: u64, request: Req, slot: Arc<Slot<Res, E>>) -> Self {
        Self {
            number,
            request,
            slot,
        }
    }

    /// Which call it is, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What was asked.
    #[must_use]
    pub fn request(&self) -> &Req {
        &self.request
    }

    /// Answers it. `false` if it was cancelled, and the reply dropped.
    pub fn reply(self, response: Res) -> bool {
        self.slot.give(Given::Result(Ok(response))).is_ok()
    }

    /// Fails it. `false` if it was cancelled, and the error dropped.
    pub fn fail(self, error: E) -> bool {
        self.slot.give(Given::Result(Err(error))).is_ok()
    }

    /// Panics in its future, at its next poll. `false` if it was cancelled.
    pub fn panic(self) -> bool {
        self.slot.give(Given::Panic).is_ok()
    }

    /// Whether its future was dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.slot.is_cancelled()
    }

    /// Waits until its future is dropped.
    pub async fn cancelled(&mut self) {
        poll_fn(|cx| self.slot.poll_cancelled(cx)).await;
    }
}

impl<Req: fmt::Debug, Res, E> fmt::Debug for Call<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("number", &self.number)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
