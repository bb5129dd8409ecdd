//! From chunks to events.

use std::{error, fmt, mem, ops::Range, time::Duration};

use bytes::{Buf, Bytes, BytesMut};

use super::event::{Event, EventRef};
use super::scan::{Scan, Step, join};

/// Room for what is to come of an event that is carried over.
const SPARE: usize = 512;

/// The most bytes of a buffer that is used again for the next event.
const KEPT: usize = 16 << 10;

/// Decodes a stream of server-sent events, chunk by chunk.
///
/// [`decode`](Decoder::decode) yields owned events, [`scan`](Decoder::scan) borrowed ones; both follow
/// the same stream and may take turns. What is left unfinished when the stream ends is no event: drop
/// the decoder, or ask [`pending`](Decoder::pending) first whether there is such a rest.
///
/// An event is yielded as soon as its blank line is there, also when that ends with a carriage return
/// whose line feed may still come.
///
/// `Debug` shows sizes and no text.
pub struct Decoder {
    scan: Scan,
    /// The unfinished event, if it did not begin in the chunk at hand.
    carry: BytesMut,
    /// `carry` was lent to the caller as the last event of `scan`.
    spent: bool,
    /// The data of the last event of `scan`, if it had several lines.
    joined: BytesMut,
    last_id: Option<Bytes>,
    error: Option<Error>,
}

/// The stream went over a bound. Nothing can be decoded after it.
///
/// It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A line was longer than [`Decoder::max_line`] allows.
    Line {
        /// Where the line began, in bytes from the beginning of the stream.
        start: u64,
        /// The most bytes that were allowed.
        limit: usize,
    },
    /// An event was longer than [`Decoder::max_event`] allows.
    Event {
        /// Where the event began, in bytes from the beginning of the stream.
        start: u64,
        /// The most bytes that were allowed.
        limit: usize,
    },
}

/// Where the next event is.
enum Found {
    /// Here in the chunk.
    Chunk(Range<usize>),
    /// In the carry, with this many bytes from the chunk.
    Carry(usize),
    /// Not in this chunk.
    Nothing,
}

// ===== impl Decoder =====

impl Decoder {
    /// A decoder at the beginning of a stream, with the default bounds.
    #[must_use]
    pub fn new() -> Self {
        Decoder {
            scan: Scan::new(8 << 20, 16 << 20),
            carry: BytesMut::new(),
            spent: false,
            joined: BytesMut::new(),
            last_id: None,
            error: None,
        }
    }

    /// The most bytes of a line, without its end; comments too. Default: 8 MiB, since a generated image
    /// comes as one line of base64.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.scan.max_line = bytes;
        self
    }

    /// The most bytes of an event, from its first field to the end of its last line that is not blank;
    /// comments inside count. Default: 16 MiB.
    #[must_use]
    pub fn max_event(mut self, bytes: usize) -> Self {
        self.scan.max_event = bytes;
        self
    }

    /// Whether an event that has a type and no `data` field, such as a bare `event: ping`, is yielded,
    /// with empty data. Default: no, as the WHATWG has it; the OpenAI SDKs yield it.
    #[must_use]
    pub fn dataless(mut self, yielded: bool) -> Self {
        self.scan.dataless = yielded;
        self
    }

    /// Takes bytes off the front of `chunk` up to the end of the next event, and returns that.
    ///
    /// `None` means that the whole chunk was taken, and the next one is wanted. Nothing is copied but
    /// events that span chunks, and data of several lines.
    ///
    /// # Errors
    ///
    /// [`Error`], once, when a bound is passed; after that every chunk is swallowed.
    pub fn decode(&mut self, chunk: &mut Bytes) -> Option<Result<Event, Error>> {
        let frame = match self.find(chunk) {
            Ok(Found::Chunk(place)) => {
                chunk.advance(place.start);
                if place.len() == chunk.len() {
                    mem::take(chunk)
                } else {
                    chunk.split_to(place.len())
                }
            }
            Ok(Found::Carry(taken)) => {
                chunk.advance(taken);
                take(&mut self.carry).freeze()
            }
            Ok(Found::Nothing) => {
                *chunk = Bytes::new();
                return None;
            }
            Err(error) => {
                *chunk = Bytes::new();
                return Some(Err(error));
            }
        };
        Some(Ok(self.event(frame)))
    }

    /// Takes bytes off the front of `chunk` up to the end of the next event, and shows that.
    ///
    /// As [`decode`](Decoder::decode), for a reader that keeps nothing of the event: it makes no `Bytes`.
    ///
    /// ```
    /// # fn main() -> Result<(), buttress_http::sse::Error> {
    /// let mut decoder = buttress_http::sse::Decoder::new();
    /// let chunk = b"data: {\"usage\":null}\n\ndata: [DONE]\n\n".as_slice();
    /// let mut rest = chunk;
    /// let mut done = false;
    /// while let Some(event) = decoder.scan(&mut rest) {
    ///     done |= event?.data() == b"[DONE]";
    /// }
    /// assert!(done);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`], once, when a bound is passed; after that every chunk is swallowed.
    pub fn scan<'a, 'chunk: 'a>(
        &'a mut self,
        chunk: &mut &'chunk [u8],
    ) -> Option<Result<EventRef<'a>, Error>> {
        let frame = match self.find(chunk) {
            Ok(Found::Chunk(place)) => {
                let (passed, rest) = chunk.split_at(place.end);
                *chunk = rest;
                Some(&passed[place.start..])
            }
            Ok(Found::Carry(taken)) => {
                chunk.advance(taken);
                self.spent = true;
                None
            }
            Ok(Found::Nothing) => {
                *chunk = &[];
                return None;
            }
            Err(error) => {
                *chunk = &[];
                return Some(Err(error));
            }
        };
        Some(Ok(self.event_ref(frame)))
    }

    /// How many bytes at the end of what was decoded belong to a line or an event that is not finished:
    /// those after [`position`](Decoder::position). At the end of a stream, what was cut off.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.unfinished().len()
    }

    /// The error that ended the decoder, if one did.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.error
    }

    /// Where the unfinished line or event begins, or else the end of what was decoded, in bytes from the
    /// beginning of the stream. All before it is settled.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.scan.start
    }

    /// How many comments have passed. A comment is a sign of life that yields no event.
    #[must_use]
    pub fn comments(&self) -> u64 {
        self.scan.comments
    }

    /// The last event id, in the words of the WHATWG: what a client sends as `Last-Event-ID` when it
    /// connects again. Empty if none came.
    #[must_use]
    pub fn last_event_id(&self) -> &[u8] {
        self.last_id.as_deref().unwrap_or_default()
    }

    /// The reconnection time that the stream asked for with its last valid `retry` field, if any.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.scan.retry.map(Duration::from_millis)
    }

    /// The [`pending`](Decoder::pending) bytes themselves.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        if self.spent { &[] } else { &self.carry }
    }

    /// Finds the next event, and deals with everything before it.
    #[inline]
    fn find(&mut self, chunk: &[u8]) -> Result<Found, Error> {
        if self.spent {
            self.spent = false;
            empty(&mut self.carry);
        }
        if self.error.is_some() {
            return Ok(Found::Nothing);
        }
        let found = self.read(chunk);
        if let Err(error) = found {
            self.error = Some(error);
            self.carry = BytesMut::new();
        }
        found
    }

    #[inline]
    fn read(&mut self, chunk: &[u8]) -> Result<Found, Error> {
        let mut at = 0;
        while !self.carry.is_empty() {
            if at == chunk.len() {
                return Ok(Found::Nothing);
            }
            at += self.scan.fill(&mut self.carry, &chunk[at..])?;
            match self.scan.step(&self.carry)? {
                Step::Event(_) => return Ok(Found::Carry(at)),
                Step::Passed(len) => {
                    pass(&mut self.scan, &mut self.last_id, &self.carry[..len]);
                    empty(&mut self.carry);
                }
                Step::More => {}
            }
        }
        while at < chunk.len() {
            let rest = &chunk[at..];
            match self.scan.step(rest)? {
                Step::Event(len) => return Ok(Found::Chunk(at..at + len)),
                Step::Passed(len) => {
                    pass(&mut self.scan, &mut self.last_id, &rest[..len]);
                    at += len;
                }
                Step::More => {
                    self.carry.reserve(rest.len() + SPARE);
                    self.carry.extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok(Found::Nothing)
    }

    fn event(&mut self, frame: Bytes) -> Event {
        let fields = self.scan.fields;
        if let Some(id) = fields.id {
            // It may outlive the event by long, and must not hold a large one.
            self.last_id = Some(if frame.len() > KEPT {
                Bytes::copy_from_slice(id.of(&frame))
            } else {
                frame.slice(id.start..id.end)
            });
        }
        let joined = (fields.data_lines > 1).then(|| {
            let mut joined = BytesMut::new();
            join(&frame, fields.data, &mut joined);
            joined.freeze()
        });
        let start = self.scan.start;
        self.scan.next_frame(frame.len());
        Event {
            frame,
            kind: fields.kind,
            data: fields.data,
            joined,
            id: self.last_id.clone(),
            start,
        }
    }

    /// `None` is the frame in the carry.
    fn event_ref<'a>(&'a mut self, frame: Option<&'a [u8]>) -> EventRef<'a> {
        let frame = frame.unwrap_or(&self.carry);
        let fields = self.scan.fields;
        if let Some(id) = fields.id
            && self.last_id.as_deref() != Some(id.of(frame))
        {
            self.last_id = Some(Bytes::copy_from_slice(id.of(frame)));
        }
        let start = self.scan.start;
        self.scan.next_frame(frame.len());
        EventRef {
            frame,
            kind: fields.kind.of(frame),
            data: if fields.data_lines > 1 {
                empty(&mut self.joined);
                join(frame, fields.data, &mut self.joined);
                &self.joined
            } else {
                fields.data.of(frame)
            },
            id: self.last_id.as_deref().unwrap_or_default(),
            start,
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("max_line", &self.scan.max_line)
            .field("max_event", &self.scan.max_event)
            .field("dataless", &self.scan.dataless)
            .field("pending", &self.pending())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

// ===== impl Error =====

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, start, limit) = match self {
            Error::Line { start, limit } => ("line", start, limit),
            Error::Event { start, limit } => ("event", start, limit),
        };
        write!(
            f,
            "the {what} that begins at byte {start} of the event stream is longer than {limit} bytes"
        )
    }
}

impl error::Error for Error {}

/// An id counts without an event, too.
fn pass(scan: &mut Scan, last_id: &mut Option<Bytes>, frame: &[u8]) {
    if let Some(id) = scan.fields.id {
        *last_id = Some(Bytes::copy_from_slice(id.of(frame)));
    }
    scan.next_frame(frame.len());
}

/// Takes what a buffer holds, and keeps the rest of the buffer unless that is large.
fn take(buffer: &mut BytesMut) -> BytesMut {
    if buffer.len() > KEPT {
        mem::take(buffer)
    } else {
        buffer.split()
    }
}

/// Keeps the buffer for the next event, unless that is large.
fn empty(buffer: &mut BytesMut) {
    if buffer.len() > KEPT {
        *buffer = BytesMut::new();
    } else {
        buffer.clear();
    }
}
