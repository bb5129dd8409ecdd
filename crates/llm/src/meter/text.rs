use std::fmt;

use buttress_core::{Class, Outcome, Progress, Usage};
use buttress_http::Meter;
use bytes::Bytes;
use http::StatusCode;

use super::extent::{Extent, Found, Place};
use crate::{Dialect, ErrorBody, error, reader::Reader, shape::Tokens};

/// Reads a reply that is one JSON object, or an array of them, once each is whole.
pub(crate) struct TextMeter<R> {
    dialect: Dialect,
    reader: R,
    /// If the head told of a failure, what it said.
    failed: Option<(StatusCode, Outcome)>,
    extent: Extent,
    kept: Kept,
    passed: usize,
    /// What an object said that is an error, or none.
    said: Option<Outcome>,
}

/// What came of an object in earlier chunks. It is copied, because chunks kept as they are would
/// keep the buffers that they are parts of, which nothing bounds.
struct Kept {
    text: Vec<u8>,
    limit: usize,
    over: bool,
}

/// So much of a reply is kept to be read. One that is longer is judged by its status and its end.
const LIMIT: usize = 4 << 20;

/// A reply that goes on after so much of it is no error in disguise: what passes is content.
const HELD: usize = 64 << 10;

// ===== impl TextMeter =====

impl<R: Reader> TextMeter<R> {
    /// For a reply whose head told of no failure.
    pub(crate) fn new(dialect: Dialect, reader: R) -> Self {
        Self {
            dialect,
            reader,
            failed: None,
            extent: Extent::default(),
            kept: Kept::new(LIMIT),
            passed: 0,
            said: None,
        }
    }

    /// For one whose head told of this failure.
    pub(crate) fn of_error(dialect: Dialect, reader: R, status: StatusCode, head: Outcome) -> Self {
        Self {
            failed: Some((status, head)),
            kept: Kept::new(error::LIMIT),
            ..Self::new(dialect, reader)
        }
    }

    /// Reads an object that is whole now, `last` being the last of it, and says whether it has
    /// content.
    fn read(&mut self, last: &[u8]) -> bool {
        if self.kept.text.is_empty() && !self.kept.over && last.len() <= self.kept.limit {
            return self.read_text(last);
        }
        self.kept.add(last);
        let text = self.kept.take();
        !text.is_empty() && self.read_text(&text)
    }

    fn read_text(&mut self, text: &[u8]) -> bool {
        if self.said.is_some() {
            return false;
        }
        if let Some((status, _)) = self.failed {
            self.said =
                ErrorBody::read(self.dialect, text).map(|error| error.outcome(Some(status)));
            return false;
        }
        match self.reader.read(text, &mut Tokens::ignored()) {
            Ok(said) => {
                self.said = self.reader.error();
                said.content
            }
            Err(_) => {
                self.said = Some(Outcome::new(Class::Unavailable));
                false
            }
        }
    }
}

impl<R: Reader> Meter for TextMeter<R> {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.passed = self.passed.saturating_add(data.len());
        let mut content = self.passed > HELD;
        let mut at = 0;
        while let Found::Object { start, end, whole } = self.extent.next(data, &mut at) {
            if whole {
                content |= self.read(&data[start..end]);
            } else {
                self.kept.add(&data[start..end]);
            }
        }
        // All of it is here, and nothing speaks against it.
        content |= self.extent.place() == Place::After && self.said.is_none();
        if content {
            Progress::Content
        } else {
            Progress::Ping
        }
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        if self.said.is_some() {
            return self.said;
        }
        let head = self.failed.map(|(_, head)| head);
        match self.extent.place() {
            Place::After => Some(head.unwrap_or(Outcome::SUCCESS)),
            Place::Broken => Some(head.unwrap_or(Outcome::new(Class::Unavailable))),
            Place::Inside if self.kept.over => head,
            Place::Inside | Place::Before => None,
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }
}

impl<R> fmt::Debug for TextMeter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextMeter")
            .field("dialect", &self.dialect)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

// ===== impl Kept =====

impl Kept {
    const fn new(limit: usize) -> Self {
        Self {
            text: Vec::new(),
            limit,
            over: false,
        }
    }

    fn add(&mut self, part: &[u8]) {
        self.over |= part.len() > self.limit - self.text.len();
        if self.over {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(part);
        }
    }

    /// Forgets the object, and gives out what there was of it; nothing, if it was too long.
    fn take(&mut self) -> Vec<u8> {
        self.over = false;
        std::mem::take(&mut self.text)
    }
}
