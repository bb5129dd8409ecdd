//! Every order in which callers come, look and leave, and the answer arrives, against a naive model.
//!
//! A flight is under one lock, and the table under another, so that threads can only do these steps
//! one after another: there is nothing between them for loom to reorder. What they can do while one of
//! them polls the call, for which no lock is held, is in `between.rs`.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use buttress_cache::{Cache, CacheService, Keyed};
use buttress_testing::probe::{Call, Inner};
use tokio_test::task::Spawn;
use tower::Service;

use crate::{Ask, BoxError, Kept, Own, Said, Upstream, ask, layer, over, said, told};

const CALLERS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Asks, and takes a seat or has a hit.
    Comes(usize),
    Looks(usize),
    Leaves(usize),
    Answers(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Reply,
    Error,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Model {
    /// One who waited makes the call again after an error.
    heirs: bool,
    callers: [Caller; CALLERS],
    flights: Vec<Flight>,
    /// The flight that can be joined.
    open: Option<usize>,
    kept: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Caller {
    #[default]
    Away,
    Sits(Seat),
    /// Has a hit, and has not looked.
    Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seat {
    flight: usize,
    leads: bool,
    /// Since it looked last, if it has: whether the answer has come.
    awake: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Flight {
    /// The upstream was called, since somebody has looked.
    made: bool,
    answer: Option<Answer>,
}

type Key = fn(&Ask) -> Keyed;
type Cached = CacheService<Own, Key, Kept, Inner<Ask, Said, BoxError>>;
type Asked = <Cached as Service<Ask>>::Future;

struct Run {
    model: Model,
    service: Cached,
    cache: Cache<Kept>,
    upstream: Upstream,
    calls: Vec<Call<Ask, Said, BoxError>>,
    callers: [Option<Spawn<Asked>>; CALLERS],
}

// ===== impl Model =====

impl Model {
    /// What the next events depend on: not which caller is which.
    fn state(&self) -> Self {
        let mut state = self.clone();
        state.callers.sort_unstable();
        state
    }

    /// What may happen next, with so many flights in all.
    fn events(&self, flights: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, caller) in self.callers.iter().enumerate() {
            match caller {
                Caller::Away if self.open.is_some() || self.kept || self.has_room(flights) => {
                    events.push(Event::Comes(number));
                }
                Caller::Away => {}
                _ => events.extend([Event::Looks(number), Event::Leaves(number)]),
            }
        }
        let waits = self.open.map(|open| self.flights[open]);
        if waits.is_some_and(|flight| flight.made && flight.answer.is_none()) {
            events.push(Event::Answers(Answer::Reply));
            if !self.heirs || self.has_room(flights) {
                events.push(Event::Answers(Answer::Error));
            }
        }
        events
    }

    fn has_room(&self, flights: usize) -> bool {
        self.flights.len() < flights
    }

    fn comes(&mut self, number: usize) {
        self.callers[number] = if self.kept {
            Caller::Holds
        } else {
            let leads = self.open.is_none();
            let flight = *self.open.get_or_insert(self.flights.len());
            if leads {
                self.flights.push(Flight::default());
            }
            Caller::Sits(Seat {
                flight,
                leads,
                awake: None,
            })
        };
    }

    fn looks(&mut self, number: usize) -> Option<&'static str> {
        loop {
            let Caller::Sits(seat) = &mut self.callers[number] else {
                self.callers[number] = Caller::Away;
                return Some("hello (hit)");
            };
            let flight = &mut self.flights[seat.flight];
            flight.made = true;
            let Some(answer) = flight.answer else {
                seat.awake = Some(false);
                return None;
            };
            let seat = *seat;
            self.callers[number] = Caller::Away;
            if self.open == Some(seat.flight) {
                self.open = None;
                self.kept |= answer == Answer::Reply;
            }
            return Some(match (answer, seat.leads) {
                (Answer::Reply, true) => "hello (miss)",
                (Answer::Reply, false) => "hello (coalesced)",
                (Answer::Error, true) => "error: down",
                (Answer::Error, false) if self.heirs => {
                    self.comes(number);
                    continue;
                }
                (Answer::Error, false) => "refused: shared call failed, unavailable",
            });
        }
    }

    fn leaves(&mut self, number: usize) {
        let left = std::mem::take(&mut self.callers[number]);
        if let Caller::Sits(seat) = left
            && self.seats(seat.flight) == 0
            && self.open == Some(seat.flight)
        {
            self.open = None;
        }
    }

    fn answers(&mut self, answer: Answer) {
        let Some(open) = self.open else { return };
        self.flights[open].answer = Some(answer);
        for caller in &mut self.callers {
            if let Caller::Sits(seat) = caller
                && seat.flight == open
            {
                seat.awake = seat.awake.map(|_| true);
            }
        }
    }

    fn seats(&self, flight: usize) -> usize {
        let sits = |caller: &&Caller| matches!(caller, Caller::Sits(seat) if seat.flight == flight);
        self.callers.iter().filter(sits).count()
    }

    /// A call is under way until somebody looks who finds its answer, or all have left.
    fn in_flight(&self) -> usize {
        let made = |open: usize| self.flights[open].made;
        usize::from(self.open.is_some_and(made))
    }
}

// ===== impl Run =====

impl Run {
    fn begin(heirs: bool) -> Self {
        let layer = match heirs {
            true => layer().next_waiter_tries(),
            false => layer(),
        };
        let cache = layer.handle();
        let (service, upstream) = over(layer);
        Self {
            model: Model {
                heirs,
                ..Model::default()
            },
            service,
            cache,
            upstream,
            calls: Vec::new(),
            callers: Default::default(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Comes(number) => {
                self.model.comes(number);
                let call = self.service.call(ask("hi"));
                self.callers[number] = Some(tokio_test::task::spawn(call));
            }
            Event::Looks(number) => {
                let expected = self.model.looks(number);
                let caller = self.callers[number].as_mut().unwrap();
                let found = match caller.poll() {
                    Poll::Pending => None,
                    Poll::Ready(reply) => {
                        self.callers[number] = None;
                        Some(told(reply))
                    }
                };
                assert_eq!(found.as_deref(), expected);
            }
            Event::Leaves(number) => {
                self.model.leaves(number);
                self.callers[number] = None;
            }
            Event::Answers(answer) => {
                self.model.answers(answer);
                let call = self.calls.pop().unwrap();
                assert!(match answer {
                    Answer::Reply => call.reply(said("hello")),
                    Answer::Error => call.fail("down".into()),
                });
            }
        }
        self.calls.extend(self.upstream.try_next_call());
    }

    /// What has to be true at any time.
    fn holds(&self) {
        let model = &self.model;
        let made = model.flights.iter().filter(|flight| flight.made).count();
        assert_eq!(self.upstream.calls(), made as u64, "calls");
        assert_eq!(self.upstream.in_flight(), model.in_flight(), "in flight");
        assert!(self.upstream.in_flight() <= 1, "one call at a time");
        assert_eq!(self.cache.flights(), usize::from(model.open.is_some()));
        assert_eq!(self.cache.statistics().stored, u64::from(model.kept));
        for (caller, found) in model.callers.iter().zip(&self.callers) {
            if let Caller::Sits(Seat {
                awake: Some(awake), ..
            }) = caller
            {
                let found = found.as_ref().is_some_and(Spawn::is_woken);
                assert!(found || !awake, "nobody sleeps when the answer is there");
            }
        }
    }
}

/// Comes to every state there is, each by the shortest way.
fn explore(heirs: bool, flights: usize) -> usize {
    let begin = Run::begin(heirs).model;
    let mut known = HashSet::from([begin.state()]);
    let mut next = VecDeque::from([(Vec::new(), begin)]);
    while let Some((way, model)) = next.pop_front() {
        for event in model.events(flights) {
            let mut run = Run::begin(heirs);
            way.iter().for_each(|event| run.happens(*event));
            let result = catch_unwind(AssertUnwindSafe(|| {
                run.happens(event);
                run.holds();
            }));
            assert!(result.is_ok(), "{way:?}, then {event:?}");
            if known.insert(run.model.state()) {
                let mut way = way.clone();
                way.push(event);
                next.push_back((way, run.model.clone()));
            }
        }
    }
    known.len()
}

#[test]
fn c1_c2_c3_in_whatever_order_callers_come_look_and_leave_one_call_serves_them() {
    let states = explore(false, 2);
    assert!(states > 100, "{states}");
}

#[test]
fn c1_c2_c3_and_where_the_next_waiter_tries_one_at_a_time_does() {
    let states = explore(true, 2);
    assert!(states > 100, "{states}");
}
