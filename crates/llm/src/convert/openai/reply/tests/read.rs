use serde_json::{Value, json};

use super::{message, read, with_message, write};
use crate::convert::text::{Raw, Text};

#[test]
fn an_empty_text_is_no_part() {
    for members in [
        r#""content":"","refusal":null"#,
        r#""content":null,"refusal":"","reasoning_content":"","tool_calls":[]"#,
        r#""content":[],"annotations":[]"#,
        r#""content":[{"type":"text","text":""}]"#,
    ] {
        let reply = with_message(members);
        let reply = read(&reply).unwrap();
        let candidate = &reply.candidates[0];
        assert!(candidate.parts.is_empty(), "{members}: {candidate:?}");
        assert!(candidate.rest.is_empty(), "{members}: {candidate:?}");
        assert_eq!(message(&reply)["content"], Value::Null);
    }
}

#[test]
fn what_compatible_servers_write_is_read_as_well() {
    for (members, content, reasoning, arguments) in [
        (
            r#""content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#,
            "ab",
            None,
            None,
        ),
        (
            r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"h"},{"type":"text","text":"m"}]},{"type":"text","text":"a"}]"#,
            "a",
            Some("hm"),
            None,
        ),
        (
            r#""content":"a","reasoning":"hm","reasoning_content":"hm""#,
            "a",
            Some("hm"),
            None,
        ),
        (r#""content":"a","reasoning":"hm""#, "a", Some("hm"), None),
        (
            r#""content":"a","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]"#,
            "a",
            None,
            Some("{\"a\":1}"),
        ),
        (
            r#""content":"a","tool_calls":[{"id":"","function":{"name":"f"}}]"#,
            "a",
            None,
            Some("{}"),
        ),
        (
            r#""content":"a","function_call":{"name":"f","arguments":"{\"b\":2}"}"#,
            "a",
            None,
            Some("{\"b\":2}"),
        ),
    ] {
        let reply = with_message(members);
        let reply = read(&reply).unwrap_or_else(|error| panic!("{error}: {members}"));
        let said = message(&reply);
        assert_eq!(said["content"], content, "{members}");
        assert_eq!(said["reasoning_content"].as_str(), reasoning, "{members}");
        let call = &said["tool_calls"][0];
        assert_eq!(
            call["function"]["arguments"].as_str(),
            arguments,
            "{members}"
        );
        if arguments.is_some() {
            assert_eq!(call["id"], "call_000000000000001a_0");
        }
    }
}

#[test]
fn what_nobody_knows_is_kept_where_it_stood() {
    let reply = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","provider":"P","none":null,"empty":[],
        "choices":[{"index":0,"content_filter_results":{"hate":{"filtered":false}},"logprobs":null,
            "message":{"role":"assistant","content":"a","annotations":[{"type":"url_citation"}]},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":0.5,"prompt_cache_miss_tokens":1,
            "prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":7}}}"#;
    let reply = read(reply).unwrap();
    let names = |rest: &[(Text<'_>, Raw<'_>)]| -> Vec<String> {
        rest.iter()
            .map(|(name, value)| format!("{}={}", name.written(), value.written()))
            .collect()
    };
    assert_eq!(names(&reply.rest), ["provider=\"P\""]);
    assert_eq!(
        names(&reply.candidates[0].rest),
        [
            r#"content_filter_results={"hate":{"filtered":false}}"#,
            r#"annotations=[{"type":"url_citation"}]"#
        ]
    );
    let usage = reply.usage.as_ref().unwrap();
    assert_eq!(
        names(&usage.rest),
        [
            "cost=0.5",
            r#"completion_tokens_details={"reasoning_tokens":1,"audio_tokens":7}"#
        ]
    );
    let said = write(&reply);
    assert_eq!(said["provider"], "P");
    assert_eq!(said["usage"]["cost"], 0.5);
    assert_eq!(
        said["usage"]["completion_tokens_details"],
        json!({"reasoning_tokens": 1})
    );
}

#[test]
fn a_usage_is_read_as_the_meter_reads_it() {
    for (usage, expected) in [
        ("{}", None),
        ("null", None),
        ("7", None),
        (r#"{"total_tokens":9}"#, None),
        (
            r#"{"prompt_tokens":5,"completion_tokens":3}"#,
            Some((5, None, None, 3, None)),
        ),
        // Reasoning beside the output.
        (
            r#"{"prompt_tokens":5,"completion_tokens":3,"total_tokens":20,"completion_tokens_details":{"reasoning_tokens":12}}"#,
            Some((5, None, None, 15, Some(12))),
        ),
        (
            r#"{"input_tokens":5,"output_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens_details":{"reasoning_tokens":2}}"#,
            Some((5, Some(1), None, 3, Some(2))),
        ),
        (
            r#"{"prompt_tokens":5,"completion_tokens":3,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":1}"#,
            Some((5, Some(4), None, 3, None)),
        ),
        (
            r#"{"prompt_tokens":1e2,"completion_tokens":"3","prompt_tokens_details":{"cached_tokens":null,"cache_write_tokens":6}}"#,
            Some((100, None, Some(6), 0, None)),
        ),
        (
            r#"{"prompt_tokens":18446744073709551616,"completion_tokens":-1,"prompt_tokens_details":[]}"#,
            Some((u64::MAX, None, None, 0, None)),
        ),
    ] {
        let text = format!(r#"{{"choices":[],"usage":{usage}}}"#);
        let reply = read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let counts = reply.usage.as_ref().map(|counts| {
            (
                counts.input,
                counts.cached,
                counts.cache_write,
                counts.output,
                counts.reasoning,
            )
        });
        assert_eq!(counts, expected, "{usage}");
        // It may be too large to be added up, and is written nevertheless.
        assert_eq!(write(&reply)["usage"].is_null(), expected.is_none());
    }
}

#[test]
fn what_is_no_reply_is_named_with_its_place() {
    for (text, message) in [
        ("null", "the body must be an object, but is null"),
        ("{}", "the body must have `choices`"),
        (r#"{"choices":null}"#, "the body must have `choices`"),
        (
            r#"{"choices":{}}"#,
            "`choices` must be an array, but is an object",
        ),
        (
            r#"{"choices":[1]}"#,
            "`choices[0]` must be an object, but is a number",
        ),
        (r#"{"choices":[{}]}"#, "`choices[0]` must have `message`"),
        (
            r#"{"choices":[{"message":{"content":1}}]}"#,
            "`choices[0].message.content` must be a string, but is a number",
        ),
        (
            r#"{"choices":[{"message":{"content":[{"type":"x","x":{}}]}}]}"#,
            "`choices[0].message.content[0]` must be a part that is text",
        ),
        (
            r#"{"choices":[{"message":{"tool_calls":[{"type":"custom","custom":{}}]}}]}"#,
            "`choices[0].message.tool_calls[0]` must have `function`",
        ),
    ] {
        let error = read(text).map(|reply| format!("{reply:?}")).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}
