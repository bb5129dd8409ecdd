//! Requests for generated content.

mod config;
mod parts;
mod read;
mod tools;
mod turns;
mod write;

pub(in crate::convert) use self::{read::read_request, write::write_request};

#[cfg(test)]
mod tests;
