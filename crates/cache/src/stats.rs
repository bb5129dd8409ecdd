//! How often what happened, counted apart by each thread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use buttress_core::{CacheStatus, Money, Outcome};

/// What a cache did since it was made, and what it holds: see [`Cache::statistics`](crate::Cache::statistics).
///
/// Each call is in one of `hits`, `stale`, `misses`, `coalesced`, `bypassed`, `not_cached` and
/// `dropped`.
///
/// ```
/// let statistics = buttress_cache::Cache::<String>::new(1 << 20).statistics();
/// assert_eq!((statistics.calls(), statistics.hit_rate()), (0, None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Served from the cache, fresh.
    pub hits: u64,
    /// Served from the cache, past their time.
    pub stale: u64,
    /// Led to a call of the upstream.
    pub misses: u64,
    /// Waited for, or joined, a call that somebody else had made.
    pub coalesced: u64,
    /// Left the cache out.
    pub bypassed: u64,
    /// Wanted what is kept, and nothing was.
    pub not_cached: u64,
    /// Were given up before there was a reply, or panicked.
    pub dropped: u64,
    /// Replies that were kept.
    pub stored: u64,
    /// Refreshes that were begun.
    pub refreshes: u64,
    /// Found in the second level.
    pub level_hits: u64,
    /// Looks into the second level, writes or removals, that failed, were corrupt, took too long or
    /// were too many at a time.
    pub level_failures: u64,
    /// Tokens of replies that were served without another call, where they were told.
    pub tokens_saved: u64,
    /// What those had cost, where a price is known.
    pub money_saved: Money,
    /// How many replies are kept. The cache's own count, which lags behind a little.
    pub entries: u64,
    /// How many bytes they take, about.
    pub bytes: u64,
}

/// One for each of some threads, so that they need not share a line of memory.
pub(crate) struct Counters {
    parts: Box<[Part]>,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Hits,
    Stale,
    Misses,
    Coalesced,
    Bypassed,
    NotCached,
    Dropped,
    Stored,
    Refreshes,
    LevelHits,
    LevelFailures,
    Tokens,
    // Whole millionths of a unit, and what is left of each: of picos alone, a counter holds no more
    // than 18 million units.
    Micro,
    Pico,
}

/// In picos.
const MICRO: u128 = 1_000_000;

#[derive(Default)]
#[repr(align(128))]
struct Part {
    counts: [AtomicU64; Count::Pico as usize + 1],
}

// ===== impl Statistics =====

impl Statistics {
    /// All calls.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.hits
            + self.stale
            + self.misses
            + self.coalesced
            + self.bypassed
            + self.not_cached
            + self.dropped
    }

    /// Which part of the calls that asked the cache needed no call of the upstream for their own
    /// sake. `None` before the first.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let asked = self.calls() - self.bypassed;
        let saved = self.hits + self.stale + self.coalesced;
        (asked > 0).then(|| saved as f64 / asked as f64)
    }
}

// ===== impl Counters =====

impl Counters {
    const PARTS: usize = 16;

    pub(crate) fn new() -> Self {
        Self {
            parts: (0..Self::PARTS).map(|_| Part::default()).collect(),
        }
    }

    pub(crate) fn add(&self, count: Count, number: u64) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        // A thread that ends has forgotten which one was its own.
        let mine = MINE.try_with(|mine| *mine).unwrap_or_default();
        let part = &self.parts[mine % Self::PARTS];
        part.counts[count as usize].fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn served(&self, status: CacheStatus) {
        let count = match status {
            CacheStatus::Hit => Count::Hits,
            CacheStatus::Stale => Count::Stale,
            CacheStatus::Coalesced => Count::Coalesced,
            CacheStatus::Bypass => Count::Bypassed,
            _ => Count::Misses,
        };
        self.add(count, 1);
    }

    /// This reply was served once more without a call.
    pub(crate) fn saved(&self, outcome: &Outcome) {
        if let Some(usage) = outcome.usage {
            self.add(Count::Tokens, usage.total());
        }
        if let Some(cost) = outcome.cost {
            let micro = u64::try_from(cost.pico() / MICRO).unwrap_or(u64::MAX);
            self.add(Count::Micro, micro);
            self.add(Count::Pico, (cost.pico() % MICRO) as u64);
        }
    }

    pub(crate) fn read(&self) -> Statistics {
        let sum = |count: Count| {
            let all = self.parts.iter().map(|part| &part.counts[count as usize]);
            all.map(|count| count.load(Ordering::Relaxed))
                .fold(0, u64::saturating_add)
        };
        Statistics {
            hits: sum(Count::Hits),
            stale: sum(Count::Stale),
            misses: sum(Count::Misses),
            coalesced: sum(Count::Coalesced),
            bypassed: sum(Count::Bypassed),
            not_cached: sum(Count::NotCached),
            dropped: sum(Count::Dropped),
            stored: sum(Count::Stored),
            refreshes: sum(Count::Refreshes),
            level_hits: sum(Count::LevelHits),
            level_failures: sum(Count::LevelFailures),
            tokens_saved: sum(Count::Tokens),
            money_saved: Money::from_pico(
                u128::from(sum(Count::Micro)) * MICRO + u128::from(sum(Count::Pico)),
            ),
            entries: 0,
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Money, Outcome};

    use super::Counters;

    #[test]
    fn money_beyond_what_a_counter_holds_of_picos_is_counted_to_the_last() {
        let counters = Counters::new();
        // Ten million units of a currency, and a little.
        let pico = 10_000_000_000_000_000_003;
        let outcome = Outcome::SUCCESS.with_cost(Money::from_pico(pico));
        counters.saved(&outcome);
        counters.saved(&outcome);
        assert_eq!(counters.read().money_saved, Money::from_pico(2 * pico));
    }
}
