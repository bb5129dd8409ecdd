use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    num::NonZeroU64,
    sync::OnceLock,
};

use siphasher::{
    sip::SipHasher13,
    sip128::{Hasher128, SipHasher13 as SipHasher13Of128},
};

use crate::Directives;

/// Which question a request asks: a keyed hash of 128 bits, and up to four [`Tag`]s.
///
/// Two requests with the same hash get the same reply. So everything that a reply depends on has to
/// be in it, and first of all *whose* reply it is: tenant and credential. And it has to be keyed
/// with something that callers do not know, or one of them could look for another's hash.
///
/// # Examples
///
/// ```
/// use buttress_cache::{Keyed, Tag};
///
/// let ask = |tenant: &str, prompt: &str| {
///     Keyed::of(&(tenant, prompt)).tags([Tag::tenant(tenant), Tag::model("small")])
/// };
/// assert_eq!(ask("a", "hello"), ask("a", "hello"));
/// assert_ne!(ask("a", "hello"), ask("b", "hello"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keyed {
    hash: u128,
    tags: Tags,
}

/// What several entries have in common, so that they can be [invalidated](crate::Cache::invalidate_tag)
/// together.
///
/// It is a hash, the same in all processes. Two tags that collide are invalidated together; nothing
/// is ever served by a tag.
///
/// ```
/// use buttress_cache::Tag;
///
/// assert_eq!(Tag::tenant("acme"), Tag::new("tenant", "acme"));
/// assert_ne!(Tag::tenant("acme"), Tag::model("acme"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(NonZeroU64);

/// Which question a request asks, if it is one that the cache may answer.
///
/// Functions of `&Req` are keys, whether they give a [`Keyed`] or an `Option` of it. `None`: the
/// request passes the cache by. It is asked once a call, before anything else, and not under a lock.
///
/// ```
/// use buttress_cache::{CacheKey, Keyed};
///
/// let key = |prompt: &String| (!prompt.is_empty()).then(|| Keyed::of(prompt));
/// assert!(key.key(&String::new()).is_none());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which question a `{Req}` asks",
    label = "not a key for this request",
    note = "a key is a function of `&{Req}` that gives a `Keyed` or an `Option<Keyed>`; write the type of its argument"
)]
pub trait CacheKey<Req> {
    /// Which question it is. `None`: leave the cache out.
    fn key(&self, request: &Req) -> Option<Keyed>;

    /// What the caller asks of caches. By default nothing: see
    /// [`CacheLayer::heed`](crate::CacheLayer::heed).
    fn directives(&self, request: &Req) -> Directives {
        let _ = request;
        Directives::default()
    }
}

/// At most four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tags([Option<Tag>; Keyed::MAX_TAGS]);

// ===== impl Keyed =====

impl Keyed {
    /// How many tags it carries at most.
    pub const MAX_TAGS: usize = 4;

    /// By a hash made elsewhere. It has to be keyed, and to depend on everything that the reply
    /// depends on.
    #[must_use]
    pub const fn new(hash: u128) -> Self {
        Self {
            hash,
            tags: Tags([None; Self::MAX_TAGS]),
        }
    }

    /// By `SipHash-1-3` of 128 bits, with a key that this process chose at random: for a cache in
    /// memory.
    #[must_use]
    pub fn of<T: Hash + ?Sized>(value: &T) -> Self {
        static SECRET: OnceLock<[u8; 16]> = OnceLock::new();
        let secret = SECRET.get_or_init(|| {
            let random = RandomState::new();
            let halves = [random.hash_one(0_u8), random.hash_one(1_u8)];
            u128::from(halves[0])
                .wrapping_shl(64)
                .wrapping_add(halves[1].into())
                .to_le_bytes()
        });
        Self::of_with(secret, value)
    }

    /// The same, with a key of your own: for a second level that several processes
    /// share.
    #[must_use]
    pub fn of_with<T: Hash + ?Sized>(secret: &[u8; 16], value: &T) -> Self {
        let mut hasher = SipHasher13Of128::new_with_key(secret);
        value.hash(&mut hasher);
        Self::new(hasher.finish128().as_u128())
    }

    /// With these tags, instead of those that it had. More than [`MAX_TAGS`](Keyed::MAX_TAGS) do not
    /// compile.
    #[must_use]
    pub fn tags<const N: usize>(mut self, tags: [Tag; N]) -> Self {
        const { assert!(N <= Self::MAX_TAGS, "a key carries at most four tags") }
        self.tags = Tags::default();
        for (place, tag) in self.tags.0.iter_mut().zip(tags) {
            *place = Some(tag);
        }
        self
    }

    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> u128 {
        self.hash
    }

    pub(crate) const fn all_tags(&self) -> Tags {
        self.tags
    }
}

// ===== impl Tag =====

impl Tag {
    /// Everything of which `kind` is `value`.
    #[must_use]
    pub fn new(kind: &str, value: &str) -> Self {
        let mut hasher = SipHasher13::new();
        (kind, value).hash(&mut hasher);
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    /// Everything of one tenant.
    #[must_use]
    pub fn tenant(name: &str) -> Self {
        Self::new("tenant", name)
    }

    /// Everything of one model.
    #[must_use]
    pub fn model(name: &str) -> Self {
        Self::new("model", name)
    }

    /// As a number, for others to keep.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

// ===== impl Tags =====

impl Tags {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Tag> + '_ {
        self.0.iter().flatten().copied()
    }

    pub(crate) fn contains(&self, tag: Tag) -> bool {
        self.0.contains(&Some(tag))
    }
}

// ===== impl CacheKey =====

impl<F, Req, R> CacheKey<Req> for F
where
    F: Fn(&Req) -> R,
    R: Into<Option<Keyed>>,
{
    fn key(&self, request: &Req) -> Option<Keyed> {
        self(request).into()
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheKey, Keyed, Tag};

    #[test]
    fn functions_with_and_without_an_option_are_keys() {
        fn always(number: &u32) -> Keyed {
            Keyed::of(number)
        }
        let sometimes = |number: &u32| (*number > 1).then(|| Keyed::of(number));
        assert_eq!(always.key(&2), sometimes.key(&2));
        assert_eq!(sometimes.key(&1), None);
    }

    #[test]
    fn the_hash_has_a_key_and_another_key_gives_another_hash() {
        let hash = |secret: u8, value: &str| Keyed::of_with(&[secret; 16], value).hash();
        assert_eq!(hash(1, "a"), hash(1, "a"));
        assert_ne!(hash(1, "a"), hash(2, "a"));
        assert_ne!(hash(1, "a") >> 64, hash(1, "a") & u128::from(u64::MAX));
    }

    #[test]
    fn a_key_knows_its_tags_and_no_others() {
        let keyed = Keyed::of("a").tags([Tag::tenant("t"), Tag::model("m")]);
        assert!(keyed.all_tags().contains(Tag::model("m")));
        assert!(!keyed.all_tags().contains(Tag::model("t")));
    }
}
