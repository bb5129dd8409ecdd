use std::{error::Error, fmt, num::NonZeroU32};

/// A share above 0 and up to 1: how many retries a call earns, how many calls have to fail.
///
/// It is a fraction of whole numbers, so that what counts in it is exact: 0.4 is two fifths, not
/// half, and two fifths of five calls are two.
///
/// # Examples
///
/// A literal is checked when it is compiled:
///
/// ```
/// use buttress_core::Ratio;
///
/// const FIFTH: Ratio = Ratio::percent::<20>();
/// assert_eq!(FIFTH, Ratio::new(1, 5)?);
/// # Ok::<(), buttress_core::RatioError>(())
/// ```
///
/// ```compile_fail
/// let more_than_all = buttress_core::Ratio::percent::<101>();
/// ```
///
/// What is read at run time, when it is read:
///
/// ```
/// use buttress_core::Ratio;
///
/// assert_eq!(Ratio::try_from(0.4), Ratio::new(2, 5));
/// assert!(Ratio::try_from(0.0).is_err());
/// assert!(Ratio::try_from(f64::NAN).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    part: NonZeroU32,
    whole: NonZeroU32,
}

/// What was found where a [`Ratio`] was expected.
///
/// ```
/// use buttress_core::Ratio;
///
/// let error = Ratio::try_from(1.5).unwrap_err();
/// assert_eq!(error.to_string(), "found the ratio 1.5, expected one above 0 and up to 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioError {
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Fraction(u32, u32),
    Number(f64),
}

// ===== impl Ratio =====

impl Ratio {
    /// So many of a hundred, from 1 to 100. Anything else does not compile.
    #[must_use]
    pub const fn percent<const OF_100: u32>() -> Self {
        const {
            assert!(
                0 < OF_100 && OF_100 <= 100,
                "a ratio is above 0 and up to 1"
            )
        }
        match Self::new(OF_100, 100) {
            Ok(ratio) => ratio,
            Err(_) => unreachable!(),
        }
    }

    /// So many of so many.
    ///
    /// # Errors
    ///
    /// If `part` is 0, or larger than `whole`.
    pub const fn new(part: u32, whole: u32) -> Result<Self, RatioError> {
        let divisor = gcd(part, whole);
        if part <= whole
            && divisor > 0
            && let Some(part) = NonZeroU32::new(part / divisor)
            && let Some(whole) = NonZeroU32::new(whole / divisor)
        {
            return Ok(Self { part, whole });
        }
        Err(RatioError {
            found: Found::Fraction(part, whole),
        })
    }

    /// The number above the line, in lowest terms.
    ///
    /// ```
    /// let ratio = buttress_core::Ratio::percent::<40>();
    /// assert_eq!((ratio.part(), ratio.whole()), (2, 5));
    /// ```
    #[must_use]
    pub const fn part(self) -> u32 {
        self.part.get()
    }

    /// The number below the line.
    #[must_use]
    pub const fn whole(self) -> u32 {
        self.whole.get()
    }
}

/// To the nearest billionth: a decimal number of up to nine digits is exact.
impl TryFrom<f64> for Ratio {
    type Error = RatioError;

    fn try_from(ratio: f64) -> Result<Self, RatioError> {
        const BILLION: u32 = 1_000_000_000;
        let error = RatioError {
            found: Found::Number(ratio),
        };
        if !(ratio > 0.0 && ratio <= 1.0) {
            return Err(error);
        }
        // At most a billion, by the line above.
        let part = (ratio * f64::from(BILLION)).round() as u32;
        Self::new(part, BILLION).map_err(|_| error)
    }
}

const fn gcd(one: u32, other: u32) -> u32 {
    let (mut one, mut other) = (one, other);
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.whole)
    }
}

// ===== impl RatioError =====

impl fmt::Display for RatioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Found::Fraction(part, whole) => write!(f, "found the ratio {part}/{whole}")?,
            Found::Number(number) => write!(f, "found the ratio {number}")?,
        }
        f.write_str(", expected one above 0 and up to 1")
    }
}

impl Error for RatioError {}

#[cfg(test)]
mod tests {
    use super::Ratio;

    #[test]
    fn a_fraction_is_reduced_and_a_decimal_is_exact() {
        for (number, part, whole) in [(0.4, 2, 5), (0.6, 3, 5), (0.1, 1, 10), (1.0, 1, 1)] {
            let ratio = Ratio::try_from(number).unwrap();
            assert_eq!((ratio.part(), ratio.whole()), (part, whole), "{number}");
        }
        let smallest = Ratio::try_from(1e-9).unwrap();
        assert_eq!((smallest.part(), smallest.whole()), (1, 1_000_000_000));
        let largest = Ratio::new(u32::MAX, u32::MAX).unwrap();
        assert_eq!(largest, Ratio::percent::<100>());
    }

    #[test]
    fn what_is_no_ratio_is_told_and_not_built() {
        for number in [0.0, -0.1, 1.000_000_1, f64::INFINITY, f64::NAN, 1e-10] {
            let error = Ratio::try_from(number).unwrap_err();
            assert!(error.to_string().contains(&number.to_string()), "{error}");
        }
        for (part, whole) in [(0, 1), (0, 0), (1, 0), (2, 1)] {
            let error = Ratio::new(part, whole).unwrap_err();
            let said = format!("{part}/{whole}");
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
}
