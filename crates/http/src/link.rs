use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    // Which body is followed, counted from 1, and how it went.
    followed: Mutex<(u64, Option<Outcome>)>,
    progress: AtomicU8,
}

/// The interest in one body, for as long as no other is followed.
struct Follow {
    link: Link,
    turn: u64,
}

// ===== impl Link =====

impl Link {
    const NONE: u8 = 0;

    /// Follows `body` from here on, and no longer the one before.
    pub fn follow(&self, body: &mut impl Tracked) {
        let mut followed = self.lock();
        *followed = (followed.0 + 1, None);
        let turn = followed.0;
        drop(followed);
        body.attach(Completion::new(Follow {
            link: self.clone(),
            turn,
        }));
    }

    /// How the body went that was followed last, once it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.lock().1
    }

    /// Says itself how the call went: nobody is followed any more.
    pub(crate) fn tell(&self, outcome: &Outcome) {
        let mut followed = self.lock();
        *followed = (followed.0 + 1, Some(*outcome));
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Option<Outcome>)> {
        (self.known.followed.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has arrived.
    pub(crate) fn pass(&self, progress: Progress) {
        let seen = if progress.is_content() { 2 } else { 1 };
        self.known.progress.fetch_max(seen, Ordering::Relaxed);
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

impl Report for Follow {
    fn report(&mut self, outcome: &Outcome) {
        let mut followed = self.link.lock();
        if followed.0 == self.turn {
            followed.1 = Some(*outcome);
        }
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.link.pass(progress);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.outcome()).finish()
    }
}
