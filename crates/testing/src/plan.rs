//! What will be said in answer to one request, before any transport says it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::{FailureKind, Usage};

/// One answer: a head, and a sequence of things to do.
///
/// Replies make plans, faults bend them, and each transport (a socket, HTTP/2, an in-process body)
/// carries them out; so a fault is written once, whatever carries it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) head: Head,
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) before_head: Option<Duration>,
    pub(crate) framing: Framing,
    pub(crate) parts: Vec<Part>,
    pub(crate) after: After,
    /// What the whole reply uses: a cut reply is billed for a part of it.
    pub(crate) usage: Usage,
}

/// What stands before the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// Status and headers.
    Proper,
    /// Status and headers, and these bytes before the empty line. HTTP/1.1 only.
    Spoiled(Bytes),
    /// These bytes, and no head: what follows is not framed. HTTP/1.1 only, unless it is empty.
    Raw(Bytes),
    /// Nothing at all: the call fails so. In process, and over HTTP/2 where it has a word for it.
    Fail(FailureKind),
    /// Nothing: the connection ends, and says that it did not begin. HTTP/2 only.
    GoAway,
}

/// How the length of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `content-length`, the true one.
    Length,
    /// `content-length`, so many bytes more than there are.
    Short(usize),
    /// `transfer-encoding: chunked`, a chunk for each part.
    Chunked,
    /// The end of the connection.
    Close,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Sends a piece of the body.
    Data(Data),
    /// Sends this piece of the body again and again, so long after each; without end if no number
    /// is given.
    Repeat {
        bytes: Bytes,
        times: Option<u64>,
        every: Duration,
    },
    /// Sends bytes that are no part of the body's framing. HTTP/1.1 only.
    Raw(Bytes),
    /// Flushes what was written, then waits. Zero flushes and lets others run.
    Pause(Duration),
    /// Says nothing more, and leaves the connection open.
    Stall,
    /// Resets the connection, or the stream.
    Reset,
    /// Closes the connection, whatever is missing.
    Close,
}

/// What becomes of the connection after a complete reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum After {
    /// It is used again, if the client wants to.
    #[default]
    Keep,
    /// It is closed, though nobody said so.
    CloseSilently,
    /// It is closed when the next request begins to arrive.
    CloseAtNextByte,
    /// Its sending side is closed; it stays open until the client closes the other.
    HalfClose,
}

/// A piece of the body: an event of a stream, or a whole body.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) bytes: Bytes,
    pub(crate) kind: Kind,
    /// Once this is sent, so many output tokens are billed (and the input). `None`: nothing is.
    pub(crate) billed: Option<u64>,
}

/// Where in a reply a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Before the first content: a role, a message's start, a ping.
    Lead,
    /// Text, reasoning or a tool call.
    Content,
    /// After the last content: the finish reason, the usage, the terminator.
    Tail,
}

// ===== impl Plan =====

impl Plan {
    /// A body that is there as a whole.
    pub(crate) fn whole(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        let body = Part::Data(Data {
            bytes: body,
            kind: Kind::Content,
            billed: None,
        });
        Self::new(status, content_type, Framing::Length, vec![body])
    }

    /// A body that is sent event by event.
    pub(crate) fn stream(content_type: HeaderValue, events: Vec<Part>, usage: Usage) -> Self {
        let mut plan = Self::new(StatusCode::OK, content_type, Framing::Chunked, events);
        plan.usage = usage;
        let no_cache = HeaderValue::from_static("no-cache");
        plan.headers.push((http::header::CACHE_CONTROL, no_cache));
        plan
    }

    fn new(
        status: StatusCode,
        content_type: HeaderValue,
        framing: Framing,
        parts: Vec<Part>,
    ) -> Self {
        Self {
            head: Head::Proper,
            status,
            headers: vec![(http::header::CONTENT_TYPE, content_type)],
            before_head: None,
            framing,
            parts,
            after: After::Keep,
            usage: Usage::default(),
        }
    }

    /// Bills the whole usage with the first piece of data.
    pub(crate) fn billed(mut self, usage: Usage) -> Self {
        self.usage = usage;
        if let Some(Part::Data(data)) = self.parts.first_mut() {
            data.billed = Some(usage.output());
        }
        self
    }

    /// Whether the body is a stream of events.
    pub(crate) fn streams(&self) -> bool {
        self.framing == Framing::Chunked
    }

    /// How many bytes of body all parts have together, endless ones left out.
    pub(crate) fn length(&self) -> usize {
        let data = self.parts.iter().map(|part| match part {
            Part::Data(data) => data.bytes.len(),
            Part::Repeat { bytes, times, .. } => bytes.len() * times.unwrap_or(0) as usize,
            _ => 0,
        });
        data.sum()
    }

    /// Sets a header, in place of one that the reply has by itself.
    pub(crate) fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.headers.retain(|(had, _)| had != name);
        self.add(name, value);
    }

    /// Adds a header beside those of the same name.
    pub(crate) fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.headers.push((name.clone(), value.clone()));
    }

    /// Waits before the first piece of data, and before each of the others.
    pub(crate) fn pace(&mut self, first: Option<Duration>, between: Option<Duration>) {
        if first.is_none() && between.is_none() {
            return;
        }
        let parts = std::mem::take(&mut self.parts);
        self.parts.reserve(parts.len() * 2);
        let mut pause = first;
        for part in parts {
            if let (Part::Data(_), Some(pause)) = (&part, pause) {
                self.parts.push(Part::Pause(pause));
            }
            pause = between;
            self.parts.push(part);
        }
    }
}

// ===== impl Data =====

impl Data {
    /// A piece that is no content and costs nothing.
    pub(crate) fn aside(bytes: impl Into<Bytes>) -> Part {
        Part::Data(Self {
            bytes: bytes.into(),
            kind: Kind::Tail,
            billed: None,
        })
    }
}
