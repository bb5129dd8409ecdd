//! JSON text, member by member.

use bytes::{BufMut, BytesMut};

use super::text::{Raw, Text};

/// Writes values one after the other, with the commas that they need.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    out: &'o mut BytesMut,
}

// ===== impl Writer =====

impl<'o> Writer<'o> {
    pub(super) const fn new(out: &'o mut BytesMut) -> Self {
        Self { out }
    }

    /// An object, as the value that comes next.
    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.put_u8(b'{');
        members(self);
        self.out.put_u8(b'}');
    }

    /// An array, as the value that comes next.
    pub(super) fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.put_u8(b'[');
        elements(self);
        self.out.put_u8(b']');
    }

    /// The name of the member whose value comes next: one that has nothing to be escaped.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.comma();
        self.out.put_u8(b'"');
        self.out.put_slice(name.as_bytes());
        self.out.put_slice(b"\":");
        self
    }

    /// A string, as the value that comes next.
    pub(super) fn text(&mut self, text: &Text<'_>) {
        self.str(text.written());
    }

    /// A string that has nothing to be escaped.
    pub(super) fn str(&mut self, text: &str) {
        self.comma();
        self.out.put_u8(b'"');
        self.out.put_slice(text.as_bytes());
        self.out.put_u8(b'"');
    }

    /// A string of several pieces, as the value that comes next.
    pub(super) fn pieces<'t>(&mut self, pieces: impl IntoIterator<Item = &'t Text<'t>>) {
        self.comma();
        self.out.put_u8(b'"');
        for piece in pieces {
            self.out.put_slice(piece.written().as_bytes());
        }
        self.out.put_u8(b'"');
    }

    /// A string that says what `value` is, as the value that comes next: JSON in a string.
    pub(super) fn quoted(&mut self, value: &Raw<'_>) {
        let quoted = crate::json::quote(value.written());
        self.comma();
        self.out.put_slice(quoted.as_bytes());
    }

    /// A value as it stands.
    pub(super) fn raw(&mut self, value: &Raw<'_>) {
        self.comma();
        self.out.put_slice(value.written().as_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.comma();
        self.out.put_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn null(&mut self) {
        self.comma();
        self.out.put_slice(b"null");
    }

    pub(super) fn count(&mut self, value: u64) {
        self.comma();
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.put_slice(&digits[at..]);
    }

    // No value ends with one of these: after them stands the first.
    fn comma(&mut self) {
        if !matches!(
            self.out.last(),
            None | Some(b'{' | b'[' | b':' | b'\n' | b' ')
        ) {
            self.out.put_u8(b',');
        }
    }
}
