//! Server-sent events: a decoder that copies nothing it need not, a filter that takes events out of
//! a passing stream, and an encoder.
//!
//! [`Decoder`] follows the rules of the [WHATWG], at any split of the input, within bounds. It is
//! pulled with the chunk in hand and knows nothing of futures, so that it serves a body wrapper, a
//! meter and a test alike:
//!
//! ```
//! use buttress_http::sse::Decoder;
//! use bytes::Bytes;
//!
//! # fn main() -> Result<(), buttress_http::sse::Error> {
//! let mut decoder = Decoder::new();
//! let mut seen = Vec::new();
//! for chunk in ["event: greet", "ing\ndata: {\"n\":1}\n\ndata: [DO", "NE]\n\n"] {
//!     let mut chunk = Bytes::from(chunk);
//!     while let Some(event) = decoder.decode(&mut chunk) {
//!         let event = event?;
//!         seen.push((event.event_type().into_owned(), event.text().into_owned()));
//!     }
//! }
//! assert_eq!(seen[0], ("greeting".into(), "{\"n\":1}".into()));
//! assert_eq!(seen[1], ("message".into(), "[DONE]".into()));
//! # Ok(())
//! # }
//! ```
//!
//! [`Decoder::scan`] shows borrowed events to a meter that only looks at what passes, a [`Filter`]
//! forwards a stream byte for byte but for some events, and a [`Message`] is an event to write.
//!
//! # Bounds
//!
//! A line may have [`Decoder::max_line`] bytes and an event [`Decoder::max_event`]; more is an
//! [`Error`], at the same byte however the input was split, and ends the decoder. The decoder holds the
//! unfinished event, in a buffer of at most twice its size, and the last id. Comments and blank lines
//! between events are not held: a stream may ping for ever.
//!
//! # Why another decoder
//!
//! Of 34 WHATWG cases, read at every split, `sseer` 0.3.1 and `sse-stream` 0.3.0 fail the two with invalid
//! UTF-8, `async-sse` 5.1.0 fails four and `eventsource-stream` 0.2.3 five. None of them has a bound, so
//! that a line that never ends is held whole, and none tells where in the stream an event stood, which
//! forwarding needs.
//!
//! [WHATWG]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

mod decoder;
mod event;
mod filter;
mod message;
mod scan;

use http::{HeaderMap, header::CONTENT_TYPE};

pub use self::decoder::{Decoder, Error};
pub use self::event::{Event, EventRef};
pub use self::filter::Filter;
pub use self::message::{Injection, Message};

/// Whether these are the headers of an event stream: whether their content type is
/// `text/event-stream`, in upper or lower case, with or without parameters.
///
/// ```
/// use buttress_http::sse::is_event_stream;
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("content-type", "text/event-stream; charset=utf-8".parse().unwrap());
/// assert!(is_event_stream(&headers));
/// ```
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|named| {
        let essence = named.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| {
            (essence.trim_ascii()).eq_ignore_ascii_case(b"text/event-stream")
        })
    })
}
