//! Upstreams that take their time, on tokio's clock.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod ask;
pub(crate) mod wire;

use std::time::Duration;

use buttress_core::Event;
use buttress_timeout::TimeoutEvent;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An event as a line of a log.
pub(crate) fn line(event: &TimeoutEvent<'_>) -> String {
    let mut line = event.name().to_owned();
    event.facts(&mut |name, fact| line += &format!(" {name}={fact}"));
    line
}
