//! Members of replies that only the dialect knows which they came from.

use super::{
    model::Rest,
    read::Reader,
    text::{Raw, Text},
    write::Writer,
};

/// The most members of one object that are kept: each is looked for among them.
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
    for (name, value) in rest {
        if !ours.contains(&name.written()) {
            to.name(name.written()).raw(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{MOST, set, write};
    use crate::convert::{
        text::{Raw, Text},
        write::Writer,
    };

    #[test]
    fn a_member_that_comes_again_is_kept_once_as_it_came_last() {
        let mut rest = Vec::new();
        for (name, value) in [("a", "1"), ("b", "2"), ("id", "3"), ("a", "4")] {
            set(Text::plain(name), Raw::of(value), &mut rest);
        }
        let mut out = BytesMut::new();
        Writer::new(&mut out).object(|to| write(&rest, &["id"], to));
        assert_eq!(out, r#"{"a":4,"b":2}"#);
    }

    #[test]
    fn s4_of_one_object_no_more_than_64_members_are_kept() {
        let mut rest = Vec::new();
        for number in 0..1000 {
            set(Text::of(&number.to_string()), Raw::of("0"), &mut rest);
        }
        assert_eq!(rest.len(), MOST);
    }
}
