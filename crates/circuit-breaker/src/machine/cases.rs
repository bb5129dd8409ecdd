//! What a model of any sequence would meet too seldom.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Closed, Machine, Said, Ticket};
use crate::{Policy, Ratio, Wait, Window, shared::now};

/// Half-open, with its one probe, of thirty seconds.
fn probing(origin: Instant) -> (Machine, Ticket) {
    let policy = Policy::consecutive_failures(NonZeroU32::MIN)
        .wait(Wait::fixed(Duration::ZERO))
        .probe_timeout(Duration::from_secs(30));
    let mut machine = Machine::new(policy.rules, origin);
    let ticket = machine.admit(origin).0.unwrap();
    machine.record(ticket, Said::Badly, 0, || origin);
    let probe = machine.admit(origin).0.unwrap();
    (machine, probe)
}

#[test]
fn b6_a_probe_that_was_given_up_for_lost_prolongs_no_other() {
    let origin = now();
    let at = |secs| origin + Duration::from_secs(secs);
    let (mut machine, lost) = probing(origin);
    let probe = machine.admit(at(30)).0.unwrap();
    assert_eq!(probe.generation(), lost.generation() + 1);
    // As long as it likes: the other one is silent, and has its place until its time.
    for secs in 31..60 {
        assert_eq!(machine.alive(lost, at(secs)), lost);
        assert_eq!(machine.admits(at(secs)), Err(Closed(None)), "{secs}");
    }
    assert_eq!(machine.alive(lost, at(59)), lost);
    assert!(machine.admit(at(60)).0.is_ok());
}

#[test]
fn b6_a_probe_that_goes_on_gives_its_place_away_when_its_time_is_up_and_not_before() {
    let origin = now();
    let at = |secs| origin + Duration::from_secs(secs);
    let (mut machine, probe) = probing(origin);
    assert_eq!(machine.alive(probe, at(29)), probe);
    assert_eq!(machine.admits(at(58)), Err(Closed(None)));
    let long = machine.alive(probe, at(30));
    assert!(!long.has_place());
    let next = machine.admit(at(30)).0.unwrap();
    assert_eq!(next.generation(), long.generation());
    assert_eq!(machine.admits(at(30)), Err(Closed(None)));
    // Dropped, it has no place to give back.
    assert!(machine.record(long, Said::Nothing, 0, || at(31)).is_none());
    assert_eq!(machine.admits(at(31)), Err(Closed(None)));
    assert!(machine.record(next, Said::Well, 0, || at(32)).is_some());
}

/// The time is the caller's: one that goes backwards is no reason to panic, nor to admit early.
#[test]
fn a_clock_that_goes_backwards_neither_panics_nor_opens_early() {
    let origin = now();
    let later = |secs| origin + Duration::from_secs(secs);
    let policy = Policy::failure_rate(Ratio::percent::<50>(), Window::secs::<10>())
        .minimum_calls(NonZeroU32::MIN)
        .wait(Wait::fixed(Duration::from_secs(5)));
    let mut machine = Machine::new(policy.rules, later(100));
    let ticket = machine.admit(later(100)).0.unwrap();
    let record =
        |machine: &mut Machine, said, secs: u64| machine.record(ticket, said, 0, || later(secs));
    record(&mut machine, Said::Well, 130);
    record(&mut machine, Said::Well, 50);
    assert_eq!(counts(&mut machine, later(130)), (2, 0));
    record(&mut machine, Said::Well, 130);
    assert!(record(&mut machine, Said::Badly, 10).is_none());
    assert!(record(&mut machine, Said::Badly, 130).is_none());
    assert!(record(&mut machine, Said::Badly, 130).is_some());
    assert_eq!(
        machine.admit(later(20)).0,
        Err(Closed(Some(Duration::from_secs(115))))
    );
}

fn counts(machine: &mut Machine, now: Instant) -> (u64, u64) {
    let (_, all, bad) = machine.rates(now).next().unwrap();
    (all, bad)
}
