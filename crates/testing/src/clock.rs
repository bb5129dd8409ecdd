//! The one wall clock: read once, then moved by tokio's.

use std::time::SystemTime;

use tokio::time::Instant;

/// What the date was at some instant of tokio's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    date: SystemTime,
    at: Instant,
}

// ===== impl Clock =====

impl Clock {
    /// A clock that shows this date now; by default the machine's.
    pub(crate) fn start(date: Option<SystemTime>) -> Self {
        Self {
            date: date.unwrap_or_else(machine),
            at: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        // A date past the end of time is the last that was sure.
        self.date
            .checked_add(self.at.elapsed())
            .unwrap_or(self.date)
    }
}

/// The machine's date: a client that reads a date reads its own clock.
#[allow(clippy::disallowed_methods)]
fn machine() -> SystemTime {
    SystemTime::now()
}
