//! What a key takes.

use std::{
    alloc::System,
    num::{NonZeroU32, NonZeroUsize},
    sync::Mutex,
};

use buttress_rate_limit::{Cost, Limiter, Quota, Quotas};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: others would allocate meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

fn minute(units: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(units).unwrap())
}

#[tokio::test(start_paused = true)]
async fn s3_a_million_keys_take_at_most_200_bytes_each() {
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

#[tokio::test(start_paused = true)]
async fn s3_more_keys_than_may_be_take_no_more_memory() {
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
    // No time passes, so that no key is idle.
    let (keys, region) = (limiter.keys(), Region::new(ALLOCATOR));
    ask(20_000..100_000);
    assert!(keys <= 10_000 && limiter.keys() <= 10_000);
    let change = region.change();
    let kept = change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated);
    assert!(kept < 100_000, "{kept} bytes");
}
