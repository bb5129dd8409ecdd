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
//! Who only looks at what passes, such as a meter that reads the usage, decodes borrowed slices with
//! [`Decoder::scan`] and keeps none. Who forwards a stream byte for byte, but for some events, uses a
//! [`Filter`]. Who writes a stream uses a [`Message`].
//!
//! # Bounds
//!
//! A line may have [`Decoder::max_line`] bytes and an event [`Decoder::max_event`]; more is an
//! [`Error`], at the same byte however the input was split, and ends the decoder. The decoder holds
//! at most the unfinished event, so that is also the bound of its memory. Comments and blank lines
//! between events are not held: a stream may ping for ever.
//!
//! [WHATWG]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

mod decoder;
mod event;
mod filter;
mod message;
mod scan;

pub use self::decoder::{Decoder, Error};
pub use self::event::{Event, EventRef};
pub use self::filter::Filter;
pub use self::message::{Injection, Message};
