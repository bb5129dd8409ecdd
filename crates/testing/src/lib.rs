//! TODO

pub mod probe;
