//! The error envelope of each dialect: read, and written.

mod meaning;
mod read;
mod write;

pub(crate) use self::read::LIMIT;
pub use self::{read::ErrorBody, write::ErrorReply};
