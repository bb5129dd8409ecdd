//! What a tool is called with, as an object.

use super::{
    model::Arguments,
    text::{Raw, Text},
    write::Writer,
};
use crate::json::{Cursor, Kind, Strings};

/// What stands for arguments that are no object, such as those that were cut off. Anthropic's own
/// documentation of tools that stream has this form for them.
const INVALID: &str = "INVALID_JSON";

/// Writes arguments as the value that comes next, on one line.
pub(super) fn write(arguments: &Arguments<'_>, to: &mut Writer<'_>) {
    match arguments {
        Arguments::Object(object) => to.raw(object),
        Arguments::Written(written) => write_said(written, to),
    }
}

fn write_said(written: &Text<'_>, to: &mut Writer<'_>) {
    let said = written.decode();
    match said.trim_ascii() {
        "" | "null" => to.object(|_| ()),
        object if is_object(object) => {
            // Ends of lines stand between its values, and would end the event of a stream.
            match memchr::memchr2(b'\r', b'\n', object.as_bytes()) {
                Some(_) => to.raw(&Raw::of(object.replace(['\r', '\n'], " "))),
                None => to.raw(&Raw::of(object)),
            }
        }
        _ => to.object(|to| to.name(INVALID).text(written)),
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

    use super::write;
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
            write(&arguments, &mut Writer::new(&mut out));
            assert_eq!(out, object, "{written}");
        }
    }
}
