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
    own::{hint, matters, unknown},
    read::Reader,
};

/// Takes an object. `member` is given the name of each member that is not `null`, and must take the
/// value.
fn members<'a>(json: &mut Reader<'a>, mut member: impl FnMut(&mut Reader<'a>, &str)) {
    json.object(|json, name| {
        if !json.null() {
            member(json, name);
        }
    });
}
