//! One pass over JSON text: no tree, no recursion, no copy.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

/// How deep values may nest. serde_json's own limit, and one bit of a `u128` each.
pub(crate) const DEPTH: u32 = 128;

/// A place in a JSON text. Each method takes what it names, with the space before it.
///
/// After an error it is of no more use.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    strings: Strings,
}

/// What a string must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strings {
    /// As RFC 8259 has it.
    Strict,
    /// Whatever stands between two quotes: who reads along need not reject what the reader at the
    /// end accepts.
    Lax,
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// The text is not JSON, or nests too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) at: usize,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Expected(&'static str),
    TooDeep,
}

/// What stands between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a [u8],
    /// Where it begins, after the quote.
    pub(crate) start: usize,
    escaped: bool,
}

/// The next member of an object, or element of an array.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Items {
    begun: bool,
}

// ===== impl Kind =====

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

// ===== impl Text =====

impl<'a> Text<'a> {
    /// The text itself, or `None` if it is not Unicode: invalid UTF-8, or half of a surrogate pair.
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(self.raw).ok().map(Cow::Borrowed);
        }
        let mut quoted = Vec::with_capacity(self.raw.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.raw);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).ok().map(Cow::Owned)
    }

    /// The name of a member. One that cannot be decoded is no name that we know.
    #[inline]
    pub(crate) fn name(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        match self.decode() {
            Some(name) => Cow::Owned(name.into_owned().into_bytes()),
            None => Cow::Borrowed(self.raw),
        }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }
}

// ===== impl Cursor =====

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a [u8], strings: Strings) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            strings,
        }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// What comes next, to be taken by the method for it.
    #[inline]
    pub(crate) fn kind(&mut self) -> Result<Kind, Bad> {
        match self.next() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => Err(self.expected("a value")),
        }
    }

    /// Enters an object.
    pub(crate) fn object(&mut self) -> Result<Items, Bad> {
        self.enter(b'{', "an object")
    }

    /// Enters an array.
    pub(crate) fn array(&mut self) -> Result<Items, Bad> {
        self.enter(b'[', "an array")
    }

    fn enter(&mut self, open: u8, expected: &'static str) -> Result<Items, Bad> {
        self.take(open, expected)?;
        if self.depth == DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        Ok(Items::default())
    }

    /// The name of the next member, whose value comes then. `None`: the object is over.
    #[inline]
    pub(crate) fn member(&mut self, items: &mut Items) -> Result<Option<Text<'a>>, Bad> {
        if !self.more(items, b'}', "`,` or `}`")? {
            return Ok(None);
        }
        self.name().map(Some)
    }

    /// Whether another element comes. If not, the array is over.
    #[inline]
    pub(crate) fn element(&mut self, items: &mut Items) -> Result<bool, Bad> {
        self.more(items, b']', "`,` or `]`")
    }

    #[inline]
    fn more(&mut self, items: &mut Items, close: u8, expected: &'static str) -> Result<bool, Bad> {
        let begun = std::mem::replace(&mut items.begun, true);
        match self.next() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if begun => {
                self.at += 1;
                Ok(true)
            }
            _ if begun => Err(self.expected(expected)),
            _ => Ok(true),
        }
    }

    #[inline]
    fn name(&mut self) -> Result<Text<'a>, Bad> {
        if self.next() != Some(b'"') {
            return Err(self.expected("the name of a member"));
        }
        let name = self.string()?;
        self.take(b':', "`:`")?;
        Ok(name)
    }

    /// Takes a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text<'a>, Bad> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match find_quote(&self.text[self.at..]) {
                Some(found) if self.text[self.at + found] == b'"' => {
                    self.plain(self.at..self.at + found)?;
                    self.at += found + 1;
                    let raw = &self.text[start..self.at - 1];
                    return Ok(Text {
                        raw,
                        start,
                        escaped,
                    });
                }
                Some(found) => {
                    self.plain(self.at..self.at + found)?;
                    self.at += found + 1;
                    escaped = true;
                    self.escape()?;
                }
                None => {
                    self.plain(self.at..self.text.len())?;
                    self.at = self.text.len();
                    return Err(self.expected("the end of a string"));
                }
            }
        }
    }

    /// Checks for control characters.
    #[inline]
    fn plain(&self, span: Range<usize>) -> Result<(), Bad> {
        if self.strings == Strings::Lax {
            return Ok(());
        }
        let start = span.start;
        let text = &self.text[span];
        // Without an early end, so that the compiler makes vectors of it.
        if text.iter().fold(false, |any, byte| any | (*byte < b' ')) {
            let found = text.iter().position(|byte| *byte < b' ').unwrap_or(0);
            return Err(Bad {
                at: start + found,
                what: What::Expected("a string without control characters"),
            });
        }
        Ok(())
    }

    /// Takes what follows a backslash.
    fn escape(&mut self) -> Result<(), Bad> {
        let Some(&byte) = self.text.get(self.at) else {
            return Err(self.expected("the end of a string"));
        };
        if self.strings == Strings::Strict {
            match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => {
                    for digit in 1..=4 {
                        let found = self.text.get(self.at + digit);
                        if !found.is_some_and(u8::is_ascii_hexdigit) {
                            self.at += digit;
                            return Err(self.expected("four hexadecimal digits"));
                        }
                    }
                    self.at += 4;
                }
                _ => return Err(self.expected("an escape")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool, Bad> {
        match self.next() {
            Some(b't') => self.literal(b"true").map(|()| true),
            _ => self.literal(b"false").map(|()| false),
        }
    }

    /// Takes a number. Its value if it is whole and not below zero, such as `7`, `7.0` or `7e2`; at
    /// most what 64 bits hold.
    pub(crate) fn number(&mut self) -> Result<Option<u64>, Bad> {
        self.next();
        let text = &self.text[self.at..];
        self.skip_number()?;
        let text = &text[..text.len() - (self.text.len() - self.at)];
        Ok(whole(text))
    }

    /// Takes a value, whatever it is.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<(), Bad> {
        self.skip_telling(|_, _| ()).map(drop)
    }

    /// Takes a value, tells where every string in it that is no name and every number is, and says
    /// whether the value holds anything: `null`, booleans, `""`, `[]` and `{}` do not.
    #[inline]
    pub(crate) fn skip_telling(
        &mut self,
        mut tell: impl FnMut(Range<usize>, Kind),
    ) -> Result<bool, Bad> {
        match self.next() {
            Some(b'"') => {
                let span = self.string()?.span();
                let any = !span.is_empty();
                tell(span, Kind::String);
                Ok(any)
            }
            Some(b'{' | b'[') => self.skip_nested(tell),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.skip_number()?;
                tell(start..self.at, Kind::Number);
                Ok(true)
            }
            _ => self.skip_scalar().map(|()| false),
        }
    }

    /// Takes a value and says where it stands.
    pub(crate) fn skip_span(&mut self) -> Result<Range<usize>, Bad> {
        self.next();
        let start = self.at;
        self.skip()?;
        Ok(start..self.at)
    }

    /// There must be nothing left.
    pub(crate) fn end(&mut self) -> Result<(), Bad> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }

    fn skip_nested(&mut self, mut tell: impl FnMut(Range<usize>, Kind)) -> Result<bool, Bad> {
        let mut empty = true;
        // A bit for each open value, the innermost lowest: is it an object?
        let mut objects = 0_u128;
        let mut open = 0;
        loop {
            // At a value.
            match self.next() {
                Some(first @ (b'{' | b'[')) => {
                    if self.depth + open == DEPTH {
                        return Err(self.too_deep());
                    }
                    self.at += 1;
                    open += 1;
                    objects = objects << 1 | u128::from(first == b'{');
                    match (first, self.next()) {
                        (b'{', Some(b'}')) | (b'[', Some(b']')) => {}
                        (b'{', _) => {
                            empty = false;
                            self.name()?;
                            continue;
                        }
                        _ => {
                            empty = false;
                            continue;
                        }
                    }
                }
                Some(b'"') => tell(self.string()?.span(), Kind::String),
                Some(b'-' | b'0'..=b'9') => {
                    let start = self.at;
                    self.skip_number()?;
                    tell(start..self.at, Kind::Number);
                }
                _ => self.skip_scalar()?,
            }
            // After a value, or before the end of an empty one.
            loop {
                if open == 0 {
                    return Ok(!empty);
                }
                let object = objects & 1 == 1;
                match (self.next(), object) {
                    (Some(b','), _) => {
                        self.at += 1;
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open -= 1;
                        objects >>= 1;
                    }
                    (_, true) => return Err(self.expected("`,` or `}`")),
                    (_, false) => return Err(self.expected("`,` or `]`")),
                }
            }
        }
    }

    fn skip_scalar(&mut self) -> Result<(), Bad> {
        match self.next() {
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => Err(self.expected("a value")),
        }
    }

    fn literal(&mut self, literal: &'static [u8]) -> Result<(), Bad> {
        if !self.text[self.at..].starts_with(literal) {
            return Err(self.expected("a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Bad> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Bad> {
        let count = self.text[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return Err(self.expected("a digit"));
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Bad> {
        if self.next() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is no space, without taking it.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(&byte) if byte > b' ' => return Some(byte),
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> Bad {
        Bad {
            at: self.at,
            what: What::Expected(expected),
        }
    }

    #[cold]
    fn too_deep(&self) -> Bad {
        Bad {
            at: self.at,
            what: What::TooDeep,
        }
    }
}

/// The first quote or backslash.
#[inline]
pub(crate) fn find_quote(text: &[u8]) -> Option<usize> {
    // Most strings are shorter than a call of memchr is long: two words first.
    let mut at = 0;
    while let Some(word) = text.get(at..at + 8)
        && at < 16
    {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', &text[at..]).map(|found| at + found)
}

/// The first quote, backslash or control character.
#[inline]
pub(crate) fn find_control(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..at + 8)
        && at < 32
    {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES) | controls(word);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = &text[at..];
    let found = memchr2(b'"', b'\\', rest);
    let before = &rest[..found.unwrap_or(rest.len())];
    // Without an early end, so that the compiler makes vectors of it.
    if before.iter().fold(false, |any, byte| any | (*byte < b' ')) {
        let found = before.iter().position(|byte| *byte < b' ');
        return found.map(|found| at + found);
    }
    found.map(|found| at + found)
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// The highest bit of each byte that is zero; also of some above the first such one.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// The highest bit of each byte that is below a space; also of some above the first such one.
#[inline]
const fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7)
}

/// A string as JSON writes it.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The value of a well-formed number.
fn whole(number: &[u8]) -> Option<u64> {
    if number.len() < 20 && number.iter().all(u8::is_ascii_digit) {
        let add = |sum, digit: &u8| sum * 10 + u64::from(digit - b'0');
        return Some(number.iter().fold(0, add));
    }
    let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    // A cast saturates.
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bad, Cursor, DEPTH, Strings, What};

    fn check(text: &[u8]) -> Result<(), Bad> {
        let mut cursor = Cursor::new(text, Strings::Strict);
        cursor.skip()?;
        cursor.end()
    }

    fn nested(open: &str, inside: &str, close: &str, depth: usize) -> Vec<u8> {
        [&open.repeat(depth), inside, &close.repeat(depth)]
            .concat()
            .into_bytes()
    }

    #[test]
    fn every_corner_of_the_grammar_is_judged_as_the_rfc_says() {
        for good in [
            "null",
            " true ",
            "\tfalse\r\n",
            "0",
            "-0",
            "-1.5e+10",
            "1E5",
            "\"\"",
            "\"\\u00e9\\n\"",
            "\"\\\\\"",
            "\"\\\"\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1, 2,[3]]",
            "{\"a\":{\"b\":[{}]}}",
            "\"\\ud800\"",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "nul",
            "tru",
            "True",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"\n\"",
            "\"\0\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{]",
            "[}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1}}",
            "1 2",
            "[1]]",
            "\u{feff}1",
            "NaN",
            "'a'",
            "//\n1",
            "{\"a\":1]",
            "[1}",
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn s7_ten_thousand_levels_are_an_error_and_the_bound_is_exact() {
        let depth = DEPTH as usize;
        for (open, inside, close) in [("[", "", "]"), ("{\"a\":", "1", "}")] {
            assert_eq!(check(&nested(open, inside, close, depth)), Ok(()));
            for depth in [depth + 1, 10_000] {
                let bad = check(&nested(open, inside, close, depth)).unwrap_err();
                assert_eq!(bad.what, What::TooDeep);
            }
        }
    }

    #[test]
    fn numbers_have_their_value_if_they_are_whole() {
        for (text, value) in [
            ("0", Some(0)),
            ("7.0", Some(7)),
            ("7e2", Some(700)),
            ("7.5", None),
            ("-1", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
        ] {
            let mut cursor = Cursor::new(text.as_bytes(), Strings::Strict);
            assert_eq!(cursor.number(), Ok(value), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-e\\u \-.ntrfls]{0,24}"#) {
            let ours = check(text.as_bytes()).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&text);
            let mut lax = Cursor::new(&text, Strings::Lax);
            let _ = lax.skip();
        }
    }
}
