//! The promises of the circuit breaker, from outside.

mod contract;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_circuit_breaker::{Cause, CircuitEvent, Policy, State, Wait};

/// What an observer wrote down.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Changed(State, State, Cause, Option<Duration>),
    WouldOpen(Cause),
    Unguarded(usize),
}

type Log = Arc<Mutex<Vec<Told>>>;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// Opens after so many failures in a row, for ten seconds.
fn after(failures: u32) -> Policy {
    Policy::consecutive_failures(count(failures)).wait(Wait::fixed(secs(10)))
}

fn log() -> (Log, impl Fn(&CircuitEvent<'_>) + Clone) {
    let log = Log::default();
    let write = log.clone();
    let observer = move |event: &CircuitEvent<'_>| {
        write.lock().unwrap().push(match *event {
            CircuitEvent::Changed {
                from,
                to,
                cause,
                wait,
                ..
            } => Told::Changed(from, to, cause, wait),
            CircuitEvent::WouldOpen { cause, .. } => Told::WouldOpen(cause),
            CircuitEvent::Unguarded { circuits, .. } => Told::Unguarded(circuits),
            _ => panic!("an event that the test does not know"),
        });
    };
    (log, observer)
}
