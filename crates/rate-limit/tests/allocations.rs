//! What an admitted call allocates, and what a key takes.

use std::{
    alloc::System,
    future::{Ready, ready},
    num::{NonZeroU32, NonZeroUsize},
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use buttress_core::{Fault, Outcome, Plain, ProtocolExt, Refused, Usage};
use buttress_rate_limit::{Cost, Limiter, Quota, Quotas, Rate, RateLimitLayer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: others would allocate meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

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

#[test]
fn an_admitted_call_allocates_nothing_nor_does_its_settlement_or_a_refusal() {
    let _alone = ALONE.lock();
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

#[test]
fn s3_a_million_keys_take_at_most_200_bytes_each() {
    const KEYS: u64 = 1_000_000;
    let _alone = ALONE.lock();
    let quotas = Quotas::requests(minute(60)).and_tokens(minute(100_000));
    let region = Region::new(ALLOCATOR);
    let limiter = Limiter::keyed(quotas).max_keys(NonZeroUsize::new(1 << 21).unwrap());
    for key in 0..KEYS {
        limiter.reserve(&key, Cost::tokens(10, 10)).unwrap().keep();
    }
    assert_eq!(limiter.keys() as u64, KEYS);
    let change = region.change();
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    let blocks = change.allocations - change.deallocations;
    // What the allocator itself takes for each block is 8 bytes, and up to 16 by rounding up.
    println!("{} bytes in {blocks} blocks", bytes as u64 / KEYS);
    let each = (bytes + 16 * blocks) as u64 / KEYS;
    assert!(each <= 200, "{each} bytes for each key");
}

#[test]
fn s3_more_keys_than_may_be_take_no_more_memory() {
    let _alone = ALONE.lock();
    let limiter =
        Limiter::keyed(Quotas::requests(minute(60))).max_keys(NonZeroUsize::new(10_000).unwrap());
    let ask = |keys: std::ops::Range<u64>| {
        for key in keys {
            // Those beyond are refused, each of them at once.
            if let Ok(reservation) = limiter.reserve(&key, Cost::REQUEST) {
                reservation.keep();
            }
        }
    };
    ask(0..20_000);
    let (keys, region) = (limiter.keys(), Region::new(ALLOCATOR));
    ask(20_000..100_000);
    assert!(keys <= 10_000 && limiter.keys() <= 10_000);
    let change = region.change();
    let kept = change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated);
    assert!(kept < 100_000, "{kept} bytes");
}
