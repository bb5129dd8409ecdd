//! All at once: each layer beside its peers and what is promised of it.

use std::{collections::HashMap, process::Command};

use buttress_benches::{Table, machine, median};

use crate::{
    BoxError, Counts,
    measure::Times,
    promised::{Beside, Found, Line, Promised},
    row::Group,
};

/// What was measured of a row.
struct Figures<'a> {
    times: &'a Times,
    allocations: f64,
    megabytes: Option<f64>,
}

/// Every row's figures, by group and row.
type All<'a> = HashMap<(&'a str, &'a str), Figures<'a>>;

/// The lines whose rows were measured, and what was found of them.
#[derive(Debug)]
pub(crate) struct Summary(Vec<(Line, Found)>);

const HEAD: [&str; 10] = [
    "layer",
    "ns",
    "over bare",
    "allocs",
    "beside",
    "its ns",
    "its allocs",
    "ratio",
    "promised",
    "",
];

// ===== impl Summary =====

impl Summary {
    pub(crate) fn new(
        groups: &[Group],
        times: &[Vec<Times>],
        counts: &Counts,
    ) -> Result<Self, BoxError> {
        let mut all = All::new();
        for (group, times) in groups.iter().zip(times) {
            for (row, times) in group.rows.iter().zip(times) {
                let counted = counts.get(&(group.name.to_owned(), row.name.clone()));
                let (allocations, _) = counted.ok_or("a row was not counted")?;
                let seconds = median(times.iter().copied());
                let figures = Figures {
                    times,
                    // What the exporter and moka make now and then is less than half of a tenth.
                    allocations: round(*allocations, 1),
                    megabytes: row
                        .passes
                        .map(|(bytes, _)| round(bytes as f64 / seconds / 1e6, 0)),
                };
                all.insert((group.name, &row.name), figures);
            }
        }
        let mut lines = Vec::new();
        for line in Promised::read()?.line {
            if let Some(found) = find(&line, groups, &all)? {
                lines.push((line, found));
            }
        }
        Ok(Self(lines))
    }

    /// For a terminal.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(HEAD, 1);
        for (line, found) in &self.0 {
            table.row(cells(line, found, ["kept", "MISSED"]));
        }
        table
    }

    /// For the READMEs: what goes into that of the benches, and what into that of the repository.
    pub(crate) fn markdown(&self, rounds: usize) -> Result<String, BoxError> {
        // The clock of the machine is asked for the date: what is timed here is no call.
        let date = Command::new("date").arg("+%F").output()?;
        let date = String::from_utf8(date.stdout)?;
        let said = format!(
            "{}, {}, `cargo bench -p buttress-benches --bench layers`, medians of {rounds} rounds.",
            date.trim(),
            machine()
        );
        let mut text = String::new();
        for (file, front) in [("benches/README.md", false), ("README.md", true)] {
            text += &format!("For {file}:\n\n<!-- layers: figures -->\n{said}\n\n");
            text += &format!("| {} |\n|", HEAD.join(" | "));
            text += &"---|".repeat(HEAD.len());
            for (line, found) in self.0.iter().filter(|(line, _)| line.front || !front) {
                let cells = cells(line, found, ["kept", "**missed**"]);
                text += &format!("\n| {} |", cells.join(" | "));
            }
            text += "\n<!-- layers: end -->\n\n";
        }
        Ok(text)
    }
}

/// What was found of a line; nothing if its rows were not measured.
fn find(line: &Line, groups: &[Group], all: &All<'_>) -> Result<Option<Found>, BoxError> {
    let Some(this) = all.get(&(line.group.as_str(), line.row.as_str())) else {
        return known(&line.group, &line.row).map(|()| None);
    };
    let group = groups.iter().find(|group| group.name == line.group);
    let first = group.and_then(|group| group.rows.first());
    let bare = match (&line.bare, first) {
        (Some(bare), _) => bare.as_str(),
        (None, Some(first)) => &first.name,
        (None, None) => "",
    };
    let ns = ns(this.times);
    let over = match bare {
        "" => ns,
        bare => match all.get(&(line.group.as_str(), bare)) {
            Some(bare) => shown(ns - self::ns(bare.times)),
            None => return known(&line.group, bare).map(|()| None),
        },
    };
    let beside = match &line.beside {
        None => None,
        Some(beside) => {
            let (group, row) = beside
                .split_once(" / ")
                .unwrap_or((&line.group, beside.as_str()));
            let Some(that) = all.get(&(group, row)) else {
                return known(group, row).map(|()| None);
            };
            let each = this.times.iter().zip(that.times);
            Some(Beside {
                ns: self::ns(that.times),
                megabytes: that.megabytes,
                allocations: that.allocations,
                ratio: round(median(each.map(|(this, that)| this / that)), 2),
            })
        }
    };
    Ok(Some(Found {
        ns,
        over,
        megabytes: this.megabytes,
        allocations: this.allocations,
        beside,
    }))
}

/// Fails if there is no such row: it may have been left out of this run.
fn known(group: &str, row: &str) -> Result<(), BoxError> {
    let groups = crate::rows::groups("");
    let found = groups.iter().find(|found| found.name == group);
    match found.and_then(|found| found.rows.iter().find(|found| found.name == row)) {
        Some(_) => Ok(()),
        None => Err(format!("promised.toml speaks of {row:?} in {group:?}: there is none").into()),
    }
}

fn cells(line: &Line, found: &Found, [kept, missed]: [&str; 2]) -> Vec<String> {
    let beside = |show: fn(Beside) -> String| found.beside.map_or_else(String::new, show);
    let broken = line.broken(found);
    vec![
        line.what.clone(),
        speed(found.ns, found.megabytes),
        match &line.bare {
            Some(bare) if bare.is_empty() => String::new(),
            _ => text(found.over),
        },
        format!("{}", found.allocations),
        line.beside.clone().unwrap_or_default(),
        beside(|beside| speed(beside.ns, beside.megabytes)),
        beside(|beside| beside.allocations.to_string()),
        beside(|beside| format!("{:.2}", beside.ratio)),
        line.promised.clone().unwrap_or_default(),
        match (&line.promised, &broken[..]) {
            (None, _) => String::new(),
            (Some(_), []) => kept.to_owned(),
            (Some(_), broken) => format!("{missed}: {}", broken.join(", ")),
        },
    ]
}

/// Of what passes through, how much; of the rest, how long it takes.
fn speed(ns: f64, megabytes: Option<f64>) -> String {
    match megabytes {
        Some(megabytes) => format!("{megabytes:.0} MB/s"),
        None => text(ns),
    }
}

fn ns(times: &Times) -> f64 {
    shown(median(times.iter().copied()) * 1e9)
}

/// As it is shown: from 100 on without a decimal.
fn shown(ns: f64) -> f64 {
    round(ns, if ns.abs() >= 100.0 { 0 } else { 1 })
}

fn text(ns: f64) -> String {
    if ns.abs() >= 100.0 {
        format!("{ns:.0}")
    } else {
        format!("{ns:.1}")
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}
