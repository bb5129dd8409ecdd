//! Counts the allocations of every row, for the bench `layers`, and holds those that are promised.

mod row;
mod rows;

use std::{alloc::System, env, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let only = env::args().nth(1).unwrap_or_default();
    let mut kept = true;
    for group in rows::groups(&only) {
        for row in group.rows {
            let times = if row.passes.is_some() { 4 } else { 1000 };
            let mut work = row.make();
            // What is made once, such as a table that grows, is there by then.
            work(times);
            let region = Region::new(ALLOCATOR);
            work(times);
            let counted = region.change();
            let allocations = counted.allocations + counted.reallocations;
            let bytes = counted.bytes_allocated;
            if let Some(bound) = row.bound
                && counted.allocations as u64 > bound * times
            {
                kept = false;
                eprintln!(
                    "{}, {}: found {allocations} allocations in {times}, expected at most {bound} each",
                    group.name, row.name
                );
            }
            let each = |sum: usize| sum as f64 / times as f64;
            println!(
                "{}\t{}\t{}\t{}",
                group.name,
                row.name,
                each(allocations),
                each(bytes)
            );
        }
    }
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
