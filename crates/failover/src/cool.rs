//! How long an endpoint is left alone, and how it comes back: no clock and no timer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The settings of all cool-downs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoolDown {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
    pub(crate) longest_hint: Duration,
    pub(crate) ramp: Duration,
}

/// Whether an endpoint may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// So much of what it would get: a fraction of 2^64.
    Recovering(u64),
    Cooling {
        until: Instant,
        /// The server asked for it.
        asked: bool,
    },
}

/// The cool-downs of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Cool {
    // So that nobody asks for the time, or locks, while all is well. Written with the lock held.
    troubled: AtomicBool,
    uneasy: Arc<Uneasy>,
    episode: AtomicU32,
    course: Mutex<Course>,
}

/// How many endpoints of a failover are troubled or without weight, each of both counted twice: so that
/// nobody looks at any of them while all is well.
#[derive(Debug, Default)]
pub(crate) struct Uneasy(AtomicUsize);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    /// In a row.
    failures: u32,
    /// By failures, and by the server's word.
    until: Option<Instant>,
    asked: Option<Instant>,
}

// ===== impl CoolDown =====

impl CoolDown {
    /// After so many failures in a row.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        self.base.saturating_mul(failures).min(self.cap)
    }
}

impl Default for CoolDown {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(5),
            cap: Duration::from_secs(120),
            longest_hint: Duration::from_secs(600),
            ramp: Duration::from_secs(10),
        }
    }
}

// ===== impl Course =====

impl Course {
    /// A failure. One that is not `new` was under way when the last one was counted: it is part of
    /// that one, and of nothing if that is over.
    pub(crate) fn fail(&mut self, now: Instant, cool: &CoolDown, new: bool) {
        if new {
            self.failures = self.failures.saturating_add(1);
        } else if self.until.is_none_or(|until| until <= now) {
            return;
        }
        let time = cool.after(self.failures);
        if !time.is_zero() {
            self.until = self.until.max(later(now, time));
        }
    }

    /// The server asked to be left alone so long.
    pub(crate) fn pause(&mut self, now: Instant, cool: &CoolDown, hint: Duration) {
        let time = hint.min(cool.longest_hint);
        if !time.is_zero() {
            self.asked = self.asked.max(later(now, time));
        }
    }

    /// A success of what began after the last failure. What the server asked for stands.
    pub(crate) fn succeed(&mut self, now: Instant) {
        self.failures = 0;
        if self.until.is_some_and(|until| until > now) {
            self.until = Some(now);
        }
    }

    pub(crate) fn standing(&self, now: Instant, ramp: Duration) -> Standing {
        let Some(until) = self.until.max(self.asked) else {
            return Standing::Open;
        };
        if now < until {
            let asked = self.asked.is_some_and(|asked| now < asked);
            return Standing::Cooling { until, asked };
        }
        let since = now.duration_since(until);
        if since >= ramp {
            return Standing::Open;
        }
        // Never nothing: somebody has to find out.
        let share = since.as_secs_f64() / ramp.as_secs_f64();
        Standing::Recovering((share.max(1.0 / 16.0) * 2_f64.powi(64)) as u64)
    }

    const fn is_over(&self) -> bool {
        self.failures == 0
    }
}

/// The end of a time that no clock can count is so far off that it is never.
fn later(now: Instant, time: Duration) -> Option<Instant> {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(time).or_else(|| now.checked_add(CENTURY))
}

// ===== impl Cool =====

impl Cool {
    pub(crate) fn new(uneasy: Arc<Uneasy>) -> Self {
        Self {
            troubled: AtomicBool::new(false),
            uneasy,
            episode: AtomicU32::new(0),
            course: Mutex::default(),
        }
    }

    pub(crate) fn uneasy(&self) -> &Uneasy {
        &self.uneasy
    }

    /// What an attempt that begins now gives back when it is over.
    pub(crate) fn episode(&self) -> u32 {
        self.episode.load(Ordering::Relaxed)
    }

    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Only for one that is troubled; one that no longer is, is not asked again.
    pub(crate) fn standing(&self, now: Instant, ramp: Duration) -> Standing {
        let course = self.lock();
        let standing = course.standing(now, ramp);
        if standing == Standing::Open && course.is_over() {
            self.set_troubled(false);
        }
        standing
    }

    /// A failure of an attempt that began in `episode`, and until when it now cools down.
    pub(crate) fn fail(&self, now: Instant, cool: &CoolDown, episode: u32) -> Change {
        self.change(now, cool, |course| {
            let new = episode == self.episode();
            course.fail(now, cool, new);
            self.episode.fetch_add(new.into(), Ordering::Relaxed);
        })
    }

    pub(crate) fn pause(&self, now: Instant, cool: &CoolDown, hint: Duration) -> Change {
        self.change(now, cool, |course| course.pause(now, cool, hint))
    }

    pub(crate) fn succeed(&self, now: Instant, episode: u32) {
        // Locked first: a failure that comes in between stands.
        let mut course = self.lock();
        if episode == self.episode() {
            course.succeed(now);
        }
    }

    fn change(&self, now: Instant, cool: &CoolDown, change: impl FnOnce(&mut Course)) -> Change {
        let mut course = self.lock();
        let before = course.standing(now, cool.ramp);
        change(&mut course);
        self.set_troubled(true);
        let after = course.standing(now, cool.ramp);
        match (before, after) {
            (Standing::Cooling { until: before, .. }, Standing::Cooling { until, .. })
                if until == before =>
            {
                Change::None
            }
            (before, Standing::Cooling { until, .. }) => Change::Until {
                time: until.duration_since(now),
                failures: course.failures,
                begins: !matches!(before, Standing::Cooling { .. }),
            },
            _ => Change::None,
        }
    }

    /// With the lock held.
    fn set_troubled(&self, troubled: bool) {
        match (self.troubled.swap(troubled, Ordering::Relaxed), troubled) {
            (false, true) => self.uneasy.one_more(),
            (true, false) => self.uneasy.one_less(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cool {
    fn drop(&mut self) {
        self.set_troubled(false);
    }
}

// ===== impl Uneasy =====

impl Uneasy {
    /// Whether there is none.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a failure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Until {
        time: Duration,
        failures: u32,
        /// It was not cooling down before.
        begins: bool,
    },
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Change, Cool, CoolDown, Standing};

    /// What a caller may do to an endpoint.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Begin,
        /// The attempt that began so many attempts ago fails.
        Fail(usize),
        Succeed(usize),
        Pause(u64),
        Wait(u64),
    }

    /// The same in as few words as possible, in seconds.
    #[derive(Default)]
    struct Naive {
        now: u64,
        failures: u64,
        /// Which failure was counted last, by when it began.
        counted: u64,
        cools: u64,
        asked: u64,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            Just(Act::Begin),
            (0..3_usize).prop_map(Act::Fail),
            (0..3_usize).prop_map(Act::Succeed),
            (0..200_u64).prop_map(Act::Pause),
            (0..40_u64).prop_map(Act::Wait),
        ];
        prop::collection::vec(act, 0..60)
    }

    const COOL: CoolDown = CoolDown {
        base: Duration::from_secs(10),
        cap: Duration::from_secs(45),
        longest_hint: Duration::from_secs(100),
        ramp: Duration::from_secs(20),
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn f2_f9_a_cool_down_is_that_of_a_naive_model(acts in acts()) {
            #[expect(clippy::disallowed_methods, reason = "a beginning, from which all times count")]
            let start = Instant::now();
            let (cool, mut naive) = (Cool::default(), Naive::default());
            let mut began = vec![(0, 0)];
            for act in acts {
                let now = start + Duration::from_secs(naive.now);
                match act {
                    Act::Begin => began.push((cool.episode(), naive.counted)),
                    Act::Fail(ago) => {
                        let (episode, counted) = began[began.len().saturating_sub(ago + 1)];
                        cool.fail(now, &COOL, episode);
                        let new = counted == naive.counted;
                        if new {
                            naive.failures += 1;
                            naive.counted += 1;
                        }
                        if new || naive.cools > naive.now {
                            let end = naive.now + (10 * naive.failures).min(45);
                            naive.cools = naive.cools.max(end);
                        }
                    }
                    Act::Succeed(ago) => {
                        let (episode, counted) = began[began.len().saturating_sub(ago + 1)];
                        cool.succeed(now, episode);
                        if counted == naive.counted {
                            naive.failures = 0;
                            naive.cools = naive.cools.min(naive.now);
                        }
                    }
                    Act::Pause(hint) => {
                        cool.pause(now, &COOL, Duration::from_secs(hint));
                        if hint > 0 {
                            naive.asked = naive.asked.max(naive.now + hint.min(100));
                        }
                    }
                    Act::Wait(secs) => naive.now += secs,
                }
                let now = start + Duration::from_secs(naive.now);
                let end = naive.cools.max(naive.asked);
                let found = cool.standing(now, COOL.ramp);
                let expected = if end > naive.now {
                    let until = start + Duration::from_secs(end);
                    Standing::Cooling { until, asked: naive.asked > naive.now }
                } else if end == 0 && found == Standing::Open || naive.now >= end + 20 {
                    Standing::Open
                } else {
                    let share = (naive.now - end) as f64 / 20.0;
                    Standing::Recovering((share.max(1.0 / 16.0) * 2_f64.powi(64)) as u64)
                };
                prop_assert_eq!(found, expected);
                // Whoever is not open is asked how it stands.
                prop_assert!(cool.is_troubled() || found == Standing::Open);
            }
        }
    }

    #[test]
    fn what_no_clock_can_count_is_no_overflow() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a beginning, from which all times count"
        )]
        let now = Instant::now();
        let forever = CoolDown {
            base: Duration::MAX,
            cap: Duration::MAX,
            longest_hint: Duration::MAX,
            ramp: Duration::MAX,
        };
        let cool = Cool::default();
        for _ in 0..3 {
            let change = cool.fail(now, &forever, cool.episode());
            assert!(matches!(change, Change::Until { .. } | Change::None));
            cool.pause(now, &forever, Duration::MAX);
        }
        let standing = cool.standing(now, forever.ramp);
        assert!(matches!(standing, Standing::Cooling { asked: true, .. }));
    }
}
