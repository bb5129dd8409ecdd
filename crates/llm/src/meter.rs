//! Reads one reply as it passes.

mod extent;
mod stream;
mod text;

use buttress_core::Usage;

pub(crate) use self::{stream::StreamMeter, text::TextMeter};

/// The most tokens of each kind that a reply is believed to have used. No model takes or writes a
/// thousandth of it, and a limit that is charged more is in debt for as long as a debt may last.
const MOST_TOKENS: u64 = 1 << 40;

/// What stands after the last event of a stream that came to a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing that counts.
    Empty,
    /// `[DONE]`, without the blank line that should follow. Some servers leave it out there.
    Done,
    /// The beginning of an event: the stream was cut off.
    Cut,
}

/// What a reply says that it used, unless it cannot be.
fn believed(usage: Usage) -> Option<Usage> {
    let Usage {
        input,
        output,
        cached_input,
        cache_write,
        reasoning,
        ..
    } = usage;
    let counts = [input, output, cached_input, cache_write, reasoning];
    counts
        .iter()
        .all(|count| *count <= MOST_TOKENS)
        .then_some(usage)
}

// ===== impl Tail =====

impl Tail {
    /// Of what a decoder has left.
    pub(crate) fn of(unfinished: &[u8]) -> Self {
        match unfinished.trim_ascii() {
            [] => Self::Empty,
            // A comment.
            [b':', rest @ ..] if memchr::memchr2(b'\n', b'\r', rest).is_none() => Self::Empty,
            [b'd', b'a', b't', b'a', b':', rest @ ..] if rest.trim_ascii() == b"[DONE]" => {
                Self::Done
            }
            _ => Self::Cut,
        }
    }
}
