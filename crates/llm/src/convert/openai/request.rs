//! Requests.

mod messages;
mod parts;
mod read;
mod tools;
mod turns;
mod write;

#[cfg(test)]
mod tests;

pub(super) use self::turns::{write_arguments, write_data};
pub(in crate::convert) use self::{read::read_request, write::write_request};
use super::said::text_part;
use crate::convert::{
    model::{Own, Weight},
    read::Reader,
    text::Raw,
};

/// What only this dialect knows, and what the reply depends on, or may.
fn matters<'a>(at: usize) -> Own<'a> {
    own(at, Weight::Matters)
}

/// What only this dialect knows, and what the reply does not depend on.
fn hint<'a>(at: usize) -> Own<'a> {
    own(at, Weight::Hint)
}

fn own<'a>(at: usize, weight: Weight) -> Own<'a> {
    let value = Raw::new("", at);
    Own { value, weight }
}

/// Takes the value of a member that nothing here knows.
fn unknown<'a>(json: &mut Reader<'a>, own: &mut Vec<Own<'a>>) {
    own.push(matters(json.at()));
    json.skip();
}

/// Takes an object. `member` is given the name of each member that is not `null`, and must take the
/// value.
fn members<'a>(json: &mut Reader<'a>, mut member: impl FnMut(&mut Reader<'a>, &str)) {
    json.object(|json, name| {
        if !json.null() {
            member(json, name);
        }
    });
}
