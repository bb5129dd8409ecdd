//! Small layers that get one thing wrong each.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

// ===== Count =====

/// Counts the calls that ended, one way or another.
#[derive(Clone)]
pub(crate) struct CountLayer {
    count: Arc<AtomicU64>,
    flaw: Miscount,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miscount {
    None,
    /// A dropped call is not counted.
    Never,
    /// A dropped call is counted by two guards.
    Twice,
}

#[derive(Clone)]
pub(crate) struct Count<S> {
    inner: S,
    count: Arc<AtomicU64>,
    flaw: Miscount,
}

pub(crate) struct CountFuture<F> {
    future: Pin<Box<F>>,
    count: Arc<AtomicU64>,
    flaw: Miscount,
    ended: bool,
}

impl CountLayer {
    pub(crate) fn new(count: &Arc<AtomicU64>) -> Self {
        Self::flawed(count, Miscount::None)
    }

    pub(crate) fn flawed(count: &Arc<AtomicU64>, flaw: Miscount) -> Self {
        let count = Arc::clone(count);
        Self { count, flaw }
    }
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        let count = Arc::clone(&self.count);
        let flaw = self.flaw;
        Count { inner, count, flaw }
    }
}

impl<S: Service<Req>, Req> Service<Req> for Count<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = CountFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        CountFuture {
            future: Box::pin(self.inner.call(request)),
            count: Arc::clone(&self.count),
            flaw: self.flaw,
            ended: false,
        }
    }
}

impl<F: Future> Future for CountFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let output = ready!(self.future.as_mut().poll(cx));
        self.ended = true;
        self.count.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(output)
    }
}

impl<F> Drop for CountFuture<F> {
    fn drop(&mut self) {
        let counted = match (self.ended, self.flaw) {
            (true, _) | (_, Miscount::Never) => 0,
            (_, Miscount::None) => 1,
            (_, Miscount::Twice) => 2,
        };
        self.count.fetch_add(counted, Ordering::Relaxed);
    }
}

// ===== Lock =====

/// Looks at shared state in a `match` whose guard lives to the end of the arms.
#[derive(Clone)]
pub(crate) struct LockLayer {
    open: Arc<Mutex<bool>>,
}

#[derive(Clone)]
pub(crate) struct Lock<S> {
    inner: S,
    open: Arc<Mutex<bool>>,
}

impl LockLayer {
    pub(crate) fn new() -> Self {
        let open = Arc::new(Mutex::new(false));
        Self { open }
    }
}

impl<S> Layer<S> for LockLayer {
    type Service = Lock<S>;

    fn layer(&self, inner: S) -> Lock<S> {
        let open = Arc::clone(&self.open);
        Lock { inner, open }
    }
}

impl<S> Service<u64> for Lock<S>
where
    S: Service<u64, Error = BoxError, Response: Send + 'static, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u64) -> Self::Future {
        match *self.open.lock().unwrap() {
            true => Box::pin(async { Err("open".into()) }),
            false => Box::pin(self.inner.call(request)),
        }
    }
}

impl<S> Drop for Lock<S> {
    fn drop(&mut self) {
        drop(self.open.lock().unwrap());
    }
}

// ===== Spawn =====

/// Runs the inner call in a task that nobody ends, and readies the inner service there, or not.
#[derive(Clone, Copy)]
pub(crate) struct SpawnLayer {
    pub(crate) readies: bool,
}

#[derive(Clone)]
pub(crate) struct Spawn<S> {
    inner: S,
    readies: bool,
}

impl<S> Layer<S> for SpawnLayer {
    type Service = Spawn<S>;

    fn layer(&self, inner: S) -> Spawn<S> {
        let readies = self.readies;
        Spawn { inner, readies }
    }
}

impl<S> Service<u64> for Spawn<S>
where
    S: Service<u64, Error = BoxError, Response: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.readies {
            true => Poll::Ready(Ok(())),
            false => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let readies = self.readies;
        let task = tokio::spawn(async move {
            if readies {
                poll_fn(|cx| inner.poll_ready(cx)).await?;
            }
            inner.call(request).await
        });
        Box::pin(async move { task.await? })
    }
}

// ===== Baton =====

/// A limit that hands each place to the next in line, and does not ask what became of it.
#[derive(Clone)]
pub(crate) struct BatonLayer {
    line: Arc<Mutex<Line>>,
}

pub(crate) struct Baton<S> {
    inner: S,
    line: Arc<Mutex<Line>>,
    place: Option<Place>,
    ticket: u64,
}

struct Line {
    free: usize,
    tickets: u64,
    waiting: VecDeque<(u64, Waker)>,
    granted: Vec<u64>,
}

struct Place(Arc<Mutex<Line>>);

impl BatonLayer {
    pub(crate) fn new(places: usize) -> Self {
        let line = Line {
            free: places,
            tickets: 0,
            waiting: VecDeque::new(),
            granted: Vec::new(),
        };
        Self {
            line: Arc::new(Mutex::new(line)),
        }
    }
}

impl<S> Layer<S> for BatonLayer {
    type Service = Baton<S>;

    fn layer(&self, inner: S) -> Baton<S> {
        Baton::new(inner, &self.line)
    }
}

impl<S> Baton<S> {
    fn new(inner: S, line: &Arc<Mutex<Line>>) -> Self {
        let ticket = {
            let mut line = line.lock().unwrap();
            line.tickets += 1;
            line.tickets
        };
        Self {
            inner,
            line: Arc::clone(line),
            place: None,
            ticket,
        }
    }
}

impl<S> Service<u64> for Baton<S>
where
    S: Service<u64, Error = BoxError, Response: Send + 'static, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.place.is_none() {
            let mut line = self.line.lock().unwrap();
            let granted = line
                .granted
                .iter()
                .position(|ticket| *ticket == self.ticket);
            if let Some(granted) = granted {
                line.granted.remove(granted);
            } else {
                line.waiting.retain(|(ticket, _)| *ticket != self.ticket);
                if line.free == 0 {
                    line.waiting.push_back((self.ticket, cx.waker().clone()));
                    return Poll::Pending;
                }
                line.free -= 1;
            }
            drop(line);
            self.place = Some(Place(Arc::clone(&self.line)));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let place = self.place.take();
        let call = self.inner.call(request);
        Box::pin(async move {
            let _place = place;
            call.await
        })
    }
}

impl<S: Clone> Clone for Baton<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), &self.line)
    }
}

impl<S> Drop for Baton<S> {
    fn drop(&mut self) {
        let mut line = self.line.lock().unwrap();
        line.waiting.retain(|(ticket, _)| *ticket != self.ticket);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.0.lock().unwrap();
        match line.waiting.pop_front() {
            Some((ticket, waker)) => {
                line.granted.push(ticket);
                drop(line);
                waker.wake();
            }
            None => line.free += 1,
        }
    }
}

// ===== Again =====

/// Polls a future once more than it should.
#[derive(Clone, Copy)]
pub(crate) struct AgainLayer;

#[derive(Clone)]
pub(crate) struct Again<S> {
    inner: S,
}

impl<S> Layer<S> for AgainLayer {
    type Service = Again<S>;

    fn layer(&self, inner: S) -> Again<S> {
        Again { inner }
    }
}

impl<S> Service<u64> for Again<S>
where
    S: Service<u64, Error = BoxError, Response: Send + 'static, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let mut call = Box::pin(self.inner.call(request));
        Box::pin(poll_fn(move |cx| {
            let output = ready!(call.as_mut().poll(cx));
            let _ = call.as_mut().poll(cx);
            Poll::Ready(output)
        }))
    }
}

// ===== Allowance =====

/// Admits so many calls, ever; decides in its future, and readies the inner service after that, or
/// before.
#[derive(Clone)]
pub(crate) struct AllowanceLayer {
    left: Arc<AtomicUsize>,
    readies_first: bool,
}

#[derive(Clone)]
pub(crate) struct Allowance<S> {
    inner: S,
    layer: AllowanceLayer,
}

impl AllowanceLayer {
    pub(crate) fn new(calls: usize, readies_first: bool) -> Self {
        let left = Arc::new(AtomicUsize::new(calls));
        Self {
            left,
            readies_first,
        }
    }
}

impl<S> Layer<S> for AllowanceLayer {
    type Service = Allowance<S>;

    fn layer(&self, inner: S) -> Allowance<S> {
        let layer = self.clone();
        Allowance { inner, layer }
    }
}

impl<S> Service<u64> for Allowance<S>
where
    S: Service<u64, Error = BoxError, Response: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<S::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let AllowanceLayer {
            left,
            readies_first,
        } = self.layer.clone();
        Box::pin(async move {
            if readies_first {
                poll_fn(|cx| inner.poll_ready(cx)).await?;
            }
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map_err(|_| "used up")?;
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        })
    }
}

// ===== Park =====

/// Keeps readied instances of dropped services and futures for others.
pub(crate) struct ParkLayer<S> {
    parked: Arc<Mutex<Vec<S>>>,
    eager: bool,
}

pub(crate) struct Park<S> {
    inner: Option<S>,
    parked: Arc<Mutex<Vec<S>>>,
    /// The next instance is readied while a call is in flight.
    eager: bool,
}

pub(crate) struct ParkFuture<S: Service<u64>> {
    call: Pin<Box<S::Future>>,
    next: Park<S>,
}

impl<S> ParkLayer<S> {
    pub(crate) fn new(eager: bool) -> Self {
        let parked = Arc::default();
        Self { parked, eager }
    }
}

impl<S> Layer<S> for ParkLayer<S> {
    type Service = Park<S>;

    fn layer(&self, inner: S) -> Park<S> {
        Park {
            inner: Some(inner),
            parked: Arc::clone(&self.parked),
            eager: self.eager,
        }
    }
}

impl<S> Service<u64> for Park<S>
where
    S: Service<u64, Error = BoxError> + Clone + Unpin,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ParkFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner
            .as_mut()
            .expect("until it is dropped")
            .poll_ready(cx)
    }

    fn call(&mut self, request: u64) -> Self::Future {
        let mut next = self.clone();
        mem::swap(&mut next.inner, &mut self.inner);
        let inner = next.inner.as_mut().expect("until it is dropped");
        let call = Box::pin(inner.call(request));
        ParkFuture { call, next }
    }
}

impl<S: Clone> Clone for Park<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            parked: Arc::clone(&self.parked),
            eager: self.eager,
        }
    }
}

impl<S> Drop for Park<S> {
    fn drop(&mut self) {
        self.parked.lock().unwrap().extend(self.inner.take());
    }
}

impl<S: Service<u64, Error = BoxError> + Clone + Unpin> Future for ParkFuture<S> {
    type Output = Result<S::Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.next.eager {
            let _ = self.next.poll_ready(cx)?;
        }
        self.call.as_mut().poll(cx)
    }
}
