//! What a call allocates: for a hit at most what the copy of the reply does, for a miss no more than
//! three on top of moka's own.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    future::{Ready, poll_fn, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_cache::{CacheLayer, CacheService, Keyed};
use buttress_core::{Outcome, Plain, Refused};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Clone)]
struct Echo;

type Key = fn(&u64) -> Keyed;

const CALLS: usize = 2000;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Refused;
    type Future = Ready<Result<u64, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    a_hit_allocates_nothing_but_the_copy();
    a_miss_allocates_at_most_twice_on_top_of_mokas_own_and_the_entry();
}

fn service() -> CacheService<Plain, Key, (u64, Outcome), Echo> {
    let key: Key = |n| Keyed::of(n);
    CacheLayer::new(Plain, key).layer(Echo)
}

fn call(service: &mut CacheService<Plain, Key, (u64, Outcome), Echo>, request: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(
        pin!(poll_fn(|cx| Service::<u64>::poll_ready(service, cx)))
            .poll(&mut cx)
            .is_ready()
    );
    assert_eq!(
        pin!(service.call(request)).poll(&mut cx),
        Poll::Ready(Ok(request))
    );
}

fn counted(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    region.change().allocations
}

fn a_hit_allocates_nothing_but_the_copy() {
    let mut service = service();
    let mut hits = || (0..CALLS).for_each(|_| call(&mut service, 7));
    // Moka's buffers and queues are there by then.
    hits();
    let allocations = counted(hits);
    assert!(
        allocations <= CALLS / 50,
        "found {allocations} in {CALLS} hits"
    );
}

fn a_miss_allocates_at_most_twice_on_top_of_mokas_own_and_the_entry() {
    let cache = moka::sync::Cache::<u128, Arc<(u64, Outcome)>>::new(64 << 20);
    let theirs = |from: usize| {
        for n in from..from + CALLS {
            let key = Keyed::of(&n).hash();
            assert!(cache.get(&key).is_none());
            cache.insert(key, Arc::new((n as u64, Outcome::SUCCESS)));
        }
    };
    theirs(0);
    let theirs = counted(|| theirs(CALLS));
    let mut service = service();
    let mut ours = |from: usize| {
        for n in from..from + CALLS {
            call(&mut service, n as u64);
        }
    };
    ours(0);
    let ours = counted(|| ours(CALLS));
    let more = (ours as f64 - theirs as f64) / CALLS as f64;
    println!(
        "a miss: {} allocations, moka and the entry {}",
        ours / CALLS,
        theirs / CALLS
    );
    assert!(more <= 2.05, "found {more} more than that");
}
