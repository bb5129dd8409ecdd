use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buttress_core::{Class, Outcome, Progress, Report};

use crate::{
    load::{PENALTY, Stamp},
    set::{Member, now},
    snapshot::Common,
};

/// Sees a reply break off. Two words, since it is moved with every reply.
pub(crate) struct Watch {
    common: Arc<Common>,
    /// The endpoint that it is of, above the episode in which it began.
    at: u64,
}

/// Follows a reply to its end, for a strategy that wants to know. Its endpoint counts it among those in
/// flight until then.
pub(crate) struct Follow {
    watch: Watch,
    /// When the call began, and at what stamp.
    began: Instant,
    stamp: Stamp,
    content: bool,
}

// ===== impl Watch =====

impl Watch {
    /// Of the endpoint at this index, which began in this episode.
    #[inline]
    pub(crate) fn new(common: &Arc<Common>, index: usize, episode: u32) -> Self {
        Self {
            common: Arc::clone(common),
            at: (index as u64) << 32 | u64::from(episode),
        }
    }

    fn member(&self) -> &Arc<Member> {
        &self.common.members[(self.at >> 32) as usize]
    }

    // What failed before the reply began was judged there.
    #[cold]
    fn interrupted(&self, outcome: &Outcome) {
        let settings = &self.common.settings;
        settings.cool_down(self.member(), outcome, self.at as u32);
    }
}

impl Report for Watch {
    #[inline]
    fn report(&mut self, outcome: &Outcome) {
        if outcome.class == Class::Interrupted {
            self.interrupted(outcome);
        }
    }
}

// ===== impl Follow =====

impl Follow {
    pub(crate) const fn new(watch: Watch, began: Instant, stamp: Stamp) -> Self {
        Self {
            watch,
            began,
            stamp,
            content: false,
        }
    }

    fn took(&self) -> (Duration, Stamp) {
        let took = now().saturating_duration_since(self.began);
        (took, self.stamp.plus(took))
    }
}

impl Report for Follow {
    fn report(&mut self, outcome: &Outcome) {
        let load = &self.watch.member().load;
        // First, whatever else happens.
        load.end();
        let (took, stamp) = self.took();
        match outcome.class {
            Class::Success if self.content => {}
            Class::Success => load.sample(took, stamp),
            // The caller is gone: it took that long at least.
            Class::Cancelled if self.content => {}
            Class::Cancelled => load.at_least(took, stamp),
            // These say nothing of how fast it is, but fast they are.
            Class::Invalid | Class::Unfit => {}
            _ => load.at_least(took.max(PENALTY), stamp),
        }
        self.watch.report(outcome);
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        if progress.is_content() && !self.content {
            self.content = true;
            let (took, stamp) = self.took();
            self.watch.member().load.sample(took, stamp);
        }
    }
}
