//! One scene of a check: a fresh layer, its services, and how many calls it admits at once.

use std::{cell::RefCell, sync::Arc, task::Poll, time::Duration};

use super::{
    body::Content,
    core::{Answer, Core},
    drive::{Driven, Flight, Numbers, Seat, settle},
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
    pub(super) count: Option<&'p dyn Fn() -> u64>,
    pub(super) verdict: RefCell<Verdict>,
}

/// A fresh layer, and one service of it. What went wrong on it is in the verdict once it is dropped.
pub(super) struct Stage<'c, 'p> {
    check: &'c Check<'p>,
    pub(super) core: Arc<Core>,
    layer: Box<dyn Layered>,
    root: Seat,
    numbers: Arc<Numbers>,
}

/// Where the instances of a crowd come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Each call on a clone of the first service.
    Clones,
    /// All calls on the first service itself.
    Same,
    /// Each call on a clone of the instance before it, made after that was readied.
    Readied,
    /// Each call on a service of its own, made by `layer()`.
    Layers,
}

/// What each of a crowd holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// A call of the inner service that is not answered.
    Call,
    /// A reply whose body is open.
    Reply,
}

/// As many calls as the layer admits, and the one that it did not.
pub(super) struct Crowd {
    pub(super) flights: Vec<Flight>,
    /// `None` if there was no end to it.
    pub(super) next: Option<Next>,
}

/// Who was not admitted, and how that shows.
pub(super) enum Next {
    /// Its `poll_ready` waits.
    Unready(Seat),
    /// Its future waits. The instance that made it waits with it, as a caller's does.
    Waits(Seat, Flight),
    /// It was told so.
    Refused,
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
            let found = match crowd.next {
                Some(_) => format!("{count} were in flight when the next was not admitted"),
                None => format!("{count} were in flight, and the next was still admitted"),
            };
            stage.violate(
                Promise::T5,
                format!("the layer should admit {slots} calls at once; {found}"),
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
        match seat.nudge().await {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(fault)) => {
                self.dead(seat, &fault);
                return Admission::Refused;
            }
            Poll::Pending => {
                // Once more, as a task may at any time: only the waker of this poll counts.
                return match seat.poll() {
                    Poll::Ready(_) => self.call(seat).await,
                    Poll::Pending => Admission::Unready,
                };
            }
        }
        self.call(seat).await
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

    /// As many calls as the layer admits at once.
    pub(super) async fn crowd(&self, from: From, hold: Hold) -> Crowd {
        self.core.script(
            [],
            match hold {
                Hold::Call => None,
                Hold::Reply => Some(Answer::Reply(Content::Open)),
            },
        );
        let mut crowd = Crowd {
            flights: Vec::new(),
            next: None,
        };
        let mut seat = self.seat();
        while crowd.flights.len() < self.check.many() {
            let mut after = match from {
                From::Clones => Some(self.seat()),
                From::Layers => Some(self.layered()),
                From::Same | From::Readied => None,
            };
            if from == From::Readied {
                // A clone of what is readied, before that is called.
                if seat.nudge().await.is_pending() {
                    crowd.next = Some(Next::Unready(seat));
                    return crowd;
                }
                after = Some(seat.fork());
            }
            match self.admit(&mut seat).await {
                Admission::In(mut flight) => {
                    if hold == Hold::Reply {
                        // Whoever peeks at a body may want time for it.
                        let _ = flight.run(self.patience()).await;
                    }
                    crowd.flights.push(flight);
                }
                admission => {
                    crowd.next = Next::new(admission, seat, &mut crowd.flights);
                    return crowd;
                }
            }
            if let Some(after) = after {
                seat = after;
            }
        }
        crowd
    }

    /// Whether whoever was not admitted is admitted now that one slot came free, or as soon as what
    /// else it waits for (a pause before it tries again) is over. It must have been woken, and
    /// nobody else admitted: that breaks `promise`.
    pub(super) async fn one_more(&self, crowd: &mut Crowd, promise: Promise) -> bool {
        let at_once = self.next(crowd, Duration::ZERO).await;
        let late = at_once.is_none();
        let admission = match at_once {
            Some(admission) => Some(admission),
            None => self.next(crowd, self.patience()).await,
        };
        let Some(admission) = admission else {
            return false;
        };
        let admitted = crowd.push(admission);
        let mut seat = self.seat();
        let after = self.admit(&mut seat).await;
        crowd.next = Next::new(after, seat, &mut crowd.flights);
        // As time passes, more than one slot may come free.
        if admitted && !late && crowd.next.is_none() {
            self.violate(promise, "one slot came free, and two calls were admitted");
        }
        admitted
    }

    /// Whether whoever was not admitted is admitted, though no slot came free.
    pub(super) async fn one_early(&self, crowd: &mut Crowd) -> bool {
        match self.next(crowd, Duration::ZERO).await {
            Some(Admission::Refused) => {
                crowd.next = Some(Next::Refused);
                false
            }
            Some(admission) => crowd.push(admission),
            None => false,
        }
    }

    /// What becomes of whoever was not admitted; `None` if it waits on.
    async fn next(&self, crowd: &mut Crowd, patience: Duration) -> Option<Admission> {
        settle().await;
        match crowd.next.take()? {
            Next::Refused => {
                let mut seat = self.seat();
                Some(self.admit(&mut seat).await)
            }
            Next::Unready(mut seat) => {
                let asleep = patience.is_zero() && !seat.watch().is_woken();
                if seat.run(patience).await.is_pending() {
                    crowd.next = Some(Next::Unready(seat));
                    return None;
                }
                if asleep {
                    seat.watch().lost("when a slot came free");
                }
                Some(self.admit(&mut seat).await)
            }
            Next::Waits(seat, mut flight) => {
                let before = self.core.calls();
                let asleep = patience.is_zero() && !flight.watch().is_woken();
                let ended = flight.run(patience).await.is_ready();
                let called = self.core.calls() > before;
                if !called && !ended {
                    crowd.next = Some(Next::Waits(seat, flight));
                    return None;
                }
                if asleep {
                    flight.watch().lost("when a slot came free");
                }
                if called {
                    flight.inner_call = Some(before + 1);
                    return Some(Admission::In(flight));
                }
                Some(Admission::Refused)
            }
        }
    }
}

impl Crowd {
    fn push(&mut self, admission: Admission) -> bool {
        let Admission::In(flight) = admission else {
            return false;
        };
        self.flights.push(flight);
        true
    }
}

impl Next {
    /// Who was not admitted; who was joins the others.
    pub(super) fn new(admission: Admission, seat: Seat, flights: &mut Vec<Flight>) -> Option<Self> {
        match admission {
            Admission::In(flight) => {
                flights.push(flight);
                None
            }
            Admission::Unready => Some(Self::Unready(seat)),
            Admission::Waits(flight) => Some(Self::Waits(seat, flight)),
            Admission::Refused => Some(Self::Refused),
        }
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
