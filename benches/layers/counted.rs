//! Counts the allocations of every row, for the bench `layers`, and holds those that are promised.

mod row;
mod rows;

use std::{alloc::System, env, io, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<ExitCode, io::Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _entered = runtime.enter();
    let only = env::args().nth(1).unwrap_or_default();
    let mut kept = true;
    for group in rows::groups(&only) {
        for row in group.rows {
            let times = if row.passes.is_some() { 4 } else { 1000 };
            let mut work = row.make();
            // What is made once, such as a table that grows, is there by then.
            work(times);
            let mut counts = [(); 3].map(|()| {
                let region = Region::new(ALLOCATOR);
                work(times);
                region.change()
            });
            // The exporter takes what was recorded on a thread of its own, now and then.
            counts.sort_by_key(|counted| counted.allocations + counted.reallocations);
            let [counted, ..] = counts;
            let allocations = counted.allocations + counted.reallocations;
            let bytes = counted.bytes_allocated;
            // And moka keeps its house while it is asked, the exporter makes room for more.
            if let Some(bound) = row.bound
                && allocations as u64 > bound * times + times / 20
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
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
