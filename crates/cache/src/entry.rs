//! What is kept.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_core::Outcome;
use tokio::time::Instant;

use crate::{Freshness, key::Tags};

/// One reply, whole.
pub(crate) struct Entry<T> {
    pub(crate) shared: T,
    pub(crate) tags: Tags,
    pub(crate) made: Instant,
    pub(crate) freshness: Freshness,
    /// How the call went that it comes from.
    pub(crate) outcome: Outcome,
    pub(crate) weight: u32,
    pub(crate) rest: Rest,
}

/// Until when no refresh is begun, since one has failed: an age, in nanoseconds.
#[derive(Default)]
pub(crate) struct Rest(AtomicU64);

pub(crate) type Memory<T> = moka::sync::Cache<u128, Arc<Entry<T>>, Unhashed>;

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unhashed(u64);

// ===== impl Entry =====

impl<T> Entry<T> {
    /// What the cache itself needs for each, about: moka's node, its deques and its frequency
    /// sketch, and this.
    pub(crate) const OVERHEAD: usize = size_of::<Self>() + 256;

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.made)
    }

    /// Whether a refresh has failed so lately that none is to be begun.
    pub(crate) fn rests(&self, age: Duration) -> bool {
        age < Duration::from_nanos(self.rest.0.load(Ordering::Relaxed))
    }

    /// No refresh for so long.
    pub(crate) fn rest(&self, wait: Duration) {
        let until = self.age(Instant::now()).saturating_add(wait).as_nanos();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.rest.0.store(until, Ordering::Relaxed);
    }
}

// ===== impl Unhashed =====

impl BuildHasher for Unhashed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        // Moka takes the upper bits to choose a segment, and the lower ones within it.
        self.0 = (hash >> 64) as u64 ^ hash as u64;
    }
}
