//! What is promised of which row, and whether it is kept: `promised.toml`.

use serde::Deserialize;

/// All lines of the summary.
#[derive(Debug, Deserialize)]
pub(crate) struct Promised {
    pub(crate) line: Vec<Line>,
}

/// A line of the summary; what its fields are is said in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) group: String,
    pub(crate) row: String,
    pub(crate) bare: Option<String>,
    pub(crate) beside: Option<String>,
    pub(crate) promised: Option<String>,
    over: Option<f64>,
    ns: Option<f64>,
    plus: Option<f64>,
    times: Option<f64>,
    ratio: Option<f64>,
    megabytes: Option<f64>,
    allocations: Option<f64>,
    more_allocations: Option<f64>,
    // For readers.
    #[serde(rename = "issue")]
    _issue: Option<u32>,
    #[serde(default)]
    pub(crate) front: bool,
}

/// What was found, rounded as it is printed, so that a reader who reckons finds the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) ns: f64,
    pub(crate) over: f64,
    pub(crate) megabytes: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) beside: Option<Beside>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    pub(crate) ns: f64,
    pub(crate) megabytes: Option<f64>,
    pub(crate) allocations: f64,
    pub(crate) ratio: f64,
}

// ===== impl Promised =====

impl Promised {
    pub(crate) fn read() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("../promised.toml"))
    }
}

// ===== impl Line =====

impl Line {
    /// Which parts of the promise are broken: `time`, `allocations`.
    pub(crate) fn broken(&self, found: &Found) -> Vec<&'static str> {
        let most = |found: f64, most: Option<f64>| most.is_none_or(|most| found <= most + 1e-9);
        let beside = |of: fn(Beside) -> f64| found.beside.map_or(f64::NAN, of);
        let times = self.times.unwrap_or(1.0) * beside(|beside| beside.ns);
        let time = most(found.over, self.over)
            && most(found.ns, self.ns)
            && most(found.over, self.plus.map(|plus| times + plus))
            && most(beside(|beside| beside.ratio), self.ratio)
            && self
                .megabytes
                .is_none_or(|least| found.megabytes >= Some(least));
        let more = self.more_allocations;
        let allocations = most(found.allocations, self.allocations)
            && most(
                found.allocations,
                more.map(|more| more + beside(|beside| beside.allocations)),
            );
        let parts = [("time", time), ("allocations", allocations)];
        let broken = parts.into_iter().filter(|(_, kept)| !kept);
        broken.map(|(part, _)| part).collect()
    }
}
