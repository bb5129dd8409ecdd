//! Reads one reply as it passes.

mod extent;
mod stream;
mod text;

pub(crate) use self::{stream::StreamMeter, text::TextMeter};
