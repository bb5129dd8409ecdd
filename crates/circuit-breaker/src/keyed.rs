use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use buttress_core::{Classify, Refuse, Track};
use tower_layer::Layer;
use tower_service::Service;

use crate::{CircuitBreaker, CircuitEvent, Policy, ResponseFuture, shared::now};

/// One circuit for each key, such as the model or the host of a request, and so many at most.
///
/// When there are as many as may be, a new key takes the place of one that nobody would miss, the
/// longest unused first among those that are looked at: it is closed, or its time to probe passed as
/// long ago as it had waited; no call of it is under way, and nobody has a handle to it. Never of
/// one that is open or forced. If none is found, the call passes without a circuit, and the observer
/// of its key's policy [hears](CircuitEvent::Unguarded) of it.
///
/// Clones are the same circuits.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
/// use buttress_circuit_breaker::{CircuitBreakers, KeyedCircuitBreakerLayer, Policy};
/// use buttress_core::Plain;
///
/// struct Ask {
///     model: String,
/// }
///
/// let many = const { NonZeroUsize::new(1000).unwrap() };
/// let breakers = CircuitBreakers::new(many, |model: &String| Policy::default().name(model));
/// let layer = KeyedCircuitBreakerLayer::new(Plain, &breakers, |ask: &Ask| ask.model.clone());
/// assert!(breakers.get(&String::from("gpt")).is_none());
/// ```
pub struct CircuitBreakers<K> {
    circuits: Arc<Circuits<K>>,
}

/// A [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) with a circuit for each key.
pub struct KeyedCircuitBreakerLayer<P, K, F> {
    protocol: P,
    breakers: CircuitBreakers<K>,
    key: F,
}

/// The service that [`KeyedCircuitBreakerLayer`] makes.
///
/// It is ready when the inner service is, since it learns the key with the request. A call that it
/// refuses leaves the inner service ready.
pub struct KeyedCircuitBreakerService<P, S, K, F> {
    inner: S,
    protocol: P,
    breakers: CircuitBreakers<K>,
    key: F,
}

struct Circuits<K> {
    max: NonZeroUsize,
    policy: Box<dyn Fn(&K) -> Policy + Send + Sync>,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    index: HashMap<K, usize>,
    slots: Vec<Slot<K>>,
    /// Where the search for one to forget goes on.
    hand: usize,
}

struct Slot<K> {
    key: K,
    breaker: CircuitBreaker,
    /// Since the search came by.
    used: bool,
}

/// So many circuits are looked at for one that can be forgotten, so that a new key costs no more
/// when all of them are open.
const SEARCH: usize = 64;

// ===== impl CircuitBreakers =====

impl<K> CircuitBreakers<K> {
    /// None yet, and at most `max`. `policy` makes the policy of a new key, outside of any lock.
    #[must_use]
    pub fn new<F>(max: NonZeroUsize, policy: F) -> Self
    where
        F: Fn(&K) -> Policy + Send + Sync + 'static,
    {
        Self {
            circuits: Arc::new(Circuits {
                max,
                policy: Box::new(policy),
                table: Mutex::new(Table {
                    index: HashMap::new(),
                    slots: Vec::new(),
                    hand: 0,
                }),
            }),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        // Only a key's own code can panic in there: at worst, its circuit is not found again.
        self.circuits
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> CircuitBreakers<K> {
    /// The circuit of this key, if there is one. It is not forgotten as long as the handle lives.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<CircuitBreaker> {
        let table = self.table();
        let at = *table.index.get(key)?;
        Some(table.slots[at].breaker.clone())
    }

    /// All of them. They are not forgotten as long as the handles live.
    #[must_use]
    pub fn all(&self) -> Vec<(K, CircuitBreaker)> {
        let table = self.table();
        let slots = table.slots.iter();
        slots
            .map(|slot| (slot.key.clone(), slot.breaker.clone()))
            .collect()
    }

    /// The circuit for a call, made if there is none; or `None`, if there is no room for it.
    fn enter(&self, key: K) -> Option<CircuitBreaker> {
        if let Some(breaker) = self.table().enter(&key) {
            return Some(breaker);
        }
        let policy = (self.circuits.policy)(&key);
        let observer = policy.observer.clone();
        let fresh = CircuitBreaker::new(policy);
        let found = self.table().insert(key, fresh, self.circuits.max);
        if found.is_none()
            && let Some(observer) = observer
        {
            observer(&CircuitEvent::Unguarded {
                circuits: self.circuits.max.get(),
            });
        }
        found
    }
}

impl<K> Clone for CircuitBreakers<K> {
    fn clone(&self) -> Self {
        Self {
            circuits: Arc::clone(&self.circuits),
        }
    }
}

impl<K> fmt::Debug for CircuitBreakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakers")
            .field("len", &self.len())
            .field("max", &self.circuits.max)
            .finish()
    }
}

// ===== impl Table =====

impl<K: Hash + Eq + Clone> Table<K> {
    fn enter(&mut self, key: &K) -> Option<CircuitBreaker> {
        let slot = &mut self.slots[*self.index.get(key)?];
        slot.used = true;
        Some(slot.breaker.clone())
    }

    fn insert(
        &mut self,
        key: K,
        breaker: CircuitBreaker,
        max: NonZeroUsize,
    ) -> Option<CircuitBreaker> {
        // Another thread may have been faster.
        if let Some(breaker) = self.enter(&key) {
            return Some(breaker);
        }
        let slot = Slot {
            key: key.clone(),
            breaker: breaker.clone(),
            // One that is used once goes before those that are used again.
            used: false,
        };
        let at = if self.slots.len() < max.get() {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let at = self.forgettable()?;
            let old = std::mem::replace(&mut self.slots[at], slot);
            self.index.remove(&old.key);
            at
        };
        self.index.insert(key, at);
        Some(breaker)
    }

    /// The next one that nobody would miss, and that was not used since the hand last came by.
    fn forgettable(&mut self) -> Option<usize> {
        let now = now();
        let mut used = None;
        for _ in 0..self.slots.len().min(SEARCH) {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len();
            let slot = &mut self.slots[at];
            if !slot.breaker.is_idle(now) {
                continue;
            }
            if !std::mem::take(&mut slot.used) {
                return Some(at);
            }
            used = used.or(Some(at));
        }
        // All that can be forgotten were used not long ago.
        used
    }
}

// ===== impl KeyedCircuitBreakerLayer =====

impl<P, K, F> KeyedCircuitBreakerLayer<P, K, F> {
    /// Asks `key` of each request to which of the circuits it belongs. `protocol` is as for
    /// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer::new).
    #[must_use]
    pub fn new<Req>(protocol: P, breakers: &CircuitBreakers<K>, key: F) -> Self
    where
        F: Fn(&Req) -> K,
    {
        Self {
            protocol,
            breakers: breakers.clone(),
            key,
        }
    }
}

impl<P: Clone, K, F: Clone, S> Layer<S> for KeyedCircuitBreakerLayer<P, K, F> {
    type Service = KeyedCircuitBreakerService<P, S, K, F>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuitBreakerService {
            inner,
            protocol: self.protocol.clone(),
            breakers: self.breakers.clone(),
            key: self.key.clone(),
        }
    }
}

impl<P: Clone, K, F: Clone> Clone for KeyedCircuitBreakerLayer<P, K, F> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            breakers: self.breakers.clone(),
            key: self.key.clone(),
        }
    }
}

impl<P, K, F> fmt::Debug for KeyedCircuitBreakerLayer<P, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer")
            .field("breakers", &self.breakers)
            .finish_non_exhaustive()
    }
}

// ===== impl KeyedCircuitBreakerService =====

impl<P, S, K, F> KeyedCircuitBreakerService<P, S, K, F> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the circuits.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, S, K, F, Req> Service<Req> for KeyedCircuitBreakerService<P, S, K, F>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Refuse<S::Response, S::Error> + Clone,
    K: Hash + Eq + Clone,
    F: Fn(&Req) -> K,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        let Some(breaker) = self.breakers.enter((self.key)(&request)) else {
            return ResponseFuture::unguarded(self.inner.call(request), protocol);
        };
        ResponseFuture::of(&breaker, protocol, || self.inner.call(request))
    }
}

impl<P: Clone, S: Clone, K, F: Clone> Clone for KeyedCircuitBreakerService<P, S, K, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            protocol: self.protocol.clone(),
            breakers: self.breakers.clone(),
            key: self.key.clone(),
        }
    }
}

impl<P, S: fmt::Debug, K, F> fmt::Debug for KeyedCircuitBreakerService<P, S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerService")
            .field("inner", &self.inner)
            .field("breakers", &self.breakers)
            .finish_non_exhaustive()
    }
}
