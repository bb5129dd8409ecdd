//! Forwarding a stream without some of its events.

use std::{fmt, mem, ops::Range};

use bytes::{Bytes, BytesMut};

use super::{Decoder, Error, EventRef};

/// Forwards a stream byte for byte, and leaves out the events that are not wanted.
///
/// An event that a chunk ends in the middle of is held back until it is whole and was judged; the
/// filter and its decoder hold it once each. All else, comments and blank lines included, passes with
/// its chunk. A chunk that ends where an event ends and loses nothing is passed on as it is, one that
/// loses its first or last events is sliced, and only what is put together from several pieces is
/// copied.
///
/// ```
/// use buttress_http::sse::{Decoder, Filter};
/// use bytes::Bytes;
///
/// # fn main() -> Result<(), buttress_http::sse::Error> {
/// let mut filter = Filter::new(Decoder::new());
/// let mut wanted = |event: &buttress_http::sse::EventRef<'_>| event.data() != b"usage";
/// assert_eq!(filter.push(&Bytes::from("data: a\n\ndata: us"), &mut wanted)?, "data: a\n\n");
/// assert_eq!(filter.push(&Bytes::from("age\n\n: alive\ndata: b\n\n"), &mut wanted)?, ": alive\ndata: b\n\n");
/// assert_eq!(filter.finish(), "");
/// # Ok(())
/// # }
/// ```
///
/// `Debug` shows sizes and no text.
pub struct Filter {
    decoder: Decoder,
    /// The unfinished event, as it came.
    held: BytesMut,
}

/// What goes on. Only what comes in several pieces is copied.
struct Out<'a> {
    held: &'a [u8],
    chunk: &'a Bytes,
    one: Bytes,
    several: BytesMut,
}

// ===== impl Filter =====

impl Filter {
    /// A filter that finds the events with `decoder`, whose bounds and options hold. What that has pending
    /// counts as pushed.
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Filter {
            held: BytesMut::from(decoder.unfinished()),
            decoder,
        }
    }

    /// Takes the next chunk and returns what is to be forwarded now, which may be empty.
    ///
    /// `keep` is called once for each event that ends in this chunk, in order.
    ///
    /// # Errors
    ///
    /// [`Error`] when a bound is passed, and then for every chunk. Nothing is lost: the chunk that passed the
    /// bound is held whole, but for events that were not kept, and [`finish`](Filter::finish) gives it back;
    /// those after it are not taken.
    pub fn push(
        &mut self,
        chunk: &Bytes,
        mut keep: impl FnMut(&EventRef<'_>) -> bool,
    ) -> Result<Bytes, Error> {
        if let Some(error) = self.decoder.error() {
            return Err(error);
        }
        // Offsets count from the first byte that is held, which the decoder waits on as well.
        let begin = self.decoder.position();
        let offset = |position: u64| (position - begin) as usize;
        let mut out = Out::new(&self.held, chunk);
        let mut from = 0;
        let mut rest = &chunk[..];
        while let Some(event) = self.decoder.scan(&mut rest) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    out.put(from..self.held.len() + chunk.len());
                    self.held = out.into_bytes().into();
                    return Err(error);
                }
            };
            if !keep(&event) {
                let span = event.span();
                out.put(from..offset(span.start));
                from = offset(span.end);
            }
        }
        let settled = offset(self.decoder.position());
        out.put(from..settled);
        let out = out.into_bytes();
        let unsettled = match settled.checked_sub(self.held.len()) {
            Some(settled) => {
                self.held.clear();
                &chunk[settled..]
            }
            None => &chunk[..],
        };
        self.held.extend_from_slice(unsettled);
        Ok(out)
    }

    /// The stream is over, or its bound was passed: what was not returned by then, as it came.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.held.freeze()
    }

    /// The decoder, to ask for what else it saw.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("decoder", &self.decoder)
            .field("held", &self.held.len())
            .finish()
    }
}

// ===== impl Out =====

impl<'a> Out<'a> {
    fn new(held: &'a [u8], chunk: &'a Bytes) -> Self {
        Out {
            held,
            chunk,
            one: Bytes::new(),
            several: BytesMut::new(),
        }
    }

    /// Adds a range of the held bytes and the chunk after them.
    fn put(&mut self, range: Range<usize>) {
        let border = self.held.len();
        if range.start < border {
            self.several
                .extend_from_slice(&self.held[range.start..range.end.min(border)]);
        }
        let part = range.start.max(border) - border..range.end.max(border) - border;
        if part.is_empty() {
            return;
        }
        if self.one.is_empty() && self.several.is_empty() {
            self.one = self.chunk.slice(part);
        } else {
            self.several.extend_from_slice(&mem::take(&mut self.one));
            self.several.extend_from_slice(&self.chunk[part]);
        }
    }

    fn into_bytes(self) -> Bytes {
        if self.several.is_empty() {
            self.one
        } else {
            self.several.freeze()
        }
    }
}
