//! What a reply has in one dialect and not in another, and so is made here.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::text::Text;

/// What a reply needs that does not stand in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Seconds since 1970: OpenAI's `created`.
    pub(super) created: u64,
    /// A number that no other reply has: ids are made of it.
    pub(super) unique: u64,
    /// Whether the caller asked for the usage at the end of a stream (OpenAI).
    pub(super) include_usage: bool,
}

// ===== impl Context =====

impl Context {
    /// The id of a reply that came without one, such as `chatcmpl-1a2b3c4d5e6f7081`.
    pub(super) fn reply_id(&self, prefix: &str) -> Text<'static> {
        Text::of(&format!("{prefix}{:016x}", self.unique))
    }

    /// The id of a call that came without one, such as `call_1a2b3c4d5e6f7081_0`.
    pub(super) fn call_id(&self, prefix: &str, call: u64) -> Text<'static> {
        Text::of(&format!("{prefix}{:016x}_{call}", self.unique))
    }
}

/// A number that is as good as random, and comes once.
pub(super) fn unique() -> u64 {
    // The seed of a hasher is the one random number that std hands out.
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    SEED.hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
}
