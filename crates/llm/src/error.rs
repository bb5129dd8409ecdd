//! The error envelope of each dialect: read, and written. And the headers beside it.

mod hints;
mod meaning;
mod read;
mod write;

pub(crate) use self::read::LIMIT;
pub use self::{hints::tell_retry, read::ErrorBody, write::ErrorReply};
