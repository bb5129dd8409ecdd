//! Decimals, exactly.

use super::Fault;

/// The most that a price may be, in pico-units: 10⁶ a token.
const MOST: u128 = 1_000_000_000_000_000_000;

/// What a decimal such as `0.15` or `1.5e-07` is, times 10 to the power of `scale`.
pub(super) fn scaled(text: &str, scale: i32) -> Result<u128, Fault> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            // No price needs more, and none that has is whole.
            if digits.is_empty() || digits.len() > 4 || !is_digits(digits) {
                return Err(Fault::Number);
            }
            (
                mantissa,
                exponent.parse::<i32>().map_err(|_| Fault::Number)?,
            )
        }
        None => (text, 0),
    };
    let (whole, part) = match mantissa.split_once('.') {
        Some((whole, part)) if !part.is_empty() => (whole, part),
        Some(_) => return Err(Fault::Number),
        None => (mantissa, ""),
    };
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) || mantissa.len() > 64 {
        return Err(Fault::Number);
    }
    // 0.150 is 15 with an exponent of -2.
    let digits = [whole, part].concat();
    let trimmed = digits.trim_end_matches('0');
    let zeros = digits.len() - trimmed.len();
    let significant = trimmed.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let power = exponent - part.len() as i32 + zeros as i32 + scale;
    let power = u32::try_from(power).map_err(|_| Fault::NotWhole)?;
    let value = significant.parse::<u128>().map_err(|_| Fault::TooHigh)?;
    let factor = 10_u128.checked_pow(power).ok_or(Fault::TooHigh)?;
    let value = value.checked_mul(factor).ok_or(Fault::TooHigh)?;
    if value > MOST {
        return Err(Fault::TooHigh);
    }
    Ok(value)
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fault, scaled};

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        for (text, scale, value) in [
            ("0", 6, Ok(0)),
            ("0.0", 12, Ok(0)),
            ("0e-300", 12, Ok(0)),
            ("1.25", 6, Ok(1_250_000)),
            ("0.000001", 6, Ok(1)),
            ("0.0000001", 6, Err(Fault::NotWhole)),
            ("0.0000010", 6, Ok(1)),
            ("1.5e-07", 12, Ok(150_000)),
            ("1.5E-7", 12, Ok(150_000)),
            ("15e-8", 12, Ok(150_000)),
            ("0.000168", 12, Ok(168_000_000)),
            ("9.499999999999999e-07", 12, Err(Fault::NotWhole)),
            ("3e-13", 12, Err(Fault::NotWhole)),
            ("1e6", 12, Ok(1_000_000_000_000_000_000)),
            ("1000001", 12, Err(Fault::TooHigh)),
            ("1e30", 12, Err(Fault::TooHigh)),
            ("1e9999", 12, Err(Fault::TooHigh)),
            ("1e99999", 12, Err(Fault::Number)),
            ("", 6, Err(Fault::Number)),
            (".5", 6, Err(Fault::Number)),
            ("5.", 6, Err(Fault::Number)),
            ("-1", 6, Err(Fault::Number)),
            ("+1", 6, Err(Fault::Number)),
            ("1,5", 6, Err(Fault::Number)),
            ("1.2.3", 6, Err(Fault::Number)),
            ("1e", 6, Err(Fault::Number)),
            ("1e+", 6, Err(Fault::Number)),
            ("1e+-1", 6, Err(Fault::Number)),
            ("NaN", 6, Err(Fault::Number)),
            ("١", 6, Err(Fault::Number)),
        ] {
            assert_eq!(scaled(text, scale), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_with_six_places_or_as_an_exponent_is_the_same(pico in 0..1_000_000_000_000_u128) {
            let (whole, part) = (pico / 1_000_000, pico % 1_000_000);
            prop_assert_eq!(scaled(&format!("{whole}.{part:06}"), 6), Ok(pico));
            prop_assert_eq!(scaled(&format!("{pico}e-12"), 12), Ok(pico));
            prop_assert_eq!(scaled(&format!("0.{pico:012}"), 12), Ok(pico));
        }
    }
}
