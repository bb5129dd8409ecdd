//! What the benches share: how figures are summed up, and how they are printed.
//!
//! A bench prints one table. Wrong replies and broken bounds on allocations end it with a failure;
//! times never do.

use std::{fmt, fs};

/// Rows of text under a head, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    left: usize,
}

/// A time in seconds, shown in a unit that suits it.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub f64);

/// Whether this run is to take less than a minute: `--quick` in the arguments, or `BENCH_QUICK` in
/// the environment.
pub fn is_quick() -> bool {
    std::env::args().any(|arg| arg == "--quick")
        || std::env::var_os("BENCH_QUICK").is_some_and(|quick| quick != "0")
}

/// The value after `--NAME` in the arguments.
pub fn option(name: &str) -> Option<String> {
    std::env::args()
        .skip_while(|arg| arg.strip_prefix("--") != Some(name))
        .nth(1)
}

/// The value that this share of the values lies below: 0.5 is the median. Of no values, NaN.
///
/// Between two values it is the nearer one, so that it always is a value that was seen.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let place = (last as f64 * share).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// The value in the middle. Of no values, NaN.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}

/// The processor that this runs on, as far as the system tells.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{cpus} × {model}")
}

// ===== impl Table =====

impl Table {
    /// A table with this head, whose first `left` columns are aligned to the left.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>, left: usize) -> Self {
        Self {
            rows: vec![head.into_iter().map(str::to_owned).collect()],
            left,
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &if column < self.left {
                    format!("{cell:<width$}  ")
                } else {
                    format!("{cell:>width$}  ")
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

// ===== impl Seconds =====

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(seconds) = *self;
        let (value, unit) = match seconds {
            _ if seconds >= 1.0 => (seconds, "s"),
            _ if seconds >= 1e-3 => (seconds * 1e3, "ms"),
            _ if seconds >= 1e-6 => (seconds * 1e6, "µs"),
            _ => (seconds * 1e9, "ns"),
        };
        let digits = if value >= 100.0 { 0 } else { 1 };
        f.pad(&format!("{value:.digits$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Seconds, Table, median, quantile};

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let mut values: Vec<f64> = (0..101).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["name", "µs"], 1);
        table.row(["a".into(), "10".into()]);
        assert_eq!(table.to_string(), "name  µs\na     10\n");
    }

    #[test]
    fn a_time_is_shown_in_a_unit_that_suits_it() {
        let shown = [2.5e-9, 1.5e-5, 0.0123, 123.4].map(|seconds| Seconds(seconds).to_string());
        assert_eq!(shown, ["2.5 ns", "15.0 µs", "12.3 ms", "123 s"]);
    }
}
