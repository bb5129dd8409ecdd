//! Checks that a layer keeps the contract of [`tower_service::Service`], and what callers of a
//! stack rely on beyond it.
//!
//! A layer is easy to write and easy to get subtly wrong: it calls a clone that nobody readied,
//! loses a permit with a dropped future, sleeps through a wake-up, lets go of its slot when the
//! head of a streamed reply arrives. Such mistakes pass every test that awaits one reply. The probe
//! looks for them in *any* layer, from outside: it makes the inner service, drives the outer one by
//! hand with a new waker at every poll, and knows what both should have done.
//!
//! # Your layer
//!
//! Give it a function that makes the layer and one that makes a request. Time has to be paused, and
//! the checks are one line each, so that a failed test names the promise:
//!
//! ```
//! use buttress_testing::probe::Probe;
//! use std::time::Duration;
//! use tower::timeout::TimeoutLayer;
//!
//! fn probe() -> Probe {
//!     Probe::new(|| TimeoutLayer::new(Duration::from_secs(1)), |n| format!("request {n}"))
//! }
//!
//! # macro_rules! ignored { ($($t:tt)*) => {} }
//! # ignored! {
//! #[tokio::test(start_paused = true)]
//! # }
//! async fn t1_calls_the_instance_that_was_readied() {
//!     probe().t1().await;
//! }
//!
//! # ignored! {
//! #[tokio::test(start_paused = true)]
//! # }
//! async fn the_contract_is_kept() {
//!     probe().contract().await;
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! #     t1_calls_the_instance_that_was_readied().await;
//! #     the_contract_is_kept().await;
//! # }
//! ```
//!
//! A broken promise panics with what was seen, what the promise says, and what the services did
//! until then:
//!
//! ```text
//! T1 is broken: inner 3 was called but never readied; it is a clone of inner 2, which was readied
//! and keeps that reservation
//!     law    `call` uses the instance that was readied. Readiness is given once, kept until `call`, …
//!     look   `call`: the readied instance goes into the future, the clone stays (`mem::replace`); …
//!     trace       0 ms  -- three calls, one after another, on one instance --
//!                 0 ms  inner 1 is made
//!                 0 ms  inner 2 is cloned from inner 1
//!                 0 ms  inner 2 poll_ready: ready, reserved
//!                 0 ms  outer 2 poll_ready: ready
//!                 0 ms  outer 2 call: request 1, future 1
//!                 0 ms  inner 3 is cloned from inner 2
//!                 0 ms  inner 3 call: call 1
//! ```
//!
//! # What the promises mean here
//!
//! Each has its scenes, every one of them on a fresh layer. How many calls the layer admits at once
//! the probe finds out by trying, up to 32; give a layer that has a limit a small one.
//!
//! | | what is done | what must hold |
//! |---|---|---|
//! | T1 | calls one after another, in parallel, on clones of readied instances, after failed attempts, with an inner service that is busy in between | no `call` on an instance that was not readied since its last one; ready stays ready; no future is polled after its end |
//! | T2 | the inner readiness fails, at the first attempt and at a later one | the same error comes out, and that instance is left alone |
//! | T3 | instances are readied, asked again, cloned and dropped, also by the crowd | the layer admits as many as before; nothing waits with the inner service reserved |
//! | T4 | futures are dropped: unpolled, in flight, between attempts, in a queue | the inner future is gone at once, the slot goes to the next in line, nothing is called later |
//! | T5 | replies with open bodies | a slot is free at the body's end, error or drop, and not before; length, end and trailers come through; a failed reply is gone before the next attempt waits |
//! | T6 | every scene polls with several wakers before something happens | the last one is woken; polling at other times starts no timer anew; nothing spins |
//! | T7 | crowds and many calls, by one instance, by clones, by services of repeated `layer()` calls; another thread meanwhile | all behave the same; no lock is held while the inner service runs |
//! | T8 | the layer is brought to refuse, then the inner service made busy | it refuses at once, through `call`, and leaves the inner service alone (see [`decides_in_call`](Probe::decides_in_call)) |
//! | T9 | the inner service panics in `poll_ready`, `call`, its future, its body | the next request works, and as many are admitted as before |
//! | T10 | the same calls on two fresh layers | the same transcript, time included |
//! | T11 | one call of every kind | your count goes up by one |
//!
//! What no probe can see from outside stays yours to test: whether the right requests are refused,
//! what an outcome is counted *as*, panics of your callbacks, and the behaviour of real threads.
//!
//! # When not
//!
//! A service that is not `Clone`, or whose futures are not `Send`, has no instances to compare and
//! does not compile here; drive it by hand, with [`pair`]. A layer that detaches work from its
//! caller on purpose breaks T4 on purpose: call the other checks one by one. One that goes elsewhere
//! when its inner service fails (a failover) is probed with a single service to go to.
//!
//! The layer has to be new for each scene: a function that clones one layer would carry what one
//! scene left behind into the next.
//!
//! # By hand
//!
//! [`pair`] gives the same inner service without the checks, to be driven by a test of yours. It
//! still tells when it is called without having been readied.

mod body;
mod checks;
mod core;
mod crowd;
mod drive;
mod handle;
mod inner;
mod instances;
mod lean;
mod outer;
mod promise;
mod reply;
mod stage;
mod traffic;

use std::{cell::RefCell, error::Error, fmt, time::Duration};

use tokio::{runtime::Handle as Runtime, task::coop};
use tower_layer::Layer;
use tower_service::Service;

use self::{outer::Rig, stage::Check};

pub use self::{
    body::Body,
    handle::{Call, Handle, pair},
    inner::{Inner, ResponseFuture},
    lean::{Lean, lean},
    promise::{Promise, Verdict, Violation},
    reply::{Failure, Reply},
    traffic::Traffic,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// A layer under test. See the [module](self).
///
/// Its checks need a tokio runtime of one thread with paused time, and panic without:
/// `#[tokio::test(start_paused = true)]`. They take no time, whatever the layer waits for.
pub struct Probe {
    rig: Box<dyn Rig>,
    slots: Option<usize>,
    patience: Duration,
    decides_in_call: bool,
    count: Option<Box<dyn Fn() -> u64>>,
}

// ===== impl Probe =====

impl Probe {
    /// Probes a layer whose work ends with its future.
    ///
    /// `layer` makes it anew for each scene: whatever it shares, it shares within one such layer.
    /// `request` makes the request of a number, from 1. Replies are [`Reply`]s, and errors boxed
    /// [`Failure`]s; for others, [`with`](Self::with).
    ///
    /// That the service and its futures are `Send` is a promise too (T7), and held by the bounds:
    ///
    /// ```compile_fail,E0277
    /// use buttress_testing::probe::Probe;
    /// use std::rc::Rc;
    /// use tower::util::MapRequestLayer;
    ///
    /// let count = Rc::new(());
    /// Probe::new(
    ///     move || {
    ///         let count = Rc::clone(&count);
    ///         MapRequestLayer::new(move |n: u64| n + Rc::strong_count(&count) as u64)
    ///     },
    ///     |n| n,
    /// );
    /// ```
    pub fn new<L, S, Req>(
        layer: impl Fn() -> L + 'static,
        request: impl Fn(u64) -> Req + Send + Sync + 'static,
    ) -> Self
    where
        L: Layer<Inner<Req, Reply, BoxError>, Service = S> + 'static,
        S: Service<Req, Error = BoxError> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Response: 'static,
        Req: Send + 'static,
    {
        Self::with(layer, Traffic::plain(request))
    }

    /// As [`new`](Self::new), with requests, replies and errors of your own.
    pub fn with<L, S, Req, Res, E>(
        layer: impl Fn() -> L + 'static,
        traffic: Traffic<Req, Res, E>,
    ) -> Self
    where
        L: Layer<Inner<Req, Res, E>, Service = S> + 'static,
        S: Service<Req, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Response: 'static,
        Req: Send + 'static,
        Res: Send + 'static,
        E: fmt::Debug + Send + 'static,
    {
        Self::of(outer::rig(layer, traffic, outer::whole, false))
    }

    /// Probes a layer over http, where the work ends with the body of the response.
    ///
    /// The inner responses are `http::Response<`[`Body`]`>`. A layer that wants another body gets
    /// the layer that makes it in the same function: `|| (MyLayer::new(), TrackLayer::new())`, of
    /// which the last is innermost.
    ///
    /// ```
    /// use buttress_testing::probe::Probe;
    /// use tower_layer::Identity;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// Probe::http(Identity::new, |n| http::Request::new(n)).t5().await;
    /// # }
    /// ```
    pub fn http<L, S, B, OutB>(
        layer: impl Fn() -> L + 'static,
        request: impl Fn(u64) -> http::Request<B> + Send + Sync + 'static,
    ) -> Self
    where
        L: Layer<Inner<http::Request<B>, http::Response<Body>, BoxError>, Service = S> + 'static,
        S: Service<http::Request<B>, Response = http::Response<OutB>, Error = BoxError>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Send + 'static,
        OutB: http_body::Body + 'static,
    {
        Self::http_with(layer, Traffic::http(request))
    }

    /// As [`http`](Self::http), with requests, inner responses and errors of your own.
    ///
    /// Only the outer service has to reply with an `http::Response`.
    pub fn http_with<L, S, Req, Res, E, OutB>(
        layer: impl Fn() -> L + 'static,
        traffic: Traffic<Req, Res, E>,
    ) -> Self
    where
        L: Layer<Inner<Req, Res, E>, Service = S> + 'static,
        S: Service<Req, Response = http::Response<OutB>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        Req: Send + 'static,
        Res: Send + 'static,
        E: fmt::Debug + Send + 'static,
        OutB: http_body::Body + 'static,
    {
        Self::of(outer::rig(layer, traffic, outer::streamed, true))
    }

    fn of(rig: Box<dyn Rig>) -> Self {
        Self {
            rig,
            slots: None,
            patience: Duration::from_secs(2 * 24 * 60 * 60),
            decides_in_call: false,
            count: None,
        }
    }

    /// Says that the layer admits so many calls at once, and one more for each that ended.
    ///
    /// Without it, a layer that admits everybody, or never gives a slot back, may be what it is
    /// meant to be. Default: not said.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = Some(slots);
        self
    }

    /// How long, in paused time, something may take before it counts as never.
    ///
    /// Default: two days, so that a quota for a day comes round. A layer that does something on an
    /// interval of its own does it so long in many scenes, and may want less.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Says that whether a call is refused depends on the request, which the layer sees in `call`.
    ///
    /// Such a layer may ready the inner service in `poll_ready`, and so wait for it, before it
    /// refuses; its refusal still has to leave it alone. Default: not said, and a refusal has to
    /// come while the inner service is busy, as it does from a layer that is ready itself and
    /// readies a clone of the inner service in its future.
    #[must_use]
    pub fn decides_in_call(mut self) -> Self {
        self.decides_in_call = true;
        self
    }

    /// How many calls the layer has counted so far, for T11: by its observer, or by whatever reports
    /// outcomes.
    ///
    /// `count` is read before and after a call of each kind: replied to, failed, dropped in flight,
    /// panicked, and, over http, dropped half read. Default: no count, and T11 is not tested.
    #[must_use]
    pub fn counts(mut self, count: impl Fn() -> u64 + 'static) -> Self {
        self.count = Some(Box::new(count));
        self
    }

    /// Checks T1 to T9 and T11, as far as the layer gives an occasion to test them.
    ///
    /// T10 is left to [`t10`](Self::t10): it wants a seed, where there is chance.
    ///
    /// # Panics
    ///
    /// With all that was found, if a promise is broken.
    pub async fn contract(&self) {
        self.verdict().await.assert_kept();
    }

    /// As [`contract`](Self::contract), and says what was found, and what could not be tested.
    pub async fn verdict(&self) -> Verdict {
        use Promise::{T1, T2, T3, T4, T5, T6, T7, T8, T9, T11};
        let promises = [T1, T2, T3, T4, T5, T6, T7, T8, T9, T11];
        let last = promises.len() - usize::from(self.count.is_none());
        self.run(&promises[..last]).await
    }

    /// Checks one promise, and says what was found. A broken promise that is met on the way to
    /// another is told as well.
    pub async fn examine(&self, promise: Promise) -> Verdict {
        self.run(&[promise]).await
    }

    /// T1: `call` uses the instance that was readied.
    ///
    /// # Panics
    ///
    /// If a promise is broken, as all of these do.
    pub async fn t1(&self) {
        self.hold(Promise::T1).await;
    }

    /// T2: the inner readiness error comes back unchanged.
    ///
    /// # Panics
    ///
    /// Also if the layer never asks the inner service whether it is ready.
    pub async fn t2(&self) {
        self.hold(Promise::T2).await;
    }

    /// T3: what `poll_ready` reserved is released with the instance.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t3(&self) {
        self.hold(Promise::T3).await;
    }

    /// T4: a dropped future leaves nothing behind.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t4(&self) {
        self.hold(Promise::T4).await;
    }

    /// T5: slots follow the body.
    ///
    /// # Panics
    ///
    /// Also if the replies have no bodies, unless the number of [`slots`](Self::slots) is known:
    /// this one is for [`http`](Self::http).
    pub async fn t5(&self) {
        self.hold(Promise::T5).await;
    }

    /// T6: every `Pending` registers a waker.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t6(&self) {
        self.hold(Promise::T6).await;
    }

    /// T7: clones and repeated `layer()` calls share state, and no lock is held meanwhile.
    ///
    /// A layer that is locked is found by waiting for another thread, five seconds of real time;
    /// one that is not costs none.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t7(&self) {
        self.hold(Promise::T7).await;
    }

    /// T8: a refusal leaves the inner service alone.
    ///
    /// # Panics
    ///
    /// Also if the layer refuses nothing. Make one that refuses its first call, or one of several
    /// at once.
    pub async fn t8(&self) {
        self.hold(Promise::T8).await;
    }

    /// T9: a panic poisons nothing.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t9(&self) {
        self.hold(Promise::T9).await;
    }

    /// T10: the same seed gives the same result. The function that makes the layer seeds it.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub async fn t10(&self) {
        self.hold(Promise::T10).await;
    }

    /// T11: each call is counted once, however it ends. Needs [`counts`](Self::counts).
    ///
    /// # Panics
    ///
    /// If a promise is broken, or there is no count.
    pub async fn t11(&self) {
        self.hold(Promise::T11).await;
    }

    async fn hold(&self, promise: Promise) {
        self.examine(promise).await.assert_tested(promise);
    }

    async fn run(&self, promises: &[Promise]) -> Verdict {
        let check = self.check();
        // Everything that is polled here is polled in one task, and none of it may be told that it
        // had its share and must wait.
        coop::unconstrained(async {
            for promise in promises {
                match promise {
                    Promise::T1 => checks::t1(&check).await,
                    Promise::T2 => checks::t2(&check).await,
                    Promise::T3 => checks::t3(&check).await,
                    Promise::T4 => checks::t4(&check).await,
                    Promise::T5 => checks::t5(&check).await,
                    Promise::T6 => checks::t6(&check).await,
                    Promise::T7 => checks::t7(&check).await,
                    Promise::T8 => checks::t8(&check).await,
                    Promise::T9 => checks::t9(&check).await,
                    Promise::T10 => checks::t10(&check).await,
                    Promise::T11 => checks::t11(&check).await,
                }
            }
        })
        .await;
        check.verdict.into_inner()
    }

    fn check(&self) -> Check<'_> {
        assert_paused();
        Check {
            rig: &*self.rig,
            slots: self.slots,
            patience: self.patience,
            decides_in_call: self.decides_in_call,
            count: self.count.as_deref(),
            verdict: RefCell::default(),
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("slots", &self.slots)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Panics unless this runs in a runtime whose clock stands still.
#[expect(
    clippy::disallowed_methods,
    reason = "only std's clock shows that tokio's stands still"
)]
fn assert_paused() {
    const WANTED: &str = "the probe needs paused time: `#[tokio::test(start_paused = true)]`";
    assert!(Runtime::try_current().is_ok(), "{WANTED}, and a runtime");
    let (std, tokio) = (std::time::Instant::now(), tokio::time::Instant::now());
    while std::time::Instant::now() == std {}
    assert!(tokio::time::Instant::now() == tokio, "{WANTED}");
}
