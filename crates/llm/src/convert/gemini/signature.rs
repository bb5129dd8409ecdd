//! Whose signature stands in a `thoughtSignature`.
//!
//! It is bytes, which SDKs decode and encode again in either alphabet of base64. Those of Anthropic
//! are base64 as well, and so can stand after the base64 of a name without a look at either.

use std::borrow::Cow;

use crate::{
    Dialect,
    convert::{
        model::Signature,
        signature::{is_base64, standard},
        text::Text,
    },
};

/// Base64 of `anthropic`, and of `anthropic.redacted`: both without padding.
const ANTHROPIC: &str = "YW50aHJvcGlj";
const REDACTED: &str = "YW50aHJvcGljLnJlZGFjdGVk";

/// What the API takes for a call that it did not make, such as one of another provider's model: it
/// is checked by newer models alone. See <https://ai.google.dev/gemini-api/docs/thought-signatures>.
pub(super) const UNSIGNED: &str = "skip_thought_signature_validator";

/// What stands in a `thoughtSignature`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signed<'a> {
    By(Signature<'a>),
    /// Anthropic's reasoning that cannot be read.
    Redacted(Text<'a>),
}

pub(super) fn read(written: Text<'_>) -> Signed<'_> {
    let of = |of, value| Signed::By(Signature { of, value });
    let foreign = |prefix: &str| {
        let decoded = written.decode();
        let value = decoded.strip_prefix(prefix)?;
        Some(Text::of(&standard(value)).placed(written.at()))
    };
    if let Some(data) = foreign(REDACTED) {
        return Signed::Redacted(data);
    }
    match foreign(ANTHROPIC) {
        Some(value) => of(Dialect::Anthropic, value),
        None => of(Dialect::Gemini, written),
    }
}

/// What is written for a caller, who sends it back as it came. `None`: what is no base64 cannot be.
pub(super) fn write<'a>(signature: &'a Signature<'_>) -> Option<Cow<'a, str>> {
    let value = signature.value.written();
    match signature.of {
        _ if value.is_empty() => None,
        Dialect::Gemini => Some(value.into()),
        Dialect::Anthropic => foreign(ANTHROPIC, &signature.value),
        Dialect::OpenAi => None,
    }
}

/// The same of reasoning that cannot be read.
pub(super) fn write_redacted(data: &Text<'_>) -> Option<Cow<'static, str>> {
    foreign(REDACTED, data)
}

fn foreign(prefix: &str, value: &Text<'_>) -> Option<Cow<'static, str>> {
    let value = value.decode();
    let base64 = value.trim_end_matches('=').bytes().all(is_base64);
    (base64 && !value.is_empty()).then(|| [prefix, &value].concat().into())
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE},
    };

    use super::{Signed, UNSIGNED, read, write, write_redacted};
    use crate::{
        Dialect,
        convert::{model::Signature, text::Text},
    };

    fn signature(of: Dialect, value: &str) -> Signature<'_> {
        let value = Text::new(value, 0);
        Signature { of, value }
    }

    #[test]
    fn signatures_of_anthropic_survive_an_sdk_that_decodes_them() {
        for value in ["AAAA", "+/+/", "ErUBCkYIBxgCIkA=", "AA=="] {
            let signed = signature(Dialect::Anthropic, value);
            let written = write(&signed).unwrap();
            let bytes = STANDARD.decode(&*written).unwrap();
            for again in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
                assert_eq!(
                    read(Text::new(&again, 0)),
                    Signed::By(signature(Dialect::Anthropic, value))
                );
            }
            let written = write_redacted(&Text::new(value, 0)).unwrap();
            let bytes = STANDARD.decode(&*written).unwrap();
            for again in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
                assert_eq!(
                    read(Text::new(&again, 0)),
                    Signed::Redacted(Text::new(value, 0))
                );
            }
        }
    }

    #[test]
    fn its_own_are_as_they_came() {
        for value in ["AAAA", "+/==", "a-_b", UNSIGNED] {
            let signed = signature(Dialect::Gemini, value);
            assert_eq!(write(&signed).unwrap(), value);
            assert_eq!(read(Text::new(value, 0)), Signed::By(signed));
        }
    }

    #[test]
    fn what_no_base64_can_hold_is_not_written() {
        assert_eq!(write(&signature(Dialect::Anthropic, "a b")), None);
        assert_eq!(write(&signature(Dialect::Anthropic, "")), None);
        assert_eq!(write(&signature(Dialect::Gemini, "")), None);
        assert_eq!(write_redacted(&Text::new("\\\"", 0)), None);
        assert_eq!(write_redacted(&Text::new("", 0)), None);
    }
}
