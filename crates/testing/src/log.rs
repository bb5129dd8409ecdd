//! What a provider received, and what became of it.

use std::{
    collections::VecDeque,
    fmt,
    ops::Deref,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use crate::{Billed, Request, Usage};

/// A view of what a provider received. Cloning it is cheap; all clones see the same.
///
/// The provider keeps the last requests only (see
/// [`Provider::remember`](crate::Provider::remember)); counts and totals are of all.
///
/// The `wait_…` methods wait without sleeping, and without a limit: under paused time, or
/// with `tokio::time::timeout`, a test that waits for what never comes ends.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

/// One request that a provider received, and what became of it. Gives the [`Request`] by deref.
pub struct Received {
    number: u64,
    connection: u64,
    at: Instant,
    request: Request,
    fate: Mutex<Fate>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The whole reply was handed to the transport.
    Replied,
    /// The client went away before that, or the provider was dropped.
    Disconnected,
    /// The provider broke off, as its script said.
    BrokenOff,
}

/// The provider's duty to say how a request ended: dropped without, the client went away.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    received: Arc<Received>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Fate {
    status: Option<u16>,
    billed: Billed,
    ended: Option<(Instant, Ending)>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    requests: VecDeque<Arc<Received>>,
    capacity: usize,
    body_capacity: usize,
    body_bytes: usize,
    received: u64,
    ended: u64,
    disconnected: u64,
    most_in_flight: u64,
    limited: u64,
    connections: u64,
    open_connections: u64,
    billed: Billed,
}

// ===== impl Log =====

impl Log {
    pub(crate) fn new(capacity: usize, body_capacity: usize) -> Self {
        let state = State {
            requests: VecDeque::new(),
            capacity,
            body_capacity,
            body_bytes: 0,
            received: 0,
            ended: 0,
            disconnected: 0,
            most_in_flight: 0,
            limited: 0,
            connections: 0,
            open_connections: 0,
            billed: Billed::default(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// The requests that are still remembered, in the order in which they came.
    pub fn requests(&self) -> Vec<Arc<Received>> {
        self.shared.state().requests.iter().cloned().collect()
    }

    /// The request that came last, if it is remembered.
    pub fn last(&self) -> Option<Arc<Received>> {
        self.shared.state().requests.back().cloned()
    }

    /// How many requests came, forgotten ones included.
    pub fn received(&self) -> u64 {
        self.shared.state().received
    }

    /// How many requests are being answered now.
    pub fn in_flight(&self) -> u64 {
        self.shared.state().in_flight()
    }

    /// The most requests that were being answered at the same time.
    pub fn most_in_flight(&self) -> u64 {
        self.shared.state().most_in_flight
    }

    /// How many clients went away before their reply was complete.
    pub fn disconnected(&self) -> u64 {
        self.shared.state().disconnected
    }

    /// How many connections were accepted. Fewer than requests: some were used again.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> u64 {
        self.shared.state().open_connections
    }

    /// How many calls got a 429 because of the provider's own [limit](crate::Provider::limit).
    pub fn limited(&self) -> u64 {
        self.shared.state().limited
    }

    /// What was billed, over all requests.
    pub fn billed(&self) -> Billed {
        self.shared.state().billed
    }

    /// Waits until at least so many requests have come.
    pub async fn wait_for(&self, requests: u64) {
        self.wait_until(|state| state.received >= requests).await;
    }

    /// Waits until no request is being answered.
    pub async fn wait_until_idle(&self) {
        self.wait_until(|state| state.in_flight() == 0).await;
    }

    /// Waits until at least so many clients have gone away before their reply was complete.
    pub async fn wait_for_disconnects(&self, clients: u64) {
        self.wait_until(|state| state.disconnected >= clients).await;
    }

    /// Waits until no connection is open.
    pub async fn wait_until_closed(&self) {
        self.wait_until(|state| state.open_connections == 0).await;
    }

    async fn wait_until(&self, done: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if done(&self.shared.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Writes a request down. `then` runs under the same lock, so that what it decides follows the
    /// order of arrival; it is given the request's number, the first being 1.
    pub(crate) fn receive<R>(
        &self,
        connection: u64,
        request: Request,
        then: impl FnOnce() -> R,
    ) -> (Exchange, R) {
        let mut state = self.shared.state();
        state.received += 1;
        let received = Arc::new(Received {
            number: state.received,
            connection,
            at: Instant::now(),
            request,
            fate: Mutex::default(),
        });
        state.remember(Arc::clone(&received));
        state.most_in_flight = state.most_in_flight.max(state.in_flight());
        let decided = then();
        drop(state);
        self.shared.changed.notify_waiters();
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            received,
            ended: false,
        };
        (exchange, decided)
    }

    pub(crate) fn limited_one(&self) {
        self.shared.state().limited += 1;
    }

    /// Counts a connection; the number is its name, the first being 1.
    pub(crate) fn connected(&self) -> u64 {
        let mut state = self.shared.state();
        state.connections += 1;
        state.open_connections += 1;
        let number = state.connections;
        drop(state);
        self.shared.changed.notify_waiters();
        number
    }

    /// Takes a connection off the count of the open ones.
    pub(crate) fn closed(&self) {
        self.shared.state().open_connections -= 1;
        self.shared.changed.notify_waiters();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.requests();
        f.debug_struct("Log")
            .field("received", &self.received())
            .field("billed", &self.billed())
            .field("requests", &requests)
            .finish()
    }
}

// ===== impl Received =====

impl Received {
    /// Its place in the order of arrival; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which connection it came on; the first is 1. In process: 0.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// When it had come completely, on tokio's clock.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The status that it was answered with, once that is decided. `None` where a fault sent none.
    pub fn status(&self) -> Option<u16> {
        self.fate().status
    }

    /// How it ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.fate().ended.map(|(_, ending)| ending)
    }

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<Instant> {
        self.fate().ended.map(|(at, _)| at)
    }

    /// What was billed for it so far.
    pub fn billed(&self) -> Billed {
        self.fate().billed
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Received {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = self.fate();
        f.debug_struct("Received")
            .field("number", &self.number)
            .field("connection", &self.connection)
            .field("request", &self.request)
            .field("status", &fate.status)
            .field("billed", &fate.billed)
            .field(
                "ended",
                &fate.ended.map(|(at, ending)| (ending, at - self.at)),
            )
            .finish()
    }
}

// ===== impl Exchange =====

impl Exchange {
    pub(crate) fn received(&self) -> &Arc<Received> {
        &self.received
    }

    pub(crate) fn status(&self, status: u16) {
        self.received.fate().status = Some(status);
    }

    /// Bills the call, and its output up to `output` tokens. To be called *before* the bytes go
    /// out, so that whoever has read them finds them on the bill.
    pub(crate) fn bill(&self, usage: Usage, output: u64) {
        let mut state = self.shared.state();
        let mut fate = self.received.fate();
        let had = fate.billed;
        fate.billed = Billed::of(usage, output.max(had.output));
        state.billed += fate.billed - had;
    }

    pub(crate) fn end(mut self, ending: Ending) {
        self.finish(ending);
    }

    fn finish(&mut self, ending: Ending) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.received.fate().ended = Some((Instant::now(), ending));
        let mut state = self.shared.state();
        state.ended += 1;
        state.disconnected += u64::from(ending == Ending::Disconnected);
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(Ending::Disconnected);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exchange").field(&self.received).finish()
    }
}

// ===== impl Shared =====

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl State {
    fn in_flight(&self) -> u64 {
        self.received - self.ended
    }

    fn remember(&mut self, received: Arc<Received>) {
        self.body_bytes += received.body().len();
        self.requests.push_back(received);
        // One request too large to remember beside others is still remembered alone.
        while self.requests.len() > self.capacity
            || (self.body_bytes > self.body_capacity && self.requests.len() > 1)
        {
            let Some(forgotten) = self.requests.pop_front() else {
                break;
            };
            self.body_bytes -= forgotten.body().len();
        }
    }
}
