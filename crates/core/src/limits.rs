use std::time::Duration;

/// What a provider says remains of its own limits, for one key and model.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{Limit, Limits};
///
/// let mut limits = Limits::default();
/// limits.tokens = Some(Limit { limit: Some(100_000), remaining: 20, reset: Duration::from_secs(6) });
/// assert!(limits.requests.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests.
    pub requests: Option<Limit>,
    /// Tokens, in and out together.
    pub tokens: Option<Limit>,
    /// Tokens in.
    pub input_tokens: Option<Limit>,
    /// Tokens out.
    pub output_tokens: Option<Limit>,
}

/// One dimension of [`Limits`].
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Limit;
///
/// let spent = Limit { limit: None, remaining: 0, reset: Duration::from_millis(500) };
/// assert_eq!(spent.remaining, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The most that the provider allows per window, where it says so.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: u64,
    /// From the response's arrival until it is full again.
    pub reset: Duration,
}
