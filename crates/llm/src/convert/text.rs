//! JSON as it stands: what is not looked into is carried over byte for byte.

use std::borrow::Cow;

use crate::json::quote;

/// A string as it is written between its quotes, and where in the text it stands.
///
/// From one dialect to another it is copied, escapes and all. Two after one another are one: so
/// pieces can be joined without a look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a> {
    written: Cow<'a, str>,
    at: usize,
}

/// A value as it is written, and where in the text it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    written: Cow<'a, str>,
    at: usize,
}

// ===== impl Text =====

impl<'a> Text<'a> {
    pub(super) const fn new(written: &'a str, at: usize) -> Self {
        Self {
            written: Cow::Borrowed(written),
            at,
        }
    }

    /// A string that has nothing to be escaped.
    pub(super) const fn plain(text: &'static str) -> Self {
        Self::new(text, 0)
    }

    /// Writes a string.
    pub(super) fn of(text: &str) -> Self {
        let mut quoted = quote(text);
        quoted.pop();
        quoted.remove(0);
        Self {
            written: quoted.into(),
            at: 0,
        }
    }

    /// The same, made of what stands at `at`.
    #[must_use]
    pub(super) fn placed(mut self, at: usize) -> Self {
        self.at = at;
        self
    }

    /// As it is written.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// What it says. Half of a surrogate pair becomes U+FFFD.
    pub(super) fn decode(&self) -> Cow<'_, str> {
        let written = self.written.as_bytes();
        // A call of memchr takes longer than a word.
        let is_escaped = match written.len() {
            ..16 => written.contains(&b'\\'),
            _ => memchr::memchr(b'\\', written).is_some(),
        };
        if is_escaped {
            Cow::Owned(unescape(&self.written))
        } else {
            Cow::Borrowed(&self.written)
        }
    }

    /// Both sides of the first such character, which is none that is ever escaped.
    pub(super) fn split_once(&self, at: char) -> Option<(Text<'a>, Text<'a>)> {
        let side = |written| Text {
            written,
            at: self.at,
        };
        match &self.written {
            Cow::Borrowed(written) => {
                let (before, after) = written.split_once(at)?;
                Some((side(before.into()), side(after.into())))
            }
            Cow::Owned(written) => {
                let (before, after) = written.split_once(at)?;
                let owned = |side: &str| Cow::Owned(side.to_owned());
                Some((side(owned(before)), side(owned(after))))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// What is written after `prefix`, if it begins with that.
    pub(super) fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let written = match &self.written {
            Cow::Borrowed(written) => written.strip_prefix(prefix)?.into(),
            Cow::Owned(written) => written.strip_prefix(prefix)?.to_owned().into(),
        };
        let at = self.at;
        Some(Self { written, at })
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// What is before the last `mark`, and what is after it, both where the whole stands. The mark
    /// has nothing to be escaped.
    pub(super) fn rsplit_once(&self, mark: &str) -> Option<(Self, Self)> {
        let part = |written| Self {
            written,
            at: self.at,
        };
        Some(match &self.written {
            Cow::Borrowed(written) => {
                let (before, after) = written.rsplit_once(mark)?;
                (part(before.into()), part(after.into()))
            }
            Cow::Owned(written) => {
                let (before, after) = written.rsplit_once(mark)?;
                (
                    part(before.to_owned().into()),
                    part(after.to_owned().into()),
                )
            }
        })
    }

    /// One string of both.
    pub(super) fn join(&mut self, more: &Text<'_>) {
        self.written.to_mut().push_str(&more.written);
    }

    pub(super) fn into_owned(self) -> Text<'static> {
        Text {
            written: Cow::Owned(self.written.into_owned()),
            at: self.at,
        }
    }
}

// ===== impl Raw =====

impl<'a> Raw<'a> {
    pub(super) const fn new(written: &'a str, at: usize) -> Self {
        Self {
            written: Cow::Borrowed(written),
            at,
        }
    }

    /// The same, made of what stands at `at`.
    #[must_use]
    pub(super) fn placed(mut self, at: usize) -> Self {
        self.at = at;
        self
    }

    /// A value that we write.
    pub(super) fn of(written: impl Into<Cow<'a, str>>) -> Self {
        Self {
            written: written.into(),
            at: 0,
        }
    }

    /// As it is written.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn into_owned(self) -> Raw<'static> {
        Raw {
            written: Cow::Owned(self.written.into_owned()),
            at: self.at,
        }
    }
}

/// What a string says that was found to be well written.
fn unescape(written: &str) -> String {
    let mut said = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        said.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or_default();
        rest = rest.get(at + 2..).unwrap_or_default();
        said.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => hexadecimal(&mut rest),
            other => char::from(other),
        });
    }
    said.push_str(rest);
    said
}

/// The character whose four digits come first, or eight and another `\u` between them.
fn hexadecimal(rest: &mut &str) -> char {
    let digits = |text: &str, at: usize| {
        let digits = text.get(at..at + 4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = digits(rest, 0).unwrap_or_default();
    let second = match rest.get(4..6) {
        Some("\\u") if (0xd800..0xdc00).contains(&first) => digits(rest, 6),
        _ => None,
    };
    *rest = rest.get(4..).unwrap_or_default();
    match second {
        Some(second @ 0xdc00..0xe000) => {
            *rest = rest.get(6..).unwrap_or_default();
            let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(pair)
        }
        _ => char::from_u32(first),
    }
    .unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Text;

    #[test]
    fn half_of_a_surrogate_pair_is_replaced_and_a_whole_one_is_a_character() {
        for (written, said) in [
            (r"a\u0062c", "abc"),
            (r"\ud83d\ude00!", "\u{1f600}!"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ude00\n", "\u{fffd}\n"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r#"\"\/\\\b\f\r\t"#, "\"/\\\u{8}\u{c}\r\t"),
        ] {
            assert_eq!(Text::new(written, 0).decode(), said, "{written}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(said in any::<String>()) {
            prop_assert_eq!(Text::of(&said).decode().into_owned(), said);
        }
    }
}
