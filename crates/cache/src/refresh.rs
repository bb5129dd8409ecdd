//! Getting a new reply while the old one serves.

use std::{future::poll_fn, sync::Arc, time::Duration};

use buttress_core::{CallInfo, Carry, Class, Classify, Ledger, Outcome, Share};
use tokio::{runtime::Handle, time::timeout};
use tower_service::Service;

use crate::{
    CacheEvent, Keyed, Lifetime,
    call::{Asks, call},
    entry::Entry,
    flight::Found,
    parts::Parts,
    seat::Seat,
    stats::Count,
};

/// Lets what is kept rest when a refresh is over, before another can be begun. If that has led to
/// another reply, nobody asks this one again.
struct Rests<T> {
    entry: Arc<Entry<T>>,
    wait: Duration,
}

/// Calls for a new reply in a task of its own, unless that is being done, or has just failed, or too
/// many others are.
pub(crate) fn refresh<P, K, T, S, L, V, Req>(
    parts: &Arc<Parts<P, K, L, V, T>>,
    keyed: Keyed,
    (old, age): (&Arc<Entry<T>>, Duration),
    landed: u64,
    service: &S,
    mut request: Req,
) where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Req: Send + 'static,
    P: Share<S::Response, Shared = T>
        + Carry<Req>
        + Classify<S::Response, S::Error>
        + Send
        + Sync
        + 'static,
    K: Send + Sync + 'static,
    L: Lifetime<S::Response> + Send + Sync + 'static,
    V: Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    if old.rests(age) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let Some(refreshing) = parts.cache.refreshing(parts.options.refreshes) else {
        return;
    };
    let shard = parts.cache.table().shard(keyed.hash());
    let Some(flight) = shard.lead(keyed, landed) else {
        return;
    };
    let ledger = Ledger::new();
    let mut seat = Seat::new(parts.cache.clone(), flight.clone(), None);
    flight.begin(|| {
        let mut info = CallInfo::new();
        info.ledger = Some(ledger.clone());
        parts.protocol.set_common(&mut request, info);
        let asks = Asks::default();
        call(parts.clone(), service.clone(), request, asks)
    });
    parts.cache.counters().add(Count::Refreshes, 1);

    let (told, parts, old) = (parts.clone(), parts.clone(), old.clone());
    let work = async move {
        // It is dropped before the seat, however this ends.
        let mut rests = Rests {
            entry: old,
            wait: parts.options.refresh_pause,
        };
        let outcome = match poll_fn(|cx| seat.poll(cx)).await {
            Found::Landed(shared, _) => {
                parts.protocol.drain(&shared).await;
                let ended = parts.protocol.ended(&shared);
                ended.unwrap_or_else(|| Outcome::new(Class::Cancelled))
            }
            Found::Failed(outcome) => outcome,
            Found::Gone => Outcome::new(Class::Cancelled),
        };
        rests.wait = rests.wait.max(outcome.retry_after.unwrap_or_default());
        drop(rests);
        if let Some(kept) = seat.leaves(|landed| parts.ended(landed)) {
            parts.options.kept(&parts.cache, kept);
        }
        outcome
    };
    runtime.spawn(async move {
        let within = told.options.refresh_within;
        let outcome = timeout(within, work).await;
        let outcome = outcome.unwrap_or_else(|_| Outcome::new(Class::Unavailable));
        drop(refreshing);
        told.options.tell(|| CacheEvent::Refreshed {
            outcome: ledger.total(&outcome),
        });
    });
}

// ===== impl Rests =====

impl<T> Drop for Rests<T> {
    fn drop(&mut self) {
        self.entry.rest(self.wait);
    }
}
