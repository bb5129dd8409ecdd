//! What a call through the whole stack allocates, layer by layer.
//!
//! Over `Plain` nothing, with the cache or without. Over a tracked body one box for each layer that
//! listens to the end of the reply; what the request carries from layer to layer and its copies come
//! on top, and each is named here.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

#[path = "../crates/metrics/tests/support/count.rs"]
mod count;

use std::{
    alloc::System,
    error::Error,
    fmt,
    future::{Future, Ready, poll_fn, ready},
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::{Fault, Plain, Refused};
use buttress_failover::Failover;
use buttress_http::{Body, BoxError, Http, TrackLayer};
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::{Quotas, Rate, RateLimitLayer};
use buttress_retry::RetryLayer;
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};

use count::{Count, Total};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Ask = Request<Full<Bytes>>;

/// A service over http, as each layer makes it of the one below.
trait Calls:
    Service<Ask, Response = Response<Body<Full<Bytes>>>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Calls for S where
    S: Service<Ask, Response = Response<Body<Full<Bytes>>>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A service that is no HTTP.
trait Answers:
    Service<u32, Response = u32, Error = Failed, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Answers for S where
    S: Service<u32, Response = u32, Error = Failed, Future: Send> + Clone + Send + Sync + 'static
{
}

/// A user's own error.
#[derive(Debug)]
struct Failed(Refused);

const CALLS: usize = 1000;

/// The box of a layer that listens to the end of a reply.
const LISTENS: usize = 1;
/// The extensions of a request in which layers say something to those inside: themselves, their table,
/// and what it holds.
const CARRIED: usize = 3;
/// They are copied with their request.
const COPIED: usize = CARRIED;
/// Where attempts that are given up are added, shared by all copies.
const LEDGER: usize = 1;

const HELLO: Bytes = Bytes::from_static(b"hello");

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    let count = Count::default();
    let recorded = Arc::clone(&count.0);
    metrics::set_global_recorder(count).unwrap_or_else(|_| panic!("the first recorder"));
    over_plain_the_whole_stack_allocates_nothing();
    over_plain_a_hit_of_its_cache_allocates_nothing();
    over_a_tracked_body_each_layer_that_listens_allocates_once(&recorded);
    over_a_tracked_body_a_hit_of_its_cache_allocates_no_more_than_a_call(&recorded);
}

fn over_plain_the_whole_stack_allocates_nothing() {
    let total = TimeoutLayer::new(Plain).total(Duration::from_secs(60));
    assert_eq!(plain(total.layer(plain_endpoints())), 0);
}

fn over_plain_a_hit_of_its_cache_allocates_nothing() {
    let total = TimeoutLayer::new(Plain).total(Duration::from_secs(60));
    let cache = CacheLayer::new(Plain, |ask: &u32| Keyed::of(ask));
    let found = plain(total.layer(cache.layer(plain_endpoints())));
    // Moka keeps its own house now and then.
    assert!(found <= CALLS / 50, "found {found} in {CALLS} hits");
}

fn over_a_tracked_body_each_layer_that_listens_allocates_once(recorded: &Total) {
    let (track, timeouts) = (track(), timeouts(track()));
    let metered = metered(timeouts.clone());
    let limited = limited(metered.clone());
    let guarded = guarded(limited.clone());
    let retried = retried(guarded.clone());
    let of_two = Failover::new(Http, [retried.clone(), retried.clone()]);
    let total = total().layer(of_two.clone());
    let whole = requests(total.clone());
    let mut before = 0;
    let mut more = |stack: &str, found: usize, expected: usize| {
        println!("{stack}: {found}, {} more", found - before);
        assert_eq!(found - before, expected, "{stack}");
        before = found;
    };
    more("track", http(track), 0);
    more("and attempt timeouts", http(timeouts), LISTENS);
    more("and attempt metrics", http(metered), LISTENS);
    more("and rate limit", http(limited), LISTENS);
    more("and circuit breaker", http(guarded), LISTENS);
    // It marks its copy of a request that carries nothing; its budget needs no end of a reply.
    more("and retry", http(retried), CARRIED);
    // Of what carries nothing, a copy takes nothing.
    more("and failover of two", http(of_two), LISTENS);
    // Now the request carries a deadline, and is copied with it by failover and by retry, whose mark is
    // there already.
    more("and total timeout", http(total), LISTENS + 2 * COPIED);
    recorded.0.store(0, Ordering::Relaxed);
    // And under the request's ledger one of the attempt.
    more(
        "and request metrics: the whole stack",
        http(whole),
        LISTENS + 2 * LEDGER,
    );
    assert_eq!(before, 7 * LISTENS + CARRIED + 2 * COPIED + 2 * LEDGER);
    assert!(recorded.0.load(Ordering::Relaxed) > CALLS as u64);
}

fn over_a_tracked_body_a_hit_of_its_cache_allocates_no_more_than_a_call(recorded: &Total) {
    let endpoint = || retried(guarded(limited(metered(timeouts(track())))));
    let of_two = Failover::new(Http, [endpoint(), endpoint()]);
    let cache = CacheLayer::new(Http, |ask: &Ask| Keyed::of(ask.uri().path()));
    recorded.0.store(0, Ordering::Relaxed);
    let found = http(requests(total().layer(cache.layer(of_two))));
    println!("a hit: {found}");
    // Both layers outside of the cache listen, and the request carries its deadline and its ledger. The
    // cache makes a body of what it holds, in five.
    assert_eq!(found, 2 * LISTENS + CARRIED + LEDGER + 5);
}

// ===== Stacks =====

fn quotas() -> Quotas {
    Quotas::requests(Rate::per_second(NonZeroU32::MAX))
}

fn plain_endpoints() -> impl Answers {
    let echo = service_fn(|n: u32| -> Ready<Result<u32, Failed>> { ready(Ok(n)) });
    let timeout = TimeoutLayer::new(Plain).attempt(Duration::from_secs(10));
    let limit = RateLimitLayer::new(Plain, quotas());
    let guard = CircuitBreakerLayer::new(Plain);
    let endpoint = RetryLayer::new(Plain).layer(guard.layer(limit.layer(timeout.layer(echo))));
    Failover::new(Plain, [endpoint.clone(), endpoint])
}

fn track() -> impl Calls {
    let client = service_fn(|_: Ask| ready(Ok(Response::new(Full::new(HELLO)))));
    TrackLayer::default().layer(client)
}

fn timeouts(inner: impl Calls) -> impl Calls {
    TimeoutLayer::new(Http)
        .first_content(Duration::from_secs(10))
        .idle(Duration::from_secs(5))
        .layer(inner)
}

fn metered(inner: impl Calls) -> impl Calls {
    MetricsLayer::attempt(Http).layer(inner)
}

fn limited(inner: impl Calls) -> impl Calls {
    RateLimitLayer::new(Http, quotas()).layer(inner)
}

fn guarded(inner: impl Calls) -> impl Calls {
    CircuitBreakerLayer::new(Http).layer(inner)
}

fn retried(inner: impl Calls) -> impl Calls {
    RetryLayer::new(Http).layer(inner)
}

fn total() -> TimeoutLayer<Http> {
    TimeoutLayer::new(Http).total(Duration::from_secs(60))
}

fn requests(inner: impl Calls) -> impl Calls {
    MetricsLayer::request(Http).layer(inner)
}

// ===== Calls =====

/// What so many calls allocate together.
fn plain(mut service: impl Answers) -> usize {
    let mut calls = || {
        for request in [7; CALLS] {
            let reply = answer(&mut service, request).expect("a reply");
            assert_eq!(reply, request);
        }
    };
    calls();
    allocations(calls)
}

/// What each call allocates, its reply read to the end.
fn http(mut service: impl Calls) -> usize {
    let mut calls = || {
        for _ in 0..CALLS {
            let request = Request::new(Full::new(Bytes::from_static(b"hi")));
            let mut body = answer(&mut service, request).expect("a reply").into_body();
            let mut read = 0;
            while let Some(frame) = now(body.frame()) {
                read += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
            }
            assert_eq!(read, HELLO.len());
        }
    };
    calls();
    let found = allocations(calls);
    assert_eq!(found % CALLS, 0, "not the same for each call: {found}");
    found / CALLS
}

fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

fn answer<S, Req>(service: &mut S, request: Req) -> Result<S::Response, S::Error>
where
    S: Service<Req>,
{
    now(poll_fn(|cx| service.poll_ready(cx)))?;
    now(service.call(request))
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("everything here is ready at once"),
    }
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
