//! One call's dealings with its quotas, from its beginning to its end.

use std::{fmt, sync::Arc, time::Duration};

use buttress_core::{Class, Limits, Outcome, Report, Sent};
use tokio::time::Instant;

use crate::{
    Cost, Key, Limited, RateLimitEvent, RateLimitLayer, Store,
    waiters::{Joined, Place},
};

/// What a call costs, where it waits, and what it holds. Its report settles it.
pub(crate) struct Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    config: Arc<RateLimitLayer<P, St, G, C, L, K>>,
    pub(crate) key: K,
    pub(crate) cost: Cost,
    phase: Phase<St::Hold>,
}

enum Phase<H> {
    Before,
    Waiting { place: Place, began: Instant },
    Held { hold: H, called: bool },
    Over,
}

// ===== impl Course =====

impl<P, St, G, C, L, K> Course<P, St, G, C, L, K>
where
    St: Store<K>,
    K: Key,
{
    #[inline]
    pub(crate) const fn new(
        config: Arc<RateLimitLayer<P, St, G, C, L, K>>,
        key: K,
        cost: Cost,
    ) -> Self {
        Self {
            config,
            key,
            cost,
            phase: Phase::Before,
        }
    }

    #[inline]
    pub(crate) fn config(&self) -> &RateLimitLayer<P, St, G, C, L, K> {
        &self.config
    }

    /// Whether it has what the call costs.
    #[inline]
    pub(crate) const fn is_admitted(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    /// Takes the cost, if nothing and nobody is in the way.
    #[inline(always)]
    pub(crate) fn try_admit(&mut self) -> bool {
        if self.ahead().is_some() {
            return false;
        }
        match self.config.store.try_take(&self.key, &self.cost) {
            Some(hold) => {
                self.admitted(hold);
                true
            }
            None => false,
        }
    }

    /// What those cost together who come first.
    #[inline]
    pub(crate) fn ahead(&self) -> Option<Cost> {
        if self.config.waits() {
            self.config.waiters.ahead(&self.key)
        } else {
            None
        }
    }

    /// Joins the line of its key.
    pub(crate) fn join(&mut self, wait: Duration, now: Instant) -> Joined {
        let config = &self.config;
        let most = config.settings.queue;
        let joined = config.waiters.join(&self.key, self.cost, most);
        if let Joined::At(place, ahead) = joined {
            let began = now;
            self.phase = Phase::Waiting { place, began };
            self.tell(|| RateLimitEvent::Queued {
                cost: self.cost,
                ahead,
                wait,
            });
        }
        joined
    }

    pub(crate) fn place(&self) -> Option<Place> {
        match self.phase {
            Phase::Waiting { place, .. } => Some(place),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn admitted(&mut self, hold: St::Hold) {
        let (before, called) = (self.place_and_time(), false);
        self.phase = Phase::Held { hold, called };
        self.leave(before);
        self.tell(|| RateLimitEvent::Admitted {
            cost: self.cost,
            waited: waited(before),
        });
    }

    /// The inner service is being called.
    #[inline]
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
        let before = self.place_and_time();
        self.phase = Phase::Over;
        self.leave(before);
        self.tell(|| RateLimitEvent::Limited {
            cost: self.cost,
            limited,
            waited: waited(before),
        });
    }

    #[inline]
    const fn place_and_time(&self) -> Option<(Place, Instant)> {
        match self.phase {
            Phase::Waiting { place, began } => Some((place, began)),
            _ => None,
        }
    }

    #[inline]
    fn leave(&self, place: Option<(Place, Instant)>) {
        if let Some((place, _)) = place {
            self.config.waiters.leave(&self.key, place);
        }
    }

    /// Its caller went away before anything was taken.
    #[cold]
    fn left(&self) {
        let before = self.place_and_time();
        self.leave(before);
        self.tell(|| RateLimitEvent::Left {
            cost: self.cost,
            waited: waited(before),
        });
    }

    #[inline(never)]
    fn settle(&self, hold: &St::Hold, used: Cost, outcome: &Outcome) {
        let (reserved, store) = (self.cost, &self.config.store);
        // What a handler of ours says is meant for the one whom it answers.
        if outcome.class == Class::Throttled
            && outcome.sent != Sent::Yes
            && let Some(hint) = outcome.retry_after
        {
            store.pause(hold, hint);
        }
        if used != reserved && store.settle(hold, reserved, used) {
            self.config.waiters.call(&self.key);
        }
        self.tell(|| RateLimitEvent::Settled {
            reserved,
            used,
            outcome,
        });
    }

    #[inline]
    fn tell<'a>(&self, event: impl FnOnce() -> RateLimitEvent<'a>) {
        if let Some(observer) = &self.config.settings.observer {
            observer(&event());
        }
    }

    #[inline]
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
            None if outcome.unused() => match outcome.sent {
                // It used no tokens, but a handler of ours was called.
                Sent::Yes => Cost {
                    requests: reserved.requests,
                    ..Cost::NONE
                },
                _ => Cost::NONE,
            },
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
            Phase::Before | Phase::Waiting { .. } => self.left(),
            Phase::Held { hold, called } => {
                let used = self.used(self.cost, *called, outcome);
                // As it should be: nothing is to be done.
                let plain = used == self.cost && outcome.class != Class::Throttled;
                if !plain || self.config.settings.observer.is_some() {
                    self.settle(hold, used, outcome);
                }
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

fn waited(before: Option<(Place, Instant)>) -> Duration {
    before.map_or(Duration::ZERO, |(_, began)| began.elapsed())
}
