use std::time::Duration;

use crate::{Limited, LimitedBy, Unit, algorithm::No};

/// Why nothing was taken.
pub(crate) enum Denial {
    Limited(Limited),
    Closed,
}

// ===== impl Denial =====

impl Denial {
    /// What a cell's no means.
    pub(super) fn of(no: No, unit: Unit) -> Self {
        match no {
            No::Closed => Self::Closed,
            No::Wait(u64::MAX) => Self::limited(LimitedBy::Quota(unit), None),
            No::Wait(wait) => Self::limited(LimitedBy::Quota(unit), Some(wait)),
        }
    }

    /// For so many nanoseconds, if that helps.
    pub(super) fn limited(by: LimitedBy, wait: Option<u64>) -> Self {
        Self::Limited(Limited::new(by, wait.map(Duration::from_nanos)))
    }
}

/// Of two answers, the one that is yes later.
pub(super) fn later(one: Result<(), Denial>, other: Result<(), Denial>) -> Result<(), Denial> {
    match (&one, &other) {
        (_, Ok(())) | (Err(Denial::Closed), _) => one,
        (Ok(()), _) | (_, Err(Denial::Closed)) => other,
        (Err(Denial::Limited(a)), Err(Denial::Limited(b))) => match (a.wait(), b.wait()) {
            (None, _) => one,
            (_, None) => other,
            (Some(a), Some(b)) if b > a => other,
            _ => one,
        },
    }
}
