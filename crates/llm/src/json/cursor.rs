mod skip;

use std::{borrow::Cow, ops::Range};

use super::{
    Bad, DEPTH, Kind, Strings, What,
    scan::{begin_len, find_mark, find_special, quoted_len, short_len, whole, word_len},
};

/// A place in a JSON text. Each method takes what it names, with the space before it.
///
/// What is not there fails the cursor: from then on every object and array is over, and
/// [`end`](Cursor::end) tells why. So only the end need be asked.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    strict: bool,
    /// If strict: the last string or name has an escape in it.
    escaped: bool,
    bad: Option<Bad>,
}

/// The members of an object, or elements of an array, that were not taken yet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Items {
    begun: bool,
}

// ===== impl Cursor =====

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a [u8], strings: Strings) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            strict: matches!(strings, Strings::Strict),
            escaped: false,
            bad: None,
        }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// What comes next, to be taken by the method for it.
    #[inline]
    pub(crate) fn kind(&mut self) -> Kind {
        match self.next() {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => {
                self.fail("a value");
                Kind::Null
            }
        }
    }

    /// Enters an object.
    #[inline]
    pub(crate) fn object(&mut self) -> Items {
        self.enter(b'{', "an object")
    }

    /// Goes on inside the object that the text is, after some of its members.
    #[inline]
    pub(crate) fn resume(&mut self, at: usize) -> Items {
        self.at = at;
        self.depth = 1;
        Items { begun: true }
    }

    /// Enters an array.
    #[inline]
    pub(crate) fn array(&mut self) -> Items {
        self.enter(b'[', "an array")
    }

    #[inline]
    fn enter(&mut self, open: u8, expected: &'static str) -> Items {
        self.take(open, expected);
        if self.depth == DEPTH {
            self.too_deep();
        }
        self.depth += 1;
        Items { begun: false }
    }

    /// The name of the next member, whose value comes then. `None`: the object is over.
    ///
    /// A name with escapes is as it is written, and so none that we know.
    #[inline]
    pub(crate) fn member(&mut self, items: &mut Items) -> Option<&'a [u8]> {
        let name = self.member_span(items)?;
        Some(&self.text[name])
    }

    /// The same, and a name with escapes is what it says, if the cursor is strict.
    pub(crate) fn member_decoded(&mut self, items: &mut Items) -> Option<Cow<'a, [u8]>> {
        let name = self.member_span(items)?;
        let raw = &self.text[name.clone()];
        if !self.escaped {
            return Some(raw.into());
        }
        // Half of a surrogate pair is in no name that we know.
        let decoded = self.decode(name);
        Some(decoded.map_or(raw.into(), |name| name.into_owned().into_bytes().into()))
    }

    /// Where the name of the next member stands, as it is written.
    #[inline]
    pub(crate) fn member_span(&mut self, items: &mut Items) -> Option<Range<usize>> {
        if !self.more(items, b'}', "`,` or `}`") {
            return None;
        }
        let name = self.name();
        self.bad.is_none().then_some(name)
    }

    /// The same, with [`string_or_coded`](Cursor::string_or_coded).
    #[inline]
    pub(crate) fn member_or_coded(&mut self, items: &mut Items) -> Option<(Range<usize>, bool)> {
        if !self.more(items, b'}', "`,` or `}`") {
            return None;
        }
        if self.next() != b'"' {
            self.fail("the name of a member");
            return None;
        }
        let name = self.string_or_coded();
        if self.text.get(self.at) == Some(&b':') {
            self.at += 1;
        } else {
            self.take(b':', "`:`");
        }
        self.bad.is_none().then_some(name)
    }

    /// Takes the string that begins here, whatever stands in it. Says what of the text is between its
    /// quotes, and whether that has an escape that could be written in another way: `\u` or `\/`. Of
    /// the others, each is the only way to write its character.
    #[inline(always)]
    pub(crate) fn string_or_coded(&mut self) -> (Range<usize>, bool) {
        let start = self.at + 1;
        let mut end = start + begin_len(&self.text[start..]);
        let mut coded = false;
        if self.text.get(end) != Some(&b'"') {
            (end, coded) = self.long_or_coded(start, end);
        }
        self.at = (end + 1).min(self.text.len());
        (start..end, coded)
    }

    /// Where the string ends that begins at `start`, and has no quote before `at`.
    #[inline(never)]
    fn long_or_coded(&mut self, start: usize, mut at: usize) -> (usize, bool) {
        let mut coded = false;
        while let Some(found) = find_mark(&self.text[at..], at - start) {
            at += found;
            if self.text[at] == b'"' {
                return (at, coded);
            }
            coded |= matches!(self.text.get(at + 1), Some(b'u' | b'/'));
            at = (at + 2).min(self.text.len());
        }
        self.at = start;
        self.fail("the end of a string");
        (self.text.len(), false)
    }

    /// Whether another element comes. If not, the array is over.
    #[inline]
    pub(crate) fn element(&mut self, items: &mut Items) -> bool {
        self.more(items, b']', "`,` or `]`")
    }

    #[inline]
    fn more(&mut self, items: &mut Items, close: u8, expected: &'static str) -> bool {
        let next = self.next();
        if next == close {
            self.at += 1;
            self.depth -= 1;
            return false;
        }
        if items.begun {
            if next != b',' {
                self.fail(expected);
                return false;
            }
            self.at += 1;
        }
        items.begun = true;
        self.bad.is_none()
    }

    #[inline]
    fn name(&mut self) -> Range<usize> {
        if self.next() != b'"' {
            self.fail("the name of a member");
            return 0..0;
        }
        self.at += 1;
        let name = self.rest_of_string();
        if self.text.get(self.at) == Some(&b':') {
            self.at += 1;
        } else {
            self.take(b':', "`:`");
        }
        name
    }

    /// Takes a string, and says what of the text is between its quotes.
    #[inline]
    pub(crate) fn string(&mut self) -> Range<usize> {
        self.take(b'"', "a string");
        self.rest_of_string()
    }

    /// Takes a string, and returns what is between its quotes, as it is written.
    pub(crate) fn word(&mut self) -> &'a [u8] {
        let span = self.string();
        &self.text[span]
    }

    // What is short is inlined, and so what is not must not be.
    #[inline]
    fn rest_of_string(&mut self) -> Range<usize> {
        let start = self.at;
        if self.strict {
            let Some(len) = word_len(&self.text[start..]) else {
                return self.strict_string();
            };
            self.escaped = false;
            self.at = start + len + 1;
            return start..start + len;
        }
        match short_len(&self.text[start..]) {
            Some(len) => {
                self.at = start + len + 1;
                start..start + len
            }
            None => self.lax_string(),
        }
    }

    #[inline(never)]
    fn lax_string(&mut self) -> Range<usize> {
        let start = self.at;
        match quoted_len(&self.text[start..]) {
            Some(len) => {
                self.at = start + len + 1;
                start..start + len
            }
            None => {
                self.fail("the end of a string");
                start..start
            }
        }
    }

    #[inline(never)]
    fn strict_string(&mut self) -> Range<usize> {
        let start = self.at;
        self.escaped = false;
        while let Some(found) = find_special(&self.text[self.at..]) {
            self.at += found;
            match self.text[self.at] {
                b'"' => {
                    self.at += 1;
                    return start..self.at - 1;
                }
                b'\\' => {
                    self.at += 1;
                    self.escaped = true;
                    self.escape();
                }
                _ => self.fail("a string without control characters"),
            }
        }
        self.at = self.text.len();
        self.fail("the end of a string");
        start..start
    }

    /// What the last string or name says, of which `span` was returned, if the cursor is strict.
    /// `None`: it is not Unicode, but holds invalid UTF-8 or half of a surrogate pair.
    pub(crate) fn decode(&self, span: Range<usize>) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(&self.text[span])
                .ok()
                .map(Cow::Borrowed);
        }
        let quoted = &self.text[span.start.checked_sub(1)?..span.end + 1];
        serde_json::from_slice(quoted).ok().map(Cow::Owned)
    }

    /// Whether the last string or name has an escape in it, if the cursor is strict.
    pub(crate) const fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// What failed the cursor.
    pub(crate) const fn bad(&self) -> Option<Bad> {
        self.bad
    }

    /// Takes what follows a backslash.
    fn escape(&mut self) {
        match self.text.get(self.at) {
            None => return self.fail("the end of a string"),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'u') => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.text.get(self.at).is_some_and(u8::is_ascii_hexdigit) {
                        return self.fail("four hexadecimal digits");
                    }
                }
            }
            Some(_) => return self.fail("an escape"),
        }
        self.at += 1;
    }

    /// Takes `true` or `false`.
    pub(crate) fn bool(&mut self) -> bool {
        let value = self.next() == b't';
        self.skip_scalar();
        value
    }

    /// Takes a number. Its value if it is whole and not below zero, such as `7`, `7.0` or `7e2`; at
    /// most what 64 bits hold.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        // Most are plain counts.
        let first = self.next();
        let (start, mut value) = (self.at, 0_u64);
        let mut at = start;
        while let Some(digit @ b'0'..=b'9') = self.text.get(at) {
            if at - start == 19 {
                break;
            }
            value = value * 10 + u64::from(digit - b'0');
            at += 1;
        }
        let plain = at > start && (first != b'0' || at == start + 1);
        if plain && matches!(self.text.get(at), Some(b',' | b'}' | b']')) {
            self.at = at;
            return Some(value);
        }
        let span = self.skip_span();
        whole(&self.text[span])
    }

    /// Takes a number, and says where it stands.
    #[inline]
    pub(crate) fn number_span(&mut self) -> Range<usize> {
        self.next();
        self.skip_number()
    }

    /// There must be nothing left.
    ///
    /// # Errors
    ///
    /// The first thing that was not as it should be.
    pub(crate) fn end(&mut self) -> Result<(), Bad> {
        self.next();
        if self.at < self.text.len() {
            self.fail("the end");
        }
        self.bad.map_or(Ok(()), Err)
    }

    #[inline]
    fn take(&mut self, byte: u8, expected: &'static str) {
        if self.next() == byte {
            self.at += 1;
        } else {
            self.fail(expected);
        }
    }

    /// The next byte that is no space, without taking it. At the end it is NUL, which nothing begins
    /// with.
    #[inline]
    fn next(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(&byte) if byte > b' ' => return byte,
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&other) => return other,
                None => return 0,
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&mut self, expected: &'static str) {
        self.fail_with(What::Expected(expected));
    }

    #[cold]
    #[inline(never)]
    fn too_deep(&mut self) {
        self.fail_with(What::TooDeep);
    }

    fn fail_with(&mut self, what: What) {
        let at = self.at;
        self.bad.get_or_insert(Bad { at, what });
        // Nothing is left to be found.
        self.at = self.text.len();
    }
}
