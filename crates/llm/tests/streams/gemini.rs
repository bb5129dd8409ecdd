use buttress_core::{Class, Usage};
use buttress_llm::Gemini;

use crate::{
    assert_good,
    common::{said_at_every_split, stream_head},
};

/// A stream of Gemini's: parts and what follows the content in the candidate, and the tokens.
fn gemini(chunks: &[(&str, &str, &str)]) -> String {
    let mut stream = String::new();
    for (parts, rest, usage) in chunks {
        stream += &format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{parts}],\"role\":\"model\"}}{rest},\"index\":0}}],\"usageMetadata\":{{{usage}}},\"modelVersion\":\"gemini-2.5-pro\",\"responseId\":\"r1\"}}\n\n"
        );
    }
    stream
}

const FINISH: &str = ",\"finishReason\":\"STOP\"";

#[test]
fn gemini_text_ends_with_its_reason_and_a_clean_end() {
    let usage = |output: u64| {
        format!(
            "\"promptTokenCount\":9,\"candidatesTokenCount\":{output},\"totalTokenCount\":{},\"promptTokensDetails\":[{{\"modality\":\"TEXT\",\"tokenCount\":9}}],\"thoughtsTokenCount\":185",
            194 + output
        )
    };
    let parts = [
        "{\"text\":\"\"}",
        "{\"text\":\"Hello\"}",
        "{\"text\":\", \\\"w\\\"\"}",
        "{\"text\":\" orld\"}",
    ];
    let usages: Vec<_> = [0, 5, 17, 230].map(usage).to_vec();
    let mut chunks: Vec<_> = parts
        .iter()
        .zip(&usages)
        .map(|(parts, usage)| (*parts, "", &**usage))
        .collect();
    let told = |output: u64| Usage {
        reasoning: 185,
        ..Usage::new(9, 185 + output)
    };
    let stream = gemini(&chunks);
    let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
    assert_eq!((said.open, said.ended), (None, None));
    assert_eq!(said.usage, Some(told(230).estimated()));

    let last = usage(231);
    chunks.push((
        "{\"text\":\"\",\"thoughtSignature\":\"EqsF\"}",
        FINISH,
        &last,
    ));
    let stream = gemini(&chunks);
    let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
    assert_good(said, true, Some(told(231)), &stream, "Hello");
}

#[test]
fn gemini_cut_within_an_event_is_not_whole_though_every_chunk_says_stop() {
    let stream = gemini(&[
        ("{\"text\":\"a\"}", FINISH, ""),
        ("{\"text\":\"b\"}", FINISH, ""),
    ]);
    let begins = stream.find("\n\n").expect("an event") + 2;
    for end in begins..=stream.len() {
        let chunk = &stream.as_bytes()[..end];
        let said = crate::common::said(&Gemini, &stream_head(), [chunk]);
        let whole = end == begins || end == stream.len();
        assert_eq!(said.class(), whole.then_some(Class::Success), "{end}");
    }
}

#[test]
fn gemini_calls_and_thoughts_are_content_and_signatures_are_not() {
    for part in [
        r#"{"functionCall":{"name":"weather","args":{"error":{"code":1},"x":"MARK"}},"thoughtSignature":"E"}"#,
        r#"{"text":"MARK","thought":true}"#,
        r#"{"inlineData":{"mimeType":"image/png","data":"MARK"}}"#,
    ] {
        let signature = r#"{"text":"","thought":true,"thoughtSignature":"CiQB"}"#;
        let usage = "\"promptTokenCount\":29,\"totalTokenCount\":29";
        let stream = gemini(&[
            (signature, "", usage),
            (part, "", usage),
            ("", FINISH, usage),
        ]);
        let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
        assert_good(said, true, Some(Usage::new(29, 0)), &stream, "MARK");
    }
}

#[test]
fn gemini_counts_that_are_left_out_are_found_in_the_total() {
    for (usage, expected) in [
        // Thoughts used up all there was.
        (
            "\"promptTokenCount\":9,\"thoughtsTokenCount\":91,\"totalTokenCount\":100",
            Usage {
                reasoning: 91,
                ..Usage::new(9, 91)
            },
        ),
        (
            "\"promptTokenCount\":9,\"totalTokenCount\":100",
            Usage::new(9, 91),
        ),
        (
            "\"promptTokenCount\":50,\"cachedContentTokenCount\":40,\"toolUsePromptTokenCount\":7,\"candidatesTokenCount\":3,\"totalTokenCount\":60",
            Usage {
                cached_input: 40,
                ..Usage::new(57, 3)
            },
        ),
    ] {
        let stream = gemini(&[("{\"text\":\"x\"}", FINISH, usage)]);
        let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
        assert_eq!(said.usage, Some(expected), "{usage}");
    }
}

#[test]
fn gemini_errors_and_refused_prompts_are_told_as_data() {
    let quota = r#"{"error":{"code":429,"message":"Quota exceeded. Please retry in 34.07s.","status":"RESOURCE_EXHAUSTED"}}"#;
    let internal = r#"{"error":{"code":500,"message":"x","status":"INTERNAL"}}"#;
    let blocked = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}}"#;
    for (event, class) in [
        (quota, Class::Throttled),
        (internal, Class::Unavailable),
        (blocked, Class::Unfit),
    ] {
        let stream = format!("data: {event}\n\n");
        let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
        assert_eq!(said.class(), Some(class), "{event}");
        assert_eq!(said.open, said.ended);
        let hint = said.ended.unwrap().retry_after;
        assert_eq!(
            hint.map(|wait| wait.as_millis()),
            (class == Class::Throttled).then_some(34_070)
        );
        assert_eq!(said.usage.is_some(), class == Class::Unfit);
    }
    // What was no reason to refuse the prompt is none to doubt the reply.
    let stream = "data: {\"promptFeedback\":{\"safetyRatings\":[]}}\n\n".to_owned()
        + &gemini(&[("{\"text\":\"x\"}", FINISH, "")]);
    let said = said_at_every_split(&Gemini, &stream_head(), stream.as_bytes());
    assert_eq!(said.class(), Some(Class::Success));
}
