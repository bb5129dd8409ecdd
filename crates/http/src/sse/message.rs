//! From an event to bytes.

use std::{error, fmt, time::Duration};

use bytes::{BufMut, BytesMut};

/// An event to write.
///
/// ```
/// use buttress_http::sse::Message;
/// use bytes::BytesMut;
///
/// let mut out = BytesMut::new();
/// Message::new("one\ntwo").event("note").encode(&mut out)?;
/// assert_eq!(out, "event: note\ndata: one\ndata: two\n\n");
/// # Ok::<_, buttress_http::sse::Injection>(())
/// ```
///
/// Every event has a `data` line, and every field a space after its colon, because there are clients
/// that fail without them.
///
/// `Debug` shows sizes and no text.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    data: &'a str,
    event: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<Duration>,
}

/// A value that would have become other fields, or none: an event type, an id or a comment with a
/// carriage return, a line feed or a NUL in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    field: &'static str,
    at: usize,
    found: u8,
}

// ===== impl Message =====

impl<'a> Message<'a> {
    /// An event with this data, of the default type and without an id.
    ///
    /// Each line of the data becomes a `data` field. A line ends at CR LF, LF or CR; a reader gets LF for
    /// each of them, since the format has no way to say more. JSON holds none of them raw.
    #[must_use]
    pub const fn new(data: &'a str) -> Self {
        Message {
            data,
            event: None,
            id: None,
            retry: None,
        }
    }

    /// The type. Default, and where it is empty: none is written, and readers take it for `message`.
    #[must_use]
    pub const fn event(mut self, event: &'a str) -> Self {
        self.event = Some(event);
        self
    }

    /// The id, which readers keep as the last event id. Default: none is written. An empty id is
    /// written, and makes readers forget the last one.
    #[must_use]
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// How long a reader should wait before it connects again, in whole milliseconds. Default: none is
    /// written.
    #[must_use]
    pub const fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Appends the event to `out`, with the blank line that ends it.
    ///
    /// # Errors
    ///
    /// [`Injection`] if the type or the id holds CR, LF or NUL; nothing was appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), Injection> {
        let event = self.event.unwrap_or_default();
        check("event", event)?;
        check("id", self.id.unwrap_or_default())?;
        out.reserve(self.data.len() + event.len() + self.id.map_or(0, str::len) + 32);
        if !event.is_empty() {
            put(out, "event: ", event);
        }
        if let Some(id) = self.id {
            put(out, "id: ", id);
        }
        if let Some(retry) = self.retry {
            put(out, "retry: ", &retry.as_millis().to_string());
        }
        let mut rest = self.data;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest.as_bytes()) {
            let (line, after) = rest.split_at(end);
            put(out, "data: ", line);
            rest = after.strip_prefix("\r\n").unwrap_or_else(|| &after[1..]);
        }
        put(out, "data: ", rest);
        out.put_u8(b'\n');
        Ok(())
    }

    /// Appends a comment to `out`, which readers skip: a sign of life for proxies and idle timers.
    ///
    /// # Errors
    ///
    /// [`Injection`] if the text holds CR, LF or NUL; nothing was appended then.
    pub fn comment(text: &str, out: &mut BytesMut) -> Result<(), Injection> {
        check("comment", text)?;
        put(out, ": ", text);
        out.put_u8(b'\n');
        Ok(())
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

// ===== impl Injection =====

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} of an event has the byte {:#04x} at {}, where CR, LF and NUL are not allowed",
            self.field, self.found, self.at
        )
    }
}

impl error::Error for Injection {}

fn check(field: &'static str, value: &str) -> Result<(), Injection> {
    let bytes = value.as_bytes();
    match bytes
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n' | 0))
    {
        None => Ok(()),
        Some(at) => Err(Injection {
            field,
            at,
            found: bytes[at],
        }),
    }
}

fn put(out: &mut BytesMut, field: &str, value: &str) {
    out.put_slice(field.as_bytes());
    out.put_slice(value.as_bytes());
    out.put_u8(b'\n');
}
