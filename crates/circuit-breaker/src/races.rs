//! Admission and recording under loom: every order in which threads can do it, as far as the memory
//! model goes.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use loom::thread;

use crate::{
    CircuitEvent, Policy, Ratio, State, Wait, Window,
    machine::{Change, Closed, Said, Ticket},
    shared::{Shared, Shut, now},
};

const WAIT: Duration = Duration::from_secs(10);

/// Opens after so many failures in a row, for ten seconds.
fn shared(failures: u32, at: Instant) -> Arc<Shared> {
    let policy =
        Policy::consecutive_failures(NonZeroU32::new(failures).unwrap()).wait(Wait::fixed(WAIT));
    Arc::new(Shared::new(policy.rules, policy.name, None, at))
}

/// One that has just opened.
fn open(at: Instant) -> Arc<Shared> {
    let shared = shared(1, at);
    let (ticket, _) = shared.admit(|| at);
    shared.count(ticket.unwrap(), true, 0, Some(at));
    shared
}

fn state(shared: &Shared) -> State {
    shared.read(|machine| machine.phase().state())
}

fn opened(change: Option<Change>) -> bool {
    matches!(
        change,
        Some(Change::State {
            to: State::Open,
            ..
        })
    )
}

#[test]
fn b4_whoever_sees_it_open_knows_when_to_come_back() {
    let at = now();
    loom::model(move || {
        let shared = shared(1, at);
        let ticket = shared.admit(|| at).0.unwrap();
        let other = Arc::clone(&shared);
        let trips = thread::spawn(move || {
            other.count(ticket, true, 0, Some(at));
        });
        match shared.admit(|| at).0 {
            Ok(ticket) => assert_eq!(ticket.generation(), 0),
            Err(shut) => assert_eq!(shut, Shut::from(Closed(Some(WAIT)))),
        }
        trips.join().unwrap();
        let shut = Shut::from(Closed(Some(WAIT)));
        assert_eq!(shared.admits(|| at), Err(shut));
        assert_eq!(shared.admit(|| at).0, Err(shut));
    });
}

#[test]
fn b5_of_two_that_come_when_it_is_due_one_is_the_probe() {
    let at = now();
    loom::model(move || {
        let shared = open(at);
        let due = at + WAIT;
        let come = |shared: &Arc<Shared>| {
            let shared = Arc::clone(shared);
            thread::spawn(move || shared.admit(|| due).0.ok())
        };
        let (one, other) = (come(&shared), come(&shared));
        let admitted = [one, other].map(|thread| thread.join().unwrap());
        let probe = Ticket::new(2, true);
        assert_eq!(admitted.iter().flatten().collect::<Vec<_>>(), [&probe]);
    });
}

#[test]
fn b5_a_place_that_is_given_back_is_taken_by_one() {
    let at = now();
    loom::model(move || {
        let shared = open(at);
        let due = at + WAIT;
        let probe = shared.admit(|| due).0.unwrap();
        let (dropper, comer) = (Arc::clone(&shared), Arc::clone(&shared));
        let drops = thread::spawn(move || {
            dropper.record(probe, Said::Nothing);
        });
        let comes = thread::spawn(move || comer.admit(|| due).0.is_ok());
        let mine = shared.admit(|| due).0.is_ok();
        drops.join().unwrap();
        let theirs = comes.join().unwrap();
        assert!(!(mine && theirs));
        assert_eq!(shared.admit(|| due).0.is_ok(), !mine && !theirs);
        assert_eq!(state(&shared), State::HalfOpen);
    });
}

#[test]
fn b6_a_place_that_a_stream_gives_away_is_taken_by_one() {
    let at = now();
    loom::model(move || {
        let shared = open(at);
        let due = at + WAIT;
        let probe = shared.admit(|| due).0.unwrap();
        let (streamer, comer) = (Arc::clone(&shared), Arc::clone(&shared));
        // As long as a probe may take, by default.
        let goes_on = due + Duration::from_secs(60);
        let streams = thread::spawn(move || streamer.alive(probe, || goes_on));
        let comes = thread::spawn(move || comer.admit(|| due).0.is_ok());
        let mine = shared.admit(|| due).0.is_ok();
        let probe = streams.join().unwrap();
        let theirs = comes.join().unwrap();
        assert!(!probe.has_place());
        assert!(!(mine && theirs));
        assert_eq!(shared.admit(|| due).0.is_ok(), !mine && !theirs);
        // It has its say all the same.
        shared.count(probe, false, 0, Some(goes_on));
        assert_eq!(state(&shared), State::Closed);
    });
}

#[test]
fn b8_of_two_failures_one_trips_it() {
    let at = now();
    loom::model(move || {
        let shared = shared(2, at);
        let fail = |shared: &Arc<Shared>| {
            let ticket = shared.admit(|| at).0.unwrap();
            let shared = Arc::clone(shared);
            thread::spawn(move || opened(shared.count(ticket, true, 0, Some(at))))
        };
        let (one, other) = (fail(&shared), fail(&shared));
        let trips = [one, other].map(|thread| u32::from(thread.join().unwrap()));
        assert_eq!(trips.iter().sum::<u32>(), 1);
        assert_eq!(state(&shared), State::Open);
    });
}

#[test]
fn b3_a_failure_counts_beside_a_call_that_touches_nothing() {
    let at = now();
    loom::model(move || {
        let half = Ratio::percent::<100>();
        let policy = Policy::failure_rate(half, Window::calls::<2>());
        let shared = Arc::new(Shared::new(policy.rules, policy.name, None, at));
        let ticket = shared.admit(|| at).0.unwrap();
        shared.count(ticket, false, 0, Some(at));
        shared.count(ticket, false, 0, Some(at));
        assert!(shared.is_calm(ticket));
        let other = Arc::clone(&shared);
        let fails = thread::spawn(move || other.count(ticket, true, 0, Some(at)));
        shared.count(ticket, false, 0, Some(at));
        assert_eq!(fails.join().unwrap(), None);
        let bad = || shared.read(|machine| machine.rates(at).next().unwrap().2);
        assert_eq!(bad(), 1);
        assert!(!shared.is_calm(ticket));
        // Whatever came first: two that go well are the whole window.
        shared.count(ticket, false, 0, Some(at));
        shared.count(ticket, false, 0, Some(at));
        assert_eq!(bad(), 0);
        assert!(shared.is_calm(ticket));
    });
}

#[test]
fn b7_what_was_admitted_before_a_reset_trips_nothing_after_it() {
    let at = now();
    loom::model(move || {
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let policy = Policy::consecutive_failures(NonZeroU32::MIN)
            .wait(Wait::fixed(WAIT))
            .on_event(move |event: &CircuitEvent<'_>| {
                assert!(matches!(event, CircuitEvent::Changed { .. }));
                count.fetch_add(1, Ordering::Relaxed);
            });
        let shared = Arc::new(Shared::new(policy.rules, policy.name, policy.observer, at));
        let ticket = shared.admit(|| at).0.unwrap();
        let other = Arc::clone(&shared);
        let fails = thread::spawn(move || {
            let change = other.count(ticket, true, 0, Some(at));
            other.tell(change);
            opened(change)
        });
        shared.steer(crate::machine::Phase::Closed);
        let tripped = fails.join().unwrap();
        // Before the reset, which closed it again; after it, it was of no interest.
        assert_eq!(state(&shared), State::Closed);
        assert_eq!(told.load(Ordering::Relaxed), 1 + u32::from(tripped));
        assert!(shared.admit(|| at).0.is_ok());
    });
}

#[test]
fn b15_a_late_success_leaves_the_probe_its_decision() {
    let at = now();
    loom::model(move || {
        let shared = shared(1, at);
        let (late, fails) = (
            shared.admit(|| at).0.unwrap(),
            shared.admit(|| at).0.unwrap(),
        );
        let other = Arc::clone(&shared);
        let late = thread::spawn(move || {
            other.count(late, false, 0, Some(at));
        });
        shared.count(fails, true, 0, Some(at));
        let probe = shared.admit(|| at + WAIT).0.unwrap();
        late.join().unwrap();
        assert_eq!(state(&shared), State::HalfOpen);
        assert!(opened(shared.count(probe, true, 0, Some(at + WAIT))));
    });
}
