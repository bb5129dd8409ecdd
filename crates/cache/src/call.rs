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
};

/// Where the call leaves its error, for the one who led.
pub(crate) struct Slot<E>(Mutex<Option<E>>);

/// Readies the service and calls it, for all who wait.
pub(crate) fn call<P, K, T, S, L, V, Req>(
    parts: Arc<Parts<P, K, L, V, T>>,
    mut service: S,
    request: Req,
    fallback: Option<Arc<Entry<T>>>,
    slot: Option<Arc<Slot<S::Error>>>,
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
        let result = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        let outcome = parts.protocol.classify(result.as_ref());
        if fails_by_itself(&outcome)
            && let Some(landed) = fallback.and_then(|entry| instead(&entry))
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
                if let Some(slot) = slot {
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
