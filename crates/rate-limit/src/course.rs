//! One call's dealings with its quotas, from its beginning to its end.

use std::{fmt, sync::Arc, time::Duration};

use buttress_core::{Class, Limits, Outcome, Report};
use tokio::time::Instant;

use crate::{Cost, Key, Limited, RateLimitEvent, RateLimitLayer, Store, queue::Place};

/// What a call costs, where it waits, and what it holds. Its report settles it.
pub(crate) struct Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    config: Arc<RateLimitLayer<P, St, G, C, L, K>>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    began: Option<Instant>,
    phase: Phase<St::Hold>,
}

enum Phase<H> {
    Before,
    Waiting(Place),
    Held { hold: H, called: bool },
    Over,
}

// ===== impl Course =====

impl<P, St, G, C, L, K> Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    pub(crate) const fn new(
        config: Arc<RateLimitLayer<P, St, G, C, L, K>>,
        key: K,
        cost: Cost,
    ) -> Self {
        Self {
            config,
            key,
            cost,
            began: None,
            phase: Phase::Before,
        }
    }

    pub(crate) fn config(&self) -> &RateLimitLayer<P, St, G, C, L, K> {
        &self.config
    }

    /// It waits at this place.
    pub(crate) fn queued(&mut self, place: Place, ahead: usize, wait: Duration, now: Instant) {
        self.began = Some(now);
        self.phase = Phase::Waiting(place);
        self.tell(|| RateLimitEvent::Queued {
            cost: self.cost,
            ahead,
            wait,
        });
    }

    pub(crate) fn place(&self) -> Option<Place> {
        match self.phase {
            Phase::Waiting(place) => Some(place),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn admitted(&mut self, hold: St::Hold) {
        self.leave();
        let called = false;
        self.phase = Phase::Held { hold, called };
        self.tell(|| RateLimitEvent::Admitted {
            cost: self.cost,
            waited: self.waited(),
        });
    }

    /// The inner service is being called.
    pub(crate) fn called(&mut self) {
        if let Phase::Held { called, .. } = &mut self.phase {
            *called = true;
        }
    }

    /// The provider says that so much remains.
    pub(crate) fn tighten(&self, limits: &Limits) {
        if let Phase::Held { hold, .. } = &self.phase {
            self.config.store.tighten(hold, limits);
        }
    }

    pub(crate) fn limited(&mut self, limited: &Limited) {
        self.leave();
        self.phase = Phase::Over;
        self.tell(|| RateLimitEvent::Limited {
            cost: self.cost,
            limited,
            waited: self.waited(),
        });
    }

    fn leave(&mut self) {
        if let Phase::Waiting(place) = self.phase {
            self.phase = Phase::Before;
            self.config.queues.leave(&self.key, place);
        }
    }

    fn waited(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    fn tell<'a>(&self, event: impl FnOnce() -> RateLimitEvent<'a>) {
        if let Some(observer) = &self.config.settings.observer {
            observer(&event());
        }
    }

    fn used(&self, reserved: Cost, called: bool, outcome: &Outcome) -> Cost {
        match &outcome.usage {
            _ if !called => Cost::NONE,
            // The tokens were paid for by another call.
            Some(usage) if !usage.billed => Cost {
                requests: reserved.requests,
                ..Cost::NONE
            },
            Some(usage) if usage.exact || self.config.settings.delivered => {
                reserved.with_usage(usage)
            }
            Some(usage) => reserved.at_least(reserved.with_usage(usage)),
            None if outcome.unused() => Cost::NONE,
            None => reserved,
        }
    }
}

impl<P, St, G, C, L, K> Report for Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    #[inline]
    fn report(&mut self, outcome: &Outcome) {
        match &self.phase {
            Phase::Over => {}
            Phase::Before | Phase::Waiting(_) => {
                self.leave();
                self.tell(|| RateLimitEvent::Left {
                    cost: self.cost,
                    waited: self.waited(),
                });
            }
            Phase::Held { hold, called } => {
                let reserved = self.cost;
                let used = self.used(reserved, *called, outcome);
                let store = &self.config.store;
                if outcome.class == Class::Throttled
                    && let Some(hint) = outcome.retry_after
                {
                    store.pause(hold, hint);
                }
                if used != reserved && store.settle(hold, reserved, used) {
                    self.config.queues.call(&self.key);
                }
                self.tell(|| RateLimitEvent::Settled {
                    reserved,
                    used,
                    outcome,
                });
            }
        }
    }
}

impl<P, St, G, C, L, K> fmt::Debug for Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
