use std::fmt;

use buttress_core::Usage;

use crate::{Rate, rate::Ticks};

/// What a quota counts.
///
/// ```
/// use buttress_rate_limit::{Cost, Unit};
///
/// assert_eq!(Cost::tokens(30, 12).of(Unit::Tokens), 42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Calls.
    Requests,
    /// Tokens, in and out together.
    Tokens,
    /// Tokens in.
    InputTokens,
    /// Tokens out.
    OutputTokens,
}

/// What a call takes of the quotas: reserved by estimate when it begins, settled when it ends.
///
/// ```
/// use buttress_rate_limit::Cost;
///
/// // A prompt of about 900 tokens that may be answered with 500.
/// let cost = Cost::tokens(900, 500);
/// assert_eq!(cost.requests, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Calls, usually 1.
    pub requests: u64,
    /// Tokens in.
    pub input: u64,
    /// Tokens out.
    pub output: u64,
}

/// The quotas of a key. A call is admitted if all of them allow it, and then takes from all of
/// them; else it takes from none.
///
/// Several may count the same unit: so many a minute, and so many a day. Up to four cost no
/// allocation; with more, each call makes one. Without any, everything is admitted, except while a
/// provider asked to pause.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Quota, Quotas, Rate};
///
/// const SIXTY: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// let quotas = Quotas::requests(Quota::per_minute(SIXTY))
///     .and_requests(Rate::per_day(NonZeroU32::new(5_000).unwrap()))
///     .and_tokens(Rate::mirroring(100_000)?);
/// # Ok::<_, buttress_rate_limit::RateError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    list: Vec<(Unit, Rate)>,
}

/// Quotas as cells count them, shared by all keys that have them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quotas: Box<[(Unit, Ticks)]>,
    /// One of them counts requests, and no more than that.
    one_of_requests: bool,
    /// What these were made of.
    pub(crate) source: Quotas,
}

// ===== impl Unit =====

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 4] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
    ];

    /// The name, in lower case: a label for metrics, or a policy's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// ===== impl Cost =====

impl Cost {
    /// One call, no tokens. The default.
    pub const REQUEST: Self = Self::tokens(0, 0);

    /// Nothing at all.
    pub const NONE: Self = Self {
        requests: 0,
        input: 0,
        output: 0,
    };

    /// One call with so many tokens in, and so many out.
    #[must_use]
    pub const fn tokens(input: u64, output: u64) -> Self {
        Self {
            requests: 1,
            input,
            output,
        }
    }

    /// How much that is of one unit.
    #[must_use]
    pub const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.input.saturating_add(self.output),
            Unit::InputTokens => self.input,
            Unit::OutputTokens => self.output,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
        }
    }

    /// The same calls, with these tokens.
    pub(crate) const fn with_usage(self, usage: &Usage) -> Self {
        Self {
            requests: self.requests,
            input: usage.input,
            output: usage.output,
        }
    }

    /// The same calls, with the larger number of tokens of each kind.
    pub(crate) fn at_least(self, other: Self) -> Self {
        Self {
            requests: self.requests,
            input: self.input.max(other.input),
            output: self.output.max(other.output),
        }
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::REQUEST
    }
}

// ===== impl Quotas =====

impl Quotas {
    /// No quota.
    #[must_use]
    pub const fn none() -> Self {
        Self { list: Vec::new() }
    }

    /// So many requests.
    #[must_use]
    pub fn requests(rate: impl Into<Rate>) -> Self {
        Self::none().and_requests(rate)
    }

    /// So many tokens, in and out together.
    #[must_use]
    pub fn tokens(rate: impl Into<Rate>) -> Self {
        Self::none().and_tokens(rate)
    }

    /// And so many requests.
    #[must_use]
    pub fn and_requests(self, rate: impl Into<Rate>) -> Self {
        self.and(Unit::Requests, rate)
    }

    /// And so many tokens, in and out together.
    #[must_use]
    pub fn and_tokens(self, rate: impl Into<Rate>) -> Self {
        self.and(Unit::Tokens, rate)
    }

    /// And so many tokens in.
    #[must_use]
    pub fn and_input_tokens(self, rate: impl Into<Rate>) -> Self {
        self.and(Unit::InputTokens, rate)
    }

    /// And so many tokens out.
    #[must_use]
    pub fn and_output_tokens(self, rate: impl Into<Rate>) -> Self {
        self.and(Unit::OutputTokens, rate)
    }

    /// And so many of a unit.
    #[must_use]
    pub fn and(mut self, unit: Unit, rate: impl Into<Rate>) -> Self {
        self.list.push((unit, rate.into()));
        self
    }

    /// The quotas, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, Rate)> {
        self.list.iter().copied()
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

// ===== impl Plan =====

impl Plan {
    pub(crate) fn new(source: Quotas) -> Self {
        let quotas = source.iter().map(|(unit, rate)| (unit, Ticks::new(rate)));
        let of_requests = source.iter().filter(|(unit, _)| *unit == Unit::Requests);
        Self {
            quotas: quotas.collect(),
            one_of_requests: of_requests.count() == 1,
            source,
        }
    }

    /// The unit of the only quota that such a cost takes anything of, where that is seen at a glance: a
    /// call of no tokens.
    #[inline]
    pub(crate) const fn only_unit(&self, cost: &Cost) -> Option<Unit> {
        let no_tokens = cost.input == 0 && cost.output == 0;
        if self.one_of_requests && no_tokens && cost.requests > 0 {
            Some(Unit::Requests)
        } else {
            None
        }
    }
}
