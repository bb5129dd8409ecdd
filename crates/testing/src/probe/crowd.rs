//! As many calls at once as a layer admits, and whoever is next.

use std::time::Duration;

use super::{
    body::Content,
    core::Answer,
    drive::{Driven, Flight, Seat, settle},
    promise::Promise,
    stage::{Admission, Stage},
};

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

// ===== impl Stage =====

impl Stage<'_, '_> {
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
            let mut clone = None;
            if from == From::Readied {
                if seat.nudge().await.is_pending() {
                    crowd.next = Some(Next::Unready(seat));
                    return crowd;
                }
                clone = Some(seat.fork());
            }
            let mut flight = match self.admit(&mut seat).await {
                Admission::In(flight) => flight,
                admission => {
                    crowd.next = Next::new(admission, seat, &mut crowd.flights);
                    return crowd;
                }
            };
            if hold == Hold::Reply {
                // Whoever peeks at a body may want time for it.
                let _ = flight.run(self.patience()).await;
            }
            crowd.flights.push(flight);
            seat = match from {
                From::Clones => self.seat(),
                From::Layers => self.layered(),
                From::Same | From::Readied => clone.unwrap_or(seat),
            };
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
    pub(super) async fn next(&self, crowd: &mut Crowd, patience: Duration) -> Option<Admission> {
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

    /// That the layer admits as many calls at once as when it was new.
    pub(super) async fn same_crowd(&self, promise: Promise, count: Option<usize>, after: &str) {
        settle().await;
        let crowd = self.crowd(From::Clones, Hold::Call).await;
        if crowd.count() != count {
            let (count, now) = (calls(count), calls(crowd.count()));
            self.violate(
                promise,
                format!("a new service admitted {count}, and {now} after {after}"),
            );
        }
    }
}

// ===== impl Crowd =====

impl Crowd {
    /// How many were admitted, if there was an end to it.
    pub(super) fn count(&self) -> Option<usize> {
        self.next.as_ref().map(|_| self.flights.len())
    }

    fn push(&mut self, admission: Admission) -> bool {
        let Admission::In(flight) = admission else {
            return false;
        };
        self.flights.push(flight);
        true
    }
}

// ===== impl Next =====

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

/// So many calls at once, in words.
pub(super) fn calls(count: Option<usize>) -> String {
    match count {
        Some(1) => "1 call at once".to_owned(),
        Some(count) => format!("{count} calls at once"),
        None => "calls without end".to_owned(),
    }
}
