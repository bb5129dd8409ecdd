//! What the meters say of streams, written by hand as the providers write them, at every split.

mod common;

use buttress_core::{Class, Usage};
use buttress_llm::{Anthropic, AnyPath, Dialect, Gemini, OpenAi};
use bytes::Bytes;
use common::{Said, end_of_event, said_at_every_split, stream_head};

/// A stream of OpenAI's of these chunks, given as what differs.
fn openai(chunks: &[&str]) -> String {
    let mut stream = String::new();
    for chunk in chunks {
        if *chunk == "[DONE]" {
            stream += "data: [DONE]\n\n";
            continue;
        }
        stream += &format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\"model\":\"gpt-4.1-nano\",{chunk}}}\n\n"
        );
    }
    stream
}

fn delta(delta: &str) -> String {
    format!(
        "\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null"
    )
}

const ROLE: &str = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null"#;
const STOP: &str =
    r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null"#;
const USAGE: &str = r#""choices":[],"usage":{"prompt_tokens":100,"completion_tokens":40,"total_tokens":140,"prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":25,"audio_tokens":0}}"#;

fn openai_usage() -> Usage {
    Usage {
        cached_input: 64,
        reasoning: 25,
        ..Usage::new(100, 40)
    }
}

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

/// A whole and good stream, open until its end or not, whose first content is where the marker is.
#[track_caller]
fn assert_good(said: Said, open: bool, usage: Option<Usage>, stream: &str, marker: &str) {
    assert_eq!(said.class(), Some(Class::Success));
    assert_eq!(said.open.is_none(), open, "{:?}", said.open);
    assert_eq!(said.usage, usage);
    assert_eq!(said.content_at, Some(end_of_event(stream, marker)));
}

// ===== OpenAI =====

#[test]
fn openai_text_is_content_and_ends_with_done() {
    let deltas = ["Hello", "", ", \\\"world\\\"", " \\ud83d\\ude00", "!"];
    let deltas = deltas.map(|text| delta(&format!(r#"{{"content":"{text}"}}"#)));
    let mut chunks = vec![ROLE];
    chunks.extend(deltas.iter().map(String::as_str));
    chunks.extend([STOP, USAGE, "[DONE]"]);
    let stream = openai(&chunks);
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    assert_good(said, false, Some(openai_usage()), &stream, "Hello");
}

#[test]
fn openai_reasoning_is_content_under_any_name() {
    for name in ["reasoning_content", "reasoning", "refusal", "thinking"] {
        let first = delta(&format!(r#"{{"content":null,"{name}":""}}"#));
        let second = delta(&format!(r#"{{"content":null,"{name}":"Hmm"}}"#));
        let stream = openai(&[ROLE, &first, &second, STOP, "[DONE]"]);
        let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
        assert_good(said, false, None, &stream, "Hmm");
    }
}

#[test]
fn openai_parallel_tools_are_content_and_what_they_say_is_not_believed() {
    // Arguments that look like everything a meter looks for.
    let arguments = r#"{\"usage\":{\"prompt_tokens\":1},\"error\":{\"message\":\"x\"},\"finish_reason\":\"stop\",\"a\":[\"]}\",\"data: [DONE]\\n\\n\"]}"#;
    let chunks = [
        delta(r#"{"role":"assistant","content":null,"tool_calls":[]}"#),
        delta(
            r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"first","arguments":""}}]}"#,
        ),
        delta(&format!(
            r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{arguments}"}}}}]}}"#
        )),
        delta(
            r#"{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"second","arguments":""}}]}"#,
        ),
        delta(&format!(
            r#"{{"tool_calls":[{{"index":1,"function":{{"arguments":"{arguments}"}}}}]}}"#
        )),
    ];
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let open = openai(&chunks);
    let said = said_at_every_split(&OpenAi, &stream_head(), open.as_bytes());
    assert_eq!((said.ended, said.usage), (None, None));
    assert_eq!(said.content_at, Some(end_of_event(&open, "call_1")));

    let finish = r#""choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]"#;
    let stream = open + &openai(&[finish, USAGE, "[DONE]"]);
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    assert_good(said, false, Some(openai_usage()), &stream, "call_1");
}

#[test]
fn openai_without_done_is_whole_once_every_choice_has_finished() {
    let hello = delta(r#"{"content":"Hello"}"#);
    let other = r#""choices":[{"index":1,"delta":{"content":"Salut"},"finish_reason":null}]"#;
    let other_stop = r#""choices":[{"index":1,"delta":{},"finish_reason":"length"}]"#;
    for (chunks, class) in [
        (vec![ROLE, &hello, STOP], Some(Class::Success)),
        (vec![ROLE, &hello, STOP, USAGE], Some(Class::Success)),
        (vec![ROLE, &hello], None),
        (vec![ROLE], None),
        (vec![], None),
        (vec![ROLE, &hello, other, STOP], None),
        (vec![ROLE, &hello, other, &hello, other, STOP], None),
        (
            vec![ROLE, &hello, other, STOP, other_stop],
            Some(Class::Success),
        ),
        (vec![ROLE, &hello, "[DONE]"], Some(Class::Success)),
    ] {
        let stream = openai(&chunks);
        let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
        assert_eq!(said.class(), class, "{stream}");
        assert_eq!(said.open.is_some(), chunks.last() == Some(&"[DONE]"));
    }
}

#[test]
fn openai_usage_is_exact_only_at_the_end() {
    let running = |reason: &str, output: u64| {
        format!(
            r#""choices":[{{"index":0,"delta":{{"content":"x"}},"finish_reason":{reason}}}],"usage":{{"prompt_tokens":7,"total_tokens":{},"completion_tokens":{output}}}"#,
            7 + output
        )
    };
    let (first, second, last) = (
        running("null", 1),
        running("null", 2),
        running("\"stop\"", 3),
    );
    let head = stream_head();
    let stream = openai(&[&first, &second]);
    let said = said_at_every_split(&OpenAi, &head, stream.as_bytes());
    assert_eq!(said.usage, Some(Usage::new(7, 2).estimated()));
    let stream = openai(&[&first, &second, &last]);
    let said = said_at_every_split(&OpenAi, &head, stream.as_bytes());
    assert_eq!(said.usage, Some(Usage::new(7, 3)));
}

#[test]
fn openai_reasoning_left_out_of_the_output_is_taken_from_the_total() {
    let usage = r#""choices":[],"usage":{"prompt_tokens":12,"completion_tokens":9,"total_tokens":341,"completion_tokens_details":{"reasoning_tokens":320}}"#;
    let stream = openai(&[ROLE, STOP, usage, "[DONE]"]);
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    let expected = Usage {
        reasoning: 320,
        ..Usage::new(12, 329)
    };
    assert_eq!(said.usage, Some(expected));
}

#[test]
fn openai_errors_in_a_stream_are_of_their_own_class() {
    for (error, class) in [
        (
            r#"{"message":"The server had an error","type":"server_error","param":null,"code":null}"#,
            Class::Unavailable,
        ),
        (
            r#"{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}"#,
            Class::Throttled,
        ),
        (
            r#"{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}"#,
            Class::Denied,
        ),
        (
            r#"{"message":"bad","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}"#,
            Class::Unfit,
        ),
        (
            r#"{"message":"bad","type":"invalid_request_error","param":"x","code":null}"#,
            Class::Invalid,
        ),
        (r#"{"message":"upstream","code":502}"#, Class::Unavailable),
        (r#"{"message":"upstream","code":429}"#, Class::Throttled),
        (r#"{"new":"shape"}"#, Class::Unavailable),
        (r#""text""#, Class::Unavailable),
    ] {
        let event = format!("data: {{\"error\":{error}}}\n\n");
        let stream = openai(&[ROLE]) + &event;
        let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
        assert_eq!(said.class(), Some(class), "{error}");
        assert_eq!(said.open, said.ended);
        assert_eq!(said.content_at, None);
        // What a layer makes of it after content is the body's business; the class stays the error's.
        let hello = delta(r#"{"content":"Hello"}"#);
        let stream = openai(&[ROLE, &hello]) + &event + &openai(&[STOP, "[DONE]"]);
        let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
        assert_eq!(said.class(), Some(class), "{error}");
        assert_eq!(said.content_at, Some(end_of_event(&stream, "Hello")));
    }
}

#[test]
fn openai_chunks_that_only_look_odd_are_no_errors() {
    // Azure's first chunk, a null error, comments, a ping without data, and CR LF.
    let azure = r#""choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}],"error":null"#;
    let hello = delta(r#"{"content":"Hello"}"#);
    let stream = format!(
        ": OPENROUTER PROCESSING\n\nevent: ping\n\n{}",
        openai(&[azure, ROLE, &hello, STOP, "[DONE]"])
    );
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    assert_good(said, false, None, &stream, "Hello");
    let windows = stream.replace('\n', "\r\n");
    let said = said_at_every_split(&OpenAi, &stream_head(), windows.as_bytes());
    assert_eq!(said.class(), Some(Class::Success));
    assert!(said.content_at.is_some());
}

#[test]
fn one_malformed_event_is_passed_over() {
    let hello = delta(r#"{"content":"Hello"}"#);
    for bad in [
        "{",
        "",
        "nonsense",
        "{\"choices\":[}",
        "[1]",
        "{\"usage\":{\"prompt_tokens\":1}",
    ] {
        let stream = openai(&[ROLE])
            + &format!("data: {bad}\n\n")
            + &openai(&[&hello, STOP, USAGE, "[DONE]"]);
        let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
        assert_good(said, false, Some(openai_usage()), &stream, "Hello");
    }
}

#[test]
fn what_looks_like_an_event_in_the_middle_of_another_is_none() {
    let hello = Bytes::from(openai(&[&delta(r#"{"content":"Hello"}"#)]));
    for (begun, content) in [
        ("data: 1\n", false),
        ("data: 1\r", false),
        ("data: {", false),
        (": 1\ndata", false),
        ("event: x\n", true),
        (": 1\n", true),
        ("\n", true),
    ] {
        let mut meter = common::meter(&OpenAi, &stream_head());
        // The event is known by now.
        assert!(meter.chunk(&hello).is_content() && meter.chunk(&hello).is_content());
        meter.chunk(&Bytes::from(begun));
        assert_eq!(meter.chunk(&hello).is_content(), content, "{begun:?}");
        assert!(meter.chunk(&hello).is_content(), "{begun:?}");
    }
}

#[test]
fn what_comes_after_the_terminator_does_not_count() {
    let stream = openai(&[ROLE, STOP, "[DONE]"])
        + "data: {\"error\":{\"message\":\"late\"}}\n\n"
        + &openai(&[USAGE, &delta(r#"{"content":"late"}"#)]);
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    assert_eq!(said.class(), Some(Class::Success));
    assert_eq!((said.usage, said.content_at), (None, None));
}

#[test]
fn invalid_utf8_nul_and_a_byte_order_mark_pass() {
    let mut stream = b"\xef\xbb\xbf".to_vec();
    stream.extend(openai(&[ROLE, &delta("{\"content\":\"a\0b\"}"), STOP, "[DONE]"]).bytes());
    let at = stream
        .windows(3)
        .position(|bytes| bytes == b"a\0b")
        .unwrap();
    stream[at] = 0xff;
    let said = said_at_every_split(&OpenAi, &stream_head(), &stream);
    assert_eq!(said.class(), Some(Class::Success));
    assert!(said.content_at.is_some());
}

#[test]
fn legacy_completions_are_read_as_well() {
    let text = r#""choices":[{"text":"Once","index":0,"logprobs":null,"finish_reason":null}]"#;
    let end = r#""choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}]"#;
    let stream = openai(&[text, end, "[DONE]"]);
    let said = said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes());
    assert_good(said, false, None, &stream, "Once");
}

// ===== Anthropic =====

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

// ===== Gemini =====

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

// ===== Every dialect =====

#[test]
fn an_event_over_the_bound_breaks_the_stream() {
    for dialect in Dialect::ALL {
        let stream = format!("data: \"{}\n\n", "x".repeat(9 << 20));
        let said = common::said(&dialect, &stream_head(), stream.as_bytes().chunks(1 << 16));
        assert_eq!(said.class(), Some(Class::Unavailable));
        assert_eq!(said.open, said.ended);
    }
}

#[test]
fn another_path_of_a_dialect_ends_with_its_body() {
    let stream = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    for dialect in Dialect::ALL {
        let strict = said_at_every_split(&dialect, &stream_head(), stream.as_bytes());
        assert_eq!(strict.ended, None);
        let lenient = said_at_every_split(&AnyPath(dialect), &stream_head(), stream.as_bytes());
        assert_eq!(lenient.class(), Some(Class::Success));
        assert_eq!(lenient.open, None);
    }
    let failed = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"param\":null}\n\n";
    let said = said_at_every_split(&AnyPath(Dialect::OpenAi), &stream_head(), failed.as_bytes());
    assert_eq!(said.class(), Some(Class::Unavailable));
}
