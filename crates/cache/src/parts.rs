//! What a layer, its services and its futures share.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use buttress_core::{CacheStatus, Cached, Class, Share, Track};

use crate::{
    Cache, CacheEvent, Flavours,
    cache::{Below, Kept},
    entry::Entry,
    stats::Count,
};

pub(crate) struct Parts<P, K, L, V, T> {
    pub(crate) protocol: P,
    pub(crate) key: K,
    pub(crate) lifetime: L,
    pub(crate) flavours: V,
    pub(crate) cache: Cache<T>,
    pub(crate) options: Options<T>,
}

pub(crate) struct Options<T> {
    pub(crate) next_waiter_tries: bool,
    pub(crate) refreshes: usize,
    pub(crate) refresh_within: Duration,
    pub(crate) refresh_pause: Duration,
    pub(crate) weigh: Option<Arc<Weigh<T>>>,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Weigh<T> = dyn Fn(&T) -> usize + Send + Sync;
pub(crate) type Observer = dyn Fn(&CacheEvent) + Send + Sync;

// ===== impl Parts =====

impl<P, K, L, V, T> Parts<P, K, L, V, T>
where
    T: Clone + Send + Sync + 'static,
{
    /// One caller's copy of what is kept.
    #[inline]
    pub(crate) fn serve<Req, Res>(
        &self,
        entry: &Entry<T>,
        wanted: V::Wanted,
        status: CacheStatus,
        age: Duration,
    ) -> Res
    where
        P: Share<Res, Shared = T> + Track<Res>,
        V: Flavours<Req, Res>,
    {
        let response = self.protocol.open(&entry.shared);
        self.cache.counters().saved(&entry.outcome);
        self.delivers(response, wanted, Cached::new(status).with_age(age))
    }

    #[inline]
    pub(crate) fn delivers<Req, Res>(
        &self,
        mut response: Res,
        wanted: V::Wanted,
        cached: Cached,
    ) -> Res
    where
        P: Track<Res>,
        V: Flavours<Req, Res>,
    {
        self.protocol.set_cached(&mut response, cached);
        self.served(cached);
        self.flavours.deliver(response, wanted, cached)
    }

    #[inline]
    pub(crate) fn served(&self, cached: Cached) {
        self.cache.counters().served(cached.status);
        self.options.tell(|| CacheEvent::Served {
            status: cached.status,
            age: cached.age,
        });
    }

    /// It ended in an error.
    pub(crate) fn failed(&self, status: CacheStatus, class: Class, leads: bool) {
        self.cache.counters().served(status);
        self.options.tell(|| CacheEvent::Failed { class, leads });
    }

    /// Nothing is kept, and nothing else was wanted.
    pub(crate) fn not_cached(&self) {
        self.cache.counters().add(Count::NotCached, 1);
        self.options.tell(|| CacheEvent::NotCached {});
    }

    /// The caller went away, or something panicked, before there was a reply.
    pub(crate) fn dropped(&self) {
        self.cache.counters().add(Count::Dropped, 1);
        let tell = || self.options.tell(|| CacheEvent::Dropped {});
        if thread::panicking() {
            // A second panic while the first unwinds would end the process. The first is told.
            let _ = catch_unwind(AssertUnwindSafe(tell));
        } else {
            tell();
        }
    }
}

// ===== impl Options =====

impl<T> Options<T> {
    /// It is in memory from now on.
    pub(crate) fn kept(&self, cache: &Cache<T>, kept: Kept<T>)
    where
        T: Clone + Send + Sync + 'static,
    {
        let Kept { key, entry, below } = kept;
        self.tell(|| CacheEvent::Stored {
            bytes: entry.weight.into(),
        });
        match (below, cache.level()) {
            (Below::Put(write), Some(level)) => {
                let (options, cache) = (self.clone(), cache.clone());
                let failed = move || options.level_failed(&cache, "put");
                level.put(write, key, &entry, failed);
            }
            (Below::Full, _) => self.level_failed(cache, "put"),
            _ => {}
        }
    }

    /// The second level did not do what was wanted of it.
    pub(crate) fn level_failed(&self, cache: &Cache<T>, wanted: &'static str)
    where
        T: Clone + Send + Sync + 'static,
    {
        cache.counters().add(Count::LevelFailures, 1);
        self.tell(|| CacheEvent::LevelFailed { wanted });
    }

    /// What is kept of this reply would weigh.
    pub(crate) fn weight<P, Res>(&self, protocol: &P, shared: &T) -> usize
    where
        P: Share<Res, Shared = T>,
    {
        match &self.weigh {
            Some(weigh) => weigh(shared),
            None => protocol.weight(shared),
        }
    }

    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> CacheEvent) {
        if let Some(observer) = &self.observer {
            observer(&event());
        }
    }
}

impl<T> Clone for Options<T> {
    fn clone(&self) -> Self {
        Self {
            weigh: self.weigh.clone(),
            observer: self.observer.clone(),
            ..*self
        }
    }
}

impl<T> Default for Options<T> {
    fn default() -> Self {
        Self {
            next_waiter_tries: false,
            refreshes: 64,
            refresh_within: Duration::from_secs(300),
            refresh_pause: Duration::from_secs(1),
            weigh: None,
            observer: None,
        }
    }
}

impl<T> fmt::Debug for Options<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("next_waiter_tries", &self.next_waiter_tries)
            .field("refreshes", &self.refreshes)
            .field("refresh_within", &self.refresh_within)
            .field("refresh_pause", &self.refresh_pause)
            .finish_non_exhaustive()
    }
}
