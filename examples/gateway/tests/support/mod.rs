//! The gateway as a process, and the two ends of its connections, byte by byte.
#![allow(dead_code, unused_imports)] // Each test uses a part of it.

mod process;
mod wire;

pub(crate) use self::{
    process::{Ended, Gateway, run, run_with},
    wire::{Answer, Caller, Upstream},
};

/// A configuration: an endpoint `up` of this dialect at this address, and routes to it for `m-*`
/// and, as `m-real`, for `alias`.
pub(crate) fn config(dialect: &str, base_url: &str, more: &str) -> String {
    format!(
        r#"listen = "127.0.0.1:0"

[[endpoint]]
name = "up"
dialect = "{dialect}"
base_url = "{base_url}"
key_env = "UP_KEY"

[[route]]
model = "alias"
endpoints = ["up"]
rename = "m-real"

[[route]]
model = "m-*"
endpoints = ["up"]

{more}"#
    )
}
