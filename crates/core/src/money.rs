use std::{fmt, iter::Sum, ops::Add};

/// An amount of money, in whole pico-units (10⁻¹²) of a currency.
///
/// Prices are quoted per million tokens; at 10⁻¹² the cheapest token has an exact price, so no
/// amount is ever rounded and none is a float. 128 bits hold 3 × 10²⁶ units: no sum overflows in
/// practice, and one that did would stay at the maximum.
///
/// # Examples
///
/// ```
/// use buttress_core::Money;
///
/// // 0.15 per million tokens is 150 000 pico-units a token.
/// let price = Money::from_pico(150_000);
/// assert_eq!(price.times(2_000_000).to_string(), "0.3");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    pico: u128,
}

const PICO: u128 = 1_000_000_000_000;

// ===== impl Money =====

impl Money {
    /// Nothing. A cost that is not known is `None`, never zero.
    pub const ZERO: Self = Self::from_pico(0);

    /// So many pico-units.
    #[must_use]
    pub const fn from_pico(pico: u128) -> Self {
        Self { pico }
    }

    /// The amount in pico-units.
    #[must_use]
    pub const fn pico(self) -> u128 {
        self.pico
    }

    /// This amount for each of `count` tokens.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self::from_pico(self.pico.saturating_mul(count as u128))
    }

    /// Both amounts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_pico(self.pico.saturating_add(other.pico))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// Every digit that counts, and none more: `0.3`, `12`, `0.000000000001`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.pico / PICO, self.pico % PICO);
        if rest == 0 {
            return f.pad_integral(true, "", &whole.to_string());
        }
        let text = format!("{whole}.{rest:012}");
        f.pad_integral(true, "", text.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::{Money, PICO};

    #[test]
    fn prints_every_digit_that_counts() {
        let cases = [
            (0, "0"),
            (1, "0.000000000001"),
            (PICO, "1"),
            (PICO / 2, "0.5"),
            (12 * PICO, "12"),
        ];
        for (pico, text) in cases {
            assert_eq!(Money::from_pico(pico).to_string(), text);
        }
    }

    #[test]
    fn the_largest_amount_is_a_wall_and_not_a_wrap() {
        let most = Money::from_pico(u128::MAX);
        assert_eq!(most + Money::from_pico(1), most);
        assert_eq!(most.times(2), most);
    }
}
