//! The promises of the metrics layer, from outside, by the eyes of a Prometheus server.

mod calls;
mod contract;
mod events;
mod files;
mod http;
mod labels;
#[path = "../support/mod.rs"]
mod support;
mod threads;

use support::{Ask, Does, Failed, Prometheus, Reply, ask, protocol, recorder, serve};
