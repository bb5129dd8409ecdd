//! What a server says about when to ask again, and whether.

use std::time::SystemTime;

use buttress_core::Outcome;
use http::{Extensions, HeaderMap, header::DATE};
use tokio::time::Instant;

use crate::retry_after::{Hints, ReceivedAt};

/// Adds `retry-after-ms`, `retry-after` and `x-should-retry` to an outcome, as far as they are
/// well-formed.
pub(crate) fn add(outcome: Outcome, headers: &HeaderMap, extensions: &Extensions) -> Outcome {
    let hints = Hints::from_headers(headers, || now(headers, extensions));
    let mut hinted = outcome;
    hinted.retry_after = hints.retry_after;
    hinted.should_retry = hints.should_retry;
    hinted.or(&outcome)
}

/// The time at which a response was made: by the server's own clock where it tells, so that a
/// date in `retry-after` means what the server meant, else by ours.
fn now(headers: &HeaderMap, extensions: &Extensions) -> SystemTime {
    let date = headers
        .get(DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    date.or_else(|| extensions.get().map(|ReceivedAt(time)| *time))
        .unwrap_or_else(wall_clock)
}

/// The machine's wall clock, moved as far as tokio's was moved away from the machine's.
///
/// It is read anew each time: a clock that was read once and then counted on knows nothing of
/// the machine's sleep, nor of steps of its clock.
fn wall_clock() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the wall clock is read"
    )]
    let (tokio, machine, wall) = (
        Instant::now().into_std(),
        std::time::Instant::now(),
        SystemTime::now(),
    );
    let moved = match tokio.checked_duration_since(machine) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(machine.saturating_duration_since(tokio)),
    };
    moved.unwrap_or(wall)
}
