use std::time::Duration;

use fastrand::Rng;

use crate::Ratio;

/// How long an open circuit waits before it probes.
///
/// Default: 5 s, doubling with every failed episode of probes up to 60 s, less up to a fifth at
/// random. A recovery starts over.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_circuit_breaker::{Ratio, Wait};
///
/// let fixed = Wait::fixed(Duration::from_secs(10));
/// let growing = Wait::exponential(Duration::from_secs(1), Duration::from_secs(120))
///     .jitter(Ratio::percent::<50>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    first: Duration,
    cap: Duration,
    jitter: Option<Ratio>,
}

// ===== impl Wait =====

impl Wait {
    /// The same each time. With zero, it probes at once.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self {
            first: wait,
            cap: wait,
            jitter: None,
        }
    }

    /// `first`, and then twice the one before, up to `cap`. A `first` above the cap is cut to it.
    #[must_use]
    pub const fn exponential(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            jitter: None,
        }
    }

    /// Takes off a random part, up to this share of the wait, so that many machines do not probe at
    /// once. It never adds: the cap holds. Default: none.
    #[must_use]
    pub const fn jitter(mut self, share: Ratio) -> Self {
        self.jitter = Some(share);
        self
    }

    /// The wait after so many failures to recover.
    pub(crate) fn draw(&self, failures: u32, rng: &mut Rng) -> Duration {
        let doubled = 1_u32
            .checked_shl(failures)
            .map_or(Duration::MAX, |factor| self.first.saturating_mul(factor));
        let wait = if self.first.is_zero() {
            Duration::ZERO
        } else {
            doubled.min(self.cap)
        };
        match self.jitter {
            Some(share) => wait - part(wait, share, rng.u32(..)),
            None => wait,
        }
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(5), Duration::from_secs(60))
            .jitter(Ratio::percent::<20>())
    }
}

/// `chance` / 2³² of this share of it, in whole nanoseconds, so that nothing overflows: a duration
/// has 94 bits of them.
fn part(wait: Duration, share: Ratio, chance: u32) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let most = wait.as_nanos() * u128::from(share.part()) / u128::from(share.whole());
    let nanos = (most * u128::from(chance)) >> 32;
    // It is no longer than the wait.
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;
    use proptest::prelude::*;

    use super::Wait;
    use crate::Ratio;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn b9_waits_double_up_to_their_cap_and_do_not_overflow() {
        let wait = Wait::exponential(SECOND, 10 * SECOND);
        let mut rng = Rng::with_seed(1);
        let mut at = |failures| wait.draw(failures, &mut rng).as_secs();
        let seconds = [0, 1, 2, 3, 4, 31, 32, 33, 100_000, u32::MAX].map(&mut at);
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10, 10, 10, 10, 10]);
        let endless = Wait::exponential(Duration::MAX, Duration::MAX);
        assert_eq!(endless.draw(u32::MAX, &mut rng), Duration::MAX);
        let cut = Wait::exponential(60 * SECOND, SECOND);
        assert_eq!(cut.draw(0, &mut rng), SECOND);
        let none = Wait::exponential(Duration::ZERO, SECOND);
        assert_eq!(none.draw(u32::MAX, &mut rng), Duration::ZERO);
        assert_eq!(Wait::fixed(SECOND).draw(7, &mut rng), SECOND);
    }

    #[test]
    fn jitter_reaches_over_its_whole_share() {
        let wait = Wait::fixed(1000 * SECOND).jitter(Ratio::percent::<20>());
        let mut rng = Rng::with_seed(7);
        let drawn: Vec<_> = (0..1000).map(|_| wait.draw(0, &mut rng)).collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!((800..805).contains(&least.as_secs()), "{least:?}");
        assert!((995..=1000).contains(&most.as_secs()), "{most:?}");
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_share_of_the_cap(
            first: Duration, cap: Duration, failures: u32, part in 1..=100_u32, seed: u64,
        ) {
            let share = Ratio::new(part, 100).unwrap();
            let plain = Wait::exponential(first, cap);
            let mut rng = Rng::with_seed(seed);
            let whole = plain.draw(failures, &mut rng);
            let wait = plain.jitter(share).draw(failures, &mut rng);
            prop_assert!(wait <= whole && whole <= cap);
            prop_assert!((whole - wait).as_nanos() * 100 <= whole.as_nanos() * u128::from(part));
        }
    }
}
