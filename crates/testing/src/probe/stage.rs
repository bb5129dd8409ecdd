//! One scene of a check: a fresh layer, its services, and how many calls it admits at once.

use std::{cell::RefCell, sync::Arc, task::Poll, time::Duration};

use super::{
    body::Content,
    core::{Answer, Core},
    crowd::{From, Hold, Next, calls},
    drive::{Driven, Flight, Numbers, Seat},
    outer::{Fault, Held, Layered, Rig},
    promise::{Promise, Verdict},
};

/// How many calls at once are taken for no limit at all.
const MANY: usize = 32;

/// What a check works with: the layer to make, and the verdict to add to.
pub(super) struct Check<'p> {
    pub(super) rig: &'p dyn Rig,
    pub(super) slots: Option<usize>,
    pub(super) patience: Duration,
    pub(super) decides_in_call: bool,
    pub(super) count: Option<&'p dyn Fn() -> u64>,
    pub(super) verdict: RefCell<Verdict>,
}

/// A fresh layer, and one service of it. What went wrong on it is in the verdict once it is dropped.
pub(super) struct Stage<'c, 'p> {
    pub(super) check: &'c Check<'p>,
    pub(super) core: Arc<Core>,
    layer: Box<dyn Layered>,
    root: Seat,
    numbers: Arc<Numbers>,
}

/// What became of a call.
pub(super) enum Admission {
    In(Flight),
    Unready,
    Waits(Flight),
    Refused,
}

/// How many calls a layer admits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) count: usize,
    /// Whether a call that ended makes place for another; a quota does not.
    pub(super) slots: bool,
}

// ===== impl Check =====

impl<'p> Check<'p> {
    pub(super) fn stage(&self, scene: &str) -> Stage<'_, 'p> {
        let core = Core::new();
        core.note(format_args!("-- {scene} --"));
        let layer = self.rig.layer();
        let numbers = Arc::default();
        Stage {
            check: self,
            root: Seat::new(layer.service(&core), &core, &numbers),
            core,
            layer,
            numbers,
        }
    }

    pub(super) fn skip(&self, promise: Promise, why: &'static str) {
        self.verdict.borrow_mut().skip(promise, why);
    }

    /// An answer that says that the upstream failed: an error, if there are any.
    pub(super) fn failures(&self) -> Vec<Answer> {
        match self.rig.can_fail() {
            true => vec![Answer::Fail, Answer::Fault(Content::Whole)],
            false => vec![Answer::Fault(Content::Whole)],
        }
    }

    /// How many calls are too many.
    pub(super) fn many(&self) -> usize {
        self.slots.map_or(MANY, |slots| MANY.max(slots + 1))
    }

    /// How many calls the layer admits at once, if there is an end to it.
    pub(super) async fn bound(&self) -> Option<Bound> {
        let stage = self.stage("as many calls at once as go");
        let crowd = stage.crowd(From::Clones, Hold::Call).await;
        let count = crowd.flights.len();
        if let Some(slots) = self.slots.filter(|slots| *slots != count) {
            let (slots, found) = (calls(Some(slots)), calls(crowd.count()));
            stage.violate(
                Promise::T5,
                format!("the layer should admit {slots}, and admits {found}"),
            );
        }
        crowd.next.as_ref()?;
        let mut bound = Bound {
            count,
            slots: false,
        };
        drop((crowd, stage));
        if count > 0 && !self.is_quota(count).await {
            bound.slots = self.has_slots().await;
        }
        Some(bound)
    }

    /// Whether a call that ended makes place for another.
    async fn has_slots(&self) -> bool {
        let stage = self.stage("as many calls at once as go, of which one ends");
        let mut crowd = stage.crowd(From::Clones, Hold::Call).await;
        if crowd.flights.is_empty() {
            return false;
        }
        let mut first = crowd.flights.remove(0);
        stage.answer(&first, Answer::Reply(Content::Whole));
        if first.run(self.patience).await.is_pending() {
            stage.stuck(first.name());
            return false;
        }
        drop(first);
        let slots = stage.one_more(&mut crowd, Promise::T5).await;
        if self.slots.is_some() && !slots {
            stage.violate(
                Promise::T5,
                "a call ended and its reply was dropped, but its slot was not given to the next",
            );
        }
        slots
    }

    /// Whether time alone admits more, so that it is not calls at once that are limited.
    async fn is_quota(&self, count: usize) -> bool {
        let stage = self.stage("as many calls at once as go, and time");
        let mut crowd = stage.crowd(From::Clones, Hold::Call).await;
        if let Some(Next::Refused) = crowd.next {
            stage.pass(self.patience).await;
        }
        // Where time ended some of the calls, their slots are what was given away.
        let admitted = stage.next(&mut crowd, self.patience).await;
        matches!(admitted, Some(Admission::In(_))) && stage.core.in_flight() > count
    }
}

// ===== impl Stage =====

impl Stage<'_, '_> {
    /// A clone of the first service.
    pub(super) fn seat(&self) -> Seat {
        self.root.fork()
    }

    /// A service that the layer makes anew.
    pub(super) fn layered(&self) -> Seat {
        let seat = Seat::new(self.layer.service(&self.core), &self.core, &self.numbers);
        self.core.note(format_args!(
            "{} is another service of the same layer",
            seat.name()
        ));
        seat
    }

    pub(super) fn violate(&self, promise: Promise, seen: impl Into<String>) {
        self.core.violate(promise, seen);
    }

    pub(super) fn patience(&self) -> Duration {
        self.check.patience
    }

    /// Answers the call of the inner service that `flight` waits for.
    pub(super) fn answer(&self, flight: &Flight, answer: Answer) {
        if let Some(call) = flight.inner_call {
            self.core.answer(call, answer);
        }
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Readies and calls `seat` once, while the inner service is ready and not busy.
    pub(super) async fn admit(&self, seat: &mut Seat) -> Admission {
        let mut ready = seat.nudge().await;
        if ready.is_pending() {
            // Once more, as a task may at any time: only the waker of this poll counts.
            ready = seat.poll();
        }
        match ready {
            Poll::Ready(Ok(())) => self.call(seat).await,
            Poll::Ready(Err(fault)) => {
                self.dead(seat, &fault);
                Admission::Refused
            }
            Poll::Pending => Admission::Unready,
        }
    }

    async fn call(&self, seat: &mut Seat) -> Admission {
        let before = self.core.calls();
        let mut flight = seat.call();
        let ended = flight.nudge().await.is_ready();
        let called = self.core.calls() > before;
        if called
            && self.core.is_silent()
            && let Some(Err(fault)) = flight.result()
        {
            let text = &fault.text;
            self.core.violate(
                Promise::T8,
                format!("a call was refused ({text}), after the inner service was called for it"),
            );
            return Admission::Refused;
        }
        if called {
            flight.inner_call.get_or_insert(before + 1);
            return Admission::In(flight);
        }
        if ended {
            return Admission::Refused;
        }
        match flight.poll() {
            Poll::Ready(()) => Admission::Refused,
            Poll::Pending => Admission::Waits(flight),
        }
    }

    /// `poll_ready` failed though the inner one did not. After a panic it may be true.
    pub(super) fn dead(&self, seat: &Seat, fault: &Fault) {
        if fault.failure.is_none() && !self.core.has_panicked() {
            self.violate(
                Promise::T8,
                format!(
                    "poll_ready of {} said Ready(Err({})), though that of the inner service did \
                     not fail: it means \"throw this service away\"",
                    seat.name(),
                    fault.text
                ),
            );
        }
    }

    /// Readies, calls and drives to the end, where the inner service answers everything.
    pub(super) async fn complete(&self, seat: &mut Seat) -> Option<Result<Box<dyn Held>, Fault>> {
        match seat.run(self.patience()).await {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(fault)) => {
                self.dead(seat, &fault);
                return Some(Err(fault));
            }
            Poll::Pending => {
                self.stuck(seat.name());
                return None;
            }
        }
        let flight = seat.call();
        self.land(flight).await
    }

    /// Drives a call to its end, where the inner service answers everything.
    pub(super) async fn land(&self, mut flight: Flight) -> Option<Result<Box<dyn Held>, Fault>> {
        if flight.run(self.patience()).await.is_pending() {
            self.stuck(flight.name());
        }
        flight.take_result()
    }

    pub(super) fn stuck(&self, name: &str) {
        self.violate(
            Promise::T6,
            format!(
                "{name} was still pending after {:?}, though the inner service was ready and had \
                 answered everything",
                self.patience()
            ),
        );
    }
}

impl Drop for Stage<'_, '_> {
    fn drop(&mut self) {
        self.check
            .verdict
            .borrow_mut()
            .add(self.core.take_violations());
    }
}
