//! Where a frame ends, and what its fields are. Knows bytes and offsets, and holds no buffer.

use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use super::{decoder::Error, event::Span};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The state of the one unfinished frame. Every offset counts from its first byte, so it stays true
/// when the frame moves from a chunk into the carry.
pub(super) struct Scan {
    pub(super) max_line: usize,
    pub(super) max_event: usize,
    pub(super) dataless: bool,
    /// Where the frame begins in the stream.
    pub(super) start: u64,
    /// Where the unfinished line begins. Above 0, the frame has a field.
    line: usize,
    /// Up to where the unfinished line was searched for its end.
    searched: usize,
    /// The last byte was a carriage return, and its line is done: a line feed now means nothing.
    after_cr: bool,
    /// The first line is done, so that no byte order mark can follow.
    begun: bool,
    pub(super) fields: Fields,
    pub(super) retry: Option<u64>,
    pub(super) comments: u64,
}

/// What the unfinished frame has said so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields {
    pub(super) kind: Span,
    /// The first line of data.
    pub(super) data: Span,
    pub(super) data_lines: usize,
    pub(super) id: Option<Span>,
}

/// What the bytes of the frame amount to. Lengths count from its first byte.
pub(super) enum Step {
    /// The frame goes on after these bytes.
    More,
    /// This many bytes are done with, and are no event.
    Passed(usize),
    /// This many bytes are an event.
    Event(usize),
}

enum Field {
    Comment,
    Data,
    Event,
    Id,
    Retry,
    Unknown,
}

// ===== impl Scan =====

impl Scan {
    pub(super) fn new(max_line: usize, max_event: usize) -> Self {
        Scan {
            max_line,
            max_event,
            dataless: false,
            start: 0,
            line: 0,
            searched: 0,
            after_cr: false,
            begun: false,
            fields: Fields::default(),
            retry: None,
            comments: 0,
        }
    }

    /// Reads on in `frame`, which is all bytes of the frame so far, and maybe more.
    // Always: it has two callers, and its result costs more in memory than in registers.
    #[inline(always)]
    pub(super) fn step(&mut self, frame: &[u8]) -> Result<Step, Error> {
        if self.after_cr && frame.len() > self.line {
            self.after_cr = false;
            if frame[self.line] == b'\n' {
                if self.line == 0 {
                    return Ok(Step::Passed(1));
                }
                self.line += 1;
                self.searched = self.line;
            }
        }
        loop {
            let rest = &frame[self.searched..];
            let found = match rest.first() {
                Some(b'\n' | b'\r') => 0,
                Some(_) => match memchr2(b'\n', b'\r', rest) {
                    Some(found) => found,
                    None => {
                        self.check(frame.len())?;
                        self.searched = frame.len();
                        return Ok(Step::More);
                    }
                },
                None => return Ok(Step::More),
            };
            let end = self.searched + found;
            self.check(end)?;
            let mut next = end + 1;
            if frame[end] == b'\r' {
                match frame.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let mut line = &frame[self.line..end];
            if !self.begun {
                self.begun = true;
                line = line.strip_prefix(BOM).unwrap_or(line);
            }
            if line.is_empty() {
                return Ok(if self.fields.is_event(self.dataless) {
                    Step::Event(next)
                } else {
                    Step::Passed(next)
                });
            }
            let (field, value) = split(line);
            let span = Span {
                start: end - value.len(),
                end,
            };
            match field {
                Field::Data => {
                    if self.fields.data_lines == 0 {
                        self.fields.data = span;
                    }
                    self.fields.data_lines += 1;
                }
                Field::Event => self.fields.kind = span,
                Field::Id if !value.contains(&0) => self.fields.id = Some(span),
                Field::Retry => self.retry = digits(value).or(self.retry),
                Field::Comment => {
                    self.comments += 1;
                    if self.line == 0 {
                        return Ok(Step::Passed(next));
                    }
                }
                Field::Id | Field::Unknown => {}
            }
            self.line = next;
            self.searched = next;
        }
    }

    /// Appends to the unfinished frame what `chunk` has of its unfinished line, with its end. Returns
    /// how much that was.
    ///
    /// One line, and not the chunk, so that the events after it are not copied.
    pub(super) fn fill(&mut self, carry: &mut BytesMut, chunk: &[u8]) -> Result<usize, Error> {
        let found = memchr2(b'\n', b'\r', chunk);
        let end = carry.len() + found.unwrap_or(chunk.len());
        self.check(end)?;
        self.searched = end;
        let taken = match found {
            Some(cr) if chunk[cr] == b'\r' && chunk.get(cr + 1) == Some(&b'\n') => cr + 2,
            Some(end) => end + 1,
            None => chunk.len(),
        };
        carry.extend_from_slice(&chunk[..taken]);
        Ok(taken)
    }

    /// May the unfinished line go up to here?
    #[inline]
    fn check(&self, end: usize) -> Result<(), Error> {
        let line = end - self.line;
        if line == 0 || (line <= self.max_line && end <= self.max_event) {
            Ok(())
        } else {
            Err(self.over())
        }
    }

    /// The bound that comes first, so that the error is the same however the input was split.
    #[cold]
    fn over(&self) -> Error {
        if self.line.saturating_add(self.max_line) <= self.max_event {
            Error::Line {
                start: self.start + self.line as u64,
                limit: self.max_line,
            }
        } else {
            Error::Event {
                start: self.start,
                limit: self.max_event,
            }
        }
    }

    #[inline]
    pub(super) fn next_frame(&mut self, len: usize) {
        self.start += len as u64;
        self.line = 0;
        self.searched = 0;
        self.fields = Fields::default();
    }
}

// ===== impl Fields =====

impl Fields {
    #[inline]
    fn is_event(&self, dataless: bool) -> bool {
        self.data_lines > 0 || (dataless && !self.kind.is_empty())
    }
}

/// The field of a line that is not blank, and its value.
#[inline]
fn split(line: &[u8]) -> (Field, &[u8]) {
    let (field, rest) = match line {
        [b':', ..] => return (Field::Comment, line),
        [b'd', b'a', b't', b'a', rest @ ..] => (Field::Data, rest),
        [b'e', b'v', b'e', b'n', b't', rest @ ..] => (Field::Event, rest),
        [b'i', b'd', rest @ ..] => (Field::Id, rest),
        [b'r', b'e', b't', b'r', b'y', rest @ ..] => (Field::Retry, rest),
        _ => return (Field::Unknown, line),
    };
    match rest {
        [] => (field, rest),
        [b':', b' ', value @ ..] | [b':', value @ ..] => (field, value),
        _ => (Field::Unknown, line),
    }
}

/// The values of all data lines. `first` is that of the first.
pub(super) fn join(frame: &[u8], first: Span, joined: &mut BytesMut) {
    joined.extend_from_slice(first.of(frame));
    for line in frame[first.end..].split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let (Field::Data, value) = split(line) {
            joined.put_u8(b'\n');
            joined.extend_from_slice(value);
        }
    }
}

/// A number of nothing but digits, that can be counted.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
