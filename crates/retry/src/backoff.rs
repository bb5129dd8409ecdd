use std::{
    error::Error,
    fmt,
    iter::{Repeat, repeat},
    num::NonZeroU32,
    time::Duration,
};

use buttress_core::Class;
use fastrand::Rng;

/// How long to wait before each further attempt: a pure sequence, that neither sleeps nor reads a
/// clock.
///
/// [`Exponential`] is the default, [`Constant`] waits the same each time, and a closure makes any
/// other sequence.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{Class, Plain};
/// use buttress_retry::RetryLayer;
///
/// // One, two and three seconds, and then no more:
/// let steps = |_: Class, _seed: u64| (1..=3).map(Duration::from_secs);
/// let layer = RetryLayer::new(Plain).backoff(steps);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no backoff",
    label = "no sequence of waits",
    note = "use `Exponential`, `Constant`, or a closure `|class: Class, seed: u64| -> impl Iterator<Item = Duration>`"
)]
pub trait Backoff {
    /// The waits of one call, the first before its second attempt. Where it ends, so does the call.
    type Delays: Iterator<Item = Duration>;

    /// The waits of a call whose attempts fail in this class. A call that fails first in one and
    /// then in another goes on at the same place of the other sequence.
    ///
    /// `seed` is the call's own: the same one gives the same sequence.
    fn delays(&self, class: Class, seed: u64) -> Self::Delays;

    /// The longest wait: longer ones are cut to it, and a server that asks for more is not waited
    /// for at all. 20 seconds by default.
    fn cap(&self) -> Duration {
        CAP
    }
}

/// Waits that double, with jitter, up to a cap.
///
/// | | default |
/// |---|---|
/// | base | 500 ms, as OpenAI's SDKs |
/// | [`throttled`](Exponential::throttled) | 2 times the base: 1 s, as AWS's SDKs |
/// | [`jitter`](Exponential::jitter) | full |
/// | cap | 20 s, as AWS's SDKs |
///
/// # Examples
///
/// Literals are checked when they are compiled:
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Class;
/// use buttress_retry::{Backoff, Exponential, Jitter};
///
/// const BACKOFF: Exponential = Exponential::millis::<100, 1000>().jitter(Jitter::None);
/// let delays: Vec<_> = BACKOFF.delays(Class::Unavailable, 0).take(5).collect();
/// assert_eq!(delays, [100, 200, 400, 800, 1000].map(Duration::from_millis));
/// ```
///
/// ```compile_fail
/// let upside_down = buttress_retry::Exponential::millis::<1000, 100>();
/// ```
///
/// What is read at run time, when it is read:
///
/// ```
/// use std::time::Duration;
/// use buttress_retry::Exponential;
///
/// assert!(Exponential::new(Duration::ZERO, Duration::from_secs(1)).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential {
    base: Duration,
    cap: Duration,
    throttled: NonZeroU32,
    jitter: Jitter,
}

/// How waits are spread, so that calls that failed together do not come back together.
///
/// The formulas are those of [Exponential Backoff And
/// Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). In each, a
/// random number is taken evenly from between two bounds, and the upper one is at most the cap: if
/// only the result were cut, late attempts would all wait exactly the cap.
///
/// ```
/// use buttress_retry::{Exponential, Jitter};
///
/// let backoff = Exponential::default().jitter(Jitter::Decorrelated);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// The step itself: base, 2 × base, 4 × base.
    None,
    /// From nothing to the step.
    #[default]
    Full,
    /// From half of the step to the step.
    Equal,
    /// From the base to three times the wait before.
    Decorrelated,
}

/// The same wait each time.
///
/// A server that asks for more than 20 seconds, or than this wait if it is longer, is not waited
/// for.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_retry::{Constant, RetryLayer};
///
/// // At once, as a test may want it:
/// let layer = RetryLayer::new(Plain).backoff(Constant::NONE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    delay: Duration,
}

/// The waits of one call: see [`Exponential`]. It does not end.
#[derive(Clone, Debug)]
pub struct Delays {
    rng: Rng,
    jitter: Jitter,
    // In nanoseconds, of which 64 bits hold five centuries.
    base: u64,
    cap: u64,
    /// The upper bound of the next wait; with decorrelated jitter, the wait before.
    step: u64,
}

/// What was found where the base and the cap of an [`Exponential`] were expected.
///
/// ```
/// use std::time::Duration;
/// use buttress_retry::Exponential;
///
/// let (two, one) = (Duration::from_secs(2), Duration::from_secs(1));
/// let error = Exponential::new(two, one).unwrap_err();
/// assert_eq!(error.to_string(), "found a base of 2s and a cap of 1s, expected 0 < base <= cap");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffError {
    base: Duration,
    cap: Duration,
}

const CAP: Duration = Duration::from_secs(20);

// ===== impl Backoff =====

impl<F, I> Backoff for F
where
    F: Fn(Class, u64) -> I,
    I: Iterator<Item = Duration>,
{
    type Delays = I;

    fn delays(&self, class: Class, seed: u64) -> I {
        self(class, seed)
    }
}

// ===== impl Exponential =====

impl Exponential {
    /// From about `BASE` milliseconds up to `CAP`. A base of 0, or above the cap, does not compile.
    #[must_use]
    pub const fn millis<const BASE: u64, const CAP: u64>() -> Self {
        const { assert!(0 < BASE && BASE <= CAP, "expected 0 < base <= cap") }
        Self::between(Duration::from_millis(BASE), Duration::from_millis(CAP))
    }

    /// From about `base` up to `cap`.
    ///
    /// # Errors
    ///
    /// If the base is 0, or above the cap.
    pub const fn new(base: Duration, cap: Duration) -> Result<Self, BackoffError> {
        if base.is_zero() || base.as_nanos() > cap.as_nanos() {
            return Err(BackoffError { base, cap });
        }
        Ok(Self::between(base, cap))
    }

    /// About how long the first wait is; with full jitter, at most.
    #[must_use]
    pub const fn base(&self) -> Duration {
        self.base
    }

    /// How many times the base a call waits at first that was [`Throttled`](Class::Throttled).
    /// Default: 2.
    #[must_use]
    pub const fn throttled(self, times: NonZeroU32) -> Self {
        Self {
            throttled: times,
            ..self
        }
    }

    /// How the waits are spread. Default: [`Jitter::Full`].
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    const fn between(base: Duration, cap: Duration) -> Self {
        const TWICE: NonZeroU32 = NonZeroU32::new(2).unwrap();
        Self {
            base,
            cap,
            throttled: TWICE,
            jitter: Jitter::Full,
        }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::between(Duration::from_millis(500), CAP)
    }
}

impl Backoff for Exponential {
    type Delays = Delays;

    fn delays(&self, class: Class, seed: u64) -> Delays {
        let base = match class {
            Class::Throttled => self.base.saturating_mul(self.throttled.get()),
            _ => self.base,
        };
        let cap = nanos(self.cap);
        let base = nanos(base).min(cap);
        Delays {
            rng: Rng::with_seed(seed),
            jitter: self.jitter,
            base,
            cap,
            step: base,
        }
    }

    fn cap(&self) -> Duration {
        self.cap
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

// ===== impl Delays =====

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let step = self.step;
        let double = step.saturating_mul(2).min(self.cap);
        let (delay, next) = match self.jitter {
            Jitter::None => (step, double),
            Jitter::Full => (self.rng.u64(0..=step), double),
            Jitter::Equal => (self.rng.u64(step / 2..=step), double),
            Jitter::Decorrelated => {
                let high = step.saturating_mul(3).min(self.cap);
                let delay = self.rng.u64(self.base..=high);
                (delay, delay)
            }
        };
        self.step = next;
        Some(Duration::from_nanos(delay))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

// ===== impl Constant =====

impl Constant {
    /// No wait: the next attempt is made at once.
    pub const NONE: Self = Self::new(Duration::ZERO);

    /// This wait.
    #[must_use]
    pub const fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Backoff for Constant {
    type Delays = Repeat<Duration>;

    fn delays(&self, _: Class, _: u64) -> Repeat<Duration> {
        repeat(self.delay)
    }

    fn cap(&self) -> Duration {
        self.delay.max(CAP)
    }
}

// ===== impl BackoffError =====

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, cap } = self;
        write!(
            f,
            "found a base of {base:?} and a cap of {cap:?}, expected 0 < base <= cap"
        )
    }
}

impl Error for BackoffError {}
