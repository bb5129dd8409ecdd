//! Streams of generated content: each event is a chunk, and the end of the body ends them.

mod read;
mod write;

pub(in crate::convert) use self::{read::EventReader, write::EventWriter};

#[cfg(test)]
mod tests;
