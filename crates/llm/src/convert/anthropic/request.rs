//! Requests of the messages API.

mod content;
mod own;
mod read;
mod source;
mod thinking;
mod turns;
mod write;

pub(in crate::convert) use self::{read::read_request, write::write_request};

#[cfg(test)]
mod tests;
