//! JSON text, member by member.

use bytes::BytesMut;

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
        self.begin(b'{');
        members(self);
        self.put(b"}");
    }

    /// An array, as the value that comes next.
    pub(super) fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.begin(b'[');
        elements(self);
        self.put(b"]");
    }

    /// The name of the member whose value comes next: one that has nothing to be escaped.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.begin(b'"');
        self.put(name.as_bytes());
        self.put(b"\":");
        self
    }

    /// A string, as the value that comes next.
    pub(super) fn text(&mut self, text: &Text<'_>) {
        self.str(text.written());
    }

    /// A string that has nothing to be escaped.
    pub(super) fn str(&mut self, text: &str) {
        self.begin(b'"');
        self.put(text.as_bytes());
        self.put(b"\"");
    }

    /// A string of several pieces, as the value that comes next.
    pub(super) fn pieces<'t>(&mut self, pieces: impl IntoIterator<Item = &'t Text<'t>>) {
        self.begin(b'"');
        for piece in pieces {
            self.put(piece.written().as_bytes());
        }
        self.put(b"\"");
    }

    /// A string that says what `value` is, as the value that comes next: JSON in a string.
    pub(super) fn quoted(&mut self, value: &Raw<'_>) {
        let quoted = crate::json::quote(value.written());
        self.comma();
        self.put(quoted.as_bytes());
    }

    /// A value as it stands.
    pub(super) fn raw(&mut self, value: &Raw<'_>) {
        self.comma();
        self.put(value.written().as_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.comma();
        self.put(if value { b"true" } else { b"false" });
    }

    pub(super) fn null(&mut self) {
        self.comma();
        self.put(b"null");
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
        self.put(&digits[at..]);
    }

    fn comma(&mut self) {
        if !self.is_first() {
            self.put(b",");
        }
    }

    /// The first byte of a value or a name, at one go with the comma before it.
    #[inline(always)]
    fn begin(&mut self, first: u8) {
        if self.is_first() {
            self.put(&[first]);
        } else {
            self.put(&[b',', first]);
        }
    }

    // No value ends with one of these: after them stands the first.
    #[inline]
    fn is_first(&self) -> bool {
        matches!(
            self.out.last(),
            None | Some(b'{' | b'[' | b':' | b'\n' | b' ')
        )
    }

    // `BufMut` has the same, but not inlined: a call for every quote.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
