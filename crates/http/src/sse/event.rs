//! What a decoder yields.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;

/// One event, owning its bytes without a copy.
///
/// It holds a slice of the chunk that it came in, or, if it came in several chunks, of a buffer of its
/// own; the memory of that chunk is freed with the last event of it.
///
/// `Debug` shows sizes and no text.
#[derive(Clone)]
pub struct Event {
    pub(super) frame: Bytes,
    pub(super) kind: Span,
    pub(super) data: Span,
    /// The data, where it has several lines.
    pub(super) joined: Option<Bytes>,
    pub(super) id: Option<Bytes>,
    pub(super) start: u64,
}

/// One event, as [`Decoder::scan`](super::Decoder::scan) shows it: borrowed from the chunk or from the
/// decoder.
///
/// `Debug` shows sizes and no text.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    pub(super) frame: &'a [u8],
    pub(super) kind: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) id: &'a [u8],
    pub(super) start: u64,
}

/// A part of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

// ===== impl Event =====

impl Event {
    /// The type: the value of the last `event` field, or `message` if there was none or it was empty.
    /// Invalid UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn event_type(&self) -> Cow<'_, str> {
        self.view().event_type()
    }

    /// The data as it came: the values of the `data` fields, joined by a line feed. It may hold invalid
    /// UTF-8, which [`text`](Event::text) replaces.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &[u8] {
        match &self.joined {
            Some(joined) => joined,
            None => self.data.of(&self.frame),
        }
    }

    /// The [`data`](Event::data) as `Bytes`, without a copy.
    #[must_use]
    pub fn into_data(self) -> Bytes {
        match self.joined {
            Some(joined) => joined,
            None => self.frame.slice(self.data.start..self.data.end),
        }
    }

    /// The data as text. Invalid UTF-8 is replaced by U+FFFD, and only then copied.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        self.view().text()
    }

    /// The last event id at this event, which may have come with an earlier one; empty if there was
    /// none. Invalid UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        self.view().id()
    }

    /// The event as it stood on the wire, from its first field to the end of the blank line after it.
    /// See [`EventRef::frame`].
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Where [`frame`](Event::frame) stood in the stream, in bytes from its beginning.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        self.view().span()
    }

    /// The same event, borrowed.
    #[must_use]
    pub fn view(&self) -> EventRef<'_> {
        EventRef {
            frame: &self.frame,
            kind: self.kind.of(&self.frame),
            data: self.data(),
            id: self.id.as_deref().unwrap_or_default(),
            start: self.start,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt_as("Event", f)
    }
}

// ===== impl EventRef =====

impl<'a> EventRef<'a> {
    /// The type: the value of the last `event` field, or `message` if there was none or it was empty.
    /// Invalid UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn event_type(&self) -> Cow<'a, str> {
        match self.kind {
            [] => Cow::Borrowed("message"),
            kind => lossy(kind),
        }
    }

    /// The type as it came, or `None` where [`event_type`](EventRef::event_type) says `message` by
    /// default. For comparing bytes, once an event.
    #[must_use]
    #[inline]
    pub fn name(&self) -> Option<&'a [u8]> {
        (!self.kind.is_empty()).then_some(self.kind)
    }

    /// The data as it came: the values of the `data` fields, joined by a line feed. It may hold invalid
    /// UTF-8, which [`text`](EventRef::text) replaces.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The data as text. Invalid UTF-8 is replaced by U+FFFD, and only then copied.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        lossy(self.data)
    }

    /// The last event id at this event, which may have come with an earlier one; empty if there was
    /// none. Invalid UTF-8 is replaced by U+FFFD.
    #[must_use]
    pub fn id(&self) -> Cow<'a, str> {
        lossy(self.id)
    }

    /// The event as it stood on the wire, from its first field to the end of the blank line after it.
    ///
    /// Comments and blank lines before it are not part of it. The line feed of a final CR LF is, unless
    /// a chunk ended between the two: an event is not held back for a byte that may never come. Where
    /// such an event is taken out of a stream, a blank line stays, which means nothing.
    #[must_use]
    #[inline]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Where [`frame`](EventRef::frame) stood in the stream, in bytes from its beginning.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        self.start..self.start + self.frame.len() as u64
    }

    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("span", &self.span())
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EventRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("EventRef", f)
    }
}

// ===== impl Span =====

impl Span {
    #[inline]
    pub(super) fn of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start..self.end]
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// As `String::from_utf8_lossy`, and several times as fast where nothing is to be replaced.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}
