use std::{num::NonZeroU32, sync::Arc, time::Duration};

use buttress_core::{Class, Outcome, RetryBudget};

use crate::{
    FailoverEvent, Next,
    cool::{Change, CoolDown},
    set::{Member, now},
};

/// What has the same type whatever is called.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) cool: CoolDown,
    pub(crate) ready_within: Duration,
    pub(crate) max_attempts: NonZeroU32,
    pub(crate) on_unfit: Next,
    pub(crate) last_resort: bool,
    pub(crate) always_tell: bool,
    pub(crate) budget: Option<Arc<dyn RetryBudget + Send + Sync>>,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&FailoverEvent<'_>) + Send + Sync;

// ===== impl Settings =====

impl Settings {
    pub(crate) fn tell(&self, event: &FailoverEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    /// Leaves an endpoint alone as an outcome asks for, and says whether that has just begun.
    pub(crate) fn cool_down(&self, member: &Member, outcome: &Outcome, episode: u32) -> bool {
        let (cool, hint) = (&self.cool, outcome.retry_after);
        let fails = match outcome.class {
            Class::Unavailable | Class::Interrupted | Class::Denied => true,
            // The server knows best for how long.
            Class::Throttled => hint.is_none(),
            _ => return false,
        };
        let now = now();
        let mut begun = false;
        if fails {
            begun |= self.tell_cooling(member, member.cool.fail(now, cool, episode));
        }
        if let Some(hint) = hint.filter(|hint| !hint.is_zero()) {
            begun |= self.tell_cooling(member, member.cool.pause(now, cool, hint));
        }
        begun
    }

    pub(crate) fn tell_cooling(&self, member: &Member, change: Change) -> bool {
        let Change::Until {
            time,
            failures,
            begins,
        } = change
        else {
            return false;
        };
        self.tell(&FailoverEvent::Cooling {
            endpoint: &member.info.name,
            time,
            failures,
            begins,
        });
        begins
    }
}

impl Default for Settings {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self {
            cool: CoolDown::default(),
            ready_within: Duration::from_millis(50),
            max_attempts: FIVE,
            on_unfit: Next::Nowhere,
            last_resort: true,
            always_tell: false,
            budget: None,
            observer: None,
        }
    }
}
