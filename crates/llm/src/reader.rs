//! What every dialect's reader of replies has in common.

use buttress_core::{Outcome, Usage};

use crate::{
    ErrorBody,
    json::{Bad, Cursor, Kind},
};

/// Reads the JSON texts of one reply in order: the events of a stream, or the one body.
pub(crate) trait Reader: Send {
    /// Reads one, and says whether it has content. Of one that is malformed, nothing counts.
    fn read(&mut self, text: &[u8]) -> Result<bool, Bad>;

    /// The reply told of this error.
    fn error(&self) -> Option<Outcome>;

    /// Whether the reply is whole, if its stream has come to a clean end (`ended`) or not.
    fn complete(&self, ended: bool) -> bool;

    /// The tokens learned so far.
    fn usage(&self) -> Option<Usage>;
}

/// Which choices of a reply began, and which are finished. More than 64 are counted as one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choices {
    begun: u64,
    finished: u64,
}

/// The longest event whose shape is learned: longer ones do not come by the hundred.
pub(crate) const LEARNED: usize = 4 << 10;

// ===== impl Choices =====

impl Choices {
    pub(crate) fn seen(&mut self, index: u64, finished: bool) {
        let bit = 1 << index.min(63);
        self.begun |= bit;
        if finished {
            self.finished |= bit;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.begun |= other.begun;
        self.finished |= other.finished;
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

/// A number of tokens. What is none counts as nothing.
pub(crate) fn count(json: &mut Cursor<'_>) -> Result<Option<u64>, Bad> {
    match json.kind()? {
        Kind::Number => json.number(),
        _ => json.skip().map(|()| None),
    }
}

/// The numbers of an object, each shown with its name; nothing, if it is no object.
pub(crate) fn counts(json: &mut Cursor<'_>, mut each: impl FnMut(&[u8], u64)) -> Result<(), Bad> {
    if json.kind()? != Kind::Object {
        return json.skip();
    }
    let mut items = json.object()?;
    while let Some(name) = json.member(&mut items)? {
        if let Some(count) = count(json)? {
            each(&name.name(), count);
        }
    }
    Ok(())
}

/// What the error in `text` means; where it cannot be read, it is still one.
pub(crate) fn outcome_of(dialect: crate::Dialect, text: &[u8]) -> Outcome {
    ErrorBody::read(dialect, text)
        .map_or(Outcome::new(buttress_core::Class::Unavailable), |error| {
            error.outcome(None)
        })
}
