//! The wall clock: the one place that reads it.

use std::time::SystemTime;

/// The time of day, by which callers' keys expire.
///
/// It is the system's at each call, and not one that goes on from the start by tokio's clock: a key
/// that has expired while the machine slept has expired. What is tested takes the time as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "a date in a file means the time of day"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
