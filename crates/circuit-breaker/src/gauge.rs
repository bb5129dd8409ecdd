//! How many of the last calls were bad: in constant time, whatever the window.

use std::time::{Duration, Instant};

use crate::{Cause, Ratio, policy::Rate, window::Span};

/// A window that slides, and what is in it.
#[derive(Debug)]
pub(crate) struct Gauge {
    ring: Ring,
    ratio: Ratio,
    /// So many calls say something.
    minimum: u64,
    /// A call that took more nanoseconds is bad. `None`: one that failed is.
    slow: Option<u64>,
    total: u64,
    bad: u64,
}

#[derive(Debug)]
enum Ring {
    /// One bit for each call.
    Calls {
        bits: Box<[u64]>,
        calls: u32,
        next: u32,
    },
    Time {
        buckets: Box<[Bucket]>,
        length: u64,
        origin: Instant,
        /// The number of the newest bucket, from the origin. It stands at its remainder.
        newest: u64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    total: u64,
    bad: u64,
}

// ===== impl Gauge =====

impl Gauge {
    pub(crate) fn new(rate: &Rate, mut minimum: u32, now: Instant) -> Self {
        let ring = match rate.window.span() {
            Span::Calls(calls) => {
                minimum = minimum.min(calls);
                Ring::Calls {
                    bits: vec![0; calls.div_ceil(64) as usize].into(),
                    calls,
                    next: 0,
                }
            }
            Span::Time { bucket, buckets } => Ring::Time {
                buckets: vec![Bucket::default(); usize::from(buckets)].into(),
                length: nanos(bucket),
                origin: now,
                newest: 0,
            },
        };
        Self {
            ring,
            ratio: rate.ratio,
            minimum: minimum.into(),
            slow: rate.slow.map(nanos),
            total: 0,
            bad: 0,
        }
    }

    /// One more call. `now` is asked only of a window of time.
    #[inline]
    pub(crate) fn record(&mut self, failed: bool, took: u64, now: impl FnOnce() -> Instant) {
        let bad = match self.slow {
            Some(limit) => took > limit,
            None => failed,
        };
        match &mut self.ring {
            Ring::Calls { bits, calls, next } => {
                let (word, bit) = ((*next / 64) as usize, 1 << (*next % 64));
                if self.total < u64::from(*calls) {
                    self.total += 1;
                } else {
                    self.bad -= u64::from(bits[word] & bit != 0);
                }
                if bad {
                    bits[word] |= bit;
                    self.bad += 1;
                } else {
                    bits[word] &= !bit;
                }
                *next += 1;
                if *next == *calls {
                    *next = 0;
                }
            }
            Ring::Time { .. } => {
                self.slide(now());
                let Ring::Time {
                    buckets, newest, ..
                } = &mut self.ring
                else {
                    return;
                };
                let at = (*newest % buckets.len() as u64) as usize;
                buckets[at].total += 1;
                buckets[at].bad += u64::from(bad);
                self.total += 1;
                self.bad += u64::from(bad);
            }
        }
    }

    /// Lets go of what is older than the window. A time that lies before the last one is taken for
    /// the last one.
    pub(crate) fn slide(&mut self, now: Instant) {
        let Ring::Time {
            buckets,
            length,
            origin,
            newest,
        } = &mut self.ring
        else {
            return;
        };
        let number = nanos(now.saturating_duration_since(*origin)) / *length;
        if number <= *newest {
            return;
        }
        let count = buckets.len() as u64;
        if number - *newest >= count {
            buckets.fill(Bucket::default());
            (self.total, self.bad) = (0, 0);
        } else {
            for number in *newest + 1..=number {
                let bucket = std::mem::take(&mut buckets[(number % count) as usize]);
                self.total -= bucket.total;
                self.bad -= bucket.bad;
            }
        }
        *newest = number;
    }

    pub(crate) fn clear(&mut self) {
        match &mut self.ring {
            // Bits of calls that are not counted are never read.
            Ring::Calls { next, .. } => *next = 0,
            Ring::Time { buckets, .. } => buckets.fill(Bucket::default()),
        }
        (self.total, self.bad) = (0, 0);
    }

    /// All of them, and the bad ones.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.total, self.bad)
    }

    /// Whether there are so many calls that the rate says something, and it has reached its
    /// threshold. Never of no calls.
    #[inline]
    pub(crate) fn reached(&self) -> bool {
        // Nobody counts so many calls that sixty-four bits were not enough: they would take
        // centuries.
        self.bad > 0
            && self.total >= self.minimum
            && self.bad.saturating_mul(self.ratio.whole().into())
                >= self.total.saturating_mul(self.ratio.part().into())
    }

    /// Whether all of a full window of calls went well: one more that does changes nothing.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.bad == 0
            && matches!(self.ring, Ring::Calls { calls, .. } if self.total == calls.into())
    }

    /// Whether a call that took so many nanoseconds is too slow for it.
    pub(crate) fn is_slow(&self, took: u64) -> bool {
        self.slow.is_some_and(|limit| took > limit)
    }

    pub(crate) const fn cause(&self) -> Cause {
        match self.slow {
            Some(_) => Cause::SlowRate,
            None => Cause::FailureRate,
        }
    }
}

/// As far as a clock of nanoseconds reaches: 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
