mod faults;
mod read;
mod write;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{read_request, write_request};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        error::{self, Fault},
        model::{
            Arguments, Budget, Call, Choice, Content, Media, Message, Outcome, Part, PartKind,
            Reasoned, Request, Role, Signature, Source,
        },
        notes::Notes,
        read::{Names, Reader},
        text::{Raw, Text},
        write::Writer,
    },
};

fn read(text: &str) -> Result<Request<'_>, ConvertError> {
    let mut json = Reader::new(text, Names::Once);
    let request = read_request(&mut json);
    json.end().map_err(|fault| fault.explain(text))?;
    Ok(request)
}

fn write(request: &Request<'_>) -> Result<(Value, Vec<usize>), Fault> {
    let (mut notes, mut out) = (Notes::new(Dialect::OpenAi), BytesMut::new());
    write_request(request, &mut notes, &mut Writer::new(&mut out));
    let left_out = notes.end()?;
    let said = serde_json::from_slice(&out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    Ok((said, left_out))
}

/// What is read, written again.
fn again(request: &Value) -> Value {
    let text = request.to_string();
    let request = read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    write(&request).unwrap().0
}

/// What becomes of the members that only OpenAI has, on the way to another dialect.
fn own(text: &str) -> Result<Vec<String>, ConvertError> {
    let request = read(text)?;
    let mut notes = Notes::new(Dialect::Anthropic);
    notes.own(&request.own);
    let left_out = notes.end().map_err(|fault| fault.explain(text))?;
    Ok(left_out
        .into_iter()
        .map(|at| error::path(text, at))
        .collect())
}

/// A request with these members besides what it must have.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}]{comma}{members}}}"#)
}

fn with_messages(messages: &str) -> String {
    format!(r#"{{"messages":[{messages}],"model":"m"}}"#)
}

fn messages_of(text: &str) -> Vec<Message<'_>> {
    read(text)
        .unwrap_or_else(|error| panic!("{error}: {text}"))
        .messages
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

#[test]
fn what_every_dialect_can_say_is_said_again() {
    let request = json!({
        "model": "gpt-4.1-nano",
        "messages": [
            {"role": "system", "content": "Be \"brief\".\n\u{1f600}", "name": "boss"},
            {"role": "user", "name": "Ann", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO/+=="}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                {"type": "file", "file": {
                    "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            ]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"id": "call_a", "type": "function",
                 "function": {"name": "look", "arguments": "{\"at\":\"\\u00e9\\\"\"}"}},
                {"id": "call_b", "type": "function", "function": {"name": "hear", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_a", "content": "a cat"},
            {"role": "tool", "tool_call_id": "call_b", "content": [
                {"type": "text", "text": "a"}, {"type": "text", "text": "meow"}]},
            {"role": "user", "content": "Well?"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": null, "refusal": "No."},
            {"role": "user", "content": ""},
        ],
        "tools": [
            {"type": "function", "function": {
                "name": "look", "description": "Looks.", "strict": true,
                "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}},
            tool("hear"),
        ],
        "tool_choice": "required",
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "animal", "description": "One.", "schema": {"type": "object"}, "strict": true}},
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "top_p": 1e-1,
        "seed": -7,
        "presence_penalty": -0.5,
        "frequency_penalty": 2,
        "n": 2,
        "stop": ["a", "b\n"],
        "reasoning_effort": "low",
        "stream": true,
        "stream_options": {"include_usage": true},
        "user": "u-1",
    });
    assert_eq!(again(&request), request);
}

#[test]
fn a_shorter_way_to_say_the_same_is_read_as_well() {
    for (members, said) in [
        (r#""max_tokens":9"#, json!({"max_completion_tokens": 9})),
        (
            r#""max_tokens":9,"max_completion_tokens":9"#,
            json!({"max_completion_tokens": 9}),
        ),
        (r#""stop":"x""#, json!({"stop": ["x"]})),
        (r#""safety_identifier":"s""#, json!({"user": "s"})),
        (r#""logprobs":true"#, json!({"logprobs": true})),
        (
            r#""logprobs":true,"top_logprobs":3"#,
            json!({"logprobs": true, "top_logprobs": 3}),
        ),
        (
            r#""response_format":{"type":"json_object"}"#,
            json!({"response_format": {"type": "json_object"}}),
        ),
        (
            r#""response_format":{"json_schema":{"name":"a","schema":{}},"type":"json_schema"}"#,
            json!({"response_format": {"type": "json_schema",
                "json_schema": {"name": "a", "schema": {}}}}),
        ),
        (
            r#""stream":true,"stream_options":{"include_obfuscation":false}"#,
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"none""#,
            json!({"tools": [tool("a")], "tool_choice": "none"}),
        ),
        (
            r#""tool_choice":{"function":{"name":"a"},"type":"function"}"#,
            json!({"tool_choice": tool("a")}),
        ),
    ] {
        let text = with(members);
        let mut expected = said;
        expected["model"] = "m".into();
        expected["messages"] = json!([{"role": "user", "content": "Hi"}]);
        let request = read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(write(&request).unwrap().0, expected, "{members}");
    }
    for effort in ["none", "minimal", "low", "medium", "high", "xhigh", "max"] {
        let text = with(&format!(r#""reasoning_effort":"{effort}""#));
        let (said, _) = write(&read(&text).unwrap()).unwrap();
        assert_eq!(said["reasoning_effort"], effort);
    }
}

#[test]
fn the_default_of_a_member_says_nothing() {
    let nothing = again(&serde_json::from_str(&with("")).unwrap());
    for members in [
        r#""n":1"#,
        r#""logprobs":false"#,
        r#""logprobs":false,"top_logprobs":0"#,
        r#""presence_penalty":0,"frequency_penalty":-0.0"#,
        r#""tools":[],"tool_choice":"auto","parallel_tool_calls":false"#,
        r#""tool_choice":"none","parallel_tool_calls":true"#,
        r#""response_format":{"type":"text"}"#,
        r#""stop":[]"#,
        r#""stream":false,"stream_options":{}"#,
        r#""store":false,"metadata":{ },"logit_bias":{}"#,
        r#""service_tier":"auto","verbosity":"medium","modalities":["text"]"#,
        r#""functions":[],"function_call":"auto","prompt_cache_key":"""#,
        r#""never_heard_of":null,"temperature":null,"user":null,"tools":null,"audio":null"#,
    ] {
        let text = with(members);
        let request = read(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(request.own.is_empty(), "{members}: {:?}", request.own);
        assert_eq!(write(&request).unwrap().0, nothing, "{members}");
    }
}

#[test]
fn only_the_tools_that_are_allowed_are_there() {
    let tools = r#""tools":[{"type":"function","function":{"name":"a"}},
        {"type":"function","function":{"name":"b"}},{"type":"function","function":{"name":"\u0063"}}]"#;
    for (mode, choice) in [("auto", Value::Null), ("required", json!("required"))] {
        let text = with(&format!(
            r#""tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"{mode}","tools":[
            {{"type":"function","function":{{"name":"c"}}}},{{"type":"function","function":{{"name":"a"}}}}]}}}},{tools}"#
        ));
        let (said, _) = write(&read(&text).unwrap()).unwrap();
        assert_eq!(said["tools"], json!([tool("a"), tool("c")]));
        assert_eq!(said["tool_choice"], choice);
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_as_json(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,3}"), 1..4),
    ) {
        let mut text = with(
            r#""tools":[{"type":"function","function":{"name":"a\u0041"}}],"stop":["x"],"n":2,"user":"u",
            "tool_choice":{"type":"function","function":{"name":"a"}},"stream":true,"reasoning_effort":"low",
            "response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"a":[1]}}}"#,
        )
        .replace(r#""content":"Hi""#, r#""content":[{"type":"text","text":"Hi"}]"#);
        for (at, new) in changes {
            let at = at.index(text.len());
            text.replace_range(at..=at, &new);
        }
        if let Ok(request) = read(&text) {
            // It panics unless it is JSON.
            let _ = write(&request);
        }
    }
}
