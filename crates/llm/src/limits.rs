//! What a provider's headers say remains of its limits.

mod date;
mod duration;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use buttress_core::{Limit, Limits};
use http::{HeaderMap, header::DATE};

pub(crate) use self::duration::duration;
use crate::Dialect;

/// The names of one dimension's fields: the limit, what remains, and when it is full again.
type Fields = [&'static str; 3];

const OPENAI_REQUESTS: Fields = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const OPENAI_TOKENS: Fields = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];
const ANTHROPIC_REQUESTS: Fields = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];
const ANTHROPIC_TOKENS: Fields = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];
const ANTHROPIC_INPUT: Fields = [
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
];
const ANTHROPIC_OUTPUT: Fields = [
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];

/// The most that a limit or a rest can be: far above any provider's, and far below an overflow.
const COUNT: u64 = 1_000_000_000_000_000;

/// The furthest that a reset can be away: limits per month are the longest there are.
const RESET: Duration = Duration::from_secs(32 * 24 * 60 * 60);

/// The longest value that is read.
const VALUE: usize = 64;

// ===== impl Dialect =====

impl Dialect {
    /// Reads the limit headers of a response, of any status.
    ///
    /// | dialect | fields | `reset` |
    /// |---|---|---|
    /// | OpenAI | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` | a duration as Go writes it, such as `12ms`, `1s`, `6m0s` or `1h2m3.5s`; or bare seconds (Azure) |
    /// | Anthropic | `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` | a time of RFC 3339, counted from the `date` of the response, or from `now` where it has none |
    /// | Gemini | none | |
    ///
    /// A dimension is there only if all that was said of it is well-formed and makes sense: it has
    /// `remaining` and `reset`, and `limit` where the provider told it. It is absent if one of them
    /// came twice, is negative (Azure's `-1`), has a sign, a fraction (of a count) or more than 64
    /// bytes, is above 10¹⁵ or further away than 32 days, or if more remains than the limit is.
    /// The other dimensions are read all the same. A time that has passed is a reset of zero.
    ///
    /// `now` is what the clock says as the response arrives.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use buttress_llm::Dialect;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("x-ratelimit-limit-tokens", "150000".parse().unwrap());
    /// headers.insert("x-ratelimit-remaining-tokens", "149984".parse().unwrap());
    /// headers.insert("x-ratelimit-reset-tokens", "6m0s".parse().unwrap());
    ///
    /// let limits = Dialect::OpenAi.limits(&headers, SystemTime::UNIX_EPOCH);
    /// let tokens = limits.tokens.unwrap();
    /// assert_eq!(tokens.remaining, 149_984);
    /// assert_eq!(tokens.reset, Duration::from_secs(360));
    /// assert_eq!(limits.requests, None);
    /// ```
    #[must_use]
    pub fn limits(self, headers: &HeaderMap, now: SystemTime) -> Limits {
        let mut limits = Limits::default();
        match self {
            Self::OpenAi => {
                let read = |fields| dimension(headers, fields, duration::duration_or_seconds);
                limits.requests = read(&OPENAI_REQUESTS);
                limits.tokens = read(&OPENAI_TOKENS);
            }
            Self::Anthropic => {
                let read = |fields| {
                    dimension(headers, fields, |value| {
                        let until = date::rfc3339(value)?;
                        let from = date_of(headers).unwrap_or(now);
                        Some(until.duration_since(from).unwrap_or_default())
                    })
                };
                limits.requests = read(&ANTHROPIC_REQUESTS);
                limits.tokens = read(&ANTHROPIC_TOKENS);
                limits.input_tokens = read(&ANTHROPIC_INPUT);
                limits.output_tokens = read(&ANTHROPIC_OUTPUT);
            }
            Self::Gemini => {}
        }
        limits
    }
}

fn dimension(
    headers: &HeaderMap,
    [limit, remaining, reset]: &Fields,
    until: impl Fn(&str) -> Option<Duration>,
) -> Option<Limit> {
    let remaining = count(once(headers, remaining).ok()??)?;
    let reset = until(once(headers, reset).ok()??).filter(|reset| *reset <= RESET)?;
    let limit = match once(headers, limit).ok()? {
        Some(value) => Some(count(value).filter(|limit| remaining <= *limit)?),
        None => None,
    };
    Some(Limit {
        limit,
        remaining,
        reset,
    })
}

/// A field that nobody can read, or of which nobody can tell which value counts.
struct Unreadable;

/// The value of a field that comes once. `None`: it does not come.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unreadable> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.len() <= VALUE => {
            // Not `to_str`, which knows only ASCII: Go writes microseconds with a `µ`.
            let value = std::str::from_utf8(value.as_bytes()).map_err(|_| Unreadable)?;
            Ok(Some(value.trim_matches([' ', '\t'])))
        }
        _ => Err(Unreadable),
    }
}

/// Digits.
fn count(value: &str) -> Option<u64> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok().filter(|count| *count <= COUNT)
}

/// When the response was made, by its server's clock.
fn date_of(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(once(headers, DATE.as_str()).ok()??).ok()
}
