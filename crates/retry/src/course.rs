//! How far one call has come, and how it goes on: no clock, no timer, no service.

use std::time::{Duration, Instant};

use buttress_core::{Class, Outcome};

use crate::{Backoff, Stop};

/// The waits of one call.
#[derive(Debug)]
pub(crate) struct Course<D> {
    delays: Option<(Class, D)>,
    /// How many waits were taken from the backoff.
    taken: usize,
    /// Whether the attempt was made that is free after [`Class::Unstarted`].
    freed: bool,
}

/// The wait before one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) delay: Duration,
    /// The budget is not asked.
    pub(crate) free: bool,
}

/// When no wait may end any more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) elapsed: Option<Instant>,
    pub(crate) deadline: Option<Instant>,
}

/// Tokio's timers end a wait up to so much late: they count whole milliseconds, and round both ends
/// of a wait to its length.
const LATE: Duration = Duration::from_millis(2);

// ===== impl Course =====

impl<D: Iterator<Item = Duration>> Course<D> {
    pub(crate) const fn new() -> Self {
        Self {
            delays: None,
            taken: 0,
            freed: false,
        }
    }

    /// The wait after an attempt that ended so. `seed` is asked before the first.
    pub(crate) fn wait<B>(
        &mut self,
        backoff: &B,
        outcome: &Outcome,
        seed: impl FnOnce() -> u64,
    ) -> Result<Wait, Stop>
    where
        B: Backoff<Delays = D>,
    {
        let cap = backoff.cap();
        let hint = outcome.retry_after.unwrap_or_default();
        if hint > cap {
            return Err(Stop::Hint);
        }
        // As gRPC's transparent retry: the upstream did not see it, so once it is no load either.
        if outcome.class == Class::Unstarted && !self.freed {
            self.freed = true;
            let wait = Wait {
                delay: hint,
                free: true,
            };
            return Ok(wait);
        }
        // Again, and now: says the server, or a layer that has another credential for it.
        if outcome.should_retry == Some(true) && outcome.retry_after == Some(Duration::ZERO) {
            let wait = Wait {
                delay: Duration::ZERO,
                free: false,
            };
            return Ok(wait);
        }
        let delay = match &mut self.delays {
            Some((class, delays)) if *class == outcome.class => delays.next(),
            other => {
                let mut delays = backoff.delays(outcome.class, seed());
                let delay = delays.nth(self.taken);
                *other = Some((outcome.class, delays));
                delay
            }
        };
        self.taken = self.taken.saturating_add(1);
        let delay = delay.ok_or(Stop::Backoff)?;
        Ok(Wait {
            delay: delay.min(cap).max(hint),
            free: false,
        })
    }
}

// ===== impl Bounds =====

impl Bounds {
    /// Whether the clock has to be asked.
    pub(crate) const fn any(&self) -> bool {
        self.elapsed.is_some() || self.deadline.is_some()
    }

    /// Whether a wait that begins now ends in time.
    pub(crate) fn allow(&self, delay: Duration, now: Instant) -> Result<(), Stop> {
        let wait = match delay.is_zero() {
            true => delay,
            false => delay.saturating_add(LATE),
        };
        let end = now.checked_add(wait);
        let in_time = |bound: Option<Instant>| {
            bound.is_none_or(|bound| now < bound && end.is_some_and(|end| end <= bound))
        };
        if !in_time(self.deadline) {
            return Err(Stop::Deadline);
        }
        if !in_time(self.elapsed) {
            return Err(Stop::Elapsed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        iter,
        time::{Duration, Instant},
    };

    use buttress_core::{Class, Outcome};

    use super::{Bounds, Course, Wait};
    use crate::{Backoff, Constant, Exponential, Jitter, Stop};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn paid(delay: u64) -> Result<Wait, Stop> {
        Ok(Wait {
            delay: ms(delay),
            free: false,
        })
    }

    fn waits<B: Backoff>(backoff: &B, outcomes: &[Outcome]) -> Vec<Result<Wait, Stop>> {
        let mut course = Course::new();
        let wait = |outcome| course.wait(backoff, outcome, || 7);
        outcomes.iter().map(wait).collect()
    }

    const DOWN: Outcome = Outcome::new(Class::Unavailable);
    const PLAIN: Exponential = Exponential::millis::<100, 1000>().jitter(Jitter::None);

    #[test]
    fn a_hint_is_a_floor_and_one_above_the_cap_ends_the_call() {
        let hinted = |hint| DOWN.with_retry_after(ms(hint));
        let outcomes = [
            hinted(0),
            hinted(150),
            hinted(900),
            hinted(1000),
            hinted(1001),
        ];
        let expected = [paid(100), paid(200), paid(900), paid(1000), Err(Stop::Hint)];
        assert_eq!(waits(&PLAIN, &outcomes), expected);
        let huge = DOWN.with_retry_after(Duration::MAX);
        assert_eq!(waits(&PLAIN, &[huge]), [Err(Stop::Hint)]);
    }

    #[test]
    fn another_class_goes_on_at_the_same_place_of_its_own_sequence() {
        let throttled = Outcome::new(Class::Throttled);
        let outcomes = [DOWN, throttled, DOWN, throttled];
        // 100, 200, 400, 800 and twice that, cut to the cap.
        let expected = [paid(100), paid(400), paid(400), paid(1000)];
        assert_eq!(waits(&PLAIN, &outcomes), expected);
    }

    #[test]
    fn one_that_did_not_begin_goes_at_once_and_free_and_the_next_like_any_other() {
        let unstarted = Outcome::new(Class::Unstarted);
        let hinted = unstarted.with_retry_after(ms(5));
        let free = |delay| {
            Ok(Wait {
                delay: ms(delay),
                free: true,
            })
        };
        assert_eq!(
            waits(&PLAIN, &[DOWN, unstarted, unstarted, DOWN]),
            [paid(100), free(0), paid(200), paid(400)]
        );
        assert_eq!(waits(&PLAIN, &[hinted, hinted]), [free(5), paid(100)]);
    }

    #[test]
    fn one_that_is_to_be_asked_again_at_once_is_and_the_sequence_goes_on_after_it() {
        let denied = Outcome::new(Class::Denied).with_should_retry(true);
        let at_once = denied.with_retry_after(Duration::ZERO);
        let soon = DOWN.with_retry_after(Duration::ZERO);
        assert_eq!(
            waits(&PLAIN, &[soon, at_once, denied, at_once, soon]),
            [paid(100), paid(0), paid(200), paid(0), paid(400)]
        );
    }

    #[test]
    fn a_sequence_of_ones_own_is_cut_to_the_cap_and_ends_the_call_when_it_ends() {
        let steps = |_: Class, _: u64| [ms(1), Duration::MAX].into_iter();
        assert_eq!(
            waits(&steps, &[DOWN, DOWN, DOWN]),
            [paid(1), paid(20_000), Err(Stop::Backoff)]
        );
        let empty = |_: Class, _: u64| iter::empty();
        assert_eq!(waits(&empty, &[DOWN]), [Err(Stop::Backoff)]);
        assert_eq!(waits(&Constant::new(ms(30_000)), &[DOWN]), [paid(30_000)]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_wait_must_have_ended_when_its_time_is_up() {
        let now = Instant::now();
        let at = |after| Bounds {
            elapsed: None,
            deadline: now.checked_add(after),
        };
        assert_eq!(at(ms(100)).allow(ms(98), now), Ok(()));
        // The timer may be late.
        let late = ms(98) + Duration::from_nanos(1);
        assert_eq!(at(ms(100)).allow(late, now), Err(Stop::Deadline));
        assert_eq!(at(ms(1)).allow(Duration::ZERO, now), Ok(()));
        assert_eq!(
            at(Duration::ZERO).allow(Duration::ZERO, now),
            Err(Stop::Deadline)
        );
        assert_eq!(at(ms(100)).allow(Duration::MAX, now), Err(Stop::Deadline));
        let elapsed = Bounds {
            elapsed: now.checked_add(ms(50)),
            ..at(ms(100))
        };
        assert_eq!(elapsed.allow(ms(60), now), Err(Stop::Elapsed));
        // Beyond what a clock can count there is no bound.
        assert_eq!(at(Duration::MAX).allow(Duration::MAX, now), Ok(()));
        assert!(!at(Duration::MAX).any() && elapsed.any());
    }
}
