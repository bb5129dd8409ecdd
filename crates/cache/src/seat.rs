//! The place of one caller in a flight.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{CacheStatus, Class, Completion, Ledger, Outcome, Report, Share};

use crate::{
    Cache,
    cache::Kept,
    flight::{Flight, Found, Landed, Stage},
    parts::Parts,
    waiters::Place,
};

/// One of those to whom a flight belongs. Dropped, it leaves, and the last one cancels the call.
pub(crate) struct Seat<T: Clone + Send + Sync + 'static> {
    cache: Cache<T>,
    flight: Option<Arc<Flight<T>>>,
    place: Option<Place>,
    /// Where what the attempts used is added, if this is who pays.
    payer: Option<Ledger>,
}

/// Keeps a seat until the caller's copy of the reply has ended.
pub(crate) struct Reading<P, K, L, V, T: Clone + Send + Sync + 'static, Res> {
    parts: Arc<Parts<P, K, L, V, T>>,
    seat: Seat<T>,
    status: CacheStatus,
    response: std::marker::PhantomData<fn() -> Res>,
}

// ===== impl Seat =====

impl<T: Clone + Send + Sync + 'static> Seat<T> {
    pub(crate) const fn new(
        cache: Cache<T>,
        flight: Arc<Flight<T>>,
        payer: Option<Ledger>,
    ) -> Self {
        Self {
            cache,
            flight: Some(flight),
            place: None,
            payer,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Found<T>> {
        match &self.flight {
            Some(flight) => flight.poll(&mut self.place, cx),
            None => Poll::Ready(Found::Gone),
        }
    }

    /// The error that the call came to, for the one who made it.
    pub(crate) fn error<E: 'static>(&self) -> Option<E> {
        let error = self.flight.as_ref()?.take_error()?;
        // It is that of the layer that made the flight, and of no other that shares the cache.
        error.downcast().ok().map(|error| *error)
    }

    /// Leaves, saying how the reply ended, if it has. What is kept of it from now on.
    pub(crate) fn leaves(
        &mut self,
        ended: impl FnOnce(&Landed<T>) -> Option<(Outcome, Option<usize>)>,
    ) -> Option<Kept<T>> {
        let flight = self.flight.take()?;
        let left = self.cache.leave(&flight, self.place.take(), ended);
        // The last one pays for what the attempts had used.
        if left.last {
            self.pays(&flight);
        }
        left.kept
    }

    fn landed<U>(&self, look: impl FnOnce(&Landed<T>) -> U) -> Option<U> {
        match &self.flight.as_ref()?.lock().stage {
            Stage::Landed(landed) => Some(look(landed)),
            _ => None,
        }
    }

    fn pays(&self, flight: &Flight<T>) {
        if let (Some(payer), Some(ledger)) = (&self.payer, &flight.ledger)
            && flight.pays()
        {
            payer.absorb(ledger);
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Seat<T> {
    fn drop(&mut self) {
        self.leaves(|_| None);
    }
}

// ===== impl Reading =====

impl<P, K, L, V, T, Res> Reading<P, K, L, V, T, Res>
where
    P: Share<Res, Shared = T>,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) const fn completion(
        parts: Arc<Parts<P, K, L, V, T>>,
        seat: Seat<T>,
        status: CacheStatus,
    ) -> Completion<Self> {
        Completion::new(Self {
            parts,
            seat,
            status,
            response: std::marker::PhantomData,
        })
    }
}

impl<P, K, L, V, T, Res> Report for Reading<P, K, L, V, T, Res>
where
    P: Share<Res, Shared = T>,
    T: Clone + Send + Sync + 'static,
{
    fn report(&mut self, outcome: &Outcome) {
        let Self { parts, seat, .. } = self;
        let billed = outcome.usage.is_none_or(|usage| usage.billed);
        if outcome.class != Class::Cancelled
            && billed
            && let Some(flight) = &seat.flight
        {
            seat.pays(flight);
        }
        if self.status.is_saved() && outcome.class == Class::Success {
            // What the call had cost, which this caller's own copy did not.
            let ended = seat.landed(|landed| parts.protocol.ended(&landed.shared));
            parts
                .cache
                .counters()
                .saved(&ended.flatten().unwrap_or(*outcome));
        }
        if let Some(kept) = seat.leaves(|landed| parts.ended(landed)) {
            parts.options.kept(&parts.cache, kept);
        }
    }
}

// ===== impl Parts =====

impl<P, K, L, V, T: Clone + Send + Sync + 'static> Parts<P, K, L, V, T> {
    /// How a reply ended, if it has, and what it weighs, if it can be kept.
    pub(crate) fn ended<Res>(&self, landed: &Landed<T>) -> Option<(Outcome, Option<usize>)>
    where
        P: Share<Res, Shared = T>,
    {
        let outcome = self.protocol.ended(&landed.shared)?;
        let keeps = landed.keep.is_some() && self.protocol.reopens(&landed.shared);
        Some((
            outcome,
            keeps.then(|| self.options.weight(&self.protocol, &landed.shared)),
        ))
    }
}
