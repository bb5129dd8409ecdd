//! What is passed over: most of a text.

use std::ops::Range;

use super::Cursor;
use crate::json::{DEPTH, Kind};

impl Cursor<'_> {
    /// Takes a value, whatever it is.
    #[inline]
    pub(crate) fn skip(&mut self) {
        self.skip_telling(|_, _| ());
    }

    /// Takes a value, tells where every string in it that is no name and every number is, and says
    /// whether the value holds anything: `null`, booleans, `""`, `[]` and `{}` do not.
    #[inline]
    pub(crate) fn skip_telling(&mut self, mut tell: impl FnMut(Range<usize>, Kind)) -> bool {
        match self.next() {
            b'"' => {
                let span = self.string();
                let any = !span.is_empty();
                tell(span, Kind::String);
                any
            }
            b'{' | b'[' => self.skip_nested(tell),
            b'-' | b'0'..=b'9' => {
                tell(self.skip_number(), Kind::Number);
                true
            }
            _ => {
                self.skip_scalar();
                false
            }
        }
    }

    /// Takes a value and says where it stands.
    pub(crate) fn skip_span(&mut self) -> Range<usize> {
        self.next();
        let start = self.at;
        self.skip();
        start..self.at.max(start)
    }

    fn skip_nested(&mut self, mut tell: impl FnMut(Range<usize>, Kind)) -> bool {
        let mut empty = true;
        // A bit for each open value, the innermost lowest: is it an object?
        let mut objects = 0_u128;
        let mut open = 0;
        loop {
            // At a value.
            match self.next() {
                first @ (b'{' | b'[') => {
                    if self.depth + open == DEPTH {
                        self.too_deep();
                        return false;
                    }
                    self.at += 1;
                    open += 1;
                    objects = objects << 1 | u128::from(first == b'{');
                    match (first, self.next()) {
                        (b'{', b'}') | (b'[', b']') => {}
                        (b'{', _) => {
                            empty = false;
                            self.name();
                            continue;
                        }
                        _ => {
                            empty = false;
                            continue;
                        }
                    }
                }
                b'"' => tell(self.string(), Kind::String),
                b'-' | b'0'..=b'9' => tell(self.skip_number(), Kind::Number),
                _ => self.skip_scalar(),
            }
            // After a value, or before the end of an empty one.
            loop {
                if open == 0 || self.bad.is_some() {
                    return !empty;
                }
                let object = objects & 1 == 1;
                match (self.next(), object) {
                    (b',', _) => {
                        self.at += 1;
                        if object {
                            self.name();
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open -= 1;
                        objects >>= 1;
                    }
                    (_, true) => self.fail("`,` or `}`"),
                    (_, false) => self.fail("`,` or `]`"),
                }
            }
        }
    }

    #[inline]
    pub(super) fn skip_scalar(&mut self) {
        let literal: &[u8] = match self.next() {
            b'n' => b"null",
            b't' => b"true",
            b'f' => b"false",
            b'-' | b'0'..=b'9' => {
                self.skip_number();
                return;
            }
            _ => return self.fail("a value"),
        };
        if self.text[self.at..].starts_with(literal) {
            self.at += literal.len();
        } else {
            self.fail("a value");
        }
    }

    pub(super) fn skip_number(&mut self) -> Range<usize> {
        let start = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits(),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits();
        }
        start..self.at
    }

    fn digits(&mut self) {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at == start {
            self.fail("a digit");
        }
    }
}
