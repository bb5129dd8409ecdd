//! How loaded an endpoint is: the time to its first content, as a peak that decays, and the calls in
//! flight.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// After so long, a third of a peak is left.
const DECAY: Duration = Duration::from_secs(10);
/// How slow a failure looks at least.
pub(crate) const PENALTY: Duration = Duration::from_secs(10);

/// Lock-free: estimate (in microseconds) and when it was made (in milliseconds) are one number.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Zero before the first sample.
    packed: AtomicU64,
    in_flight: AtomicU32,
}

/// A time since the first endpoint was made, in milliseconds. It wraps around after 49 days: an
/// endpoint that nobody called for so long may seem to have been called just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp(u32);

// ===== impl Load =====

impl Load {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The estimate as it is now, in microseconds; `None` before the first sample.
    pub(crate) fn estimate(&self, now: Stamp) -> Option<f64> {
        estimate(self.packed.load(Ordering::Relaxed), now)
    }

    /// A peak counts whole and at once, and decays; anything else counts as much as the peak has
    /// decayed meanwhile. ([Finagle's peak EWMA](https://twitter.github.io/finagle/guide/Clients.html))
    pub(crate) fn sample(&self, took: Duration, now: Stamp) {
        self.update(now, |old, left| match old {
            Some(old) if took_micros(took) < old => old * left + took_micros(took) * (1.0 - left),
            _ => took_micros(took),
        });
    }

    /// It took so long at least, and nobody knows how long it would have.
    pub(crate) fn at_least(&self, took: Duration, now: Stamp) {
        let took = took_micros(took);
        self.update(now, |old, left| match old {
            Some(old) => (old * left).max(took),
            None => took,
        });
    }

    fn update(&self, now: Stamp, new: impl Fn(Option<f64>, f64) -> f64) {
        let update = |packed: u64| {
            let (cost, stamp) = unpack(packed);
            let old = (packed != 0).then_some(cost);
            Some(pack(new(old, left(stamp, now)), now))
        };
        let updated = self
            .packed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        debug_assert!(updated.is_ok(), "it always updates");
    }
}

fn estimate(packed: u64, now: Stamp) -> Option<f64> {
    let (cost, stamp) = unpack(packed);
    (packed != 0).then(|| cost * left(stamp, now))
}

fn took_micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}

/// What is left of an estimate.
fn left(stamp: Stamp, now: Stamp) -> f64 {
    let since = now.0.wrapping_sub(stamp.0);
    // One that was made by another thread a moment later.
    if since == 0 || since > u32::MAX / 2 {
        return 1.0;
    }
    (-(f64::from(since) / 1000.0) / DECAY.as_secs_f64()).exp()
}

fn unpack(packed: u64) -> (f64, Stamp) {
    (((packed >> 32) as u32).into(), Stamp(packed as u32))
}

fn pack(micros: f64, now: Stamp) -> u64 {
    // At least one, so that it differs from none; as a cast, it saturates at an hour.
    (u64::from((micros as u32).max(1)) << 32) | u64::from(now.0)
}

// ===== impl Stamp =====

impl Stamp {
    pub(crate) fn new(epoch: Instant, now: Instant) -> Self {
        Self(now.saturating_duration_since(epoch).as_millis() as u32)
    }

    pub(crate) fn plus(self, time: Duration) -> Self {
        Self(self.0.wrapping_add(time.as_millis() as u32))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Load, Stamp};

    const fn at(seconds: u32) -> Stamp {
        Stamp(seconds * 1000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn millis(load: &Load, now: Stamp) -> f64 {
        (load.estimate(now).unwrap() / 100.0).round() / 10.0
    }

    #[test]
    fn a_peak_counts_at_once_and_decays() {
        let load = Load::default();
        assert_eq!(load.estimate(at(1)), None);
        load.sample(ms(100), at(1));
        load.sample(ms(900), at(1));
        assert_eq!(millis(&load, at(1)), 900.0);
        load.sample(ms(100), at(1));
        assert_eq!(millis(&load, at(1)), 900.0, "no time has passed");
        assert_eq!(millis(&load, at(11)), 331.1, "900 / e");
        load.sample(ms(100), at(11));
        assert_eq!(millis(&load, at(11)), 394.3, "900 / e + 100 (1 - 1 / e)");
    }

    #[test]
    fn what_was_given_up_never_looks_faster() {
        let load = Load::default();
        load.sample(ms(500), at(1));
        load.at_least(ms(1), at(1));
        assert_eq!(millis(&load, at(1)), 500.0);
        load.at_least(ms(700), at(1));
        assert_eq!(millis(&load, at(1)), 700.0);
    }

    #[test]
    fn an_hour_is_a_wall_and_a_stamp_from_the_future_no_age() {
        let load = Load::default();
        load.sample(Duration::MAX, at(2));
        assert_eq!(load.estimate(at(1)), Some(f64::from(u32::MAX)));
    }
}
