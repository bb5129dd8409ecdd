//! Streams of the messages API.

mod blocks;
mod frame;
mod reader;
mod whole;
mod writer;

pub(in crate::convert) use self::{reader::EventReader, writer::EventWriter};

#[cfg(test)]
mod tests;
