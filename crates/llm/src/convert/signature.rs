//! Gemini's signature of a call, on its way through a caller who echoes nothing but the id.

use super::{model::Signature, text::Text};
use crate::Dialect;

/// What stands between the id and the signature. LiteLLM's proxies write the same.
const MARK: &str = "__thought__";

/// What is an id to the caller: the id, and Gemini's signature if there is one.
///
/// A signature is base64; in an id it has the alphabet that is safe in URLs and no padding, since
/// Anthropic's ids are of `a-zA-Z0-9_-` alone. What is no base64 is no signature of Gemini's, and
/// stays out, as do those of others.
pub(super) fn join<'a>(id: &Text<'a>, signature: Option<&Signature<'_>>) -> Text<'a> {
    let Some(signature) = signature.filter(|signature| signature.of == Dialect::Gemini) else {
        return id.clone();
    };
    let signature = signature.value.decode();
    let signature = signature.trim_end_matches('=');
    if signature.is_empty() || !signature.bytes().all(is_base64) {
        return id.clone();
    }
    let mut joined = String::with_capacity(MARK.len() + signature.len());
    joined.push_str(MARK);
    joined.extend(signature.chars().map(|c| match c {
        '+' => '-',
        '/' => '_',
        c => c,
    }));
    let mut id = id.clone();
    id.join(&Text::new(&joined, 0));
    id
}

/// What a caller echoes as an id: the id of the call, and Gemini's signature if it was joined to it.
pub(super) fn split<'a>(id: &Text<'a>) -> (Text<'a>, Option<Signature<'a>>) {
    let Some((bare, joined)) = id.rsplit_once(MARK) else {
        return (id.clone(), None);
    };
    let written = joined.written();
    if written.is_empty() || written.contains(['+', '/']) || !written.bytes().all(is_base64) {
        return (id.clone(), None);
    }
    let value = Text::of(&standard(written)).placed(id.at());
    let of = Dialect::Gemini;
    (bare, Some(Signature { of, value }))
}

/// Base64 of either alphabet in the one that every provider takes, with padding.
pub(super) fn standard(base64: &str) -> String {
    let mut standard = base64.replace('-', "+").replace('_', "/");
    standard.truncate(standard.trim_end_matches('=').len());
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    standard
}

/// Of either alphabet.
pub(super) const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{join, split};
    use crate::{
        Dialect,
        convert::{model::Signature, text::Text},
    };

    fn gemini(value: &str) -> Signature<'_> {
        Signature {
            of: Dialect::Gemini,
            value: Text::new(value, 0),
        }
    }

    #[test]
    fn a_signature_of_gemini_goes_in_an_id_and_comes_out_of_it() {
        for (signature, joined) in [
            ("AAAA", "call_1__thought__AAAA"),
            ("+/+/", "call_1__thought__-_-_"),
            ("AA==", "call_1__thought__AA"),
            ("AAA=", "call_1__thought__AAA"),
        ] {
            let id = Text::new("call_1", 7);
            let id = join(&id, Some(&gemini(signature)));
            assert_eq!(id.written(), joined);
            assert_eq!(id.at(), 7);
            let (bare, again) = split(&id);
            assert_eq!((bare.written(), bare.at()), ("call_1", 7));
            let again = again.unwrap();
            assert_eq!(
                (again.of, again.value.written()),
                (Dialect::Gemini, signature)
            );
        }
    }

    #[test]
    fn an_escaped_signature_is_one() {
        let id = join(&Text::new("a", 0), Some(&gemini(r"\/+A\u003d")));
        assert_eq!(id.written(), "a__thought___-A");
        assert_eq!(split(&id).1, Some(gemini("/+A=")));
    }

    #[test]
    fn only_signatures_of_gemini_are_joined() {
        let id = Text::new("toolu_1", 0);
        let other = Signature {
            of: Dialect::Anthropic,
            ..gemini("AAAA")
        };
        for signature in [
            None,
            Some(&other),
            Some(&gemini("")),
            Some(&gemini("=")),
            Some(&gemini("no base64")),
            Some(&gemini(r#"\""#)),
        ] {
            assert_eq!(join(&id, signature), id);
        }
    }

    #[test]
    fn an_id_that_only_looks_like_a_joined_one_stays_whole() {
        for id in [
            "",
            "call_1",
            "__thought",
            "call_1__thought__",
            "call_1__thought__a b",
            "call_1__thought__a+b",
            "call_1__thought__a=",
            r"call_1__thought__\u0061",
        ] {
            let id = Text::new(id, 3);
            assert_eq!(split(&id), (id.clone(), None));
        }
        let (bare, signature) = split(&Text::new("a__thought__b__thought__CCCC", 0));
        assert_eq!(bare.written(), "a__thought__b");
        assert_eq!(signature, Some(gemini("CCCC")));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            id in "[a-zA-Z0-9_-]{0,40}",
            groups in "([A-Za-z0-9+/]{4}){0,20}",
            last in "|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==",
        ) {
            let signature = [groups, last].concat();
            prop_assume!(!signature.is_empty() && !signature.contains("//thought//"));
            let (id, signature) = (Text::new(&id, 0), gemini(&signature));
            let joined = join(&id, Some(&signature));
            prop_assert_eq!(split(&joined), (id, Some(signature)));
        }
    }
}
