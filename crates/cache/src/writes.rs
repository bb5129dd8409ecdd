//! In which order writes get to the second level.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::{Removal, key::Tags};

/// What is being written there, in the order in which it was asked for.
///
/// Each waits for those before it that touch the same. A put that has not begun is left out when
/// something comes that would undo it.
#[derive(Default)]
pub(crate) struct Writes {
    all: Mutex<All>,
}

/// One of them. Dropped, it is over.
pub(crate) struct Write {
    writes: Arc<Writes>,
    number: u64,
    before: Vec<Arc<Semaphore>>,
}

#[derive(Clone, Copy)]
pub(crate) enum What {
    Put(u128, Tags),
    Remove(Removal),
}

#[derive(Default)]
struct All {
    next: u64,
    under_way: Vec<UnderWay>,
}

struct UnderWay {
    number: u64,
    what: What,
    stage: Stage,
    // Without permits, and closed when it is over.
    over: Arc<Semaphore>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Waits,
    Begun,
    /// It is not to begin.
    Undone,
}

// ===== impl Writes =====

impl Writes {
    /// What is not put there is asked for again.
    const MOST_PUTS: usize = 256;
    /// What is not removed may be served: these wait with nothing but their key.
    const MOST_REMOVALS: usize = 4096;

    /// One more, after all that are there. `None`: there are too many.
    pub(crate) fn enter(self: &Arc<Self>, what: What) -> Option<Write> {
        let mut all = self.lock();
        let same = |one: &&UnderWay| one.what.is_put() == what.is_put();
        let most = match what.is_put() {
            true => Self::MOST_PUTS,
            false => Self::MOST_REMOVALS,
        };
        if all.under_way.iter().filter(same).count() >= most {
            return None;
        }
        let mut before = Vec::new();
        for one in &mut all.under_way {
            if !one.what.touches(&what) {
                continue;
            }
            if one.what.is_put() && one.stage == Stage::Waits {
                one.stage = Stage::Undone;
            }
            if one.stage != Stage::Undone {
                before.push(one.over.clone());
            }
        }
        let number = all.next;
        all.next += 1;
        all.under_way.push(UnderWay {
            number,
            what,
            stage: Stage::Waits,
            over: Arc::new(Semaphore::new(0)),
        });
        drop(all);
        Some(Write {
            writes: self.clone(),
            number,
            before,
        })
    }

    /// Until there is room for another put.
    pub(crate) async fn room(&self) {
        loop {
            let first = {
                let all = self.lock();
                let mut puts = all.under_way.iter().filter(|one| one.what.is_put());
                let first = puts.next().map(|one| one.over.clone());
                first.filter(|_| puts.count() + 1 >= Self::MOST_PUTS)
            };
            let Some(first) = first else { return };
            // It is closed: that is what was waited for.
            let _ = first.acquire().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Nothing that can panic leaves it half-way.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Write =====

impl Write {
    /// When those before it are over. Whether it is to begin still.
    pub(crate) async fn begins(&mut self) -> bool {
        for before in self.before.drain(..) {
            // It is closed: that is what was waited for.
            let _ = before.acquire().await;
        }
        let mut all = self.writes.lock();
        let this = all
            .under_way
            .iter_mut()
            .find(|one| one.number == self.number);
        match this {
            Some(this) if this.stage == Stage::Waits => {
                this.stage = Stage::Begun;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        let mut all = self.writes.lock();
        let at = all
            .under_way
            .iter()
            .position(|one| one.number == self.number);
        // Their order is that of their numbers.
        let this = at.map(|at| all.under_way.remove(at));
        drop(all);
        if let Some(this) = this {
            this.over.close();
        }
    }
}

// ===== impl What =====

impl What {
    const fn is_put(&self) -> bool {
        matches!(self, Self::Put(..))
    }

    /// Whether it matters which of the two comes first.
    fn touches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Put(one, _), Self::Put(other, _)) => one == other,
            (Self::Put(key, tags), Self::Remove(what))
            | (Self::Remove(what), Self::Put(key, tags)) => match what {
                Removal::Key(gone) => key == gone,
                Removal::Tag(tag) => tags.contains(*tag),
                Removal::All => true,
            },
            (Self::Remove(_), Self::Remove(_)) => false,
        }
    }
}
