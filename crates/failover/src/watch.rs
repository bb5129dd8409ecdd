use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buttress_core::{Class, Outcome, Progress, Report};

use crate::{
    load::{PENALTY, Stamp},
    set::{Member, now},
    settings::Settings,
};

/// Follows one call to the end of its reply, for a strategy that wants to know.
pub(crate) struct Watch {
    member: Arc<Member>,
    settings: Arc<Settings>,
    /// When the call began, and at what stamp.
    began: Instant,
    stamp: Stamp,
    episode: u32,
    content: bool,
}

// ===== impl Watch =====

impl Watch {
    pub(crate) fn begin(
        member: &Arc<Member>,
        settings: &Arc<Settings>,
        began: Instant,
        stamp: Stamp,
    ) -> Self {
        member.load.begin();
        Self {
            episode: member.cool.episode(),
            member: Arc::clone(member),
            settings: Arc::clone(settings),
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

impl Report for Watch {
    fn report(&mut self, outcome: &Outcome) {
        let load = &self.member.load;
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
        // What failed before the reply began was judged there.
        if outcome.class == Class::Interrupted {
            let _begun = self.settings.cool_down(&self.member, outcome, self.episode);
        }
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        if progress.is_content() && !self.content {
            self.content = true;
            let (took, stamp) = self.took();
            self.member.load.sample(took, stamp);
        }
    }
}
