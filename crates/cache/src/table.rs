//! The flights under way, by their keys.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use buttress_core::Ledger;

use crate::{
    Keyed, Tag,
    entry::Unhashed,
    flight::{Flight, Stage, State},
    waiters::Asleep,
};

pub(crate) struct Table<T> {
    shards: Box<[Shard<T>]>,
}

pub(crate) struct Shard<T> {
    /// How many flights have landed. Whoever finds neither an entry nor a flight looks again if
    /// this has changed meanwhile.
    landed: AtomicU64,
    flights: Mutex<Flights<T>>,
}

pub(crate) type Flights<T> = HashMap<u128, Arc<Flight<T>>, Unhashed>;

/// What becomes of one who asks.
pub(crate) enum Joined<T> {
    /// Has to make the call.
    Leads(Arc<Flight<T>>),
    /// Has a seat.
    Follows(Arc<Flight<T>>),
    /// Has no seat: the reply cannot be read from its beginning any more, or the call is being
    /// cancelled.
    Behind(Arc<Flight<T>>),
    /// Has to look again.
    Landed,
}

// ===== impl Table =====

impl<T> Table<T> {
    const SHARDS: usize = 64;

    pub(crate) fn new() -> Self {
        let shard = |_| Shard {
            landed: AtomicU64::new(0),
            flights: Mutex::default(),
        };
        Self {
            shards: (0..Self::SHARDS).map(shard).collect(),
        }
    }

    pub(crate) fn shard(&self, key: u128) -> &Shard<T> {
        &self.shards[(key >> 32) as usize % Self::SHARDS]
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Lets go of all flights that `which` says.
    pub(crate) fn void(&self, which: impl Fn(&Flight<T>) -> bool) {
        for shard in &self.shards {
            let mut gone = Vec::new();
            shard.lock().retain(|_, flight| {
                let goes = which(flight);
                if goes {
                    gone.push(flight.clone());
                }
                !goes
            });
            for flight in gone {
                flight.void();
            }
        }
    }

    pub(crate) fn void_tag(&self, tag: Tag) {
        self.void(|flight| flight.keyed.all_tags().contains(tag));
    }
}

// ===== impl Shard =====

impl<T> Shard<T> {
    pub(crate) fn landed(&self) -> u64 {
        self.landed.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Flights<T>> {
        // Nothing that can panic leaves it half-way.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flight of its own, if there is none of this key.
    pub(crate) fn lead(&self, keyed: Keyed, landed: u64) -> Option<Arc<Flight<T>>> {
        match self.lock().entry(keyed.hash()) {
            hash_map::Entry::Vacant(place) if self.landed() == landed => {
                let flight = Arc::new(Flight::new(keyed, None));
                place.insert(flight.clone());
                Some(flight)
            }
            _ => None,
        }
    }

    /// A seat in the flight of this key, or in a new one. `landed` is what it said before the entries
    /// were looked at.
    pub(crate) fn join(
        &self,
        keyed: Keyed,
        landed: u64,
        reopens: impl FnOnce(&T) -> bool,
        ledger: impl FnOnce() -> Option<Ledger>,
    ) -> Joined<T> {
        match self.lock().entry(keyed.hash()) {
            hash_map::Entry::Occupied(found) => {
                let flight = found.get().clone();
                let mut state = flight.lock();
                let behind = match &state.stage {
                    Stage::Landed(landed) => !reopens(&landed.shared),
                    Stage::Gone => true,
                    Stage::Out | Stage::Call(_) | Stage::Failed(..) => false,
                };
                if behind {
                    drop(state);
                    return Joined::Behind(flight);
                }
                state.seats += 1;
                drop(state);
                Joined::Follows(flight)
            }
            hash_map::Entry::Vacant(_) if self.landed() != landed => Joined::Landed,
            hash_map::Entry::Vacant(place) => {
                let flight = Arc::new(Flight::new(keyed, ledger()));
                place.insert(flight.clone());
                Joined::Leads(flight)
            }
        }
    }

    /// Its reply is over, or everybody has left: nobody joins it any more.
    pub(crate) fn close(
        &self,
        flights: &mut Flights<T>,
        flight: &Arc<Flight<T>>,
        state: &mut State<T>,
    ) -> Asleep {
        state.closed = true;
        // After one that was invalidated there may be another.
        if let hash_map::Entry::Occupied(found) = flights.entry(flight.keyed.hash())
            && Arc::ptr_eq(found.get(), flight)
        {
            found.remove();
        }
        self.landed.fetch_add(1, Ordering::Release);
        state.waiters.take()
    }

    /// Lets go of the flight of this key.
    pub(crate) fn void(&self, key: u128) {
        let flight = self.lock().remove(&key);
        if let Some(flight) = flight {
            flight.void();
        }
    }
}
