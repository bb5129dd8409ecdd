//! What only the dialect knows in which a request was written.

use super::{
    model::{Own, Weight},
    read::Reader,
};

/// What stands at `at`, and changes the reply, or may.
pub(super) const fn matters(at: usize) -> Own {
    let weight = Weight::Matters;
    Own { at, weight }
}

/// What stands at `at`, and does not change the reply.
pub(super) const fn hint(at: usize) -> Own {
    let weight = Weight::Hint;
    Own { at, weight }
}

/// Takes the value of a member that nothing here knows. `null` says nothing.
pub(super) fn unknown(json: &mut Reader<'_>, own: &mut Vec<Own>) {
    let at = json.at();
    if !json.null() {
        json.skip();
        own.push(matters(at));
    }
}
