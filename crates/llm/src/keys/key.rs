use std::{collections::HashSet, error::Error, fmt};

use sha2::{Digest, Sha256};

use crate::Secret;

/// A [`Secret`] with an id that may be shown: in events, logs and labels.
///
/// The id is at most 64 visible ASCII characters. By default it is `key-` and the first eight
/// hexadecimal digits of the SHA-256 of the credential: enough to tell keys apart, and of no help in
/// guessing them. `printf %s "$KEY" | sha256sum` shows which is which.
///
/// # Examples
///
/// ```
/// use buttress_llm::{Secret, keys::Key};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::new(Secret::new("sk-test-1")?);
/// assert_eq!(key.id(), "key-db567a0d");
/// let spare = Key::named("spare", Secret::new("sk-test-2")?)?;
/// assert_eq!(format!("{spare:?}"), r#"Key { id: "spare", secret: Secret(..) }"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Key {
    id: Box<str>,
    secret: Secret,
}

/// One or more [`Key`]s, in the order of preference, no two of them alike.
///
/// # Examples
///
/// ```
/// use buttress_llm::{Secret, keys::Keys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let one = Keys::from(Secret::new("sk-test-1")?);
/// let two = Keys::new([Secret::new("sk-test-1")?, Secret::new("sk-test-2")?])?;
/// assert_eq!(two.ids().next(), one.ids().next());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

/// Why a [`Key`] or [`Keys`] were not made. It shows nothing of a credential.
///
/// ```
/// use buttress_llm::{Secret, keys::{Keys, KeysError}};
///
/// let none: [Secret; 0] = [];
/// assert!(matches!(Keys::new(none), Err(KeysError::Empty)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysError {
    /// There was no key.
    Empty,
    /// There were more keys than are looked through for a call.
    TooMany {
        /// How many there were.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Two keys had the same id.
    SameId {
        /// The id.
        id: String,
    },
    /// Two keys were the same credential.
    SameSecret {
        /// Their ids.
        ids: [String; 2],
    },
    /// An id was empty, too long, or had a byte that is no visible ASCII character.
    Id {
        /// How long it was, in bytes.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// An id had eight characters of its credential in a row, or all of it.
    ShowsSecret,
}

const ID_LIMIT: usize = 64;
const KEYS_LIMIT: usize = 256;
/// How much of a credential nobody may show.
const SHOWN: usize = 8;

// ===== impl Key =====

impl Key {
    /// A key whose id is made of a digest of it.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        let digest = Sha256::digest(secret.expose());
        let digits = digest[..4].iter().map(|byte| format!("{byte:02x}"));
        Self {
            id: format!("key-{}", digits.collect::<String>()).into(),
            secret,
        }
    }

    /// A key with an id of yours.
    ///
    /// # Errors
    ///
    /// [`KeysError::Id`] and [`KeysError::ShowsSecret`].
    pub fn named(id: impl Into<String>, secret: Secret) -> Result<Self, KeysError> {
        let id = id.into();
        if id.is_empty() || id.len() > ID_LIMIT || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeysError::Id {
                found: id.len(),
                limit: ID_LIMIT,
            });
        }
        let hidden = secret.expose().as_bytes();
        let hidden = hidden.windows(SHOWN.min(hidden.len()));
        let hidden: HashSet<&[u8]> = hidden.collect();
        let width = hidden.iter().next().map_or(SHOWN, |window| window.len());
        if (id.as_bytes().windows(width)).any(|window| hidden.contains(window)) {
            return Err(KeysError::ShowsSecret);
        }
        Ok(Self {
            id: id.into(),
            secret,
        })
    }

    /// What may be shown of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl From<Secret> for Key {
    fn from(secret: Secret) -> Self {
        Self::new(secret)
    }
}

// ===== impl Keys =====

impl Keys {
    /// These keys. The first is preferred.
    ///
    /// # Errors
    ///
    /// [`KeysError`] if there is none, if there are more than 256, or if two have the same id or are
    /// the same credential.
    pub fn new<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> Result<Self, KeysError> {
        let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() {
            return Err(KeysError::Empty);
        }
        if keys.len() > KEYS_LIMIT {
            return Err(KeysError::TooMany {
                found: keys.len(),
                limit: KEYS_LIMIT,
            });
        }
        for (place, key) in keys.iter().enumerate() {
            let mut before = keys[..place].iter();
            if let Some(same) = before.find(|one| one.secret.expose() == key.secret.expose()) {
                return Err(KeysError::SameSecret {
                    ids: [same.id().to_owned(), key.id().to_owned()],
                });
            }
            if keys[..place].iter().any(|one| one.id == key.id) {
                let id = key.id().to_owned();
                return Err(KeysError::SameId { id });
            }
        }
        Ok(Self(keys))
    }

    /// The ids, in order: what an endpoint declares of its credentials.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Key::id)
    }

    pub(super) fn into_inner(self) -> Vec<Key> {
        self.0
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self(vec![key])
    }
}

impl From<Secret> for Keys {
    fn from(secret: Secret) -> Self {
        Key::new(secret).into()
    }
}

// ===== impl KeysError =====

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no key, where at least one is needed"),
            Self::TooMany { found, limit } => {
                write!(
                    f,
                    "there are {found} keys, where at most {limit} are allowed"
                )
            }
            Self::SameId { id } => write!(f, "two keys have the id {id}"),
            Self::SameSecret { ids: [one, other] } => {
                write!(f, "the keys {one} and {other} are the same credential")
            }
            Self::Id { found, limit } => write!(
                f,
                "an id of a key has {found} bytes, or one that is no visible ASCII character, \
                 where 1 to {limit} visible ones are expected"
            ),
            Self::ShowsSecret => f.write_str("an id of a key shows a part of its credential"),
        }
    }
}

impl Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::{Key, Keys, KeysError};
    use crate::Secret;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn s1_no_id_shows_a_part_of_its_key() {
        const CANARY: &str = "sk-canary-0123456789";
        for id in [CANARY, "sk-canar", "key:0123456789", "x-canary-0-x"] {
            assert_eq!(
                Key::named(id, secret(CANARY)).unwrap_err(),
                KeysError::ShowsSecret
            );
        }
        assert!(
            Key::named("sk-cana", secret(CANARY)).is_ok(),
            "seven characters"
        );
        assert_eq!(
            Key::named("my-sk-1", secret("sk-1")).unwrap_err(),
            KeysError::ShowsSecret
        );
        let key = Key::new(secret(CANARY));
        assert!(
            key.id().starts_with("key-") && key.id().len() == 12,
            "{}",
            key.id()
        );
        assert!(!format!("{key:#?}").contains("canary"));
    }

    #[test]
    fn s5_an_id_has_no_byte_that_could_split_a_line() {
        for id in [
            "",
            "a\r",
            "a\nb",
            "a\0b",
            "a b",
            "caf\u{e9}",
            &"x".repeat(65),
        ] {
            let error = Key::named(id, secret("sk-1")).unwrap_err();
            assert!(matches!(error, KeysError::Id { found, limit: 64 } if found == id.len()));
        }
        assert!(Key::named("x".repeat(64), secret("sk-1")).is_ok());
    }

    #[test]
    fn keys_are_at_least_one_and_no_two_alike() {
        let named = |id: &str, text: &str| Key::named(id, secret(text)).unwrap();
        assert_eq!(Keys::new(Vec::<Key>::new()).unwrap_err(), KeysError::Empty);
        let same = Keys::new([named("a", "s-1"), named("b", "s-2"), named("a", "s-3")]);
        assert_eq!(same.unwrap_err(), KeysError::SameId { id: "a".into() });
        let same = Keys::new([named("a", "s-1"), named("b", "s-1")]);
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(same.unwrap_err(), KeysError::SameSecret { ids });
        let many = (0..257).map(|n| secret(&format!("sk-{n}")));
        assert!(matches!(
            Keys::new(many),
            Err(KeysError::TooMany {
                found: 257,
                limit: 256
            })
        ));
        let two = Keys::new([named("a", "s-1"), named("b", "s-2")]).unwrap();
        assert!(two.ids().eq(["a", "b"]));
    }
}
