//! Many who wait for one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

/// The readers to wake when the source may have more.
#[derive(Default)]
pub(super) struct Waiting {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    vacant: Vec<usize>,
}

// ===== impl Waiting =====

impl Waiting {
    /// Wakes this waker from now on. The one before it is to be dropped where no lock is held: it
    /// may own what is waiting here, and drop it in turn.
    #[must_use]
    pub(super) fn register(&self, slot: &mut Option<usize>, waker: &Waker) -> Option<Waker> {
        let mut slots = self.lock();
        let at = *slot.get_or_insert_with(|| slots.vacant());
        match &mut slots.wakers[at] {
            Some(same) if same.will_wake(waker) => None,
            other => other.replace(waker.clone()),
        }
    }

    pub(super) fn leave(&self, slot: Option<usize>) {
        if let Some(at) = slot {
            let mut slots = self.lock();
            let old = slots.wakers[at].take();
            slots.vacant.push(at);
            drop(slots);
            drop(old);
        }
    }

    /// Wakes everybody but the one who asks for it.
    pub(super) fn wake_others(&self, asks: Option<usize>) {
        let mut from = 0;
        loop {
            let mut slots = self.lock();
            let next = (from..slots.wakers.len())
                .find(|at| Some(*at) != asks && slots.wakers[*at].is_some());
            let Some(at) = next else { return };
            let waker = slots.wakers[at].take();
            drop(slots);
            if let Some(waker) = waker {
                waker.wake();
            }
            from = at + 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_others(None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_others(None);
    }
}

impl Slots {
    fn vacant(&mut self) -> usize {
        self.vacant.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }
}
