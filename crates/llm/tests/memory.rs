//! What a meter keeps of a reply without end, counted at the allocator.

mod common;

use std::alloc::System;

use buttress_llm::Dialect;
use bytes::Bytes;
use common::{json_head, stream_head};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn s4_a_reply_without_end_is_kept_up_to_its_bound_and_then_forgotten() {
    let more = Bytes::from("x".repeat(64 << 10));
    for (parts, begun, bound) in [
        (json_head(200), "{\"a\":\"", 4 << 20),
        (json_head(500), "{\"a\":\"", 64 << 10),
        (stream_head(), "data: \"", 8 << 20),
    ] {
        let region = Region::new(HEAP);
        let mut meter = common::meter(&Dialect::OpenAi, &parts);
        meter.chunk(&Bytes::from(begun));
        for _ in 0..512 {
            meter.chunk(&more);
            let change = region.change();
            let held = change.bytes_allocated - change.bytes_deallocated;
            assert!(held < 3 * bound + (64 << 10), "{held} held of {bound}");
        }
    }
}
