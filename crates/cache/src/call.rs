//! The call that a flight makes.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
};

use buttress_core::{CacheStatus, Cached, Class, Classify, Outcome, Share};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Lifetime,
    entry::Entry,
    flight::{Call, Landed, Landing},
    parts::Parts,
    stats::Count,
};

/// Where the call leaves its error, for the one who led.
pub(crate) struct Slot<E>(Mutex<Option<E>>);

/// What goes with a call.
pub(crate) struct Asks<T, E> {
    /// What serves if the upstream fails.
    pub(crate) fallback: Option<Arc<Entry<T>>>,
    pub(crate) slot: Option<Arc<Slot<E>>>,
    /// Under this key the second level is asked first.
    pub(crate) level: Option<u128>,
}

/// Readies the service and calls it, for all who wait.
pub(crate) fn call<P, K, T, S, L, V, Req>(
    parts: Arc<Parts<P, K, L, V, T>>,
    mut service: S,
    request: Req,
    asks: Asks<T, S::Error>,
) -> Call<T>
where
    S: Service<Req> + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Req: Send + 'static,
    P: Share<S::Response, Shared = T> + Classify<S::Response, S::Error> + Send + Sync + 'static,
    K: Send + Sync + 'static,
    L: Lifetime<S::Response> + Send + Sync + 'static,
    V: Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    Box::pin(async move {
        if let Some(key) = asks.level
            && let Some(landed) = parts.found_below::<S::Response>(key).await
        {
            return Landing::Reply(landed);
        }
        let result = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        let outcome = parts.protocol.classify(result.as_ref());
        if fails_by_itself(&outcome)
            && let Some(landed) = asks.fallback.and_then(|entry| instead(&entry))
        {
            return Landing::Reply(landed);
        }
        match result {
            Ok(response) => {
                let freshness = parts.lifetime.freshness(&response, &outcome);
                Landing::Reply(Landed {
                    shared: parts.protocol.share(response, &outcome),
                    seen: outcome,
                    cached: Cached::new(CacheStatus::Miss),
                    keep: Some(freshness),
                })
            }
            Err(error) => {
                if let Some(slot) = asks.slot {
                    slot.put(error);
                }
                Landing::Failed(outcome)
            }
        }
    })
}

/// Whether it is not the request that was at fault.
const fn fails_by_itself(outcome: &Outcome) -> bool {
    outcome.failed() && !matches!(outcome.class, Class::Invalid | Class::Unfit)
}

/// What is kept, if it serves now that the upstream has failed.
fn instead<T: Clone>(entry: &Entry<T>) -> Option<Landed<T>> {
    let age = entry.age(Instant::now());
    entry.freshness.serves_if_error(age).then(|| Landed {
        shared: entry.shared.clone(),
        seen: entry.outcome,
        cached: Cached::new(CacheStatus::Stale).with_age(age),
        keep: None,
    })
}

// ===== impl Asks =====

impl<T, E> Default for Asks<T, E> {
    fn default() -> Self {
        Self {
            fallback: None,
            slot: None,
            level: None,
        }
    }
}

// ===== impl Parts =====

impl<P, K, L, V, T> Parts<P, K, L, V, T>
where
    T: Clone + Send + Sync + 'static,
{
    /// What the second level has, if that is fresh.
    async fn found_below<Res>(&self, key: u128) -> Option<Landed<T>>
    where
        P: Share<Res, Shared = T>,
    {
        let found = self.cache.level()?.get(key).await;
        let found = found.inspect_err(|()| self.options.level_failed(&self.cache, "get"));
        let (shared, freshness, age) = found.ok()??;
        let seen = self.protocol.ended(&shared)?;
        if seen.class != Class::Success || !freshness.is_fresh(age) {
            return None;
        }
        self.cache.counters().add(Count::LevelHits, 1);
        Some(Landed {
            shared,
            seen,
            cached: Cached::new(CacheStatus::Hit).with_age(age),
            keep: Some(freshness),
        })
    }
}

// ===== impl Slot =====

impl<E> Slot<E> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn put(&self, error: E) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn take(&self) -> Option<E> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
