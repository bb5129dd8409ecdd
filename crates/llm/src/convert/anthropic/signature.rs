//! Whose signature stands in a block of thinking.

use crate::{
    Dialect,
    convert::{model::Signature, text::Text, write::Writer},
};

/// What is written before a signature of Gemini: callers send blocks back as they came.
const GEMINI: &str = "gemini:";

/// `None`: nothing is signed.
pub(super) fn read(written: Text<'_>) -> Option<Signature<'_>> {
    if written.is_empty() {
        return None;
    }
    let (of, value) = match written.strip_prefix(GEMINI) {
        Some(value) => (Dialect::Gemini, value),
        None => (Dialect::Anthropic, written),
    };
    Some(Signature { of, value })
}

/// Writes a signature for the caller, who need not know whose it is.
pub(super) fn write(signature: Option<&Signature<'_>>, to: &mut Writer<'_>) {
    match signature {
        None => to.str(""),
        Some(Signature { of, value }) if *of == Dialect::Gemini => {
            to.pieces([&Text::plain(GEMINI), value]);
        }
        Some(Signature { value, .. }) => to.text(value),
    }
}
