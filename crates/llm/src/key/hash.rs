//! The keyed hash of a sequence of items of which none can be taken for others.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::LazyLock,
};

use siphasher::sip128::{Hasher128, SipHasher13};

/// Where every hash begins: the secret.
#[derive(Clone, Copy)]
pub(super) struct Seed(SipHasher13);

/// Items on their way into the hash. Each begins with a word that says what it is and how long, so
/// that the items can be read off the bytes again: other items are other bytes.
pub(super) struct Hash {
    hasher: SipHasher13,
    /// Most items are shorter than a call of the hasher is long.
    stage: [u8; STAGE],
    len: usize,
}

/// What an item is.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Item {
    // In front of the body.
    Purpose = 1,
    Tenant,
    Credential,
    Endpoint,
    Header,
    // In the body.
    Null = 16,
    False,
    True,
    Number,
    String,
    /// The elements follow, and `End`.
    Array,
    End,
    /// So many members follow, each a string and a value, by the order of their names.
    Object,
}

const STAGE: usize = 512;

// ===== impl Seed =====

impl Seed {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    /// The one of this process.
    pub(super) fn of_process() -> Self {
        // The seed of a hasher is the one random number that std hands out: 128 bits.
        static SEED: LazyLock<Seed> = LazyLock::new(|| {
            let random = RandomState::new();
            let words = [random.hash_one(0_u64), random.hash_one(1_u64)];
            Seed(SipHasher13::new_with_keys(words[0], words[1]))
        });
        *SEED
    }

    pub(super) fn begin(&self, purpose: &str) -> Hash {
        let mut hash = Hash {
            hasher: self.0,
            stage: [0; STAGE],
            len: 0,
        };
        hash.item(Item::Purpose, purpose.as_bytes());
        hash
    }
}

// ===== impl Hash =====

impl Hash {
    /// An item that is these bytes.
    #[inline]
    pub(super) fn item(&mut self, item: Item, bytes: &[u8]) {
        self.head(item, bytes.len());
        self.bytes(bytes);
    }

    /// An item that is nothing but its number, or of which so many bytes follow.
    #[inline]
    pub(super) fn head(&mut self, item: Item, number: usize) {
        // No length comes near 2⁵⁶.
        let word = (number as u64) << 8 | u64::from(item as u8);
        if self.len + 8 > STAGE {
            self.flush();
        }
        self.stage[self.len..self.len + 8].copy_from_slice(&word.to_le_bytes());
        self.len += 8;
    }

    /// Of the item whose [`head`](Hash::head) came before.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if self.len + bytes.len() > STAGE {
            self.flush();
            if bytes.len() > STAGE / 2 {
                self.hasher.write(bytes);
                return;
            }
        }
        self.stage[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn flush(&mut self) {
        self.hasher.write(&self.stage[..self.len]);
        self.len = 0;
    }

    pub(super) fn finish(mut self) -> u128 {
        self.flush();
        self.hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use siphasher::sip128::{Hasher128, SipHasher13};
    use std::hash::Hasher;

    use super::{Hash, Item, STAGE, Seed};

    #[test]
    fn what_is_staged_is_hashed_as_if_it_were_not() {
        let key = [7; 16];
        let bytes: Vec<u8> = (0..3000_u32).map(|k| (k % 251) as u8).collect();
        for len in [
            0,
            1,
            7,
            8,
            STAGE / 2,
            STAGE / 2 + 1,
            STAGE - 8,
            STAGE,
            STAGE + 1,
            3000,
        ] {
            let mut ours: Hash = Seed::new(&key).begin("test");
            let mut theirs = SipHasher13::new_with_key(&key);
            theirs.write(&(4_u64 << 8 | 1).to_le_bytes());
            theirs.write(b"test");
            for _ in 0..5 {
                ours.item(Item::String, &bytes[..len]);
                theirs.write(&((len as u64) << 8 | Item::String as u64).to_le_bytes());
                theirs.write(&bytes[..len]);
            }
            assert_eq!(ours.finish(), theirs.finish128().as_u128(), "{len} bytes");
        }
    }

    #[test]
    fn another_secret_is_another_hash_and_that_of_a_process_stays() {
        let of = |seed: Seed| seed.begin("test").finish();
        assert_ne!(of(Seed::new(&[0; 16])), of(Seed::new(&[1; 16])));
        assert_eq!(of(Seed::of_process()), of(Seed::of_process()));
    }
}
