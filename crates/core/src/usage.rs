/// The tokens that a call used.
///
/// `input` is everything that went in, cached and cache-written tokens included; `output` is
/// everything that came out, reasoning included. The other three say how much of those two was
/// special. Providers count otherwise (Anthropic's `input_tokens` leaves the cache out, Gemini's
/// `candidatesTokenCount` leaves the thoughts out); whoever reads a provider's reply converts.
///
/// The default is nothing used, exact and billed.
///
/// # Examples
///
/// ```
/// use buttress_core::Usage;
///
/// let usage = Usage { cached_input: 30, ..Usage::new(100, 20) };
/// assert_eq!(usage.total(), 120);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Usage {
    /// All tokens read.
    pub input: u64,
    /// All tokens written.
    pub output: u64,
    /// The part of `input` that came from the provider's prompt cache.
    pub cached_input: u64,
    /// The part of `input` that was written to the provider's prompt cache.
    pub cache_write: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
    /// Told by the provider at the end of the call. `false`: estimated, or told of a part.
    pub exact: bool,
    /// Paid for by this call. `false`: the tokens of a reply that was paid for by another.
    pub billed: bool,
}

// ===== impl Usage =====

impl Usage {
    /// So many tokens in and out, exact and billed.
    #[must_use]
    pub const fn new(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            cached_input: 0,
            cache_write: 0,
            reasoning: 0,
            exact: true,
            billed: true,
        }
    }

    /// Tokens in and out.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The same tokens, known only by estimate.
    #[must_use]
    pub const fn estimated(self) -> Self {
        Self {
            exact: false,
            ..self
        }
    }

    /// The same tokens, paid for by another call.
    #[must_use]
    pub const fn unbilled(self) -> Self {
        Self {
            billed: false,
            ..self
        }
    }

    /// What two calls used together.
    ///
    /// A sum never claims that more was charged than was: where only one of the two was billed,
    /// its tokens stand alone.
    ///
    /// ```
    /// use buttress_core::Usage;
    ///
    /// let paid = Usage::new(100, 20);
    /// assert_eq!(paid.plus(Usage::new(1, 1).estimated()), Usage::new(101, 21).estimated());
    /// assert_eq!(paid.plus(Usage::new(9, 9).unbilled()), paid);
    /// ```
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        match (self.billed, other.billed) {
            (true, false) => self,
            (false, true) => other,
            _ => Self {
                input: self.input.saturating_add(other.input),
                output: self.output.saturating_add(other.output),
                cached_input: self.cached_input.saturating_add(other.cached_input),
                cache_write: self.cache_write.saturating_add(other.cache_write),
                reasoning: self.reasoning.saturating_add(other.reasoning),
                exact: self.exact && other.exact,
                billed: self.billed,
            },
        }
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::new(0, 0)
    }
}
