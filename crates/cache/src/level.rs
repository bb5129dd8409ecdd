use std::{
    error::Error,
    fmt,
    hash::Hasher,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use siphasher::sip::SipHasher13;
use tokio::{runtime::Handle, time::timeout};

use crate::{Freshness, Tag, entry::Entry};

/// A second level below the memory of a [`Cache`](crate::Cache): a place that several processes share.
///
/// It keeps bytes. It is asked only for what is not in memory, by the one flight of that key, and
/// never waited for longer than the [time it has](SecondLevel::within): one that fails, is slow, or
/// gives back something else than it was given is a miss.
///
/// # Examples
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::Duration};
/// use buttress_cache::{Removal, Store, StoreFuture, Stored, Tag};
///
/// /// Another place in memory.
/// #[derive(Default)]
/// struct Elsewhere(Mutex<HashMap<u128, Vec<u8>>>);
///
/// impl Store for Elsewhere {
///     fn get(&self, key: u128) -> StoreFuture<'_, Option<Stored>> {
///         Box::pin(async move {
///             let found = self.0.lock().unwrap().get(&key).cloned();
///             Ok(found.map(|bytes| Stored { bytes, age: Duration::ZERO }))
///         })
///     }
///
///     fn put(&self, key: u128, bytes: Vec<u8>, _: Duration, _: Vec<Tag>) -> StoreFuture<'_, ()> {
///         Box::pin(async move {
///             self.0.lock().unwrap().insert(key, bytes);
///             Ok(())
///         })
///     }
///
///     fn remove(&self, what: Removal) -> StoreFuture<'_, ()> {
///         Box::pin(async move {
///             match what {
///                 Removal::Key(key) => drop(self.0.lock().unwrap().remove(&key)),
///                 _ => self.0.lock().unwrap().clear(),
///             }
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// What is kept for this key, and how long ago it was put there.
    fn get(&self, key: u128) -> StoreFuture<'_, Option<Stored>>;

    /// Keeps this for this key, for so long at most. The tags are for [`Store::remove`].
    fn put(&self, key: u128, bytes: Vec<u8>, keep: Duration, tags: Vec<Tag>)
    -> StoreFuture<'_, ()>;

    /// Forgets this.
    fn remove(&self, what: Removal) -> StoreFuture<'_, ()>;
}

/// What a [`Store`] does. An error of any kind is a miss.
pub type StoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// What a [`Store`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// As they were put there.
    pub bytes: Vec<u8>,
    /// How long ago.
    pub age: Duration,
}

/// What a [`Store`] is to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// What is kept for this key.
    Key(u128),
    /// Everything with this tag.
    Tag(Tag),
    /// Everything.
    All,
}

/// A [`Store`], and how replies become bytes and the other way round.
///
/// | | default |
/// |---|---|
/// | [`within`](SecondLevel::within) | 50 ms |
/// | writes at a time | 256; what comes beyond is not written |
pub struct SecondLevel<T> {
    store: Box<dyn Store>,
    encode: Box<Encode<T>>,
    decode: Box<Decode<T>>,
    within: Duration,
    writes: AtomicUsize,
    // Those of the writes that remove.
    removals: AtomicUsize,
}

type Encode<T> = dyn Fn(&T) -> Option<Vec<u8>> + Send + Sync;
type Decode<T> = dyn Fn(&[u8]) -> Option<T> + Send + Sync;

/// One of so many writes.
struct Write<T> {
    level: Arc<SecondLevel<T>>,
    removes: bool,
}

// ===== impl SecondLevel =====

impl<T> SecondLevel<T> {
    const MAX_WRITES: usize = 256;
    /// A version, a checksum, and three durations in milliseconds.
    const HEAD: usize = 1 + 8 + 3 * 8;
    const VERSION: u8 = 1;

    /// This store. What `encode` gives nothing for is not put there; what `decode` gives nothing for
    /// is a miss. Neither runs under a lock.
    pub fn new<S, E, D>(store: S, encode: E, decode: D) -> Self
    where
        S: Store,
        E: Fn(&T) -> Option<Vec<u8>> + Send + Sync + 'static,
        D: Fn(&[u8]) -> Option<T> + Send + Sync + 'static,
    {
        Self {
            store: Box::new(store),
            encode: Box::new(encode),
            decode: Box::new(decode),
            within: Duration::from_millis(50),
            writes: AtomicUsize::new(0),
            removals: AtomicUsize::new(0),
        }
    }

    /// How long it may take to answer; what takes longer is a miss. Default: 50 ms.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// What is kept for this key, with how long it serves and how old it is. An error where that
    /// could not be learned. While something is being removed it may still be there: then nothing is.
    pub(crate) async fn get(&self, key: u128) -> Result<Option<(T, Freshness, Duration)>, ()> {
        if self.removals.load(Ordering::Acquire) > 0 {
            return Ok(None);
        }
        let found = timeout(self.within, self.store.get(key)).await;
        match found.map_err(drop)?.map_err(drop)? {
            Some(stored) => {
                let (freshness, payload) = Self::opened(key, &stored.bytes).ok_or(())?;
                let reply = (self.decode)(payload).ok_or(())?;
                Ok(Some((reply, freshness, stored.age)))
            }
            None => Ok(None),
        }
    }

    /// Puts this there, in a task of its own. `failed` is called if that does not go well.
    pub(crate) fn put(
        self: &Arc<Self>,
        key: u128,
        entry: &Arc<Entry<T>>,
        failed: impl FnOnce() + Send + 'static,
    ) where
        T: Send + Sync + 'static,
    {
        let freshness = entry.freshness;
        let keep = freshness.fresh.saturating_add(freshness.revalidate);
        let keep = keep.max(freshness.fresh.saturating_add(freshness.if_error));
        let entry = entry.clone();
        self.writes(false, failed, move |level| {
            let payload = (level.encode)(&entry.shared)?;
            let bytes = Self::sealed(key, freshness, &payload);
            Some(
                level
                    .store
                    .put(key, bytes, keep, entry.tags.iter().collect()),
            )
        });
    }

    /// Forgets this there, in a task of its own.
    pub(crate) fn remove(self: &Arc<Self>, what: Removal, failed: impl FnOnce() + Send + 'static)
    where
        T: Send + Sync + 'static,
    {
        self.writes(true, failed, move |level| Some(level.store.remove(what)));
    }

    fn writes<F>(self: &Arc<Self>, removes: bool, failed: impl FnOnce() + Send + 'static, write: F)
    where
        T: Send + Sync + 'static,
        F: FnOnce(&Self) -> Option<StoreFuture<'_, ()>> + Send + 'static,
    {
        let before = self.writes.fetch_add(1, Ordering::Relaxed);
        self.removals
            .fetch_add(usize::from(removes), Ordering::Release);
        let one = Write {
            level: self.clone(),
            removes,
        };
        let (true, Ok(runtime)) = (before < Self::MAX_WRITES, Handle::try_current()) else {
            return failed();
        };
        runtime.spawn(async move {
            if let Some(write) = write(&one.level) {
                let written = timeout(one.level.within, write).await;
                if !matches!(written, Ok(Ok(()))) {
                    failed();
                }
            }
        });
    }

    /// What is put into the store: a version, a checksum of the key and of all that follows, the
    /// lifetime, and the reply.
    fn sealed(key: u128, freshness: Freshness, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HEAD + payload.len());
        bytes.push(Self::VERSION);
        bytes.extend([0; 8]);
        for time in [freshness.fresh, freshness.revalidate, freshness.if_error] {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            bytes.extend(millis.to_le_bytes());
        }
        bytes.extend(payload);
        let sum = checksum(key, &bytes[9..]);
        bytes[1..9].copy_from_slice(&sum);
        bytes
    }

    fn opened(key: u128, bytes: &[u8]) -> Option<(Freshness, &[u8])> {
        let (head, payload) = bytes.split_at_checked(Self::HEAD)?;
        if head[0] != Self::VERSION || head[1..9] != checksum(key, &bytes[9..]) {
            return None;
        }
        let time = |at: usize| {
            let millis = head[at..at + 8].try_into().map(u64::from_le_bytes);
            millis.ok().map(Duration::from_millis)
        };
        let freshness = Freshness::new(time(9)?)
            .stale_while_revalidate(time(17)?)
            .stale_if_error(time(25)?);
        Some((freshness, payload))
    }
}

/// Against what is torn, truncated or another key's; not against those who can write there.
fn checksum(key: u128, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher13::new();
    hasher.write(&key.to_le_bytes());
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

impl<T> fmt::Debug for SecondLevel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondLevel")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

// ===== impl Write =====

impl<T> Drop for Write<T> {
    fn drop(&mut self) {
        let Self { level, removes } = self;
        level.writes.fetch_sub(1, Ordering::Relaxed);
        level
            .removals
            .fetch_sub(usize::from(*removes), Ordering::Release);
    }
}
