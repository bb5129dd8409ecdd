//! Keys, and what is kept of them.

use std::{
    fmt::{self, Write},
    io::Read,
};

use ring::{
    digest,
    error::Unspecified,
    rand::{SecureRandom, SystemRandom},
};
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of a key. The key cannot be found from it: keys are long, and random.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Digest([u64; 4]);

/// A caller's key.
pub(crate) struct Key(String);

/// What every key begins with, so that people and scanners know one where they see it.
const PREFIX: &str = "sk-buttress-";

/// How many random bytes follow, in hex.
const RANDOM: usize = 32;

/// The shortest key of which a digest is made.
const SHORTEST: usize = 20;

/// The longest.
const LONGEST: usize = 4096;

// ===== impl Digest =====

impl Digest {
    pub(crate) fn of(key: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, key);
        Self::from_bytes(hash.as_ref())
    }

    /// Reads 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut words = [0; 4];
        for (at, word) in words.iter_mut().enumerate() {
            *word = u64::from_str_radix(&text[16 * at..16 * (at + 1)], 16).ok()?;
        }
        Some(Self(words))
    }

    /// Whether it is the other one, in a time that does not depend on it.
    pub(crate) fn is(&self, other: &Self) -> Choice {
        let pairs = self.0.iter().zip(&other.0);
        let differ = pairs.fold(0, |differ, (one, other)| differ | (one ^ other));
        differ.ct_eq(&0)
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut words = [0_u64; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Self(words)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:016x}{b:016x}{c:016x}{d:016x}")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

// ===== impl Key =====

impl Key {
    /// A new one, of the system's randomness.
    pub(crate) fn random() -> Result<Self, Unspecified> {
        let mut bytes = [0; RANDOM];
        SystemRandom::new().fill(&mut bytes)?;
        let mut key = PREFIX.to_owned();
        for byte in bytes {
            // Writing to a `String` does not fail.
            let _ = write!(key, "{byte:02x}");
        }
        Ok(Self(key))
    }

    /// One that somebody has already: all of the text, but for the white space around it.
    pub(crate) fn read(from: impl Read) -> Result<Self, String> {
        let mut text = String::new();
        let most = LONGEST as u64 + 3;
        from.take(most)
            .read_to_string(&mut text)
            .map_err(|error| format!("the key cannot be read: {error}"))?;
        let key = text.trim();
        let length = key.len();
        if !(SHORTEST..=LONGEST).contains(&length) {
            return Err(format!(
                "found a key of {length} bytes, expected {SHORTEST} to {LONGEST}"
            ));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "found a key with a character that no header can hold, expected visible ASCII"
                    .to_owned(),
            );
        }
        Ok(Self(key.to_owned()))
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The key itself, to be shown once.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Key, PREFIX};

    // FIPS 180-2, B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_is_sha_256_in_hex() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert!(Digest::parse(ABC) == Some(Digest::of(b"abc")));
        assert!(Digest::parse(&ABC.to_uppercase()) == Some(Digest::of(b"abc")));
        for wrong in [
            "",
            "abc",
            &ABC[1..],
            &format!("{ABC}0"),
            &ABC.replace('b', "+"),
        ] {
            assert!(Digest::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_itself_and_no_other() {
        let digest = Digest::of(b"abc");
        assert!(bool::from(digest.is(&Digest::of(b"abc"))));
        for bit in 0..256 {
            let mut other = digest;
            other.0[bit / 64] ^= 1 << (bit % 64);
            assert!(!bool::from(digest.is(&other)), "{bit}");
        }
    }

    #[test]
    fn a_new_key_is_another_one_each_time_and_can_be_read() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with(PREFIX) && one.expose().len() == PREFIX.len() + 64);
        let read = Key::read(format!("{}\n", one.expose()).as_bytes()).unwrap();
        assert!(read.digest() == one.digest());
        assert_eq!(format!("{one:?}"), "Key");
    }

    #[test]
    fn what_is_no_key_is_said_and_not_shown() {
        for (text, said) in [
            ("", "found a key of 0 bytes, expected 20 to 4096"),
            ("short-canary\n", "found a key of 12 bytes"),
            (
                "canary canary canary canary",
                "found a key with a character",
            ),
            (&"c".repeat(5000), "found a key of 4099 bytes"),
        ] {
            let error = Key::read(text.as_bytes()).unwrap_err();
            assert!(
                error.starts_with(said) && !error.contains("canary"),
                "{error}"
            );
        }
        assert!(Key::read(&b"\xff"[..]).is_err());
    }
}
