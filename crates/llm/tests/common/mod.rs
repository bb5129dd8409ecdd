//! Showing replies to a meter, at any split.

#![allow(dead_code, reason = "each test file uses a part")]

use buttress_core::{Class, Outcome, Progress, Usage};
use buttress_http::{Judge, Meter};
use bytes::Bytes;
use http::response::Parts;

pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

pub(crate) fn stream_head() -> Parts {
    head(200, &[("content-type", "text/event-stream; charset=utf-8")])
}

pub(crate) fn json_head(status: u16) -> Parts {
    head(status, &[("content-type", "application/json")])
}

/// Everything that a meter says of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// After the last byte, before the end.
    pub(crate) open: Option<Outcome>,
    /// After a clean end.
    pub(crate) ended: Option<Outcome>,
    pub(crate) usage: Option<Usage>,
    /// After how many bytes the first content was there.
    pub(crate) content_at: Option<usize>,
}

impl Said {
    pub(crate) fn class(&self) -> Option<Class> {
        self.ended.map(|outcome| outcome.class)
    }
}

pub(crate) fn meter(judge: &impl Judge, parts: &Parts) -> Box<dyn Meter> {
    judge.meter(parts).expect("a meter for this reply")
}

/// What the judge's meter says of a body that comes in these chunks.
pub(crate) fn said<'a>(
    judge: &impl Judge,
    parts: &Parts,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Said {
    let mut meter = meter(judge, parts);
    let (mut content_at, mut passed) = (None, 0);
    for chunk in chunks {
        passed += chunk.len();
        let progress = meter.chunk(&Bytes::copy_from_slice(chunk));
        if progress != Progress::Ping && content_at.is_none() {
            content_at = Some(passed);
        }
    }
    Said {
        open: meter.verdict(false),
        ended: meter.verdict(true),
        usage: meter.usage(),
        content_at,
    }
}

/// The same for a body at every split in two, byte by byte, and whole, which must all agree.
pub(crate) fn said_at_every_split(judge: &impl Judge, parts: &Parts, body: &[u8]) -> Said {
    let said_of = |chunks: Vec<&[u8]>| said(judge, parts, chunks);
    let expected = said_of(body.chunks(1).collect());
    let mut whole = said_of(vec![body]);
    // It comes with its chunk.
    let at_end = |end: usize| expected.content_at.map(|_| end);
    assert_eq!(whole.content_at, at_end(body.len()));
    whole.content_at = expected.content_at;
    assert_eq!(whole, expected, "in one chunk");
    for split in 1..body.len() {
        let (left, right) = body.split_at(split);
        let mut said = said_of(vec![left, right]);
        let chunk = match expected.content_at {
            Some(at) if at <= split => at_end(split),
            _ => at_end(body.len()),
        };
        assert_eq!(said.content_at, chunk, "split at {split}");
        said.content_at = expected.content_at;
        assert_eq!(said, expected, "split at {split}");
    }
    expected
}

/// The end of the event in which `marker` stands.
pub(crate) fn end_of_event(body: &str, marker: &str) -> usize {
    let at = body.find(marker).expect("the marker");
    let rest = &body[at..];
    at + rest.find("\n\n").expect("the end of an event") + 2
}
