//! What every dialect's reader of replies has in common.

use std::ops::Range;

use buttress_core::{Finish, Outcome, Usage};

use crate::{
    ErrorBody,
    answering::Answering,
    json::{Bad, Cursor, Kind},
    shape::{Counts, Lexemes, Role},
};

/// Reads the JSON texts of one reply in order: the events of a stream, or the one body.
pub(crate) trait Reader: Send {
    /// Reads one. Of one that is malformed, nothing counts.
    fn read(&mut self, text: &[u8], lexemes: &mut Lexemes) -> Result<Said, Bad>;

    /// One more came that says nothing but these counts, as [`Repeatable`] named them.
    fn repeat(&mut self, counts: &Counts);

    /// The reply told of this error.
    fn error(&self) -> Option<Outcome>;

    /// Whether the reply is whole, if its stream has come to a clean end (`ended`) or not.
    fn complete(&self, ended: bool) -> bool;

    /// The tokens learned so far.
    fn usage(&self) -> Option<Usage>;

    /// The model that answers.
    fn model(&self) -> &Answering;

    /// Why the model stopped: of several choices the gravest of what was told so far.
    fn finish(&self) -> Option<Finish>;
}

/// What a text says that matters while it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) content: bool,
    /// It says nothing besides, so that the like may come often.
    pub(crate) repeatable: Option<Repeatable>,
}

/// What one like it says as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repeatable {
    pub(crate) counts: Counts,
    /// There is content that is in no token.
    pub(crate) besides: bool,
}

/// Which choices of a reply began, and which are finished, and why. More than 64 are counted as one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    begun: u64,
    finished: u64,
    finish: Option<Finish>,
}

// ===== impl Choices =====

impl Choices {
    pub(crate) fn seen(&mut self, index: u64, finish: Option<Finish>) {
        let bit = 1 << index.min(63);
        self.begun |= bit;
        if finish.is_some() {
            self.finished |= bit;
            self.finish = self.finish.max(finish);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.begun |= other.begun;
        self.finished |= other.finished;
        self.finish = self.finish.max(other.finish);
    }

    pub(crate) fn finish(self) -> Option<Finish> {
        self.finish
    }

    pub(crate) fn any(self) -> bool {
        self.begun != 0
    }

    /// At least one, and every one that began.
    pub(crate) fn all_finished(self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }

    pub(crate) fn any_finished(self) -> bool {
        self.finished != 0
    }
}

// ===== impl Said =====

impl Said {
    pub(crate) const NOTHING: Self = Self {
        content: false,
        repeatable: None,
    };
    pub(crate) const CONTENT: Self = Self {
        content: true,
        repeatable: None,
    };
}

/// A value that matters to nobody. Whether it holds anything.
#[inline]
pub(crate) fn skip(json: &mut Cursor<'_>, lexemes: &mut Lexemes) -> bool {
    json.skip_telling(|span, kind| lexemes.add(span, kind, Role::Nothing))
}

/// A string that matters once, and to the shape of a text not at all. What of the text is between its
/// quotes.
#[inline]
pub(crate) fn noted(json: &mut Cursor<'_>, lexemes: &mut Lexemes) -> Range<usize> {
    let span = json.string();
    lexemes.add(span.clone(), Kind::String, Role::Nothing);
    span
}

/// A number that is this one of the counts.
pub(crate) fn counted(json: &mut Cursor<'_>, lexemes: &mut Lexemes, which: u8) -> Option<u64> {
    let is_number = json.kind() == Kind::Number;
    let start = json.at();
    let count = count(json);
    if is_number {
        lexemes.add(start..json.at(), Kind::Number, Role::Count(which));
    }
    count
}

/// A number of tokens. What is none counts as nothing.
pub(crate) fn count(json: &mut Cursor<'_>) -> Option<u64> {
    match json.kind() {
        Kind::Number => json.number(),
        _ => {
            json.skip();
            None
        }
    }
}

/// The numbers of an object, each shown with its name; nothing, if it is no object.
pub(crate) fn counts(json: &mut Cursor<'_>, mut each: impl FnMut(&[u8], u64)) {
    if json.kind() != Kind::Object {
        return json.skip();
    }
    let mut items = json.object();
    while let Some(name) = json.member(&mut items) {
        if let Some(count) = count(json) {
            each(name, count);
        }
    }
}

/// What the error in `text` means; where it cannot be read, it is still one.
pub(crate) fn outcome_of(dialect: crate::Dialect, text: &[u8]) -> Outcome {
    ErrorBody::read(dialect, text)
        .map_or(Outcome::new(buttress_core::Class::Unavailable), |error| {
            error.outcome(None)
        })
}
