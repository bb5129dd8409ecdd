use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{CacheStatus, Class, Outcome};
use tokio::time::Instant;

use crate::{
    Directives, Freshness, Keyed, Removal, SecondLevel, Statistics, Tag,
    entry::{Entry, Memory, Rest, Unhashed},
    flight::{Flight, Landed, Stage},
    key::Tags,
    level::Removing,
    lifetime::may_be_kept,
    stats::{Count, Counters},
    table::{Shard, Table},
    waiters::{Asleep, Place},
    writes::Write,
};

/// What is kept and what is under way: the handle to a cache, which its layers share.
///
/// `T` is what the protocol makes of a response to share it: [`Share::Shared`](buttress_core::Share::Shared).
/// A clone is another handle to the same cache.
///
/// # Examples
///
/// ```
/// use buttress_cache::{Cache, CacheLayer, Keyed, Tag};
/// use buttress_core::Plain;
///
/// let cache = Cache::new(64 << 20);
/// let key = |(tenant, prompt): &(String, String)| {
///     Keyed::of(&(tenant, prompt)).tags([Tag::tenant(tenant)])
/// };
/// let layer = CacheLayer::new(Plain, key).cache(&cache);
/// # let service = tower::Layer::layer(&layer, tower::service_fn(|_: (String, String)| async {
/// #     Ok::<_, buttress_core::Refused>(String::new())
/// # }));
/// # let _ = buttress_core::check::<(String, String), _>(service);
/// // Later, when a tenant's documents have changed:
/// cache.invalidate_tag(Tag::tenant("acme"));
/// println!("{:?}", cache.statistics());
/// ```
pub struct Cache<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    memory: Memory<T>,
    table: Table<T>,
    counters: Counters,
    refreshing: AtomicUsize,
    max_bytes: u64,
    // What was written since moka was told to look at its bound.
    unapplied: AtomicU64,
    level: Option<Arc<SecondLevel<T>>>,
}

/// What is kept for a key.
pub(crate) enum Look<T> {
    Fresh(Arc<Entry<T>>, Duration),
    /// To be refreshed.
    Stale(Arc<Entry<T>>, Duration),
    /// What is here at most serves if the upstream fails.
    Nothing(Option<Arc<Entry<T>>>),
}

/// Lets nobody wait for a flight any longer that is gone.
struct Closes<'a, T> {
    shard: &'a Shard<T>,
    flight: &'a Arc<Flight<T>>,
}

/// How a flight was left.
pub(crate) struct Left<T> {
    /// What is kept of it from now on.
    pub(crate) kept: Option<Kept<T>>,
    /// By the last.
    pub(crate) last: bool,
}

/// A reply that is in memory from now on.
pub(crate) struct Kept<T> {
    pub(crate) key: u128,
    pub(crate) entry: Arc<Entry<T>>,
    pub(crate) below: Below,
}

/// What becomes of it in the second level.
pub(crate) enum Below {
    /// Nothing: there is none, or it is from there, or does not belong there.
    Nothing,
    /// It is to be put there.
    Put(Write),
    /// Too much is being put there.
    Full,
}

/// One of so many refreshes.
pub(crate) struct Refreshing<T> {
    cache: Cache<T>,
}

// ===== impl Cache =====

impl<T: Clone + Send + Sync + 'static> Cache<T> {
    /// An empty cache, of so many bytes. What a reply weighs, the layer
    /// [says](crate::CacheLayer::weigh); on top of that the cache counts some hundred bytes for each.
    /// One that is larger than all of it is not kept.
    ///
    /// Beyond the bound, what was asked for rarely goes (moka's TinyLFU). A bound of zero keeps
    /// nothing, and still makes one call for all who ask at once.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self::of(max_bytes, None)
    }

    /// An empty cache, of so many bytes in memory, with a second level below.
    #[must_use]
    pub fn with_second_level(max_bytes: u64, level: SecondLevel<T>) -> Self {
        Self::of(max_bytes, Some(Arc::new(level)))
    }

    fn of(max_bytes: u64, level: Option<Arc<SecondLevel<T>>>) -> Self {
        let memory = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry<T>>| entry.weight)
            .build_with_hasher(Unhashed::default());
        Self {
            inner: Arc::new(Inner {
                memory,
                table: Table::new(),
                counters: Counters::new(),
                refreshing: AtomicUsize::new(0),
                max_bytes,
                unapplied: AtomicU64::new(0),
                level,
            }),
        }
    }

    /// Forgets the reply of this key. What is under way for it is not kept when it comes, and who asks
    /// from now on does not get it: that is a new call.
    ///
    /// A [second level](Cache::with_second_level) forgets it in a task of its own, on the runtime of
    /// whoever calls this, after what was being put there for it, and is not asked for anything until
    /// that has ended. Without a runtime, or if it fails, or beyond 4096 at a time, that is one of the
    /// [`level_failures`](Statistics::level_failures), and the reply may come back from there.
    pub fn invalidate(&self, key: &Keyed) {
        let (key, removing) = (key.hash(), self.removing());
        self.inner.table.shard(key).void(key);
        self.inner.memory.invalidate(&key);
        self.removes(removing, Removal::Key(key));
    }

    /// Forgets all replies with this tag, as [`invalidate`](Cache::invalidate) does.
    ///
    /// It walks through everything that is kept, which takes about a millisecond for ten thousand
    /// entries.
    pub fn invalidate_tag(&self, tag: Tag) {
        let removing = self.removing();
        self.inner.table.void_tag(tag);
        for (key, entry) in &self.inner.memory {
            if entry.tags.contains(tag) {
                self.inner.memory.invalidate(&*key);
            }
        }
        self.removes(removing, Removal::Tag(tag));
    }

    /// Forgets everything, as [`invalidate`](Cache::invalidate) does.
    pub fn clear(&self) {
        let removing = self.removing();
        self.inner.table.void(|_| true);
        // Not moka's `invalidate_all`: that goes by its own clock, and lets what is inserted within
        // the same tick go, or stay.
        for (key, _) in &self.inner.memory {
            self.inner.memory.invalidate(&*key);
        }
        self.removes(removing, Removal::All);
    }

    /// What it did so far, and what it holds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.inner.memory.run_pending_tasks();
        Statistics {
            entries: self.inner.memory.entry_count(),
            bytes: self.inner.memory.weighted_size(),
            ..self.inner.counters.read()
        }
    }

    /// How many calls are under way, their replies that are still passing included.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.inner.table.len()
    }

    /// Comes before memory forgets it, or somebody would find it below in between.
    fn removing(&self) -> Option<Removing<T>> {
        self.inner.level.as_ref().map(SecondLevel::removing)
    }

    /// Comes after memory has forgotten it: whatever is put below and was kept before has been
    /// announced by then.
    fn removes(&self, removing: Option<Removing<T>>, what: Removal) {
        if let Some(removing) = removing {
            let this = self.clone();
            removing.begins(what, move || this.counters().add(Count::LevelFailures, 1));
        }
    }

    /// Announces what is going to be put below.
    fn below(&self, key: u128, tags: Tags, outcome: &Outcome) -> Below {
        match &self.inner.level {
            Some(level) if outcome.class == Class::Success => {
                level.puts(key, tags).map_or(Below::Full, Below::Put)
            }
            _ => Below::Nothing,
        }
    }

    pub(crate) fn level(&self) -> Option<&Arc<SecondLevel<T>>> {
        self.inner.level.as_ref()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    pub(crate) fn table(&self) -> &Table<T> {
        &self.inner.table
    }

    #[inline]
    pub(crate) fn look(&self, keyed: &Keyed, directives: &Directives) -> Look<T> {
        let Some(entry) = self.inner.memory.get(&keyed.hash()) else {
            return Look::Nothing(None);
        };
        let age = entry.age(Instant::now());
        if directives.no_cache || directives.max_age.is_some_and(|most| age > most) {
            Look::Nothing(None)
        } else if entry.freshness.is_fresh(age) {
            Look::Fresh(entry, age)
        } else if entry.freshness.serves_while_refreshed(age) {
            Look::Stale(entry, age)
        } else {
            Look::Nothing(Some(entry))
        }
    }

    /// Keeps this, if it can be kept at all.
    pub(crate) fn put(
        &self,
        keyed: &Keyed,
        shared: T,
        outcome: Outcome,
        freshness: Freshness,
        weight: usize,
    ) -> Option<Kept<T>> {
        let weight = self.fits(weight).filter(|_| !freshness.is_none())?;
        let (key, tags) = (keyed.hash(), keyed.all_tags());
        let entry = Arc::new(Entry {
            shared,
            tags,
            made: Instant::now(),
            freshness,
            outcome,
            weight,
            rest: Rest::default(),
        });
        let below = self.below(key, tags, &outcome);
        self.inner.memory.insert(key, entry.clone());
        self.inner.counters.add(Count::Stored, 1);
        self.bound(weight.into());
        Some(Kept { key, entry, below })
    }

    /// Moka looks at its bound after every 64 writes or so, which may be of 8 MiB each: if much was
    /// written, it looks now. Under no lock.
    pub(crate) fn bound(&self, weight: u64) {
        let inner = &self.inner;
        let unapplied = inner.unapplied.fetch_add(weight, Ordering::Relaxed) + weight;
        if unapplied > inner.max_bytes / 16 {
            inner.unapplied.store(0, Ordering::Relaxed);
            inner.memory.run_pending_tasks();
        }
    }

    /// Gives a seat in a flight back. `ended` says how its reply ended, if it has, and what it weighs
    /// if it can be kept.
    pub(crate) fn leave(
        &self,
        flight: &Arc<Flight<T>>,
        place: Option<Place>,
        ended: impl FnOnce(&Landed<T>) -> Option<(Outcome, Option<usize>)>,
    ) -> Left<T> {
        let key = flight.keyed.hash();
        let shard = self.inner.table.shard(key);
        let mut flights = shard.lock();
        let mut state = flight.lock();
        state.seats -= 1;
        let old = state.waiters.leave(place);
        let ended = match &state.stage {
            Stage::Landed(landed) if !state.closed => {
                catch_unwind(AssertUnwindSafe(|| ended(landed))).map_or_else(
                    |panic| (true, None, Some(panic)),
                    |ended| (ended.is_some(), ended, None),
                )
            }
            Stage::Failed(..) => (true, None, None),
            _ => (false, None, None),
        };
        let (over, ended, panic) = ended;
        let last = state.seats == 0;
        let stage = last.then(|| std::mem::replace(&mut state.stage, Stage::Gone));
        let mut kept = None;
        if let Some((outcome, Some(weight))) = ended
            && !state.void
            && let Some(Stage::Landed(landed)) = stage.as_ref().or(Some(&state.stage))
            && let Some(freshness) = landed.keep.filter(|freshness| !freshness.is_none())
            && may_be_kept(&outcome)
            && outcome.class == landed.seen
            && let Some(weight) = self.fits(weight)
        {
            let tags = flight.keyed.all_tags();
            let entry = Arc::new(Entry {
                shared: landed.shared.clone(),
                tags,
                made: landed.made.unwrap_or_else(Instant::now),
                freshness,
                outcome,
                weight,
                rest: Rest::default(),
            });
            let below = match landed.status {
                // It is from there.
                CacheStatus::Hit => Below::Nothing,
                _ => self.below(key, tags, &outcome),
            };
            self.inner.memory.insert(key, entry.clone());
            kept = Some(Kept { key, entry, below });
        }
        let mut asleep = Asleep::default();
        if over && !state.closed {
            asleep = shard.close(&mut flights, flight, &mut state);
        }
        // Otherwise it is cancelled. Until that is done, there is no other call for this key.
        let closes = (last && !over).then(|| Closes { shard, flight });
        drop(state);
        drop(flights);
        drop(old);
        asleep.wake();
        // With it goes the call, or the reply.
        drop(stage);
        drop(closes);
        if let Some(kept) = &kept {
            self.inner.counters.add(Count::Stored, 1);
            self.bound(kept.entry.weight.into());
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        Left { kept, last }
    }

    /// What a reply weighs with all that the cache needs for it, if it can be kept at all: moka lets
    /// what is larger than its bound in, for a while.
    fn fits(&self, weight: usize) -> Option<u32> {
        let weight = u32::try_from(weight.saturating_add(Entry::<T>::OVERHEAD)).ok()?;
        (u64::from(weight) <= self.inner.max_bytes).then_some(weight)
    }

    /// One more refresh, unless there are so many already.
    pub(crate) fn refreshing(&self, most: usize) -> Option<Refreshing<T>> {
        let count = &self.inner.refreshing;
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < most).then_some(now + 1)
            })
            .ok()
            .map(|_| Refreshing {
                cache: self.clone(),
            })
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("flights", &self.inner.table.len())
            .finish_non_exhaustive()
    }
}

// ===== impl Closes =====

impl<T> Drop for Closes<'_, T> {
    fn drop(&mut self) {
        let mut flights = self.shard.lock();
        let mut state = self.flight.lock();
        if !state.closed {
            let asleep = self.shard.close(&mut flights, self.flight, &mut state);
            drop(state);
            drop(flights);
            asleep.wake();
        }
    }
}

// ===== impl Refreshing =====

impl<T> Drop for Refreshing<T> {
    fn drop(&mut self) {
        self.cache.inner.refreshing.fetch_sub(1, Ordering::Relaxed);
    }
}
