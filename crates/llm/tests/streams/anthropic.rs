use buttress_core::{Class, Usage};
use buttress_llm::Anthropic;

use crate::{
    assert_good,
    common::{said_at_every_split, stream_head},
};

/// A stream of Anthropic's of these events, each named by its type.
fn anthropic(events: &[&str]) -> String {
    let mut stream = String::new();
    for event in events {
        let kind = event.split('"').nth(3).unwrap();
        stream += &format!("event: {kind}\ndata: {event}\n\n");
    }
    stream
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}"#;
const TEXT_BLOCK: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const PING: &str = r#"{"type":"ping"}"#;
const BLOCK_STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const MESSAGE_STOP: &str = r#"{"type":"message_stop"}"#;

fn text_delta(text: &str) -> String {
    format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
    )
}

fn message_delta(output: u64) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{output}}}}}"#
    )
}

fn anthropic_usage(output: u64) -> Usage {
    Usage {
        cached_input: 1000,
        cache_write: 100,
        ..Usage::new(1125, output)
    }
}

#[test]
fn anthropic_text_is_content_and_usage_is_replaced_not_added() {
    let (hello, world) = (text_delta("Hello"), text_delta(" \\\"world\\\""));
    let (early, last) = (
        r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":10}}"#,
        message_delta(30),
    );
    let events = [
        START,
        TEXT_BLOCK,
        PING,
        &hello,
        &world,
        PING,
        BLOCK_STOP,
        early,
        &last,
        MESSAGE_STOP,
    ];
    let stream = anthropic(&events);
    let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
    assert_good(said, false, Some(anthropic_usage(30)), &stream, "Hello");

    // Cut anywhere before, the usage is what was told so far, and not exact.
    for (cut, output) in [(1, 1), (5, 1), (8, 10)] {
        let stream = anthropic(&events[..cut]);
        let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
        assert_eq!((said.open, said.ended), (None, None));
        assert_eq!(
            said.usage,
            Some(anthropic_usage(output).estimated()),
            "{cut}"
        );
    }
    // All was told, but the terminator is missing.
    let stream = anthropic(&events[..9]);
    let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
    assert_eq!((said.ended, said.usage), (None, Some(anthropic_usage(30))));
}

#[test]
fn anthropic_message_delta_may_tell_all_counts_again() {
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":30,"cache_creation_input_tokens":0,"cache_read_input_tokens":2000,"output_tokens":48}}"#;
    let stream = anthropic(&[START, last, MESSAGE_STOP]);
    let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
    let expected = Usage {
        cached_input: 2000,
        ..Usage::new(2030, 48)
    };
    assert_eq!(said.usage, Some(expected));
    assert_eq!(
        (said.class(), said.content_at),
        (Some(Class::Success), None)
    );
}

#[test]
fn anthropic_content_is_thinking_tool_input_and_text_but_no_block_start() {
    for (block, delta) in [
        (
            r#"{"type":"thinking","thinking":"","signature":""}"#,
            r#"{"type":"thinking_delta","thinking":"MARK"}"#,
        ),
        (
            r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#,
            r#"{"type":"input_json_delta","partial_json":"{\"MARK\": \"error\", \"type\": \"message_stop\"}"}"#,
        ),
        (
            r#"{"type":"text","text":""}"#,
            r#"{"type":"citations_delta","citation":{"type":"char_location","cited_text":"MARK"}}"#,
        ),
        (
            r#"{"type":"new","x":""}"#,
            r#"{"type":"new_delta","x":"MARK"}"#,
        ),
    ] {
        let start =
            format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
        let empty = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#;
        let delta = format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#);
        let last = message_delta(5);
        let stream = anthropic(&[
            START,
            &start,
            empty,
            &delta,
            &delta,
            BLOCK_STOP,
            &last,
            MESSAGE_STOP,
        ]);
        let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
        assert_good(said, false, Some(anthropic_usage(5)), &stream, "MARK");
    }
}

#[test]
fn anthropic_errors_in_a_stream_are_of_their_own_class() {
    for (kind, class) in [
        ("overloaded_error", Class::Unavailable),
        ("api_error", Class::Unavailable),
        ("timeout_error", Class::Unavailable),
        ("rate_limit_error", Class::Throttled),
        ("authentication_error", Class::Denied),
        ("billing_error", Class::Denied),
        ("permission_error", Class::Denied),
        ("invalid_request_error", Class::Invalid),
        ("not_found_error", Class::Unfit),
        ("a_new_error", Class::Unavailable),
    ] {
        let error =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"Overloaded"}}}}"#);
        let hello = text_delta("Hello");
        let before = anthropic(&[START, TEXT_BLOCK, PING, &error]);
        let after = anthropic(&[START, TEXT_BLOCK, &hello, &hello, &error]);
        for (stream, content) in [(before, false), (after, true)] {
            let said = said_at_every_split(&Anthropic, &stream_head(), stream.as_bytes());
            assert_eq!(said.class(), Some(class), "{kind}");
            assert_eq!(said.open, said.ended);
            assert_eq!(said.content_at.is_some(), content);
            assert_eq!(said.usage, Some(anthropic_usage(1).estimated()));
        }
    }
}
