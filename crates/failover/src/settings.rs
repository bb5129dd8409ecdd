use std::{num::NonZeroU32, sync::Arc, time::Duration};

use buttress_core::{Class, Outcome, RetryBudget};

use crate::{
    FailoverEvent, Next,
    cool::{Change, CoolDown},
    health::Check,
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
    pub(crate) check: Option<Arc<dyn Check>>,
}

pub(crate) type Observer = dyn Fn(&FailoverEvent<'_>) + Send + Sync;

// ===== impl Settings =====

impl Settings {
    /// Whether nobody is told of a call that goes well.
    #[inline]
    pub(crate) const fn is_quiet(&self) -> bool {
        self.observer.is_none() && self.budget.is_none() && !self.always_tell
    }

    pub(crate) fn tell(&self, event: &FailoverEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    /// Leaves an endpoint alone as an outcome asks for.
    pub(crate) fn cool_down(
        self: &Arc<Self>,
        member: &Arc<Member>,
        outcome: &Outcome,
        episode: u32,
    ) {
        let (cool, hint) = (&self.cool, outcome.retry_after);
        let fails = match outcome.class {
            Class::Unavailable | Class::Interrupted | Class::Denied => true,
            // The server knows best for how long.
            Class::Throttled => hint.is_none(),
            _ => return,
        };
        let now = now();
        let mut begun = false;
        if fails {
            begun |= self.tell_cooling(member, member.cool.fail(now, cool, episode));
        }
        if let Some(hint) = hint.filter(|hint| !hint.is_zero()) {
            begun |= self.tell_cooling(member, member.cool.pause(now, cool, hint));
        }
        if begun && let Some(check) = &self.check {
            check.begin(member, self);
        }
    }

    /// Whether it has just begun.
    fn tell_cooling(&self, member: &Member, change: Change) -> bool {
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
            check: None,
        }
    }
}
