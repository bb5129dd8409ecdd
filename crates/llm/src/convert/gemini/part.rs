//! Parts as they are written: in turns of a request, in replies and in chunks of a stream.

use super::signature;
use crate::{
    convert::{
        model::{Arguments, Signature},
        text::{Raw, Text},
        write::Writer,
    },
    json::{Cursor, Kind, Strings},
};

/// What stands for arguments that are no object, such as those that were cut off: as the writer of
/// Anthropic's requests has it.
const INVALID: &str = "INVALID_JSON";

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
    arguments: &Arguments<'_>,
    to: &mut Writer<'_>,
) {
    to.name("functionCall").object(|to| {
        if let Some(id) = id {
            to.name("id").text(id);
        }
        to.name("name").text(name);
        write_arguments(arguments, to.name("args"));
    });
}

fn write_arguments(arguments: &Arguments<'_>, to: &mut Writer<'_>) {
    match arguments {
        Arguments::Object(object) => to.raw(object),
        Arguments::Written(written) => {
            let said = written.decode();
            match said.trim_ascii() {
                "" | "null" => to.object(|_| ()),
                // Ends of lines stand between its values, and would end the event of a stream.
                object if is_object(object) => to.raw(&Raw::of(object.replace(['\r', '\n'], " "))),
                _ => to.object(|to| to.name(INVALID).text(written)),
            }
        }
    }
}

fn is_object(text: &str) -> bool {
    let mut json = Cursor::new(text.as_bytes(), Strings::Strict);
    let object = json.kind() == Kind::Object;
    json.skip();
    object && json.end().is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::write_call;
    use crate::convert::{model::Arguments, text::Text, write::Writer};

    #[test]
    fn arguments_become_an_object_whatever_they_are() {
        for (written, object) in [
            ("", "{}"),
            (" null ", "{}"),
            (r#"{\"a\":\"\\n\"}"#, r#"{"a":"\n"}"#),
            (r#" {\n\"a\":\r\n1} "#, r#"{ "a":  1}"#),
            (r#"{\"a\":"#, r#"{"INVALID_JSON":"{\"a\":"}"#),
            (r"[1]", r#"{"INVALID_JSON":"[1]"}"#),
            ("1 2", r#"{"INVALID_JSON":"1 2"}"#),
        ] {
            let mut out = BytesMut::new();
            let arguments = Arguments::Written(Text::new(written, 0));
            Writer::new(&mut out).object(|to| write_call(None, &Text::plain("f"), &arguments, to));
            let expected = format!(r#"{{"functionCall":{{"name":"f","args":{object}}}}}"#);
            assert_eq!(out, expected, "{written}");
        }
    }
}
