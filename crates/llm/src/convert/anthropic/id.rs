//! What a tool is called with: an object here, and a string of one in OpenAI's dialect.

use crate::{
    convert::{
        model::Arguments,
        text::{Raw, Text},
        write::Writer,
    },
    json::{Cursor, Kind, Strings},
};

/// What stands for arguments that are no object, such as those that were cut off. Anthropic's own
/// documentation of tools that stream has this form for them.
const INVALID: &str = "INVALID_JSON";

/// Writes the value of `input`.
pub(super) fn write_input(arguments: &Arguments<'_>, to: &mut Writer<'_>) {
    match arguments {
        Arguments::Object(object) => to.raw(object),
        Arguments::Written(written) => {
            let said = written.decode();
            match said.trim_ascii() {
                "" | "null" => to.object(|_| ()),
                object if is_object(object) => to.raw(&Raw::of(object)),
                _ => to.object(|to| to.name(INVALID).text(written)),
            }
        }
    }
}

/// The id of a call in the alphabet that the API takes. `None`: it is in it.
pub(super) fn safe_id(id: &Text<'_>) -> Option<Text<'static>> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if id.written().chars().all(is_safe) {
        return None;
    }
    let safe: String = id
        .decode()
        .chars()
        .map(|c| if is_safe(c) { c } else { '_' })
        .collect();
    Some(Text::of(&safe))
}

fn is_object(text: &str) -> bool {
    let mut json = Cursor::new(text.as_bytes(), Strings::Strict);
    let object = json.kind() == Kind::Object;
    json.skip();
    object && json.end().is_ok()
}
