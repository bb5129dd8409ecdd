//! Tokens: what a reply used, and what the provider billed for it.

use std::ops::{AddAssign, Sub};

/// What one reply used, as the neutral numbers from which each dialect's own are made.
///
/// | here | OpenAI | Anthropic | Gemini |
/// |---|---|---|---|
/// | `input` (cached and cache-written included) | `prompt_tokens` | `input_tokens` + both `cache_*_input_tokens` | `promptTokenCount` |
/// | `cached` | `prompt_tokens_details.cached_tokens` | `cache_read_input_tokens` | `cachedContentTokenCount` |
/// | `cache_write` | – | `cache_creation_input_tokens` | – |
/// | `output` (reasoning included) | `completion_tokens` | `output_tokens` | `candidatesTokenCount` + `thoughtsTokenCount` |
/// | `reasoning` | `completion_tokens_details.reasoning_tokens` | – | `thoughtsTokenCount` |
///
/// A reply that sets none gets numbers derived from its text: see [`tokens`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    input: u64,
    output: u64,
    cached: u64,
    cache_write: u64,
    reasoning: u64,
}

/// What a provider charged: calls, and their tokens.
///
/// A whole reply is billed when it is sent. A stream bills its input with its first event that
/// carries usage or content, and its output as the content goes out, so that a stream that is cut
/// is billed for what was sent of it and no more. Errors are not billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Billed {
    /// How many calls were billed.
    pub calls: u64,
    /// Input tokens, cached and cache-written ones included.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Those of `input` that were read from a cache.
    pub cached: u64,
    /// Those of `input` that were written to a cache.
    pub cache_write: u64,
}

/// The number of tokens that this provider counts in a text: one for every word, with the
/// white space before it, and one for every further twelve characters of a longer word.
///
/// It is no provider's tokenizer; it is exact, cheap, and the same everywhere in this crate: a
/// streamed text has one event for each of these tokens.
///
/// ```
/// use buttress_testing::tokens;
/// assert_eq!(tokens("Hello there"), 2);
/// assert_eq!(tokens(""), 0);
/// ```
pub fn tokens(text: &str) -> u64 {
    pieces(text).count() as u64
}

/// The longest run of characters of one word that counts as one token.
const LONGEST: usize = 12;

/// Cuts a text into its tokens; together they are the text.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut letters = 0;
        let mut end = rest.len();
        for (at, c) in rest.char_indices() {
            if letters > 0 && (c.is_whitespace() || letters == LONGEST) {
                end = at;
                break;
            }
            if !c.is_whitespace() {
                letters += 1;
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

// ===== impl Usage =====

impl Usage {
    /// Input and output tokens, nothing cached, no reasoning.
    pub const fn new(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            cached: 0,
            cache_write: 0,
            reasoning: 0,
        }
    }

    /// How many of the input tokens were read from a cache; at most the input. Default: 0.
    #[must_use]
    pub fn cached(mut self, cached: u64) -> Self {
        self.cached = cached.min(self.input - self.cache_write);
        self
    }

    /// How many of the input tokens were written to a cache; at most the input that was not read
    /// from one. Default: 0.
    #[must_use]
    pub fn cache_write(mut self, cache_write: u64) -> Self {
        self.cache_write = cache_write.min(self.input - self.cached);
        self
    }

    /// How many of the output tokens were reasoning; at most the output. Default: 0.
    #[must_use]
    pub fn reasoning(mut self, reasoning: u64) -> Self {
        self.reasoning = reasoning.min(self.output);
        self
    }

    /// All input tokens.
    pub const fn input(&self) -> u64 {
        self.input
    }

    /// All output tokens.
    pub const fn output(&self) -> u64 {
        self.output
    }

    pub(crate) const fn cached_tokens(&self) -> u64 {
        self.cached
    }

    pub(crate) const fn cache_write_tokens(&self) -> u64 {
        self.cache_write
    }

    pub(crate) const fn reasoning_tokens(&self) -> u64 {
        self.reasoning
    }

    /// Input without what was read from or written to a cache.
    pub(crate) const fn fresh_input(&self) -> u64 {
        self.input - self.cached - self.cache_write
    }

    pub(crate) const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

// ===== impl Billed =====

impl Billed {
    /// The bill of one call whose output so far is `output`.
    pub(crate) fn of(usage: Usage, output: u64) -> Self {
        Self {
            calls: 1,
            input: usage.input,
            output,
            cached: usage.cached,
            cache_write: usage.cache_write,
        }
    }
}

impl AddAssign for Billed {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cached = self.cached.saturating_add(other.cached);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
    }
}

impl Sub for Billed {
    type Output = Self;

    /// What was billed since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            input: self.input.saturating_sub(earlier.input),
            output: self.output.saturating_sub(earlier.output),
            cached: self.cached.saturating_sub(earlier.cached),
            cache_write: self.cache_write.saturating_sub(earlier.cache_write),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_text() {
        for text in [
            "",
            " ",
            "Hello there",
            "  two  spaces ",
            "incomprehensibilities everywhere\n\n",
            "谢谢你谢谢你谢谢你谢谢你谢谢你",
        ] {
            assert_eq!(pieces(text).collect::<String>(), text);
        }
    }

    #[test]
    fn a_long_word_is_cut_every_twelve_characters() {
        assert_eq!(
            pieces("incomprehensibilities it is").collect::<Vec<_>>(),
            ["incomprehens", "ibilities", " it", " is"]
        );
        assert_eq!(tokens("谢谢你谢谢你谢谢你谢谢你谢谢你"), 2);
    }

    #[test]
    fn parts_of_a_usage_never_exceed_the_whole() {
        let usage = Usage::new(10, 5).cached(8).cache_write(8).reasoning(9);
        assert_eq!(usage.fresh_input(), 0);
        assert_eq!(usage.cached_tokens() + usage.cache_write_tokens(), 10);
        assert_eq!(usage.reasoning_tokens(), 5);
    }
}
