//! What an admitted call allocates: nothing, and over a tracked body the duty to report its end.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    future::{Ready, ready},
    num::NonZeroU32,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::{Fault, Outcome, Plain, ProtocolExt, Refused, Usage};
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_rate_limit::{Cost, Quota, Quotas, Rate, RateLimitLayer};
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

#[derive(Debug, PartialEq)]
struct No;

impl From<Refused> for No {
    fn from(_: Refused) -> Self {
        Self
    }
}

impl Fault for No {
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

impl Service<u32> for Echo {
    type Response = u32;
    type Error = No;
    type Future = Ready<Result<u32, No>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), No>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

fn minute(units: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(units).unwrap())
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    an_admitted_call_allocates_nothing_nor_does_its_settlement_or_a_refusal();
    a_call_over_a_tracked_body_allocates_its_duty();
}

fn an_admitted_call_allocates_nothing_nor_does_its_settlement_or_a_refusal() {
    let protocol = Plain.classify_with(|result: Result<&u32, &No>| {
        let used = Usage::new(u64::from(*result.ok()? % 50), 3);
        Some(Outcome::SUCCESS.with_usage(used))
    });
    // Nothing comes back while this runs.
    let day = Rate::per_day(NonZeroU32::new(1_000).unwrap());
    let quotas = Quotas::requests(day).and_tokens(minute(1_000_000));
    let mut service = RateLimitLayer::new(protocol, quotas)
        .key(|n: &u32| n % 7)
        .cost(|_: &u32| Cost::tokens(50, 50))
        .on_event(|_| {})
        .layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = |n: u32| pin!(service.call(n)).poll(&mut cx);
    // Keys are made when they are first seen, and what they keep of refunds with the first of them.
    for n in 0..7 {
        assert!(call(n).is_ready());
    }
    let region = Region::new(ALLOCATOR);
    for n in 7..10_000 {
        assert_eq!(
            call(n),
            Poll::Ready(if n < 7_000 { Ok(n) } else { Err(No) }),
            "{n}"
        );
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}

fn a_call_over_a_tracked_body_allocates_its_duty() {
    let client = service_fn(|_: Request<Bytes>| {
        let body = Full::new(Bytes::from_static(b"hello"));
        ready(Ok::<_, BoxError>(Response::new(body)))
    });
    let mut bare = TrackLayer::default().layer(client);
    let mut over = RateLimitLayer::new(Http, Quotas::requests(minute(1_000))).layer(bare);
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
