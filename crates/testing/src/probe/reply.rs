//! What the probe's inner service gives: replies and failures, each of which is known again.

use std::{error::Error, fmt};

use super::body::Body;

/// What the probe's inner service replies: a number, whether it stands for a fault of the upstream,
/// and a body that says when the work is over.
///
/// It is neither `Clone` nor `Sync`, so that a layer that asks for either without need does not
/// compile. [`Traffic::replies`](super::Traffic::replies) turns it into another type.
#[derive(Debug)]
pub struct Reply {
    number: u64,
    fault: bool,
    body: Body,
}

/// The one error of the probe's inner service; no two of one check are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    number: u64,
}

// ===== impl Reply =====

impl Reply {
    pub(super) fn new(number: u64, fault: bool, body: Body) -> Self {
        Self {
            number,
            fault,
            body,
        }
    }

    /// The number of the call that this replies to, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it stands for a failure that the upstream reports in a reply, as a 503 does. A layer
    /// that retries may take it for one.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.fault
    }

    /// The body alone. The reply counts as held by somebody for as long as its body lives.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }
}

// ===== impl Failure =====

impl Failure {
    pub(super) fn new(number: u64) -> Self {
        Self { number }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failure {} of the probe's inner service", self.number)
    }
}

impl Error for Failure {}
