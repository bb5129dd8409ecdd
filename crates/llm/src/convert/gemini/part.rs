//! Parts in turns of a request, in replies and in chunks of a stream.

use super::signature;
use crate::convert::{
    arguments,
    error::Wrong,
    model::{Arguments, Call, Signature},
    read::Reader,
    text::{Raw, Text},
    write::Writer,
};

/// Takes a call. `other` must take what no other dialect knows of it.
pub(super) fn read_call<'a>(
    json: &mut Reader<'a>,
    mut other: impl FnMut(&mut Reader<'a>),
) -> Call<'a> {
    let at = json.at();
    let (mut id, mut name, mut args) = (None, None, None);
    json.object_in_any_case(|json, member| match member {
        "id" => id = json.text_or_null().filter(|id| !id.is_empty()),
        "name" => name = json.text_or_null(),
        "args" => args = (!json.null()).then(|| json.raw_object()),
        _ => other(json),
    });
    if name.is_none() {
        json.fail(at, Wrong::Missing { member: "name" });
    }
    Call {
        id,
        name: name.unwrap_or_default(),
        arguments: Arguments::Object(args.unwrap_or(Raw::new("{}", at))),
        signature: None,
    }
}

/// Writes the members of a part of text.
pub(super) fn write_text(text: &Text<'_>, signature: Option<&Signature<'_>>, to: &mut Writer<'_>) {
    to.name("text").text(text);
    write_signature(signature, to);
}

/// Writes the members of a part of thought.
pub(super) fn write_thought(
    text: &Text<'_>,
    signature: Option<&Signature<'_>>,
    to: &mut Writer<'_>,
) {
    to.name("text").text(text);
    to.name("thought").bool(true);
    write_signature(signature, to);
}

/// Writes the signature of a part, if it has one that can be written.
pub(super) fn write_signature(signature: Option<&Signature<'_>>, to: &mut Writer<'_>) {
    if let Some(signature) = signature.and_then(signature::write) {
        to.name("thoughtSignature").str(&signature);
    }
}

/// Writes a call as a member of a part.
pub(super) fn write_call(
    id: Option<&Text<'_>>,
    name: &Text<'_>,
    args: &Arguments<'_>,
    to: &mut Writer<'_>,
) {
    to.name("functionCall").object(|to| {
        if let Some(id) = id {
            to.name("id").text(id);
        }
        to.name("name").text(name);
        arguments::write(args, to.name("args"));
    });
}
