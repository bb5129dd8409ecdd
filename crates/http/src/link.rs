use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use buttress_core::{Completion, Outcome, Progress, Report};

use crate::Tracked;

/// What a converted body knows from the one inside: see [`Body::convert`](crate::Body::convert).
#[derive(Clone, Default)]
pub struct Link {
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    outcome: Mutex<Option<Outcome>>,
    progress: AtomicU8,
}

// ===== impl Link =====

impl Link {
    const NONE: u8 = 0;

    /// Follows `body` from here on.
    pub fn follow(&self, body: &mut impl Tracked) {
        self.set(None);
        body.attach(Completion::new(self.clone()));
    }

    /// How the body went that was followed last, once it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        *self
            .known
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, outcome: Option<Outcome>) {
        let mut known = self
            .known
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = outcome;
    }

    /// The most that has arrived since it was asked last.
    pub(crate) fn take(&self) -> Option<Progress> {
        match self.known.progress.swap(Self::NONE, Ordering::Relaxed) {
            Self::NONE => None,
            1 => Some(Progress::Ping),
            _ => Some(Progress::Content),
        }
    }
}

impl Report for Link {
    fn report(&mut self, outcome: &Outcome) {
        self.set(Some(*outcome));
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        let seen = if progress.is_content() { 2 } else { 1 };
        self.known.progress.fetch_max(seen, Ordering::Relaxed);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.outcome()).finish()
    }
}
