//! An LLM gateway, composed of the Buttress crates. `README.md` says how to use it.
mod args;
mod config;
mod pattern;
fn main() {}
