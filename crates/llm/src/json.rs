//! One pass over JSON text: no tree, no recursion, no copy.

mod cursor;
mod scan;

pub(crate) use self::{
    cursor::{Cursor, Items},
    scan::{find_quote, string_len},
};

/// How deep values may nest. serde_json's own limit, and one bit of a `u128` each.
pub(crate) const DEPTH: u32 = 128;

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

/// A string as JSON writes it.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bad, Cursor, DEPTH, Strings, What};

    fn check(text: &[u8]) -> Result<(), Bad> {
        let mut cursor = Cursor::new(text, Strings::Strict);
        cursor.skip();
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
            ("0", Ok(Some(0))),
            ("7", Ok(Some(7))),
            ("7.0", Ok(Some(7))),
            ("7e2", Ok(Some(700))),
            ("7.5", Ok(None)),
            ("-1", Ok(None)),
            ("9999999999999999999", Ok(Some(9_999_999_999_999_999_999))),
            ("18446744073709551615", Ok(Some(u64::MAX))),
            ("18446744073709551616", Ok(Some(u64::MAX))),
            ("1000000000000000000000000", Ok(Some(u64::MAX))),
            ("1e300", Ok(Some(u64::MAX))),
            ("01", Err(())),
            ("1.", Err(())),
            ("-", Err(())),
        ] {
            for (before, after) in [("", ""), ("[", "]"), ("[ ", " ]"), ("[1,", ",2]")] {
                let text = format!("{before}{text}{after}");
                let mut json = Cursor::new(text.as_bytes(), Strings::Strict);
                let mut number = None;
                if before.is_empty() {
                    number = json.number();
                } else {
                    let mut items = json.array();
                    for _ in 0..=before.matches(',').count() {
                        assert!(json.element(&mut items));
                        number = json.number();
                    }
                    while json.element(&mut items) {
                        json.skip();
                    }
                }
                let read = json.end().map(|()| number).map_err(|_| ());
                assert_eq!(read, value, "{text}");
            }
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
            lax.skip();
            let _ = lax.end();
        }
    }
}
