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

use crate::{
    Freshness, Tag,
    entry::Entry,
    key::Tags,
    writes::{What, Write, Writes},
};

/// A second level below the memory of a [`Cache`](crate::Cache): a place that several processes share.
///
/// It keeps bytes. It is asked only for what is not in memory, by the one flight of that key, and
/// never waited for longer than the [time it has](SecondLevel::within): one that fails, is slow, or
/// gives back something else than it was given is a miss.
///
/// Of two writes that touch the same key the second is begun when the first is over, or has been
/// dropped since its time was up. A store in which one that was dropped may still take effect has to
/// keep their order itself, or what was removed may be there again.
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
/// | puts at a time, those that wait included | 256; what comes beyond is not put there |
/// | removals at a time | 4096; what comes beyond is not removed, and is one of the [`level_failures`](crate::Statistics::level_failures): to forget more, use a tag |
///
/// What is [forgotten](crate::Cache::invalidate) in one process is removed from the store, and stays
/// in the memory of the others until its time is up.
///
/// The key of a request has to be the same in all processes: [`Keyed::of_with`](crate::Keyed::of_with)
/// a secret that they share, and not [`Keyed::of`](crate::Keyed::of).
///
/// # Examples
///
/// Replies of `Http` know how:
///
/// ```
/// use std::convert::Infallible;
/// use buttress_cache::{Cache, CacheLayer, Keyed, SecondLevel, Store};
/// use buttress_core::check;
/// use buttress_http::{BoxError, Http, Shared, TrackLayer};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Service, ServiceBuilder, service_fn};
///
/// type Ask = Request<Bytes>;
///
/// fn stack(store: impl Store, secret: [u8; 16]) -> impl Service<Ask> {
///     let level = SecondLevel::new(store, Shared::encode, Shared::decode);
///     let cache = Cache::with_second_level(64 << 20, level);
///     let key = move |ask: &Ask| Keyed::of_with(&secret, &(ask.uri(), ask.body()));
///     let client = service_fn(|_: Ask| async {
///         Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
///     });
///     check::<Ask, _>(
///         ServiceBuilder::new()
///             .layer(CacheLayer::new(Http, key).cache(&cache))
///             .layer(TrackLayer::default())
///             .service(client),
///     )
/// }
/// ```
pub struct SecondLevel<T> {
    store: Box<dyn Store>,
    encode: Box<Encode<T>>,
    decode: Box<Decode<T>>,
    within: Duration,
    writes: Arc<Writes>,
    removals: AtomicUsize,
}

type Encode<T> = dyn Fn(&T) -> Option<Vec<u8>> + Send + Sync;
type Decode<T> = dyn Fn(&[u8]) -> Option<T> + Send + Sync;

/// Calls this if a write does not come to its end, whatever ends it: its runtime may.
struct Failing<F: FnOnce()>(Option<F>);

/// Something is being forgotten.
pub(crate) struct Removing<T> {
    level: Arc<SecondLevel<T>>,
}

// ===== impl SecondLevel =====

impl<T> SecondLevel<T> {
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
            writes: Arc::default(),
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

    /// Until so little is being put there that one more can be.
    pub(crate) async fn room(&self) {
        self.writes.room().await;
    }

    /// From now on something is being put there for this key. `None`: too much is already.
    pub(crate) fn puts(&self, key: u128, tags: Tags) -> Option<Write> {
        self.writes.enter(What::Put(key, tags))
    }

    /// Puts this there, in a task of its own. `failed` is called if that does not go well.
    pub(crate) fn put(
        self: &Arc<Self>,
        mut write: Write,
        key: u128,
        entry: &Arc<Entry<T>>,
        failed: impl FnOnce() + Send + 'static,
    ) where
        T: Send + Sync + 'static,
    {
        let Ok(runtime) = Handle::try_current() else {
            return failed();
        };
        let freshness = entry.freshness;
        let keep = freshness.fresh.saturating_add(freshness.revalidate);
        let keep = keep.max(freshness.fresh.saturating_add(freshness.if_error));
        let (level, entry) = (self.clone(), entry.clone());
        let failing = Failing::unless_done(failed);
        runtime.spawn(async move {
            if !write.begins().await {
                return failing.done();
            }
            let Some(payload) = (level.encode)(&entry.shared) else {
                return failing.done();
            };
            let bytes = Self::sealed(key, freshness, &payload);
            let tags = entry.tags.iter().collect();
            let put = level.store.put(key, bytes, keep, tags);
            if let Ok(Ok(())) = timeout(level.within, put).await {
                failing.done();
            }
        });
    }

    /// Something is being forgotten: nothing is found there until that is [over](Removing::begins).
    pub(crate) fn removing(self: &Arc<Self>) -> Removing<T> {
        self.removals.fetch_add(1, Ordering::Release);
        Removing {
            level: self.clone(),
        }
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

// ===== impl Removing =====

impl<T: Send + Sync + 'static> Removing<T> {
    /// Memory has forgotten it. Forgets it there, in a task of its own. `failed` is called if that
    /// does not go well.
    pub(crate) fn begins(self, what: Removal, failed: impl FnOnce() + Send + 'static) {
        let write = self.level.writes.enter(What::Remove(what));
        let (Some(mut write), Ok(runtime)) = (write, Handle::try_current()) else {
            return failed();
        };
        let failing = Failing::unless_done(failed);
        runtime.spawn(async move {
            write.begins().await;
            let level = &self.level;
            if let Ok(Ok(())) = timeout(level.within, level.store.remove(what)).await {
                failing.done();
            }
        });
    }
}

// ===== impl Failing =====

impl<F: FnOnce()> Failing<F> {
    const fn unless_done(failed: F) -> Self {
        Self(Some(failed))
    }

    fn done(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Failing<F> {
    fn drop(&mut self) {
        if let Some(failed) = self.0.take() {
            failed();
        }
    }
}

impl<T> Drop for Removing<T> {
    fn drop(&mut self) {
        self.level.removals.fetch_sub(1, Ordering::Release);
    }
}
