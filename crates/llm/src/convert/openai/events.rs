//! The chunks of a stream.

mod calls;
mod chunk;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(in crate::convert) use self::{read::EventReader, write::EventWriter};
