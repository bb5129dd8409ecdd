//! The keyed hash of a sequence of items of which none can be taken for others.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Range,
    sync::LazyLock,
};

use siphasher::sip128::{Hasher128, SipHasher13};

/// Where every hash begins: the secret.
#[derive(Clone, Copy)]
pub(super) struct Seed(u64, u64);

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
    /// So many members follow by the order of their names, each a string and a value, or one of these
    /// in one.
    Object,
    /// The name, `":` and a number, or the name, `":"` and a string.
    Member,
}

const STAGE: usize = 512;

/// As many bytes are copied for an item that is not longer: a copy of a length that the compiler
/// knows is a few instructions, and the next item goes over what was too much.
const SHORT: usize = 32;

/// A number that does not fit into its word with what it is of: it follows.
const LARGE: usize = (1 << 24) - 1;

// ===== impl Seed =====

impl Seed {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let (one, other) = SipHasher13::new_with_key(key).keys();
        Self(one, other)
    }

    /// The one of this process.
    pub(super) fn of_process() -> Self {
        // The seed of a hasher is the one random number that std hands out: 128 bits.
        static SEED: LazyLock<Seed> = LazyLock::new(|| {
            let random = RandomState::new();
            Seed(random.hash_one(0_u64), random.hash_one(1_u64))
        });
        *SEED
    }

    #[inline]
    pub(super) fn begin(&self, purpose: &str) -> Hash {
        let mut hash = Hash {
            hasher: SipHasher13::new_with_keys(self.0, self.1),
            stage: [0; STAGE],
            len: 0,
        };
        hash.item(Item::Purpose, purpose.as_bytes());
        hash
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

// ===== impl Hash =====

impl Hash {
    /// An item that is this part of a text.
    #[inline]
    pub(super) fn part(&mut self, item: Item, text: &[u8], part: Range<usize>) {
        let len = part.len();
        if len <= SHORT
            && let Some(from) = text.get(part.start..part.start + SHORT)
            && let Some(place) = self.stage.get_mut(self.len..self.len + 4 + SHORT)
        {
            place[..4].copy_from_slice(&word(item, len).to_le_bytes());
            place[4..].copy_from_slice(from);
            self.len += 4 + len;
        } else {
            self.item(item, &text[part]);
        }
    }

    /// An item that is these bytes.
    #[inline]
    pub(super) fn item(&mut self, item: Item, bytes: &[u8]) {
        self.head(item, bytes.len());
        self.bytes(bytes);
    }

    /// What is of the item before.
    #[inline(never)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.stage.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        } else {
            self.flush();
            self.hasher.write(bytes);
        }
    }

    /// An item that is nothing but its number, or of which so many bytes follow.
    #[inline]
    pub(super) fn head(&mut self, item: Item, number: usize) {
        if number >= LARGE {
            return self.large(item, number);
        }
        self.word(word(item, number));
    }

    #[cold]
    fn large(&mut self, item: Item, number: usize) {
        self.word(word(item, LARGE));
        self.flush();
        self.hasher.write(&(number as u64).to_le_bytes());
    }

    #[inline]
    fn word(&mut self, word: u32) {
        if self.len + 4 > STAGE {
            self.flush();
        }
        self.stage[self.len..self.len + 4].copy_from_slice(&word.to_le_bytes());
        self.len += 4;
    }

    #[inline(never)]
    fn flush(&mut self) {
        self.hasher.write(&self.stage[..self.len]);
        self.len = 0;
    }

    pub(super) fn finish(mut self) -> u128 {
        self.flush();
        self.hasher.finish128().as_u128()
    }
}

/// What an item is, and a number of less than 24 bits.
#[inline]
const fn word(item: Item, number: usize) -> u32 {
    (number << 8) as u32 | item as u32
}

#[cfg(test)]
mod tests {
    use siphasher::sip128::{Hasher128, SipHasher13};
    use std::hash::Hasher;

    use super::{Hash, Item, LARGE, SHORT, STAGE, Seed};

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
            theirs.write(&(4_u32 << 8 | 1).to_le_bytes());
            theirs.write(b"test");
            for _ in 0..5 {
                ours.item(Item::String, &bytes[..len]);
                theirs.write(&((len as u32) << 8 | Item::String as u32).to_le_bytes());
                theirs.write(&bytes[..len]);
            }
            assert_eq!(ours.finish(), theirs.finish128().as_u128(), "{len} bytes");
        }
    }

    #[test]
    fn a_part_of_a_text_is_hashed_as_the_item_it_is() {
        let text: Vec<u8> = (0..100_u8).collect();
        for before in (0..STAGE).step_by(7).chain(STAGE - 2 * SHORT..STAGE) {
            for part in [
                0..0,
                3..3,
                0..1,
                1..SHORT,
                1..SHORT + 1,
                1..SHORT + 2,
                60..100,
                90..100,
                100..100,
            ] {
                let [mut one, mut other] = [(); 2].map(|()| Seed::new(&[7; 16]).begin("test"));
                for hash in [&mut one, &mut other] {
                    hash.item(Item::String, &vec![0; before]);
                }
                one.part(Item::Number, &text, part.clone());
                other.item(Item::Number, &text[part.clone()]);
                for hash in [&mut one, &mut other] {
                    hash.item(Item::String, b"after it");
                }
                assert_eq!(one.finish(), other.finish(), "{part:?} after {before}");
            }
        }
    }

    #[test]
    fn a_number_that_is_too_large_for_its_word_follows_it() {
        let key = [7; 16];
        let of = |number| {
            let mut hash = Seed::new(&key).begin("test");
            hash.head(Item::Object, number);
            hash.finish()
        };
        let numbers = [0, LARGE - 1, LARGE, LARGE + 1, LARGE << 8, usize::MAX >> 8];
        for (k, number) in numbers.iter().enumerate() {
            for other in &numbers[..k] {
                assert_ne!(of(*number), of(*other));
            }
        }
    }

    #[test]
    fn another_secret_is_another_hash_and_that_of_a_process_stays() {
        let of = |seed: Seed| seed.begin("test").finish();
        assert_ne!(of(Seed::new(&[0; 16])), of(Seed::new(&[1; 16])));
        assert_eq!(of(Seed::of_process()), of(Seed::of_process()));
    }
}
