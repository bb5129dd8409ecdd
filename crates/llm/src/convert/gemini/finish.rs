//! Why a candidate ended.

use crate::{
    convert::{model::Finish, text::Text, write::Writer},
    gemini::is_filter,
};

/// What a `finishReason` means. `None`: it says that it says nothing.
pub(super) fn read<'a>(reason: &Text<'a>) -> Option<Finish<'a>> {
    Some(match &*reason.decode() {
        "FINISH_REASON_UNSPECIFIED" | "" => return None,
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        word if is_filter(word.as_bytes()) => Finish::Filtered,
        _ => Finish::Other(reason.clone()),
    })
}

/// A candidate that called tools says that it stopped, as one that did not.
pub(super) fn called(finish: Finish<'_>) -> Finish<'_> {
    match finish {
        Finish::Stop => Finish::Calls,
        other => other,
    }
}

/// Writes `finishReason`, and `finishMessage` for a word that Gemini does not have.
pub(super) fn write(finish: &Finish<'_>, to: &mut Writer<'_>) {
    to.name("finishReason").str(match finish {
        Finish::Stop | Finish::Sequence(_) | Finish::Calls | Finish::Paused => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "SAFETY",
        Finish::Other(_) => "OTHER",
    });
    if let Finish::Other(word) = finish {
        to.name("finishMessage").text(word);
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{called, read, write};
    use crate::convert::{model::Finish, text::Text, write::Writer};

    #[test]
    fn every_reason_has_a_meaning() {
        for (words, finish) in [
            (&["STOP"][..], Some(Finish::Stop)),
            (&["MAX_TOKENS"], Some(Finish::Length)),
            (&["FINISH_REASON_UNSPECIFIED", ""], None),
            (
                &[
                    "SAFETY",
                    "RECITATION",
                    "BLOCKLIST",
                    "PROHIBITED_CONTENT",
                    "SPII",
                    "IMAGE_SAFETY",
                    "IMAGE_PROHIBITED_CONTENT",
                    "IMAGE_RECITATION",
                    "MODEL_ARMOR",
                    "ESCALATION",
                ],
                Some(Finish::Filtered),
            ),
        ] {
            for word in words {
                assert_eq!(read(&Text::new(word, 0)), finish, "{word}");
            }
        }
        for word in [
            "LANGUAGE",
            "OTHER",
            "MALFORMED_FUNCTION_CALL",
            "IMAGE_OTHER",
            "NO_IMAGE",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "MALFORMED_RESPONSE",
            "PUP_LIMITED_DISABLED",
            "CONTINUATION",
            "BRAND_NEW",
        ] {
            let word = Text::new(word, 0);
            assert_eq!(read(&word), Some(Finish::Other(word)));
        }
        assert_eq!(called(Finish::Stop), Finish::Calls);
        assert_eq!(called(Finish::Length), Finish::Length);
    }

    #[test]
    fn every_meaning_has_a_reason() {
        for (finish, written) in [
            (Finish::Stop, r#""STOP""#),
            (Finish::Sequence(Some(Text::plain("x"))), r#""STOP""#),
            (Finish::Calls, r#""STOP""#),
            (Finish::Paused, r#""STOP""#),
            (Finish::Length, r#""MAX_TOKENS""#),
            (Finish::Filtered, r#""SAFETY""#),
            (
                Finish::Other(Text::plain("odd")),
                r#""OTHER","finishMessage":"odd""#,
            ),
        ] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).object(|to| write(&finish, to));
            assert_eq!(out, format!(r#"{{"finishReason":{written}}}"#));
        }
    }
}
