//! What there is to see of a circuit.

use std::time::{Duration, Instant};

use crate::{
    Cause, State, Window,
    machine::{Machine, Phase},
};

/// How a circuit stands at one moment, as from [`CircuitBreaker::snapshot`](crate::CircuitBreaker::snapshot).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where it stands.
    pub state: State,
    /// For how long.
    pub elapsed: Duration,
    /// What brought it there. `None`: it has never changed.
    pub cause: Option<Cause>,
    /// How many changes there were.
    pub generation: u64,
    /// When it will let a call through: zero, if it is due with the next one. `None`: it is not
    /// open, or nobody knows.
    pub next_probe: Option<Duration>,
    /// So many failed one after another, in the calls that it counted.
    pub consecutive_failures: u32,
    /// What is in the window of each rate of its policy, in the order in which they were added. While
    /// it is open: what made it open.
    pub rates: Vec<Counts>,
    /// Its probes, while it is half-open.
    pub probes: Option<Probes>,
}

/// The calls in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// What opens the circuit, if there are too many bad ones: [`Cause::FailureRate`] or
    /// [`Cause::SlowRate`].
    pub cause: Cause,
    /// Which calls are counted.
    pub window: Window,
    /// How many there are.
    pub calls: u64,
    /// How many of them failed, or were slow.
    pub bad: u64,
}

/// The probes of a half-open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probes {
    /// Those under way, with the streams among them that gave their places to others.
    pub in_flight: u32,
    /// Those that went well.
    pub succeeded: u32,
    /// Those that failed.
    pub failed: u32,
}

// ===== impl Snapshot =====

impl Snapshot {
    pub(crate) fn of(machine: &mut Machine, now: Instant) -> Self {
        Self {
            state: machine.phase().state(),
            elapsed: now.saturating_duration_since(machine.since()),
            cause: machine.cause(),
            generation: machine.generation(),
            next_probe: machine.next_probe(now),
            consecutive_failures: machine.run(),
            rates: machine
                .rates(now)
                .map(|(rate, calls, bad)| Counts {
                    cause: rate.cause(),
                    window: rate.window,
                    calls,
                    bad,
                })
                .collect(),
            probes: match machine.phase() {
                Phase::HalfOpen(episode) => Some(Probes {
                    in_flight: episode.in_flight(),
                    succeeded: episode.succeeded,
                    failed: episode.failed,
                }),
                _ => None,
            },
        }
    }
}

// ===== impl Counts =====

impl Counts {
    /// The share of the bad ones. `None`: there are no calls.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.bad as f64 / self.calls as f64)
    }
}
