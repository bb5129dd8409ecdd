//! The states of all keys: found, made, and forgotten when idle.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use hashbrown::HashTable;

use crate::{Limited, LimitedBy, algorithm::Algorithm, quotas::Plan, state::State};

/// Many keys, in parts that lock apart.
pub(crate) struct Table<K, A: Algorithm> {
    parts: Box<[RwLock<Part<K, A>>]>,
    hasher: RandomState,
    most: usize,
}

struct Part<K, A: Algorithm> {
    states: HashTable<Arc<State<K, A>>>,
    /// Before that, a look for idle keys is not worth it.
    not_before: u64,
    /// When one can be forgotten, as far as was known at the last look.
    room_at: u64,
}

/// A part that is full of keys in use is looked through again no earlier than this.
const PATIENCE: u64 = 10_000_000;
/// And no later than this: what calls give back can make keys idle at any time.
const IMPATIENCE: u64 = 1_000_000_000;

// ===== impl Table =====

impl<K: Hash + Eq, A: Algorithm> Table<K, A> {
    /// For so many keys at most.
    pub(crate) fn new(most: usize) -> Self {
        let parts = (most / 512).clamp(1, 64);
        // The largest power of two: a part is chosen by bits of the hash.
        let parts = 1 << parts.ilog2();
        let part = || {
            RwLock::new(Part {
                states: HashTable::new(),
                not_before: 0,
                room_at: 0,
            })
        };
        Self {
            parts: (0..parts).map(|_| part()).collect(),
            hasher: RandomState::new(),
            most: most / parts,
        }
    }

    pub(crate) fn find(&self, key: &K) -> Option<Arc<State<K, A>>> {
        let hash = self.hasher.hash_one(key);
        let part = self.read(hash);
        part.states
            .find(hash, |state| state.key == *key)
            .map(Arc::clone)
    }

    /// Finds the state of a key, or makes it.
    pub(crate) fn get(
        &self,
        key: &K,
        now: u64,
        plan: impl FnOnce(&K) -> Arc<Plan>,
    ) -> Result<Arc<State<K, A>>, Limited>
    where
        K: Clone,
    {
        let hash = self.hasher.hash_one(key);
        if let Some(state) = self.read(hash).states.find(hash, |state| state.key == *key) {
            return Ok(Arc::clone(state));
        }
        self.make(key, hash, now, plan)
    }

    #[cold]
    fn make(
        &self,
        key: &K,
        hash: u64,
        now: u64,
        plan: impl FnOnce(&K) -> Arc<Plan>,
    ) -> Result<Arc<State<K, A>>, Limited>
    where
        K: Clone,
    {
        // Before the lock: these are the user's.
        let new = Arc::new(State::new(key.clone(), plan(key)));
        let mut part = self.write(hash);
        if let Some(state) = part.states.find(hash, |state| state.key == *key) {
            return Ok(Arc::clone(state));
        }
        if part.states.len() >= self.most {
            part.make_room(self.most, now)?;
        }
        let hasher = |state: &Arc<State<K, A>>| self.hasher.hash_one(&state.key);
        part.states.insert_unique(hash, Arc::clone(&new), hasher);
        Ok(new)
    }

    /// Puts a state in the place of another of the same key.
    pub(crate) fn replace(&self, old: &Arc<State<K, A>>, new: Arc<State<K, A>>) {
        let hash = self.hasher.hash_one(&old.key);
        let mut part = self.write(hash);
        if let Some(state) = part.states.find_mut(hash, |state| Arc::ptr_eq(state, old)) {
            *state = new;
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<State<K, A>>> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(part.states.iter().map(Arc::clone));
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        let len = |part: &RwLock<Part<K, A>>| {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            part.states.len()
        };
        self.parts.iter().map(len).sum()
    }

    fn part(&self, hash: u64) -> &RwLock<Part<K, A>> {
        // Not the bits that the table uses.
        &self.parts[(hash >> 32) as usize & (self.parts.len() - 1)]
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Part<K, A>> {
        // A panic of the user's `Eq` or `Hash` leaves the table whole.
        let part = self.part(hash).read();
        part.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Part<K, A>> {
        let part = self.part(hash).write();
        part.unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Part =====

impl<K, A: Algorithm> Part<K, A> {
    /// Forgets the keys that are as if they had never been used.
    fn make_room(&mut self, most: usize, now: u64) -> Result<(), Limited> {
        let full = |until: u64| {
            let wait = Duration::from_nanos(until.saturating_sub(now));
            Err(Limited::new(LimitedBy::Keys, Some(wait)))
        };
        if now < self.not_before {
            return full(self.room_at);
        }
        let mut soonest = u64::MAX;
        self.states.retain(|state| {
            // Of a key that a call holds, nothing is known until it is settled.
            let idle_in = match Arc::get_mut(state) {
                Some(state) => state.idle_in(now),
                None => state.idle_in(now).max(PATIENCE),
            };
            soonest = soonest.min(idle_in.max(1));
            idle_in > 0
        });
        if self.states.len() < most {
            return Ok(());
        }
        let wait = soonest.max(PATIENCE);
        self.not_before = now.saturating_add(wait.min(IMPATIENCE));
        self.room_at = now.saturating_add(wait);
        full(self.room_at)
    }
}
