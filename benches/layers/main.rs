//! What the layers cost over a service that is ready at once: see the README of this package.

mod measure;
mod promised;
mod row;
mod rows;
mod summary;

use std::{collections::HashMap, env, error::Error, process::Command, time::Duration};

use buttress_benches::{Table, counts_instructions, is_quick, machine, median, option, quantile};
use tokio::runtime;

use self::{
    measure::{Effort, Times},
    row::Group,
    summary::Summary,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Allocations and bytes for each time, by group and row.
type Counts = HashMap<(String, String), (f64, f64)>;

fn main() -> Result<(), BoxError> {
    // Some layers arm a timer, and a timer wants a runtime. Nothing runs on it: in a task, tokio's
    // own locks would make the work wait now and then, in favour of others.
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _entered = runtime.enter();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, group, row, times] = &arguments[..]
        && role == "work"
    {
        return work(group, row, times.parse()?);
    }
    bench()
}

/// Does the work of one row so many times, and nothing else.
fn work(group: &str, row: &str, times: u64) -> Result<(), BoxError> {
    let found = rows::groups("")
        .into_iter()
        .find(|found| found.name == group);
    let rows = found
        .ok_or_else(|| format!("there is no group {group}"))?
        .rows;
    let row = rows.into_iter().find(|found| found.name == row);
    row.ok_or("there is no such row")?.make()(times);
    Ok(())
}

fn bench() -> Result<(), BoxError> {
    let only = option("only").unwrap_or_default();
    let groups = rows::groups(&only);
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let effort = if is_quick() {
        Effort::within(Duration::from_secs(3), 9, rows)
    } else {
        Effort::within(Duration::from_secs(28), 31, rows)
    };
    let (counts, kept) = counts(&only)?;
    let times = measure::times(&groups, effort);
    let summary = Summary::new(&groups, &times, &counts)?;
    if env::args().any(|arg| arg == "--markdown") {
        print!("{}", summary.markdown(effort.rounds)?);
        return held(kept);
    }
    let instructions = counts_instructions();

    println!("{}", machine());
    println!(
        "medians of {} rounds of all rows; ratios to the first row of a group, round by round",
        effort.rounds
    );
    for (group, times) in groups.iter().zip(&times) {
        println!();
        print!("{}", table(group, times, &counts, instructions)?);
    }
    println!();
    print!("{}", summary.table());
    held(kept)
}

fn held(kept: bool) -> Result<(), BoxError> {
    if !kept {
        return Err("more allocations than promised: see above".into());
    }
    Ok(())
}

/// What `layers-counted` finds, and whether every promise is kept.
fn counts(only: &str) -> Result<(Counts, bool), BoxError> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layers-counted"));
    let output = command
        .arg(only)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let mut counts = Counts::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [group, row, allocations, bytes] = cells[..] else {
            return Err(format!("found {line:?}, expected four cells").into());
        };
        let counted = (allocations.parse()?, bytes.parse()?);
        counts.insert((group.to_owned(), row.to_owned()), counted);
    }
    Ok((counts, output.status.success()))
}

fn table(
    group: &Group,
    times: &[Times],
    counts: &Counts,
    instructions: bool,
) -> Result<Table, BoxError> {
    let passes = group.rows.iter().any(|row| row.passes.is_some());
    let (time, unit) = if passes {
        ("ns/event", "event")
    } else {
        ("ns", "op")
    };
    let (allocations, bytes) = (format!("allocs/{unit}"), format!("bytes/{unit}"));
    let mut head = vec![group.name, time, "least", "ratio", &allocations, &bytes];
    if passes {
        head.push("MB/s");
    }
    if instructions {
        head.push("instructions");
    }
    let mut table = Table::new(head, 1);
    for (row, found) in group.rows.iter().zip(times) {
        let each = 1.0 / row.passes.map_or(1, |(_, events)| events) as f64;
        let key = (group.name.to_owned(), row.name.clone());
        let (allocations, bytes) = counts.get(&key).ok_or("a row was not counted")?;
        let seconds = median(found.iter().copied());
        let ratio = median(
            found
                .iter()
                .zip(&times[0])
                .map(|(this, first)| this / first),
        );
        let mut cells = vec![
            row.name.clone(),
            format!("{:.1}", seconds * each * 1e9),
            format!("{:.1}", quantile(&mut found.clone(), 0.0) * each * 1e9),
            format!("{ratio:.2}"),
            format!("{:.2}", allocations * each),
            format!("{:.0}", bytes * each),
        ];
        if let Some((bytes, _)) = row.passes {
            cells.push(format!("{:.0}", bytes as f64 / seconds / 1e6));
        }
        if instructions {
            cells.push(format!("{:.0}", measure::instructions(group, row)? * each));
        }
        table.row(cells);
    }
    Ok(table)
}
