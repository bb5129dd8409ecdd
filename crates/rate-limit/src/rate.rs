use std::{
    error::Error,
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use governor::Quota;

/// So many units per period, exactly, and so many at once.
///
/// Any [`governor::Quota`] is one. What a `Quota` cannot say, this can: a rate whose interval is no
/// whole number of nanoseconds (`Quota` cuts seven million per minute to an interval that admits
/// 350 more), more than 2³² units, and a limit [as a provider means it](Rate::mirroring).
///
/// | limit | by |
/// |---|---|
/// | in any window of W, at most `burst + units × W / period` | this, with the default algorithm |
/// | in any window of `period × burst / units`, at most `burst` | this, with a [sliding window](crate::SlidingLog) |
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Quota, Rate};
///
/// const SIXTY: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// assert_eq!(Rate::from(Quota::per_minute(SIXTY)), Rate::per_minute(SIXTY));
///
/// // A provider that allows 100 000 tokens in any minute.
/// let tokens = Rate::mirroring(100_000)?;
/// assert_eq!((tokens.burst(), tokens.units()), (20_000, 80_000));
/// # Ok::<_, buttress_rate_limit::RateError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    // In lowest terms; the period in nanoseconds.
    units: u64,
    period: u64,
    burst: u64,
}

/// Why there is no such [`Rate`].
///
/// ```
/// use buttress_rate_limit::Rate;
///
/// let error = Rate::mirroring(1).unwrap_err();
/// assert_eq!(error.to_string(), "found a limit of 1 per minute, expected at least 2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateError {
    kind: RateErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateErrorKind {
    Mirror(u64),
    Share { burst: u64, limit: u64 },
    Period(Duration),
    TooFast { units: u64, period: Duration },
    Burst(u64),
}

/// A [`Rate`] in the numbers that cells count with.
///
/// Levels and positions are in ticks, so many to a unit that a nanosecond brings between one and 32
/// of them wherever the rate allows. The ticks that have come by a time are computed from that time
/// alone, so that what is lost below a tick is not lost again and again.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    rate: Rate,
    /// Ticks to a unit.
    unit: u64,
    /// `floor(ns × high × 2⁶⁴⁻ˢ + …)`: the reciprocal of the rate, in two words.
    high: u64,
    low: u64,
    shift: u32,
}

/// The longest period that is told apart: 2.28 years, in nanoseconds.
const LONGEST: u64 = 1 << 56;
/// Time stands still then, after nine years.
const HORIZON: u64 = 1 << 58;
/// The most ticks that a nanosecond brings.
const FINEST: u64 = 32;
/// Bursts stay below this many ticks, so that sums of positions and bursts fit.
const WIDEST: u64 = 1 << 60;
/// The largest burst.
const LARGEST: u64 = 1 << 48;

// ===== impl Rate =====

impl Rate {
    /// So many units a second, and as many at once.
    #[must_use]
    pub const fn per_second(units: NonZeroU32) -> Self {
        Self::exact(units.get() as u64, 1_000_000_000)
    }

    /// So many units a minute, and as many at once.
    ///
    /// As with [`Quota::per_minute`], that is *not* "at most so many in any minute": the burst and
    /// what is replenished meanwhile make almost twice as many. See [`mirroring`](Self::mirroring).
    #[must_use]
    pub const fn per_minute(units: NonZeroU32) -> Self {
        Self::exact(units.get() as u64, 60_000_000_000)
    }

    /// So many units an hour, and as many at once.
    #[must_use]
    pub const fn per_hour(units: NonZeroU32) -> Self {
        Self::exact(units.get() as u64, 3_600_000_000_000)
    }

    /// So many units in 24 hours, and as many at once.
    #[must_use]
    pub const fn per_day(units: NonZeroU32) -> Self {
        Self::exact(units.get() as u64, 86_400_000_000_000)
    }

    /// So many units in such a period, and as many at once.
    ///
    /// # Errors
    ///
    /// If the period is zero or longer than 2⁵⁶ ns (2.28 years), there are more than 2⁴⁸ units, or
    /// more than 32 come in a nanosecond.
    pub fn new(units: NonZeroU64, period: Duration) -> Result<Self, RateError> {
        let units = units.get();
        let ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let kind = if ns == 0 || ns > LONGEST {
            RateErrorKind::Period(period)
        } else if units > LARGEST {
            RateErrorKind::Burst(units)
        } else if units / FINEST > ns {
            RateErrorKind::TooFast { units, period }
        } else {
            return Ok(Self::exact(units, ns));
        };
        Err(RateError { kind })
    }

    /// What keeps within a provider's `limit` in *any* minute, the first one included: a burst of a
    /// fifth of it, and the rest as the rate, since in any window of 60 s at most
    /// burst + rate × 60 s is admitted.
    ///
    /// A request that costs more than the burst is never admitted: where a fifth is too small, say
    /// more with [`mirroring_with`](Self::mirroring_with).
    ///
    /// # Errors
    ///
    /// If the limit is below 2 (a burst of 1 and any rate at all exceed 1), or above 2⁴⁸.
    pub fn mirroring(limit: u64) -> Result<Self, RateError> {
        Self::mirroring_with(limit, (limit / 5).max(1))
    }

    /// As [`mirroring`](Self::mirroring), with this burst: `limit − burst` come in a minute.
    ///
    /// # Errors
    ///
    /// If the burst is 0 or not below the limit, or the limit is below 2 or above 2⁴⁸.
    pub fn mirroring_with(limit: u64, burst: u64) -> Result<Self, RateError> {
        let kind = if limit < 2 {
            RateErrorKind::Mirror(limit)
        } else if burst == 0 || burst >= limit {
            RateErrorKind::Share { burst, limit }
        } else if limit > LARGEST {
            RateErrorKind::Burst(limit)
        } else {
            let rate = Self::exact(limit - burst, 60_000_000_000);
            return Ok(Self { burst, ..rate });
        };
        Err(RateError { kind })
    }

    /// The same rate, with so many units at once. At most 2⁴⁸: more counts as that.
    #[must_use]
    pub const fn allow_burst(self, burst: NonZeroU64) -> Self {
        let burst = burst.get();
        Self {
            burst: if burst < LARGEST { burst } else { LARGEST },
            ..self
        }
    }

    /// How many units there are at once, and the most that one request can cost.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// How many units come in a minute, rounded down.
    #[must_use]
    pub const fn units(&self) -> u64 {
        (self.units as u128 * 60_000_000_000 / self.period as u128) as u64
    }

    /// The time in which a whole burst comes, rounded up to a nanosecond.
    #[must_use]
    pub const fn window(&self) -> Duration {
        let ns = (self.burst as u128 * self.period as u128).div_ceil(self.units as u128);
        let ns = if ns > u64::MAX as u128 {
            u64::MAX
        } else {
            ns as u64
        };
        Duration::from_nanos(ns)
    }

    /// Whether more comes than so many units in so many nanoseconds.
    pub(crate) const fn faster_than(&self, units: u64, ns: u64) -> bool {
        self.units as u128 * ns as u128 > units as u128 * self.period as u128
    }

    const fn exact(units: u64, period: u64) -> Self {
        let (mut a, mut b) = (units, period);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self {
            units: units / a,
            period: period / a,
            burst: units,
        }
    }
}

/// A `Quota` at its word: its interval, which it has in whole nanoseconds, and its burst. Where the
/// interval is what [`Quota::per_second`], [`per_minute`](Quota::per_minute) or
/// [`per_hour`](Quota::per_hour) make of the burst, the rate is the one that they were asked for,
/// and not the slightly faster one of the interval that they cut. Intervals above 2⁵⁶ ns (2.28
/// years) count as that.
impl From<Quota> for Rate {
    fn from(quota: Quota) -> Self {
        let burst = u64::from(quota.burst_size().get());
        let interval = quota.replenish_interval().as_nanos();
        let interval = u64::try_from(interval).unwrap_or(LONGEST);
        for period in [1_000_000_000, 60_000_000_000, 3_600_000_000_000] {
            if period / burst == interval {
                return Self::exact(burst, period);
            }
        }
        Self {
            units: 1,
            period: interval.clamp(1, LONGEST),
            burst,
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = Duration::from_nanos(self.period);
        write!(f, "{} per {period:?}, {} at once", self.units, self.burst)
    }
}

// ===== impl RateError =====

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RateErrorKind::Mirror(limit) => {
                write!(
                    f,
                    "found a limit of {limit} per minute, expected at least 2"
                )
            }
            RateErrorKind::Share { burst, limit } => write!(
                f,
                "found a burst of {burst}, expected at least 1 and less than the limit of {limit}"
            ),
            RateErrorKind::Period(period) => write!(
                f,
                "found a period of {period:?}, expected more than zero and at most 2^56 ns"
            ),
            RateErrorKind::TooFast { units, period } => write!(
                f,
                "found {units} units per {period:?}, expected at most {FINEST} a nanosecond"
            ),
            RateErrorKind::Burst(units) => {
                write!(f, "found {units} units, expected at most 2^48")
            }
        }
    }
}

impl Error for RateError {}

// ===== impl Ticks =====

impl Ticks {
    pub(crate) fn new(rate: Rate) -> Self {
        // As many ticks to a unit as the bounds allow, and the period itself if that is fine
        // enough: a nanosecond then brings a whole number of them, and nothing is ever rounded.
        let most = u128::from(FINEST) * u128::from(rate.period) / u128::from(rate.units);
        let most = most.min(u128::from(WIDEST / rate.burst)).max(1) as u64;
        let unit = if rate.period <= most {
            rate.period
        } else {
            most
        };

        // ticks(ns) = floor(ns × per / period), by a multiplication. With
        // M = ceil(per × 2^s / period) and 2^s ≥ horizon × period, what M has too much adds less
        // than 1/period to any product, which cannot lift it to the next whole number.
        let (per, period) = (u128::from(rate.units) * u128::from(unit), rate.period);
        let shift = (58 + (64 - period.leading_zeros())).max(64);
        let mut quotient = per / u128::from(period);
        let mut rest = (per % u128::from(period)) as u64;
        for _ in 0..shift {
            rest *= 2;
            quotient *= 2;
            if rest >= period {
                rest -= period;
                quotient += 1;
            }
        }
        if rest > 0 {
            quotient += 1;
        }
        Self {
            rate,
            unit,
            high: (quotient >> 64) as u64,
            low: quotient as u64,
            shift: shift - 64,
        }
    }

    pub(crate) const fn rate(&self) -> &Rate {
        &self.rate
    }

    /// How many ticks have come after so many nanoseconds.
    #[inline]
    pub(crate) const fn by(&self, ns: u64) -> u64 {
        let ns = if ns < HORIZON { ns } else { HORIZON } as u128;
        let product = ns * self.high as u128 + ((ns * self.low as u128) >> 64);
        (product >> self.shift) as u64
    }

    /// The first nanosecond at which so many ticks have come. `None`: never.
    pub(crate) fn at(&self, ticks: u64) -> Option<u64> {
        let per = u128::from(self.rate.units) * u128::from(self.unit);
        let ns = (u128::from(ticks) * u128::from(self.rate.period)).div_ceil(per);
        u64::try_from(ns).ok().filter(|ns| *ns <= HORIZON)
    }

    /// Ticks for so many units. More than fits is a year-long debt.
    #[inline]
    pub(crate) const fn of(&self, units: u64) -> u64 {
        let ticks = units.saturating_mul(self.unit);
        if ticks < WIDEST { ticks } else { WIDEST }
    }

    #[inline]
    pub(crate) const fn burst(&self) -> u64 {
        self.rate.burst * self.unit
    }

    /// So many units come in so many nanoseconds, or a burst if that is more.
    pub(crate) fn most_in(&self, ns: u64) -> u64 {
        (self.by(ns) / self.unit).max(self.rate.burst)
    }

    /// Whole units in so many ticks, rounded up.
    pub(crate) const fn units_up(&self, ticks: u64) -> u64 {
        ticks.div_ceil(self.unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(units: u64, period: u64, burst: u64) -> Rate {
        Rate::exact(units, period).allow_burst(NonZeroU64::new(burst).unwrap())
    }

    fn naive(rate: &Rate, unit: u64, ns: u64) -> u64 {
        // 58 + 64 bits fit; the unit is divided first where they would not.
        let per = u128::from(rate.units) * u128::from(unit);
        let (whole, rest) = (per / u128::from(rate.period), per % u128::from(rate.period));
        (u128::from(ns) * whole + u128::from(ns) * rest / u128::from(rate.period)) as u64
    }

    proptest! {
        #[test]
        fn ticks_are_the_exact_quotient_at_any_time(
            units in 1..=1_u64 << 33,
            period in 1_000_000_000..=1_u64 << 50,
            burst in 1..=1_u64 << 40,
            ns in 0..HORIZON,
            multiple in 0..1_u64 << 20,
        ) {
            let rate = rate(units, period, burst);
            let ticks = Ticks::new(rate);
            // At any time, and right around those where the quotient is whole.
            let whole = (multiple.saturating_mul(rate.period)).min(HORIZON - 1);
            for ns in [ns, whole, whole.saturating_sub(1), whole + 1] {
                let found = ticks.by(ns);
                prop_assert_eq!(found, naive(&rate, ticks.unit, ns));
                if let Some(at) = ticks.at(found) {
                    prop_assert!(at <= ns);
                    prop_assert_eq!(ticks.by(at), found);
                    prop_assert!(at == 0 || ticks.by(at - 1) < found);
                }
            }
        }
    }

    #[test]
    fn a_tick_is_finer_than_a_nanosecond_for_every_sensible_rate() {
        const MOST: NonZeroU32 = NonZeroU32::MAX;
        let ugly = |units: u32| Rate::per_minute(NonZeroU32::new(units).unwrap());
        for rate in [
            Rate::per_second(MOST),
            Rate::per_day(NonZeroU32::MIN),
            Rate::per_day(MOST),
            ugly(60),
            ugly(100_000),
            ugly(9_999_991),
            ugly(10_000_000),
        ] {
            let ticks = Ticks::new(rate);
            assert!(ticks.by(1) >= 1, "{rate:?}: {ticks:?}");
            assert!(ticks.by(1) <= FINEST);
        }
    }

    #[test]
    fn a_quota_means_the_rate_that_it_was_asked_for() {
        let seven = NonZeroU32::new(7_000_000).unwrap();
        assert_eq!(
            Rate::from(Quota::per_minute(seven)),
            Rate::per_minute(seven)
        );
        assert_eq!(Rate::from(Quota::per_hour(seven)), Rate::per_hour(seven));
        assert_eq!(
            Rate::from(Quota::per_second(seven)),
            Rate::per_second(seven)
        );
        let day = Duration::from_secs(86_400);
        let rate = Rate::from(Quota::with_period(day).unwrap());
        assert_eq!(rate, Rate::per_day(NonZeroU32::MIN));
        let long = Rate::from(Quota::with_period(Duration::MAX).unwrap());
        assert_eq!(long.period, LONGEST);
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        let one = NonZeroU64::MIN;
        for (found, said) in [
            (Rate::new(one, Duration::ZERO), "found a period of 0ns"),
            (Rate::new(one, Duration::MAX), "found a period of"),
            (
                Rate::new(NonZeroU64::MAX, Duration::from_secs(60)),
                "found 18446744073709551615 units",
            ),
            (
                Rate::new(NonZeroU64::new(1000).unwrap(), Duration::from_nanos(1)),
                "found 1000 units per 1ns",
            ),
            (Rate::mirroring(0), "found a limit of 0"),
            (Rate::mirroring_with(10, 10), "found a burst of 10"),
            (Rate::mirroring_with(10, 0), "found a burst of 0"),
            (
                Rate::mirroring(u64::MAX),
                "found 18446744073709551615 units",
            ),
        ] {
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn l1_a_mirrored_limit_bounds_burst_and_rate_together() {
        for limit in [2, 3, 5, 60, 61, 100_000, 10_000_000, 1 << 40] {
            let rate = Rate::mirroring(limit).unwrap();
            assert!(rate.burst() >= 1);
            assert_eq!(rate.burst() + rate.units(), limit);
        }
    }
}
