//! What a server says about when to ask again, and whether.

use std::sync::OnceLock;
use std::time::SystemTime;

use buttress_core::Outcome;
use http::{HeaderMap, header::DATE};
use tokio::time::Instant;

use crate::retry_after;

/// Adds `retry-after-ms`, `retry-after` and `x-should-retry` to an outcome, as far as they are
/// well-formed.
pub(crate) fn add(outcome: Outcome, headers: &HeaderMap) -> Outcome {
    let hints = retry_after::Hints::from_headers(headers, || now(headers));
    let mut hinted = outcome;
    hinted.retry_after = hints.retry_after;
    hinted.should_retry = hints.should_retry;
    hinted.or(&outcome)
}

/// The time at which a response was made: by the server's own clock where it tells, so that a
/// date in `retry-after` means what the server meant, else by ours.
fn now(headers: &HeaderMap) -> SystemTime {
    headers
        .get(DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok())
        .unwrap_or_else(wall_clock)
}

/// The wall clock, which advances with tokio's.
fn wall_clock() -> SystemTime {
    static ANCHOR: OnceLock<(SystemTime, Instant)> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the wall clock is read"
    )]
    let (wall, instant) = ANCHOR.get_or_init(|| (SystemTime::now(), Instant::now()));
    wall.checked_add(Instant::now().saturating_duration_since(*instant))
        .unwrap_or(*wall)
}
