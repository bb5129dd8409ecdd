//! What is counted, until the metrics layer does it: calls by class, tokens, calls in flight.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use buttress_core::{Class, Outcome};

/// The calls to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    ended: [AtomicU64; Class::ALL.len()],
    in_flight: AtomicU64,
    input: AtomicU64,
    output: AtomicU64,
}

// ===== impl Counters =====

impl Counters {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Once for each [`begin`](Self::begin).
    pub(crate) fn end(&self, outcome: &Outcome) {
        self.in_flight.fetch_sub(1, Relaxed);
        if let Some(place) = Class::ALL.iter().position(|class| *class == outcome.class) {
            self.ended[place].fetch_add(1, Relaxed);
        }
        if let Some(usage) = outcome.usage {
            self.input.fetch_add(usage.input, Relaxed);
            self.output.fetch_add(usage.output, Relaxed);
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// How many calls ended, by class.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (Class, u64)> {
        let counts = self.ended.iter().map(|count| count.load(Relaxed));
        Class::ALL.into_iter().zip(counts)
    }

    /// Tokens in and out, of all calls.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        (self.input.load(Relaxed), self.output.load(Relaxed))
    }
}
