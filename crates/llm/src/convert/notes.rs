//! What became of the members that the other dialect has no place for.

use super::{
    error::{Fault, Wrong},
    model::{Own, Weight},
};
use crate::Dialect;

/// Kept while a request is written.
#[derive(Debug)]
pub(super) struct Notes {
    to: Dialect,
    left_out: Vec<usize>,
    fault: Option<Fault>,
}

// ===== impl Notes =====

impl Notes {
    pub(super) const fn new(to: Dialect) -> Self {
        Self {
            to,
            left_out: Vec::new(),
            fault: None,
        }
    }

    /// The value that stands at `at` is left out: it does not change what the reply says.
    pub(super) fn leave_out(&mut self, at: usize) {
        self.left_out.push(at);
    }

    /// The value that stands at `at` cannot be said. The first one counts.
    pub(super) fn unfit(&mut self, at: usize, why: &'static str) {
        let to = self.to;
        self.fail(at, Wrong::Unfit { to, why });
    }

    /// The value that stands at `at` is wrong anywhere.
    pub(super) fn fail(&mut self, at: usize, wrong: Wrong) {
        self.fault.get_or_insert(Fault { at, wrong });
    }

    /// What only the dialect of the caller knows.
    pub(super) fn own(&mut self, own: &[Own]) {
        for Own { at, weight } in own {
            match weight {
                Weight::Hint => self.leave_out(*at),
                Weight::Matters => self.unfit(*at, "it has no such member"),
            }
        }
    }

    /// Where the values stand that were left out.
    pub(super) fn end(self) -> Result<Vec<usize>, Fault> {
        self.fault.map_or(Ok(self.left_out), Err)
    }
}
