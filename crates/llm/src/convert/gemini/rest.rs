//! Members of replies that only the dialect knows which they came from.

use crate::convert::{
    model::Rest,
    read::Reader,
    text::{Raw, Text},
    write::Writer,
};

/// The most members of one object that are kept.
const MOST: usize = 64;

/// Keeps the member that comes next, unless it is `null`.
pub(super) fn keep<'a>(name: &str, json: &mut Reader<'a>, rest: &mut Rest<'a>) {
    if json.null() {
        return;
    }
    let value = json.raw();
    set(Text::of(name), value, rest);
}

/// Keeps a member, in place of one of the same name.
pub(super) fn set<'a>(name: Text<'a>, value: Raw<'a>, rest: &mut Rest<'a>) {
    let same = |(known, _): &&mut (Text<'_>, Raw<'_>)| known.written() == name.written();
    if let Some(known) = rest.iter_mut().find(same) {
        known.1 = value;
    } else if rest.len() < MOST {
        rest.push((name, value));
    }
}

/// Writes them, but for those whose names are `ours`.
pub(super) fn write(rest: &Rest<'_>, ours: &[&str], to: &mut Writer<'_>) {
    for (at, (name, value)) in rest.iter().enumerate() {
        let later = &rest[at + 1..];
        let again = later
            .iter()
            .any(|(other, _)| other.written() == name.written());
        if !again && !ours.contains(&name.written()) {
            to.name(name.written()).raw(value);
        }
    }
}
