//! One call for all who ask the same at once, and its reply for all who ask later.

use std::{
    collections::HashMap,
    future::poll_fn,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use buttress_core::{
    CallInfo, Carry, Class, Classify, Completion, Ledger, Outcome, Reason, Refuse, Refused, Report,
    Share, Track, settle,
};
use tower_service::Service;

pub struct Cache<P: Share<Res>, S, Req, Res, E, K> {
    protocol: P,
    inner: S,
    key: fn(&Req) -> K,
    table: Table<K, P::Shared, E>,
}

pub struct ResponseFuture<P: Share<Res>, Res, E, K> {
    protocol: P,
    entry: Option<Entry<P::Shared, E>>,
    key: K,
    table: Table<K, P::Shared, E>,
    payer: Option<Ledger>,
}

type Table<K, T, E> = Arc<Mutex<HashMap<K, Stored<T, E>>>>;

enum Stored<T, E> {
    // The flight belongs to its waiters: it is cancelled when the last has left.
    Flying(Weak<Flight<T, E>>),
    Landed(T),
}

enum Entry<T, E> {
    Hit(T),
    Flight(Arc<Flight<T, E>>),
}

struct Flight<T, E> {
    state: Mutex<State<T, E>>,
    waiters: Arc<Waiters>,
    ledger: Ledger,
    paid: AtomicBool,
}

type Call<T, E> = Pin<Box<dyn Future<Output = Result<T, (Outcome, E)>> + Send>>;

enum State<T, E> {
    Flying(Call<T, E>),
    Landed(T),
    Failed(Outcome),
}

/// Wakes everybody who waits, whoever polled last.
#[derive(Default)]
struct Waiters(Mutex<Vec<Waker>>);

/// Keeps the flight alive until its reply has passed, and stores it if it was whole.
struct Keep<P: Share<Res>, Res, E, K: Eq + Hash> {
    protocol: P,
    shared: P::Shared,
    key: Option<K>,
    table: Table<K, P::Shared, E>,
    flight: Arc<Flight<P::Shared, E>>,
    payer: Option<Ledger>,
}

// Nothing in it is pinned: the flight pins its call itself.
impl<P: Share<Res>, Res, E, K> Unpin for ResponseFuture<P, Res, E, K> {}

impl<P: Share<Res>, S, Req, Res, E, K> Cache<P, S, Req, Res, E, K> {
    pub fn new(protocol: P, key: fn(&Req) -> K, inner: S) -> Self {
        Self {
            protocol,
            inner,
            key,
            table: Arc::default(),
        }
    }
}

impl<P: Share<Res> + Clone, S: Clone, Req, Res, E, K> Clone for Cache<P, S, Req, Res, E, K> {
    fn clone(&self) -> Self {
        let Self {
            protocol,
            inner,
            key,
            table,
        } = self;
        Self {
            protocol: protocol.clone(),
            inner: inner.clone(),
            key: *key,
            table: table.clone(),
        }
    }
}

impl<P, S, Req, Res, E, K> Service<Req> for Cache<P, S, Req, Res, E, K>
where
    S: Service<Req, Response = Res, Error = E> + Clone + Send + 'static,
    S::Future: Send,
    Req: Send + 'static,
    P: Share<Res, Shared: Send> + Carry<Req> + Classify<Res, E> + Track<Res> + Refuse<Res, E>,
    P: Clone + Send + Sync + 'static,
    K: Eq + Hash + Clone + Send + 'static,
    Res: 'static,
    E: Send + 'static,
{
    type Response = Res;
    type Error = E;
    type Future = ResponseFuture<P, Res, E, K>;

    // A hit must not wait for a busy inner service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let (protocol, key, table) = (
            self.protocol.clone(),
            (self.key)(&request),
            self.table.clone(),
        );
        let payer = protocol.info(&request).ledger.clone();
        let mut entries = table.lock().unwrap();
        let entry = match entries.get(&key) {
            Some(Stored::Landed(shared)) => Some(Entry::Hit(shared.clone())),
            Some(Stored::Flying(flight)) => flight.upgrade().map(Entry::Flight),
            None => None,
        };
        let entry = entry.unwrap_or_else(|| {
            // A shared flight carries no caller's deadline or priority, and a ledger of its own.
            let ledger = Ledger::new();
            let mut info = CallInfo::new();
            info.ledger = Some(ledger.clone());
            protocol.set_info(&mut request, info);
            let (mut service, protocol) = (self.inner.clone(), protocol.clone());
            let call = async move {
                let result = match poll_fn(|cx| service.poll_ready(cx)).await {
                    Ok(()) => service.call(request).await,
                    Err(error) => Err(error),
                };
                let outcome = protocol.classify(result.as_ref());
                match result {
                    Ok(response) => Ok(protocol.share(response, &outcome)),
                    Err(error) => Err((outcome, error)),
                }
            };
            let state = Mutex::new(State::Flying(Box::pin(call)));
            let flight = Flight {
                state,
                waiters: Arc::default(),
                ledger,
                paid: AtomicBool::new(false),
            };
            let flight = Arc::new(flight);
            entries.insert(key.clone(), Stored::Flying(Arc::downgrade(&flight)));
            Entry::Flight(flight)
        });
        drop(entries);
        ResponseFuture {
            protocol,
            entry: Some(entry),
            key,
            table,
            payer,
        }
    }
}

impl<P, Res, E, K> Future for ResponseFuture<P, Res, E, K>
where
    P: Share<Res, Shared: Send> + Classify<Res, E> + Track<Res> + Refuse<Res, E>,
    P: Clone + Send + Sync + 'static,
    K: Eq + Hash + Clone + Send + 'static,
    Res: 'static,
    E: Send + 'static,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let flight = match &this.entry {
            Some(Entry::Hit(shared)) => return Poll::Ready(Ok(this.protocol.open(shared))),
            Some(Entry::Flight(flight)) => flight,
            None => panic!("polled after completion"),
        };
        let shared = match ready!(flight.poll(cx)) {
            Ok(shared) => shared,
            Err((_, Some(error))) => return Poll::Ready(Err(error)),
            Err((outcome, None)) => {
                let refused = Refused::new(Reason::Coalesced).with_class(outcome.class);
                return Poll::Ready(this.protocol.refuse(refused));
            }
        };
        let mut result = Ok(this.protocol.open(&shared));
        let keep = Keep {
            protocol: this.protocol.clone(),
            shared,
            key: Some(this.key.clone()),
            table: this.table.clone(),
            flight: flight.clone(),
            payer: this.payer.take(),
        };
        settle(&this.protocol, &mut result, Completion::new(keep));
        Poll::Ready(result)
    }
}

// The last one to leave cancels the flight, and pays for what it has used.
impl<P: Share<Res>, Res, E, K> Drop for ResponseFuture<P, Res, E, K> {
    fn drop(&mut self) {
        if let Some(Entry::Flight(flight)) = self.entry.take()
            && let Some(Flight { state, ledger, .. }) = Arc::into_inner(flight)
            && let Some(payer) = &self.payer
        {
            drop(state);
            payer.absorb(&ledger);
        }
    }
}

impl<T: Clone, E> Flight<T, E> {
    /// Whoever polls drives. The error goes to the one who was first to see it.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T, (Outcome, Option<E>)>> {
        self.waiters.0.lock().unwrap().push(cx.waker().clone());
        let mut state = self.state.lock().unwrap();
        let landed = match &mut *state {
            State::Landed(shared) => return Poll::Ready(Ok(shared.clone())),
            State::Failed(outcome) => return Poll::Ready(Err((*outcome, None))),
            State::Flying(call) => {
                let waker = Waker::from(self.waiters.clone());
                ready!(call.as_mut().poll(&mut Context::from_waker(&waker)))
            }
        };
        self.waiters.wake_by_ref();
        Poll::Ready(match landed {
            Ok(shared) => {
                *state = State::Landed(shared.clone());
                Ok(shared)
            }
            Err((outcome, error)) => {
                *state = State::Failed(outcome);
                Err((outcome, Some(error)))
            }
        })
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiters = std::mem::take(&mut *self.0.lock().unwrap());
        waiters.into_iter().for_each(Waker::wake);
    }
}

impl<P, Res, E, K> Report for Keep<P, Res, E, K>
where
    P: Share<Res>,
    K: Eq + Hash,
{
    fn report(&mut self, outcome: &Outcome) {
        let pays =
            outcome.class != Class::Cancelled && outcome.usage.is_none_or(|usage| usage.billed);
        if pays
            && !self.flight.paid.swap(true, Ordering::Relaxed)
            && let Some(payer) = &self.payer
        {
            payer.absorb(&self.flight.ledger);
        }
        let ended = self.protocol.ended(&self.shared);
        if let (Some(Class::Success), Some(key)) =
            (ended.map(|outcome| outcome.class), self.key.take())
        {
            self.table
                .lock()
                .unwrap()
                .insert(key, Stored::Landed(self.shared.clone()));
        }
    }
}
