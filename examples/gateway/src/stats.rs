//! What the page shows of an endpoint: calls by class, how long they took, tokens and what they cost,
//! calls in flight, what was tried again and what took too long. Monitors read `/metrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use buttress_core::{Class, Money, Outcome, Reason};

/// The calls to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    ended: [AtomicU64; Class::ALL.len()],
    in_flight: AtomicU64,
    retried: [AtomicU64; Class::ALL.len()],
    waited_ms: AtomicU64,
    timed_out: [AtomicU64; Reason::ALL.len()],
    input: AtomicU64,
    output: AtomicU64,
    took_ms: AtomicU64,
    /// In 10⁻¹² of the currency: there is room for 18 millions of it.
    cost: AtomicU64,
}

// ===== impl Counters =====

impl Counters {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Once for each [`begin`](Self::begin).
    pub(crate) fn end(&self, outcome: &Outcome, took: Duration) {
        self.in_flight.fetch_sub(1, Relaxed);
        count(&self.ended, &Class::ALL, outcome.class);
        if let Some(usage) = outcome.usage {
            self.input.fetch_add(usage.input, Relaxed);
            self.output.fetch_add(usage.output, Relaxed);
        }
        self.took_ms.fetch_add(millis(took), Relaxed);
        if let Some(cost) = outcome.cost {
            let pico = u64::try_from(cost.pico()).unwrap_or(u64::MAX);
            self.cost.fetch_add(pico, Relaxed);
        }
    }

    /// Another attempt is made after one of this class, and after this wait.
    pub(crate) fn retry(&self, class: Class, wait: Duration) {
        count(&self.retried, &Class::ALL, class);
        self.waited_ms.fetch_add(millis(wait), Relaxed);
    }

    pub(crate) fn timeout(&self, reason: Reason) {
        count(&self.timed_out, Reason::ALL, reason);
    }

    /// How many attempts were made anew, by the class of the one before.
    pub(crate) fn retried(&self) -> impl Iterator<Item = (Class, u64)> {
        let counts = self.retried.iter().map(|count| count.load(Relaxed));
        Class::ALL.into_iter().zip(counts)
    }

    /// How long was waited before them, all together.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_millis(self.waited_ms.load(Relaxed))
    }

    /// How often something took too long, by what it was.
    pub(crate) fn timed_out(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.timed_out.iter().map(|count| count.load(Relaxed));
        Reason::ALL.iter().copied().zip(counts)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// How many calls ended, by class.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (Class, u64)> {
        let counts = self.ended.iter().map(|count| count.load(Relaxed));
        Class::ALL.into_iter().zip(counts)
    }

    /// How long they took, all together, to the end of their replies.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms.load(Relaxed))
    }

    /// What they cost, as far as that is known.
    pub(crate) fn cost(&self) -> Money {
        Money::from_pico(self.cost.load(Relaxed).into())
    }

    /// Tokens in and out, of all calls.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        (self.input.load(Relaxed), self.output.load(Relaxed))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count<T: Copy + PartialEq>(counts: &[AtomicU64], kinds: &[T], kind: T) {
    if let Some(place) = kinds.iter().position(|known| *known == kind) {
        counts[place].fetch_add(1, Relaxed);
    }
}
