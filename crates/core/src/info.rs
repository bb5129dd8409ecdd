use std::time::Instant;

use crate::Ledger;

/// What a request carries from layer to layer.
///
/// [`Carry`](crate::Carry) reads and writes it. A request that carries nothing is a first
/// attempt, without a deadline, of priority 0, not retried by anybody, without a ledger.
///
/// # Examples
///
/// ```
/// use buttress_core::CallInfo;
///
/// let mut info = CallInfo::new();
/// info.attempt = 2;
/// assert_eq!(info.deadline, None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallInfo {
    /// Which attempt of its call this is. The first is 1.
    pub attempt: u32,
    /// When the caller stops waiting, on tokio's clock.
    pub deadline: Option<Instant>,
    /// Higher goes first. The default is 0.
    pub priority: i8,
    /// Somebody outside sends this request again if it fails: a retry inside stands down.
    pub retried: bool,
    /// Where attempts that are given up are added.
    pub ledger: Option<Ledger>,
}

// ===== impl CallInfo =====

impl CallInfo {
    /// What a request carries that carries nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempt: 1,
            deadline: None,
            priority: 0,
            retried: false,
            ledger: None,
        }
    }

    /// The same as [`CallInfo::new`], for all time.
    #[must_use]
    pub fn absent() -> &'static Self {
        static ABSENT: CallInfo = CallInfo::new();
        &ABSENT
    }
}

impl Default for CallInfo {
    fn default() -> Self {
        Self::new()
    }
}
