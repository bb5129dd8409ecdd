//! How long a row takes, and how many instructions.

use std::{
    env, io,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::row::{Group, Row, Work};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// About so long is a row measured in a round.
    pub(crate) batch: Duration,
}

/// What was found of a row, round by round, in seconds for each time.
pub(crate) type Times = Vec<f64>;

// ===== impl Effort =====

impl Effort {
    /// So many rounds of so many rows in about this time: a batch is a half longer than it is meant to
    /// be, in the middle.
    pub(crate) fn within(time: Duration, rounds: usize, rows: usize) -> Self {
        let batches = u32::try_from(rounds * rows).unwrap_or(u32::MAX).max(1);
        Self {
            rounds,
            // Of a few rows, more is not needed.
            batch: (time / batches).min(Duration::from_millis(10)),
        }
    }
}

/// Measures all rows in turns, so that whatever else runs on the machine hits them all alike.
pub(crate) fn times(groups: &[Group], effort: Effort) -> Vec<Vec<Times>> {
    let counts: Vec<Vec<u64>> = groups
        .iter()
        .map(|group| {
            group
                .rows
                .iter()
                .map(|row| fitting(row, effort.batch))
                .collect()
        })
        .collect();
    let mut times: Vec<Vec<Times>> = groups
        .iter()
        .map(|group| vec![Times::new(); group.rows.len()])
        .collect();
    for _ in 0..effort.rounds {
        for (group, (counts, times)) in groups.iter().zip(counts.iter().zip(&mut times)) {
            for (row, (count, times)) in group.rows.iter().zip(counts.iter().zip(times)) {
                // Anew each time: some of the toys remember every call.
                let mut work = row.make();
                work(count / 16 + 1);
                times.push(time(row, &mut work, *count) / *count as f64);
            }
        }
    }
    times
}

/// So many times take about as long as this.
fn fitting(row: &Row, batch: Duration) -> u64 {
    let (mut work, mut count) = (row.make(), 1);
    while time(row, &mut work, count) < batch.as_secs_f64() {
        count *= 2;
    }
    count
}

/// How long the thread is at work, whatever else the processor does meanwhile. Where it waits for
/// another thread, that counts too.
fn time(row: &Row, work: &mut Work, count: u64) -> f64 {
    if row.waits {
        let start = Instant::now();
        work(count);
        return start.elapsed().as_secs_f64();
    }
    let start = at_work();
    work(count);
    at_work() - start
}

/// The time that this thread was on a processor, in seconds.
fn at_work() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The instructions of this row for each time: of a long run less those of a short one, by
/// valgrind's count of a process that does nothing else.
pub(crate) fn instructions(group: &Group, row: &Row) -> io::Result<f64> {
    let (short, long) = if row.passes.is_some() {
        (1, 3)
    } else {
        (1000, 3000)
    };
    let counted = |times: u64| -> io::Result<u64> {
        let output = Command::new("valgrind")
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg(env::current_exe()?)
            .args(["work", group.name, &row.name, &times.to_string()])
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let count = said.lines().find_map(|line| line.split_once("refs:"));
        let count = count.and_then(|(_, count)| count.trim().replace(',', "").parse().ok());
        count.filter(|_| output.status.success()).ok_or_else(|| {
            io::Error::other(format!("valgrind said, with {}: {said}", output.status))
        })
    };
    let more = counted(long)? as f64 - counted(short)? as f64;
    Ok(more / (long - short) as f64)
}
