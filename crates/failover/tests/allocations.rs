//! What a first attempt that goes well allocates: nothing; with a type-erased endpoint, one box; over a
//! tracked body the duty to report its end.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    future::{Ready, poll_fn, ready},
    io,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::{Fault, Plain, Refused};
use buttress_failover::{AnyService, Failover, LeastLoaded, Weighted};
use buttress_http::{BoxError, Http, TrackLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Clone)]
struct Echo;

#[derive(Debug)]
struct Failed(io::Error);

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self(io::Error::other(refused))
    }
}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Failed;
    type Future = Ready<Result<u32, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

/// Of the quietest of a few rounds: the harness has a thread of its own, which may print meanwhile.
fn allocations(mut service: impl Service<u32, Response = u32, Error = Failed>) -> usize {
    let rounds = (0..5).map(|_| round(&mut service));
    rounds.min().unwrap_or_default()
}

fn round(service: &mut impl Service<u32, Response = u32, Error = Failed>) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    for request in 0..1000 {
        let ready = pin!(poll_fn(|cx| service.poll_ready(cx))).poll(&mut cx);
        assert!(ready.is_ready());
        let Poll::Ready(Ok(reply)) = pin!(service.call(request)).poll(&mut cx) else {
            panic!("a reply at once")
        };
        assert_eq!(reply, request);
    }
    let change = region.change();
    change.allocations + change.reallocations
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    a_first_attempt_that_goes_well_allocates_nothing_and_asks_no_runtime();
    a_call_over_a_tracked_body_allocates_its_duty();
}

fn a_first_attempt_that_goes_well_allocates_nothing_and_asks_no_runtime() {
    let ordered = Failover::new(Plain, [Echo, Echo]).on_event(|_| {});
    assert_eq!(allocations(ordered), 0);
    let weighted = Failover::new(Plain, [Echo, Echo]).strategy(Weighted);
    assert_eq!(allocations(weighted), 0);
    let erased = Failover::new(Plain, [AnyService::new(Echo), AnyService::new(Echo)]);
    assert_eq!(allocations(erased), 1000);
}

fn a_call_over_a_tracked_body_allocates_its_duty() {
    let client = service_fn(|_: Request<Bytes>| {
        let body = Full::new(Bytes::from_static(b"hello"));
        ready(Ok::<_, BoxError>(Response::new(body)))
    });
    let mut bare = TrackLayer::default().layer(client);
    let mut over = Failover::new(Http, [bare]).strategy(LeastLoaded);
    // What is made once is made with the first.
    over_a_body(&mut over);
    let without = over_a_body(&mut bare);
    assert_eq!(over_a_body(&mut over), without + 1);
}

/// What a call allocates to the end of its body.
fn over_a_body<S, B>(service: &mut S) -> usize
where
    S: Service<Request<Bytes>, Response = Response<B>, Error = BoxError>,
    B: Body<Error: std::fmt::Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    assert!(service.poll_ready(&mut cx).is_ready());
    let call = pin!(service.call(Request::new(Bytes::new())));
    let Poll::Ready(Ok(reply)) = call.poll(&mut cx) else {
        panic!("it is there at once")
    };
    let Poll::Ready(body) = pin!(reply.into_body().collect()).poll(&mut cx) else {
        panic!("it is there at once")
    };
    drop(body.expect("a body that does not fail"));
    region.change().allocations
}
