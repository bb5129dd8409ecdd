use std::{error::Error, fmt, num::NonZeroU16, time::Duration};

/// Which calls a rate looks at: the last so many, or those of the last so long.
///
/// # Examples
///
/// Literals are checked when they are compiled:
///
/// ```
/// use buttress_circuit_breaker::Window;
///
/// let hundred_calls = Window::calls::<100>();
/// let half_a_minute = Window::secs::<30>();
/// ```
///
/// ```compile_fail
/// let empty = buttress_circuit_breaker::Window::calls::<0>();
/// ```
///
/// ```compile_fail
/// let empty = buttress_circuit_breaker::Window::secs::<0>();
/// ```
///
/// What is read at run time, when it is read:
///
/// ```
/// use std::time::Duration;
/// use buttress_circuit_breaker::Window;
///
/// assert_eq!(Window::last_calls(100)?, Window::calls::<100>());
/// assert_eq!(Window::last(Duration::from_secs(30))?, Window::secs::<30>());
/// assert!(Window::last(Duration::ZERO).is_err());
/// # Ok::<(), buttress_circuit_breaker::WindowError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    span: Span,
}

/// What was found where a [`Window`] was expected.
///
/// ```
/// use buttress_circuit_breaker::Window;
///
/// let error = Window::last_calls(0).unwrap_err();
/// assert_eq!(error.to_string(), "found a window of 0 calls, expected 1 to 1048576");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowError {
    found: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Span {
    Calls(u32),
    Time { bucket: Duration, buckets: u16 },
}

// ===== impl Window =====

impl Window {
    /// The most calls that a window can hold: 2²⁰, in 128 kB.
    pub const MAX_CALLS: u32 = 1 << 20;

    const BUCKETS: NonZeroU16 = NonZeroU16::new(10).unwrap();

    /// The last `N` calls, from 1 to [`MAX_CALLS`](Self::MAX_CALLS). Anything else does not compile.
    #[must_use]
    pub const fn calls<const N: u32>() -> Self {
        const {
            assert!(
                0 < N && N <= Self::MAX_CALLS,
                "a window holds 1 to 1048576 calls"
            )
        }
        Self {
            span: Span::Calls(N),
        }
    }

    /// The last so many calls.
    ///
    /// # Errors
    ///
    /// If it is none, or more than [`MAX_CALLS`](Self::MAX_CALLS).
    pub const fn last_calls(calls: u32) -> Result<Self, WindowError> {
        if calls == 0 || calls > Self::MAX_CALLS {
            return Err(WindowError { found: Some(calls) });
        }
        Ok(Self {
            span: Span::Calls(calls),
        })
    }

    /// The calls that ended within the last `SECONDS`, in ten buckets. Zero does not compile.
    #[must_use]
    pub const fn secs<const SECONDS: u64>() -> Self {
        const { assert!(SECONDS > 0, "a window holds at least a moment") }
        match Self::last(Duration::from_secs(SECONDS)) {
            Ok(window) => window,
            Err(_) => unreachable!(),
        }
    }

    /// The calls that ended within the last so long, in ten buckets.
    ///
    /// It slides by one bucket at a time: it looks back over the bucket that is being filled, and
    /// the nine before.
    ///
    /// # Errors
    ///
    /// If the time is zero.
    pub const fn last(time: Duration) -> Result<Self, WindowError> {
        Self::last_in(time, Self::BUCKETS)
    }

    /// The calls that ended within the last so long, in so many buckets. A bucket is at least a
    /// nanosecond long, and takes 16 bytes.
    ///
    /// # Errors
    ///
    /// If the time is zero.
    pub const fn last_in(time: Duration, buckets: NonZeroU16) -> Result<Self, WindowError> {
        if time.is_zero() {
            return Err(WindowError { found: None });
        }
        let buckets = buckets.get();
        // No panic: a sixteen-bit divisor is not zero.
        let mut bucket = match time.checked_div(buckets as u32) {
            Some(bucket) => bucket,
            None => time,
        };
        if bucket.is_zero() {
            bucket = Duration::from_nanos(1);
        }
        Ok(Self {
            span: Span::Time { bucket, buckets },
        })
    }

    pub(crate) const fn is_time(self) -> bool {
        matches!(self.span, Span::Time { .. })
    }

    pub(crate) const fn span(self) -> Span {
        self.span
    }
}

// ===== impl WindowError =====

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(calls) => write!(
                f,
                "found a window of {calls} calls, expected 1 to {}",
                Window::MAX_CALLS
            ),
            None => f.write_str("found a window of no time, expected some"),
        }
    }
}

impl Error for WindowError {}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU16, time::Duration};

    use super::{Span, Window};

    #[test]
    fn a_window_without_calls_or_time_is_told_and_not_built() {
        for calls in [0, Window::MAX_CALLS + 1, u32::MAX] {
            let error = Window::last_calls(calls).unwrap_err().to_string();
            assert!(error.contains(&calls.to_string()), "{error}");
        }
        let error = Window::last(Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "found a window of no time, expected some");
    }

    #[test]
    fn a_bucket_is_never_empty() {
        let window = Window::last_in(Duration::from_nanos(3), NonZeroU16::MAX).unwrap();
        let Span::Time { bucket, buckets } = window.span() else {
            panic!("it is of time")
        };
        assert_eq!((bucket, buckets), (Duration::from_nanos(1), u16::MAX));
        assert!(Window::last(Duration::MAX).is_ok());
    }
}
