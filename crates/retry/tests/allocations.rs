//! What a first attempt that goes well allocates: nothing.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_core::Plain;
use buttress_retry::RetryLayer;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Clone)]
struct Echo;

impl Service<u32> for Echo {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    a_first_attempt_that_goes_well_allocates_nothing_and_asks_no_runtime();
}

fn a_first_attempt_that_goes_well_allocates_nothing_and_asks_no_runtime() {
    let mut service = RetryLayer::new(Plain).on_event(|_| {}).layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    for request in 0..1000 {
        let ready = pin!(poll_fn(|cx| Service::<u32>::poll_ready(&mut service, cx))).poll(&mut cx);
        assert!(ready.is_ready());
        let reply = pin!(service.call(request)).poll(&mut cx);
        assert_eq!(reply, Poll::Ready(Ok(request)));
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}
