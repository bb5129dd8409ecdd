use std::{fmt, time::Duration};

/// A length of time, or a time since a call began, in nanoseconds. Half the size of an instant or a
/// [`Duration`], and simpler to reckon with: nothing overflows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(u64);

// ===== impl Span =====

impl Span {
    pub(crate) const ZERO: Self = Self(0);

    /// After all others.
    pub(crate) const NEVER: Self = Self(u64::MAX - 1);

    /// Nothing was said.
    pub(crate) const UNSET: Self = Self(u64::MAX);

    /// About 30 years: tokio's timers go no further.
    const FAR: u64 = 86_400 * 365 * 30 * 1_000_000_000;

    pub(crate) const fn new(time: Duration) -> Self {
        let nanos = time.as_nanos();
        if nanos < Self::FAR as u128 {
            Self(nanos as u64)
        } else {
            Self::NEVER
        }
    }

    pub(crate) const fn duration(self) -> Duration {
        match self {
            Self(Self::FAR..) => Duration::MAX,
            Self(nanos) => Duration::from_nanos(nanos),
        }
    }

    pub(crate) const fn is_set(self) -> bool {
        self.0 != Self::UNSET.0
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it comes to an end.
    pub(crate) const fn ends(self) -> bool {
        self.0 < Self::FAR
    }

    pub(crate) const fn plus(self, more: Self) -> Self {
        if self.ends() && more.ends() {
            Self(self.0 + more.0)
        } else {
            Self::NEVER
        }
    }

    /// How much later it is than `earlier`; zero if it is not.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn eighth(self) -> Self {
        if self.ends() {
            Self(self.0 / 8)
        } else {
            Self::NEVER
        }
    }

    /// How many times the other one is whole in it.
    pub(crate) const fn over(self, other: Self) -> u64 {
        match self.0.checked_div(other.0) {
            Some(times) => times,
            None => u64::MAX,
        }
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::UNSET
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNSET => f.write_str("unset"),
            span if span.ends() => span.duration().fmt(f),
            _ => f.write_str("never"),
        }
    }
}
