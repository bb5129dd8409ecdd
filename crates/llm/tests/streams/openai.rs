use buttress_core::{Class, Usage};
use buttress_llm::OpenAi;
use bytes::Bytes;

use crate::{
    assert_good,
    common::{end_of_event, meter, said_at_every_split, stream_head},
};

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
fn openai_cut_within_an_event_is_not_whole() {
    let whole = openai(&[ROLE, &delta("{\"content\":\"Hi\"}"), STOP]);
    let class = |rest: &str| {
        let stream = format!("{whole}{rest}");
        said_at_every_split(&OpenAi, &stream_head(), stream.as_bytes()).class()
    };
    for rest in [
        "d",
        "data: {\"id\":\"c",
        "data: [DON",
        "event: x\n",
        ": x\ndata: {",
    ] {
        assert_eq!(class(rest), None, "{rest}");
    }
    for rest in ["data: [DONE]", "data:[DONE]\r\n", ": bye", "\n"] {
        assert_eq!(class(rest), Some(Class::Success), "{rest}");
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
        let mut meter = meter(&OpenAi, &stream_head());
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
