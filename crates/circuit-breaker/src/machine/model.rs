//! The machine against a plain, slow model of itself, which remembers every call.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{Change, Closed, Machine, Said, Ticket};
use crate::{Policy, Ratio, State, Wait, Window, gauge::nanos, shared::now};

/// A policy in plain numbers; times in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Plan {
    by_calls: Option<(u32, u32)>,
    by_time: Option<(u64, u16, u32)>,
    slow: Option<(u64, u32, u32)>,
    run: Option<u32>,
    minimum: u32,
    wait: (u64, u64),
    probes: u32,
    recovery: u32,
    lost: u64,
    throttled: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    Call,
    /// One of the calls under way is over.
    End(prop::sample::Index, End),
    /// One brings something.
    Alive(prop::sample::Index),
    Steer(State),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Well(u64),
    Badly(u64),
    Pause(u64),
    Nothing,
}

/// All that ever counted, and the state, in the plainest words.
#[derive(Debug)]
struct Model {
    plan: Plan,
    state: State,
    generation: u64,
    /// Calls counted since it was closed anew: when they ended, whether they failed, how long they
    /// took.
    counted: Vec<(u64, bool, u64)>,
    until: Option<u64>,
    closes: bool,
    wait: u64,
    relapses: u32,
    /// The probes of this episode: whether they went well, if they are over.
    probes: Vec<(u64, Option<bool>)>,
    /// Those that gave their places away.
    without_place: Vec<u64>,
    lost: u64,
    /// When the last probe was let through.
    last: u64,
    held: bool,
}

// ===== impl Plan =====

impl Plan {
    fn policy(&self) -> Policy {
        let count = |count| NonZeroU32::new(count).unwrap();
        let percent = |part| Ratio::new(part, 100).unwrap();
        // Of a run that nobody reaches, so that it begins with something.
        let mut policy = Policy::consecutive_failures(count(self.run.unwrap_or(u32::MAX)))
            .minimum_calls(count(self.minimum))
            .wait(Wait::exponential(ms(self.wait.0), ms(self.wait.1)))
            .probes(count(self.probes))
            .recovery(percent(self.recovery))
            .probe_timeout(ms(self.lost));
        if let Some((calls, part)) = self.by_calls {
            policy = policy.or_failure_rate(percent(part), Window::last_calls(calls).unwrap());
        }
        if let Some((bucket, buckets, part)) = self.by_time {
            let time = ms(bucket) * u32::from(buckets);
            let window = Window::last_in(time, NonZeroU16::new(buckets).unwrap()).unwrap();
            policy = policy.or_failure_rate(percent(part), window);
        }
        if let Some((limit, part, calls)) = self.slow {
            let window = Window::last_calls(calls).unwrap();
            policy = policy.or_slow_rate(percent(part), ms(limit), window);
        }
        if let Some(cap) = self.throttled {
            policy = policy.open_on_throttled(ms(cap));
        }
        policy
    }
}

// ===== impl Model =====

impl Model {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            state: State::Closed,
            generation: 0,
            counted: Vec::new(),
            until: None,
            closes: false,
            wait: 0,
            relapses: 0,
            probes: Vec::new(),
            without_place: Vec::new(),
            lost: 0,
            last: 0,
            held: false,
        }
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.probes.clear();
        self.without_place.clear();
        self.held = false;
    }

    /// So many calls more may be let through only in their stead.
    fn places(&self) -> usize {
        let gone_on = |probe: &&(u64, _)| self.without_place.contains(&probe.0);
        self.probes.len() - self.probes.iter().filter(gone_on).count()
    }

    fn alive(&mut self, number: u64, now: u64) {
        if self.without_place.contains(&number) {
            return;
        }
        self.lost = now + self.plan.lost;
        if now >= self.last + self.plan.lost {
            self.without_place.push(number);
        }
    }

    fn admit(&mut self, now: u64) -> Result<(u64, bool), Option<u64>> {
        match self.state {
            State::Open => {
                let until = self.until.unwrap();
                if now < until {
                    return Err(Some(until - now));
                }
                self.go(if self.closes {
                    State::Closed
                } else {
                    State::HalfOpen
                });
            }
            State::ForcedOpen => return Err(None),
            State::HalfOpen if self.places() >= self.plan.probes as usize => {
                if now < self.lost {
                    return Err(None);
                }
                self.go(State::HalfOpen);
            }
            _ => {}
        }
        let probe = self.state == State::HalfOpen;
        if probe {
            self.lost = now + self.plan.lost;
            self.last = now;
        }
        Ok((self.generation, probe))
    }

    /// Bad ones and all, of each rate.
    fn rates(&self, now: u64) -> Vec<(u64, u64)> {
        let last = |calls: u32| {
            let from = self.counted.len().saturating_sub(calls as usize);
            &self.counted[from..]
        };
        let mut rates = Vec::new();
        if let Some((calls, _)) = self.plan.by_calls {
            let window = last(calls);
            let bad = window.iter().filter(|call| call.1).count();
            rates.push((bad, window.len()));
        }
        if let Some((bucket, buckets, _)) = self.plan.by_time {
            let seen =
                |call: &&(u64, bool, u64)| call.0 / bucket + u64::from(buckets) > now / bucket;
            let window: Vec<_> = self.counted.iter().filter(seen).collect();
            let bad = window.iter().filter(|call| call.1).count();
            rates.push((bad, window.len()));
        }
        if let Some((limit, _, calls)) = self.plan.slow {
            let window = last(calls);
            let bad = window.iter().filter(|call| call.2 > limit).count();
            rates.push((bad, window.len()));
        }
        let rates = rates.into_iter();
        rates.map(|(bad, all)| (bad as u64, all as u64)).collect()
    }

    fn run(&self) -> u32 {
        let failed = self.counted.iter().rev().take_while(|call| call.1);
        failed.count() as u32
    }

    fn holds(&self, now: u64) -> bool {
        let parts = [
            self.plan.by_calls.map(|(calls, part)| (part, calls)),
            self.plan.by_time.map(|(_, _, part)| (part, u32::MAX)),
            self.plan.slow.map(|(_, part, calls)| (part, calls)),
        ];
        let mut rates = self.rates(now).into_iter().zip(parts.iter().flatten());
        self.plan.run.is_some_and(|run| self.run() >= run)
            || rates.any(|((bad, all), (part, most))| {
                all >= u64::from(self.plan.minimum.min(*most))
                    && bad * 100 >= all * u64::from(*part)
            })
    }

    fn open(&mut self, wait: u64, closes: bool, now: u64) {
        self.go(State::Open);
        (self.until, self.closes, self.wait) = (Some(now + wait), closes, wait);
    }

    fn trip(&mut self, now: u64) {
        let (first, cap) = self.plan.wait;
        let wait = first.saturating_mul(1_u64.checked_shl(self.relapses).unwrap_or(u64::MAX));
        self.open(wait.min(cap), false, now);
    }

    fn end(&mut self, ticket: (u64, bool), number: u64, end: End, now: u64) {
        if ticket.0 != self.generation {
            return;
        }
        if let (End::Pause(hint), Some(cap)) = (end, self.plan.throttled) {
            match self.state {
                State::Closed => return self.open(hint.min(cap), true, now),
                State::HalfOpen => return self.open(hint.min(cap), false, now),
                _ => {}
            }
        }
        let (failed, took) = match end {
            End::Well(took) => (false, took),
            End::Badly(took) => (true, took),
            End::Pause(_) | End::Nothing => {
                if self.state == State::HalfOpen {
                    self.probes.retain(|probe| probe.0 != number);
                    self.without_place.retain(|other| *other != number);
                    self.lost = now + self.plan.lost;
                }
                return;
            }
        };
        match self.state {
            State::Closed => {
                self.counted.push((now, failed, took));
                if self.holds(now) {
                    self.trip(now);
                }
            }
            State::ObserveOnly => {
                self.counted.push((now, failed, took));
                self.held = self.holds(now);
            }
            State::HalfOpen => {
                let slow = self.plan.slow.is_some_and(|(limit, ..)| took > limit);
                let mut probes = self.probes.iter_mut();
                probes.find(|probe| probe.0 == number).unwrap().1 = Some(!failed && !slow);
                self.without_place.retain(|other| *other != number);
                self.lost = now + self.plan.lost;
                let said = |well| {
                    let probes = self.probes.iter().filter(|probe| probe.1 == Some(well));
                    probes.count() as u32
                };
                let (all, percent) = (self.plan.probes, self.plan.recovery);
                // It is decided once the rest cannot change it.
                if said(true) * 100 >= all * percent {
                    self.counted.clear();
                    self.relapses = 0;
                    self.go(State::Closed);
                } else if (all - said(false)) * 100 < all * percent {
                    self.relapses += 1;
                    self.trip(now);
                }
            }
            _ => {}
        }
    }

    fn steer(&mut self, to: State) {
        if self.state != to || to == State::Closed {
            self.counted.clear();
            self.relapses = 0;
            self.go(to);
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs both, side by side.
fn run(plan: Plan, steps: &[Step]) -> Result<(), TestCaseError> {
    let origin = now();
    let at = |now: u64| origin + ms(now);
    let mut machine = Machine::new(plan.policy().rules, origin);
    let mut model = Model::new(plan);
    let mut calls: Vec<(Ticket, (u64, bool), u64)> = Vec::new();
    let (mut now, mut number) = (0, 0);
    for step in steps {
        let generation = machine.generation();
        let mut changes: Vec<Option<Change>> = Vec::new();
        match *step {
            Step::Wait(time) => now += time,
            Step::Call => {
                let before = machine.admits(at(now));
                let (ticket, change) = machine.admit(at(now));
                changes.push(change);
                // What it says beforehand is what it does then.
                prop_assert_eq!(before.err(), ticket.err());
                let admitted = model.admit(now);
                match (ticket, admitted) {
                    (Ok(ticket), Ok(expected)) => {
                        prop_assert_eq!((ticket.generation(), ticket.is_probe()), expected);
                        if expected.1 {
                            model.probes.push((number, None));
                        }
                        calls.push((ticket, expected, number));
                        number += 1;
                    }
                    (Err(Closed(wait)), Err(expected)) => {
                        prop_assert_eq!(wait, expected.map(ms));
                    }
                    (found, expected) => prop_assert!(false, "{:?}, {:?}", found, expected),
                }
            }
            Step::End(which, end) if !calls.is_empty() => {
                let (ticket, expected, number) = calls.swap_remove(which.index(calls.len()));
                let said = match end {
                    End::Well(took) => (Said::Well, took),
                    End::Badly(took) => (Said::Badly, took),
                    End::Pause(hint) => (Said::Pause(ms(hint)), 0),
                    End::Nothing => (Said::Nothing, 0),
                };
                let (said, took) = said;
                let took = nanos(ms(took));
                changes.push(machine.record(ticket, said, took, || at(now)));
                model.end(expected, number, end, now);
            }
            Step::Alive(which) if !calls.is_empty() => {
                let at_hand = which.index(calls.len());
                let (ticket, expected, number) = calls[at_hand];
                // One without a place is not asked.
                if ticket.has_place() {
                    calls[at_hand].0 = machine.alive(ticket, at(now));
                }
                if expected == (model.generation, true) {
                    model.alive(number, now);
                }
            }
            Step::End(..) | Step::Alive(_) => {}
            Step::Steer(to) => {
                changes.push(machine.steer(phase(to), at(now)));
                model.steer(to);
            }
        }
        prop_assert_eq!(machine.phase().state(), model.state);
        prop_assert_eq!(machine.generation(), model.generation);
        prop_assert_eq!(machine.would_open, model.held);
        prop_assert_eq!(machine.run(), model.run());
        let found: Vec<_> = machine
            .rates(at(now))
            .map(|(_, all, bad)| (bad, all))
            .collect();
        prop_assert_eq!(found, model.rates(now));
        // B8: one event for each change.
        let told = changes.iter().flatten();
        let told = told
            .filter(|change| matches!(change, Change::State { .. }))
            .count();
        prop_assert_eq!(told as u64, machine.generation() - generation);
        if let super::Phase::HalfOpen(episode) = machine.phase() {
            prop_assert_eq!(episode.taken as usize, model.places());
            prop_assert_eq!(episode.going_on as usize, model.without_place.len());
            // B5: no more are counted.
            prop_assert!(episode.succeeded + episode.failed < plan.probes);
            if episode.going_on == 0 {
                let said = model.probes.iter().filter(|probe| probe.1.is_some());
                prop_assert_eq!(
                    episode.in_flight() as usize,
                    model.probes.len() - said.count()
                );
            }
        }
    }
    Ok(())
}

fn phase(state: State) -> super::Phase {
    match state {
        State::ForcedOpen => super::Phase::ForcedOpen,
        State::ForcedClosed => super::Phase::ForcedClosed,
        State::ObserveOnly => super::Phase::ObserveOnly,
        _ => super::Phase::Closed,
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let percent = || prop_oneof![Just(50_u32), Just(100), 1..=100_u32];
    let rates = (
        prop::option::of((1..=70_u32, percent())),
        prop::option::of((1..=20_u64, 1..=6_u16, percent())),
        prop::option::of((0..=5_u64, percent(), 1..=10_u32)),
        prop::option::of(1..=6_u32),
    );
    let rest = (
        1..=8_u32,
        (0..=30_u64, 0..=100_u64),
        1..=4_u32,
        percent(),
        1..=40_u64,
        prop::option::of(1..=30_u64),
    );
    (rates, rest).prop_map(|(rates, rest)| Plan {
        by_calls: rates.0,
        by_time: rates.1,
        slow: rates.2,
        run: rates.3,
        minimum: rest.0,
        wait: if rest.1.0 == 0 { (0, 0) } else { rest.1 },
        probes: rest.2,
        recovery: rest.3,
        lost: rest.4,
        throttled: rest.5,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => (0..8_u64).prop_map(End::Well),
        6 => (0..8_u64).prop_map(End::Badly),
        1 => (1..50_u64).prop_map(End::Pause),
        1 => Just(End::Nothing),
    ];
    let steer = prop_oneof![
        Just(State::Closed),
        Just(State::ForcedOpen),
        Just(State::ForcedClosed),
        Just(State::ObserveOnly),
    ];
    prop_oneof![
        10 => prop_oneof![4 => 0..4_u64, 2 => 0..60_u64, 1 => 0..1000_u64].prop_map(Step::Wait),
        30 => Just(Step::Call),
        30 => (any::<prop::sample::Index>(), end).prop_map(|(which, end)| Step::End(which, end)),
        2 => any::<prop::sample::Index>().prop_map(Step::Alive),
        1 => steer.prop_map(Step::Steer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn b3_it_equals_a_naive_model_for_any_sequence_of_outcomes_and_times(
        plan in plans(),
        steps in vec(steps(), 0..250),
    ) {
        run(plan, &steps)?;
    }
}
