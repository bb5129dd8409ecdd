use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{
    CacheStatus, Cached, CallInfo, Carry, Class, Classify, Ledger, Outcome, Reason, Refuse,
    Refused, Share, Track, settle,
};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    CacheKey, Flavours, Lifetime,
    cache::Look,
    call::{Asks, call},
    direct::Direct,
    flight::{Flight, Found},
    parts::Parts,
    refresh::refresh,
    seat::{Reading, Seat},
    table::Joined,
    waiters::Place,
};

pin_project! {
    /// The future of [`CacheService`](crate::CacheService).
    pub struct ResponseFuture<P, K, T, S, L, V, Req>
    where
        S: Service<Req>,
        V: Flavours<Req, S::Response>,
        T: Clone,
        T: Send,
        T: Sync,
        T: 'static,
    {
        parts: Arc<Parts<P, K, L, V, T>>,
        state: State<T, S, V::Wanted, Req, S::Response, S::Error>,
        #[pin]
        direct: Option<Direct<S, Req>>,
    }

    impl<P, K, T, S, L, V, Req> PinnedDrop for ResponseFuture<P, K, T, S, L, V, Req>
    where
        S: Service<Req>,
        V: Flavours<Req, S::Response>,
        T: Clone,
        T: Send,
        T: Sync,
        T: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !matches!(this.state, State::Ready(_) | State::Done) {
                this.parts.dropped();
            }
        }
    }
}

enum State<T: Clone + Send + Sync + 'static, S, W, Req, Res, E> {
    /// What it comes to is known.
    Ready(Result<Res, E>),
    /// It leaves the cache out.
    Direct,
    /// It has a seat in a flight.
    Waits(Waits<T, S, W, Req>),
    /// It waits for one to end that it cannot join.
    Behind(Behind<T>, S, Req),
    Done,
}

struct Waits<T: Clone + Send + Sync + 'static, S, W, Req> {
    seat: Seat<T>,
    wanted: W,
    as_who: Who<S, Req>,
}

enum Who<S, Req> {
    Leader,
    /// With what it takes to make the call itself.
    Heir(S, Req),
    Follower,
}

struct Behind<T> {
    flight: Arc<Flight<T>>,
    place: Option<Place>,
}

type Begun<T, S, V, Req> = (
    State<
        T,
        S,
        <V as Flavours<Req, <S as Service<Req>>::Response>>::Wanted,
        Req,
        <S as Service<Req>>::Response,
        <S as Service<Req>>::Error,
    >,
    Option<Direct<S, Req>>,
);

// ===== impl ResponseFuture =====

impl<P, K, T, S, L, V, Req> ResponseFuture<P, K, T, S, L, V, Req>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Req: Send + 'static,
    P: Share<S::Response, Shared = T>
        + Carry<Req>
        + Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Send
        + Sync
        + 'static,
    K: CacheKey<Req> + Send + Sync + 'static,
    L: Lifetime<S::Response> + Send + Sync + 'static,
    V: Flavours<Req, S::Response> + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    #[inline]
    pub(crate) fn new(parts: Arc<Parts<P, K, L, V, T>>, service: &S, request: Req) -> Self {
        let (state, direct) = Self::begin(&parts, service, request);
        Self {
            parts,
            state,
            direct,
        }
    }

    #[inline]
    fn begin(parts: &Arc<Parts<P, K, L, V, T>>, service: &S, request: Req) -> Begun<T, S, V, Req> {
        let asked = parts
            .key
            .key(&request)
            .map(|keyed| (keyed, parts.key.directives(&request)));
        let Some((keyed, directives)) = asked.filter(|(_, directives)| !directives.no_store) else {
            return (State::Direct, Some(Direct::new(service.clone(), request)));
        };
        let wanted = parts.flavours.wanted(&request);
        let asks_below =
            !directives.no_cache && directives.max_age.is_none() && parts.cache.level().is_some();
        let shard = parts.cache.table().shard(keyed.hash());
        loop {
            let landed = shard.landed();
            let fallback = match parts.cache.look(&keyed, &directives) {
                Look::Fresh(entry, age) => {
                    let response = parts.serve::<Req, _>(&entry, wanted, CacheStatus::Hit, age);
                    return (State::Ready(Ok(response)), None);
                }
                Look::Stale(entry, age) => {
                    refresh(parts, keyed, (&entry, age), landed, service, request);
                    let response = parts.serve::<Req, _>(&entry, wanted, CacheStatus::Stale, age);
                    return (State::Ready(Ok(response)), None);
                }
                Look::Nothing(fallback) => fallback,
            };
            if directives.only_if_cached {
                parts.not_cached();
                let refused = parts.protocol.refuse(Refused::new(Reason::NotCached));
                return (State::Ready(refused), None);
            }
            // The flight has a ledger of its own, if anybody wants to know what is in it.
            let CallInfo {
                ledger: payer,
                retried,
                ..
            } = parts.protocol.info(&request).clone();
            let ledger = || payer.as_ref().map(|_| Ledger::new());
            let reopens = |shared: &T| parts.protocol.reopens(shared);
            let seat = |flight| Seat::new(parts.cache.clone(), flight, payer.clone());
            let state = match shard.join(keyed, landed, reopens, ledger) {
                Joined::Landed => continue,
                Joined::Behind(flight) => {
                    let behind = Behind {
                        flight,
                        place: None,
                    };
                    State::Behind(behind, service.clone(), request)
                }
                Joined::Follows(flight) => State::Waits(Waits {
                    seat: seat(flight),
                    wanted,
                    as_who: match parts.options.next_waiter_tries {
                        true => Who::Heir(service.clone(), request),
                        false => Who::Follower,
                    },
                }),
                Joined::Leads(flight) => {
                    let seat = seat(flight.clone());
                    flight.begin(|| {
                        let mut request = request;
                        let mut info = CallInfo::new();
                        info.ledger = flight.ledger.clone();
                        // Who asks the same comes by the same retry, if there is one outside.
                        info.retried = retried;
                        parts.protocol.set_common(&mut request, info);
                        let asks = Asks {
                            fallback,
                            for_leader: true,
                            level: asks_below.then(|| keyed.hash()),
                        };
                        call(parts.clone(), service.clone(), request, asks)
                    });
                    State::Waits(Waits {
                        seat,
                        wanted,
                        as_who: Who::Leader,
                    })
                }
            };
            return (state, None);
        }
    }

    /// The reply has come: this caller's copy of it.
    fn delivers(
        parts: &Arc<Parts<P, K, L, V, T>>,
        waits: Waits<T, S, V::Wanted, Req>,
        shared: &T,
        cached: Cached,
    ) -> Result<S::Response, S::Error> {
        if matches!(cached.status, CacheStatus::Hit | CacheStatus::Stale) {
            return Ok(Self::delivers_kept(parts, waits, shared, cached));
        }
        let cached = match (cached.status, waits.as_who) {
            (CacheStatus::Miss, Who::Heir(..) | Who::Follower) => {
                Cached::new(CacheStatus::Coalesced)
            }
            _ => cached,
        };
        let mut result = Ok(parts.protocol.open(shared));
        let reading = Reading::completion(parts.clone(), waits.seat, cached.status);
        settle(&parts.protocol, &mut result, reading);
        result.map(|response| parts.delivers::<Req, _>(response, waits.wanted, cached))
    }

    /// The same of one that is over: its flight ends here, not with the reading of it, or it would
    /// grow no older until then.
    fn delivers_kept(
        parts: &Parts<P, K, L, V, T>,
        mut waits: Waits<T, S, V::Wanted, Req>,
        shared: &T,
        cached: Cached,
    ) -> S::Response {
        let response = parts.protocol.open(shared);
        if let Some(outcome) = parts.protocol.ended(shared) {
            parts.cache.counters().saved(&outcome);
        }
        if let Some(kept) = waits.seat.leaves(|landed| parts.ended(landed)) {
            parts.options.kept(&parts.cache, kept);
        }
        parts.delivers::<Req, _>(response, waits.wanted, cached)
    }

    /// There is only an error, which means this.
    fn fails(
        parts: &Parts<P, K, L, V, T>,
        error: Option<S::Error>,
        outcome: &Outcome,
        leads: bool,
    ) -> Result<S::Response, S::Error> {
        let status = match leads {
            true => CacheStatus::Miss,
            false => CacheStatus::Coalesced,
        };
        parts.failed(status, outcome.class, leads);
        if let Some(error) = error {
            return Err(error);
        }
        let refused = Refused::new(Reason::Coalesced).with_class(outcome.class);
        parts.protocol.refuse(match outcome.retry_after {
            Some(wait) => refused.with_retry_after(wait),
            None => refused,
        })
    }
}

impl<P, K, T, S, L, V, Req> Future for ResponseFuture<P, K, T, S, L, V, Req>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Req: Send + 'static,
    P: Share<S::Response, Shared = T>
        + Carry<Req>
        + Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Send
        + Sync
        + 'static,
    K: CacheKey<Req> + Send + Sync + 'static,
    L: Lifetime<S::Response> + Send + Sync + 'static,
    V: Flavours<Req, S::Response> + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let again = match this.state {
                State::Ready(_) => {
                    let State::Ready(result) = mem::replace(this.state, State::Done) else {
                        unreachable!("it was, a moment ago")
                    };
                    return Poll::Ready(result);
                }
                State::Direct => {
                    let Some(direct) = this.direct.as_mut().as_pin_mut() else {
                        panic!("polled after its end")
                    };
                    let mut result = ready!(direct.poll(cx));
                    this.direct.set(None);
                    let cached = Cached::new(CacheStatus::Bypass);
                    match &mut result {
                        Ok(response) => {
                            this.parts.protocol.set_cached(response, cached);
                            this.parts.served(cached);
                        }
                        Err(error) => {
                            let class = this.parts.protocol.classify(Err(error)).class;
                            this.parts.failed(cached.status, class, true);
                        }
                    }
                    return Poll::Ready(result);
                }
                State::Waits(waits) => {
                    let found = ready!(waits.seat.poll(cx));
                    let State::Waits(mut waits) = mem::replace(this.state, State::Done) else {
                        unreachable!("it was, a moment ago")
                    };
                    let outcome = match found {
                        Found::Landed(shared, cached) => {
                            let reply = Self::delivers(this.parts, waits, &shared, cached);
                            return Poll::Ready(reply);
                        }
                        Found::Failed(outcome) => outcome,
                        Found::Gone => Outcome::new(Class::Unavailable),
                    };
                    let leads = matches!(waits.as_who, Who::Leader);
                    let error = leads.then(|| waits.seat.error()).flatten();
                    waits.seat.leaves(|_| None);
                    let error = match waits.as_who {
                        Who::Heir(service, request) => Err((service, request)),
                        Who::Leader | Who::Follower => Ok((error, leads)),
                    };
                    match error {
                        Ok((error, leads)) => {
                            let failed = Self::fails(this.parts, error, &outcome, leads);
                            return Poll::Ready(failed);
                        }
                        Err(again) => again,
                    }
                }
                State::Behind(behind, ..) => {
                    ready!(behind.flight.poll_closed(&mut behind.place, cx));
                    let State::Behind(_, service, request) = mem::replace(this.state, State::Done)
                    else {
                        unreachable!("it was, a moment ago")
                    };
                    (service, request)
                }
                State::Done => panic!("polled after its end"),
            };
            let (state, direct) = Self::begin(this.parts, &again.0, again.1);
            *this.state = state;
            this.direct.set(direct);
        }
    }
}

impl<P, K, T, S, L, V, Req> fmt::Debug for ResponseFuture<P, K, T, S, L, V, Req>
where
    S: Service<Req>,
    V: Flavours<Req, S::Response>,
    T: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ready(_) => "ready",
            State::Direct => "direct",
            State::Waits(_) => "waiting",
            State::Behind(..) => "behind",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{state}"))
            .finish_non_exhaustive()
    }
}

// ===== impl Behind =====

impl<T> Drop for Behind<T> {
    fn drop(&mut self) {
        self.flight.forget(self.place.take());
    }
}
