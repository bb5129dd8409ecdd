//! All that a call needs.

use std::sync::Arc;

use crate::{
    cool::Uneasy,
    set::{Member, Set, Shared},
    settings::Settings,
};

/// All that a call needs, in one pointer.
pub(crate) struct Snapshot<P, S, C, D, F> {
    pub(crate) set: Set<S>,
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) config: Arc<Config<P, C, D, F>>,
    pub(crate) common: Arc<Common>,
}

pub(crate) struct Config<P, C, D, F> {
    pub(crate) protocol: P,
    pub(crate) strategy: C,
    pub(crate) decide: D,
    pub(crate) fallback: F,
}

/// What a reply that is still under way needs, whatever is called.
pub(crate) struct Common {
    pub(crate) members: Arc<[Arc<Member>]>,
    pub(crate) settings: Arc<Settings>,
}

// ===== impl Snapshot =====

impl<P, S, C, D, F> Snapshot<P, S, C, D, F> {
    pub(crate) fn new(set: Set<S>, uneasy: Arc<Uneasy>, config: Config<P, C, D, F>) -> Self {
        Self {
            shared: Arc::new(Shared::new(&set, uneasy)),
            common: Common::of(&set, Arc::default()),
            config: Arc::new(config),
            set,
        }
    }

    #[inline]
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.common.settings
    }

    /// With the endpoints that there are by now.
    pub(crate) fn refreshed(&self) -> Self {
        let set = self.shared.set();
        Self {
            common: Common::of(&set, Arc::clone(self.settings())),
            shared: Arc::clone(&self.shared),
            config: Arc::clone(&self.config),
            set,
        }
    }

    pub(crate) fn with_settings(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(self.settings());
        change(&mut settings);
        Self {
            set: self.set.clone(),
            shared: Arc::clone(&self.shared),
            config: Arc::clone(&self.config),
            common: Common::of(&self.set, Arc::new(settings)),
        }
    }

    pub(crate) fn with_config<C2, D2, F2>(
        &self,
        change: impl FnOnce(Config<P, C, D, F>) -> Config<P, C2, D2, F2>,
    ) -> Snapshot<P, S, C2, D2, F2>
    where
        P: Clone,
        C: Clone,
        D: Clone,
        F: Clone,
    {
        Snapshot {
            set: self.set.clone(),
            shared: Arc::clone(&self.shared),
            config: Arc::new(change(Config::clone(&self.config))),
            common: Arc::clone(&self.common),
        }
    }
}

// ===== impl Config =====

impl<P: Clone, C: Clone, D: Clone, F: Clone> Clone for Config<P, C, D, F> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            strategy: self.strategy.clone(),
            decide: self.decide.clone(),
            fallback: self.fallback.clone(),
        }
    }
}

// ===== impl Common =====

impl Common {
    fn of<S>(set: &Set<S>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self {
            members: Arc::clone(&set.members),
            settings,
        })
    }
}
