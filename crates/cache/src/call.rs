//! The call that a flight makes.

use std::{any::Any, future::poll_fn, sync::Arc};

use buttress_core::{CacheStatus, Class, Classify, Outcome, Share};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Lifetime,
    entry::{Entry, Rest},
    flight::{Call, Landed, Landing},
    key::Tags,
    parts::Parts,
    stats::Count,
};

/// What goes with a call.
pub(crate) struct Asks<T> {
    /// What serves if the upstream fails.
    pub(crate) fallback: Option<Arc<Entry<T>>>,
    /// Somebody wants the error as it is.
    pub(crate) for_leader: bool,
    /// Under this key the second level is asked first.
    pub(crate) level: Option<u128>,
}

/// What the second level has of a reply.
enum Below<T> {
    Fresh(Landed<T>),
    /// It serves at most if the upstream fails.
    Old(Arc<Entry<T>>),
}

/// Readies the service and calls it, for all who wait.
pub(crate) fn call<P, K, T, S, L, V, Req>(
    parts: Arc<Parts<P, K, L, V, T>>,
    mut service: S,
    request: Req,
    asks: Asks<T>,
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
        let mut fallback = asks.fallback;
        if let Some(key) = asks.level {
            match parts.found_below::<S::Response>(key).await {
                Some(Below::Fresh(landed)) => return Landing::Reply(landed),
                Some(Below::Old(entry)) => {
                    let younger = fallback.filter(|known| known.made > entry.made);
                    fallback = Some(younger.unwrap_or(entry));
                }
                None => {}
            }
        }
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
                    seen: outcome.class,
                    status: CacheStatus::Miss,
                    made: None,
                    keep: Some(freshness),
                })
            }
            Err(error) => {
                let error = asks
                    .for_leader
                    .then(|| -> Box<dyn Any + Send> { Box::new(error) });
                Landing::Failed(outcome, error)
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
        seen: entry.outcome.class,
        status: CacheStatus::Stale,
        made: Some(entry.made),
        keep: None,
    })
}

// ===== impl Asks =====

impl<T> Default for Asks<T> {
    fn default() -> Self {
        Self {
            fallback: None,
            for_leader: false,
            level: None,
        }
    }
}

// ===== impl Parts =====

impl<P, K, L, V, T> Parts<P, K, L, V, T>
where
    T: Clone + Send + Sync + 'static,
{
    /// What the second level has.
    async fn found_below<Res>(&self, key: u128) -> Option<Below<T>>
    where
        P: Share<Res, Shared = T>,
    {
        let found = self.cache.level()?.get(key).await;
        let found = found.inspect_err(|()| self.options.level_failed(&self.cache, "get"));
        let (shared, freshness, age) = found.ok()??;
        let outcome = self.protocol.ended(&shared)?;
        let seen = outcome.class;
        if seen != Class::Success {
            return None;
        }
        // Of a clock that does not go back so far, nobody knows how old it will be.
        let made = Instant::now().checked_sub(age)?;
        if !freshness.is_fresh(age) {
            return Some(Below::Old(Arc::new(Entry {
                shared,
                tags: Tags::default(),
                made,
                freshness,
                outcome,
                weight: 0,
                rest: Rest::default(),
            })));
        }
        self.cache.counters().add(Count::LevelHits, 1);
        Some(Below::Fresh(Landed {
            shared,
            seen,
            status: CacheStatus::Hit,
            made: Some(made),
            keep: Some(freshness),
        }))
    }
}
