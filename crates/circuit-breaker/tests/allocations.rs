//! What a call allocates: nothing, whether it passes or is refused, and over a tracked body the duty to
//! report its end.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    future::{Ready, poll_fn, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_circuit_breaker::{CircuitBreakerLayer, Policy, Ratio, Window};
use buttress_core::{Plain, Refused};
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

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Refused;
    type Future = Ready<Result<u32, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    neither_a_call_that_passes_nor_one_that_is_refused_allocates();
    a_call_over_a_tracked_body_allocates_its_duty();
}

fn neither_a_call_that_passes_nor_one_that_is_refused_allocates() {
    let half = Ratio::percent::<50>();
    let policy = Policy::failure_rate(half, Window::calls::<100>())
        .or_failure_rate(half, Window::secs::<30>())
        .or_slow_rate(half, Duration::from_secs(1), Window::calls::<100>())
        .on_event(|_| {});
    let layer = CircuitBreakerLayer::new(Plain).policy(policy);
    let mut service = layer.layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    for refused in [false, true] {
        if refused {
            layer.handle().force_open();
        }
        let region = Region::new(ALLOCATOR);
        for request in 0..1000 {
            let ready = pin!(poll_fn(|cx| service.poll_ready(cx))).poll(&mut cx);
            assert!(ready.is_ready());
            let Poll::Ready(reply) = pin!(service.call(request)).poll(&mut cx) else {
                panic!("it is there at once")
            };
            assert_eq!(reply.is_err(), refused);
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0));
    }
}

fn a_call_over_a_tracked_body_allocates_its_duty() {
    let client = service_fn(|_: Request<Bytes>| {
        let body = Full::new(Bytes::from_static(b"hello"));
        ready(Ok::<_, BoxError>(Response::new(body)))
    });
    let mut bare = TrackLayer::default().layer(client);
    let mut over = CircuitBreakerLayer::new(Http).layer(bare);
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
