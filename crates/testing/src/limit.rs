//! Limits: what a provider says about them, and what it enforces.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{
    Dialect,
    fault::{Date, go},
};

/// What a reply says about the caller's limits, in the dialect's headers: see
/// [`Reply::limits`](crate::Reply::limits). Gemini has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    requests: Option<Left>,
    tokens: Option<Left>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    limit: u64,
    remaining: u64,
    reset: Duration,
}

/// A limit per minute that a provider enforces: see [`Provider::limit`](crate::Provider::limit).
///
/// ```
/// use buttress_testing::Limit;
/// let limit = Limit::fixed_minute().requests(60).tokens(100_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    requests: Option<u64>,
    tokens: Option<u64>,
    sliding: bool,
}

/// A limit at work.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: Limit,
    start: Instant,
    charged: Mutex<Charged>,
}

#[derive(Debug, Default)]
struct Charged {
    requests: u64,
    tokens: u64,
    /// Of a fixed minute, its number.
    minute: u64,
    /// Of a sliding minute, what it holds. What came in the same millisecond is one entry.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    requests: u64,
    tokens: u64,
}

/// What the limiter says to a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(Limits),
    /// Not before so long.
    Limited(Limits, Duration),
}

const MINUTE: Duration = Duration::from_secs(60);

// ===== impl Limits =====

impl Limits {
    /// Nothing about any limit.
    pub const fn new() -> Self {
        Self {
            requests: None,
            tokens: None,
        }
    }

    /// So many requests of so many remain until a reset after `reset`.
    #[must_use]
    pub const fn requests(mut self, limit: u64, remaining: u64, reset: Duration) -> Self {
        self.requests = Some(Left {
            limit,
            remaining,
            reset,
        });
        self
    }

    /// So many tokens of so many remain until a reset after `reset`.
    #[must_use]
    pub const fn tokens(mut self, limit: u64, remaining: u64, reset: Duration) -> Self {
        self.tokens = Some(Left {
            limit,
            remaining,
            reset,
        });
        self
    }

    /// The headers of this dialect.
    pub(crate) fn headers(
        &self,
        dialect: Dialect,
        now: SystemTime,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        let mut add = |name: String, value: String| {
            // Fixed words, digits and dates: always good headers.
            if let (Ok(name), Ok(value)) = (name.parse(), value.parse()) {
                headers.push((name, value));
            }
        };
        for (what, left) in [("requests", self.requests), ("tokens", self.tokens)] {
            let Some(left) = left else { continue };
            match dialect {
                Dialect::OpenAi => {
                    add(format!("x-ratelimit-limit-{what}"), left.limit.to_string());
                    let remaining = left.remaining.to_string();
                    add(format!("x-ratelimit-remaining-{what}"), remaining);
                    add(format!("x-ratelimit-reset-{what}"), go(left.reset));
                }
                Dialect::Anthropic => {
                    let name = |field: &str| format!("anthropic-ratelimit-{what}-{field}");
                    // A reset between two seconds is told as the later.
                    let seconds = left.reset.as_millis().div_ceil(1000) as u64;
                    add(name("limit"), left.limit.to_string());
                    add(name("remaining"), left.remaining.to_string());
                    add(name("reset"), Date::at(now, seconds).rfc3339());
                }
                Dialect::Gemini => {}
            }
        }
        headers
    }
}

// ===== impl Limit =====

impl Limit {
    /// A limit on fixed minutes, the first of which begins when the provider starts.
    pub const fn fixed_minute() -> Self {
        Self {
            requests: None,
            tokens: None,
            sliding: false,
        }
    }

    /// A limit on the last minute at every moment.
    pub const fn sliding_minute() -> Self {
        Self {
            sliding: true,
            ..Self::fixed_minute()
        }
    }

    /// The most calls. Default: no limit.
    #[must_use]
    pub const fn requests(mut self, most: u64) -> Self {
        self.requests = Some(most);
        self
    }

    /// The most tokens, input and output together. Default: no limit.
    #[must_use]
    pub const fn tokens(mut self, most: u64) -> Self {
        self.tokens = Some(most);
        self
    }
}

// ===== impl Limiter =====

impl Limiter {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            start: Instant::now(),
            charged: Mutex::default(),
        }
    }

    /// Charges a call that uses so many tokens, or says when it may come again.
    pub(crate) fn charge(&self, tokens: u64) -> Verdict {
        let now = Instant::now();
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut charged, now);
        let over = |used: u64, cost: u64, most: Option<u64>| {
            most.is_some_and(|most| used.saturating_add(cost) > most)
        };
        if over(charged.requests, 1, self.limit.requests)
            || over(charged.tokens, tokens, self.limit.tokens)
        {
            let wait = self.wait(&charged, now, tokens);
            return Verdict::Limited(self.limits(&charged, now), wait);
        }
        charged.requests += 1;
        charged.tokens = charged.tokens.saturating_add(tokens);
        if self.limit.sliding {
            match charged.entries.back_mut() {
                // The later time is kept: what was charged stays so long, and not shorter.
                Some(last) if now - last.at < Duration::from_millis(1) => {
                    last.at = now;
                    last.requests += 1;
                    last.tokens = last.tokens.saturating_add(tokens);
                }
                _ => charged.entries.push_back(Entry {
                    at: now,
                    requests: 1,
                    tokens,
                }),
            }
        }
        Verdict::Admitted(self.limits(&charged, now))
    }

    /// Drops what is no longer in the minute.
    fn forget(&self, charged: &mut Charged, now: Instant) {
        if !self.limit.sliding {
            let minute = (now - self.start).as_secs() / 60;
            if minute != charged.minute {
                *charged = Charged {
                    minute,
                    ..Charged::default()
                };
            }
            return;
        }
        while let Some(entry) = charged.entries.front()
            && now - entry.at >= MINUTE
        {
            charged.requests -= entry.requests;
            charged.tokens = charged.tokens.saturating_sub(entry.tokens);
            charged.entries.pop_front();
        }
    }

    /// How long until a call of so many tokens fits; a call that never fits waits a minute.
    fn wait(&self, charged: &Charged, now: Instant, tokens: u64) -> Duration {
        if !self.limit.sliding {
            return self.left(now);
        }
        let (mut requests, mut used) = (charged.requests, charged.tokens);
        for entry in &charged.entries {
            requests -= entry.requests;
            used = used.saturating_sub(entry.tokens);
            let fits = self.limit.requests.is_none_or(|most| requests < most)
                && (self.limit.tokens).is_none_or(|most| used.saturating_add(tokens) <= most);
            if fits {
                return MINUTE.saturating_sub(now - entry.at);
            }
        }
        MINUTE
    }

    /// What is left of a fixed minute.
    fn left(&self, now: Instant) -> Duration {
        let into = (now - self.start).as_nanos() % MINUTE.as_nanos();
        MINUTE - Duration::from_nanos(into as u64)
    }

    fn limits(&self, charged: &Charged, now: Instant) -> Limits {
        let reset = match self.limit.sliding {
            false => self.left(now),
            true => (charged.entries.back())
                .map_or(Duration::ZERO, |last| MINUTE.saturating_sub(now - last.at)),
        };
        let mut limits = Limits::new();
        if let Some(most) = self.limit.requests {
            limits = limits.requests(most, most.saturating_sub(charged.requests), reset);
        }
        if let Some(most) = self.limit.tokens {
            limits = limits.tokens(most, most.saturating_sub(charged.tokens), reset);
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn wait(limiter: &Limiter, tokens: u64) -> Option<Duration> {
        match limiter.charge(tokens) {
            Verdict::Admitted(_) => None,
            Verdict::Limited(_, wait) => Some(wait),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_minute_begins_anew() {
        let limiter = Limiter::new(Limit::fixed_minute().requests(2).tokens(100));
        assert_eq!(wait(&limiter, 60), None);
        advance(Duration::from_secs(59)).await;
        assert_eq!(wait(&limiter, 41), Some(Duration::from_secs(1)));
        assert_eq!(wait(&limiter, 40), None);
        assert_eq!(wait(&limiter, 0), Some(Duration::from_secs(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(wait(&limiter, 100), None, "twice the rate at the border");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sliding_minute_admits_when_enough_is_a_minute_old() {
        let limiter = Limiter::new(Limit::sliding_minute().tokens(100));
        assert_eq!(wait(&limiter, 60), None);
        advance(Duration::from_secs(10)).await;
        assert_eq!(wait(&limiter, 30), None);
        advance(Duration::from_secs(20)).await;
        assert_eq!(wait(&limiter, 11), Some(Duration::from_secs(30)));
        assert_eq!(wait(&limiter, 80), Some(Duration::from_secs(40)));
        advance(Duration::from_secs(30)).await;
        assert_eq!(wait(&limiter, 70), None);
        assert_eq!(wait(&limiter, 101), Some(MINUTE), "it never fits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sliding_minute_is_bounded_in_memory() {
        let limiter = Limiter::new(Limit::sliding_minute().requests(u64::MAX));
        for _ in 0..130_000 {
            assert_eq!(wait(&limiter, 1), None);
            advance(Duration::from_micros(500)).await;
        }
        assert!(limiter.charged.lock().unwrap().entries.len() <= 60_001);
    }
}
