//! Whole replies, and what streams have in common with them.

mod read;
mod usage;
mod write;

#[cfg(test)]
mod tests;

pub(in crate::convert) use self::{read::read_reply, write::write_reply};
pub(super) use self::{
    read::{content, text_or_nothing, word},
    usage::{read_usage, write_usage},
    write::{OWN, begins, write_finish, write_proof, write_thinking},
};
