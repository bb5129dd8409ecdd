//! What no other dialect has.

use crate::convert::{
    model::{Own, Weight},
    read::Reader,
    text::Raw,
};

/// Takes a member that nobody here knows.
pub(super) fn unknown<'a>(json: &mut Reader<'a>, own: &mut Vec<Own<'a>>) {
    let at = json.at();
    if !json.null() {
        json.skip();
        own.push(matters(at));
    }
}

/// What stands at `at`, and changes the reply, or may.
pub(super) const fn matters<'a>(at: usize) -> Own<'a> {
    Own {
        value: Raw::new("", at),
        weight: Weight::Matters,
    }
}

/// What stands at `at`, and does not.
pub(super) const fn hint<'a>(at: usize) -> Own<'a> {
    Own {
        value: Raw::new("", at),
        weight: Weight::Hint,
    }
}
