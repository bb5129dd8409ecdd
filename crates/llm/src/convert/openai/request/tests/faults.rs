//! What is wrong with requests.

use super::*;

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let part = |part: &str| with_messages(&format!(r#"{{"role":"user","content":[{part}]}}"#));
    for (text, message) in [
        (
            "[]".to_owned(),
            "the body must be an object, but is an array",
        ),
        ("{}".to_owned(), "the body must have `model`"),
        (
            r#"{"model":"m"}"#.to_owned(),
            "the body must have `messages`",
        ),
        (
            r#"{"model":null,"messages":[{"role":"user","content":"a"}]}"#.to_owned(),
            "the body must have `model`",
        ),
        (
            r#"{"model":1,"messages":[]}"#.to_owned(),
            "`model` must be a string, but is a number",
        ),
        (
            with_messages(""),
            "`messages` must be an array of at least one message",
        ),
        (with(r#""model":"m""#), "`model` comes a second time"),
        (
            with(r#""temperature":"1""#),
            "`temperature` must be a number from 0 to 2, but is a string",
        ),
        (
            with(r#""max_tokens":1.5"#),
            "`max_tokens` must be a whole number of 0 or more, but is 1.5",
        ),
        (
            with(r#""n":-1"#),
            "`n` must be a whole number of 1 or more, but is -1",
        ),
        (
            with(r#""max_tokens":1,"max_completion_tokens":2"#),
            "`max_tokens` must be the same as `max_completion_tokens`, or absent",
        ),
        (
            with(r#""top_logprobs":2"#),
            "`top_logprobs` must be absent without `logprobs: true`",
        ),
        (
            with(r#""stream":"yes""#),
            "`stream` must be a boolean, but is a string",
        ),
        (
            with(r#""stream_options":{"include_usage":1}"#),
            "`stream_options.include_usage` must be a boolean, but is a number",
        ),
        (
            with(r#""stop":["a",1]"#),
            "`stop[1]` must be a string, but is a number",
        ),
        (
            with(r#""stop":{}"#),
            "`stop` must be a string or an array of strings, but is an object",
        ),
        (
            with(r#""reasoning_effort":"much""#),
            "`reasoning_effort` must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`",
        ),
        (
            with(r#""logit_bias":[]"#),
            "`logit_bias` must be an object, but is an array",
        ),
        (
            with(r#""tools":{}"#),
            "`tools` must be an array, but is an object",
        ),
        (
            with(r#""tools":[1]"#),
            "`tools[0]` must be an object, but is a number",
        ),
        (with(r#""tools":[{}]"#), "`tools[0]` must have `type`"),
        (
            with(r#""tools":[{"type":1}]"#),
            "`tools[0].type` must be a string, but is a number",
        ),
        (
            with(r#""tools":[{"type":"function"}]"#),
            "`tools[0]` must have `function`",
        ),
        (
            with(r#""tools":[{"type":"function","function":{}}]"#),
            "`tools[0].function` must have `name`",
        ),
        (
            with(r#""tools":[{"type":"function","function":{"name":"a","parameters":[]}}]"#),
            "`tools[0].function.parameters` must be an object, but is an array",
        ),
        (
            with(r#""tool_choice":"any""#),
            "`tool_choice` must be `none`, `auto`, `required` or an object",
        ),
        (
            with(r#""tool_choice":{"type":"function"}"#),
            "`tool_choice` must have `function.name`",
        ),
        (
            with(r#""tool_choice":{"type":"allowed_tools"}"#),
            "`tool_choice` must have `allowed_tools`",
        ),
        (
            with(r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[]}}"#),
            "`tool_choice.allowed_tools` must have `mode`",
        ),
        (
            with(r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto"}}"#),
            "`tool_choice.allowed_tools` must have `tools`",
        ),
        (
            with(
                r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"any","tools":[]}}"#,
            ),
            "`tool_choice.allowed_tools.mode` must be `auto` or `required`",
        ),
        (
            with(
                r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"z"}}]}}"#,
            ),
            "`tool_choice.allowed_tools.tools[0].function.name` must be the name of one of the `tools`",
        ),
        (
            with(r#""response_format":{}"#),
            "`response_format` must have `type`",
        ),
        (
            with(r#""response_format":{"type":"json_schema"}"#),
            "`response_format` must have `json_schema`",
        ),
        (
            with(r#""response_format":{"type":"json_schema","json_schema":{"schema":{}}}"#),
            "`response_format.json_schema` must have `name`",
        ),
        (
            with(r#""response_format":{"type":"json_schema","json_schema":{"name":"a"}}"#),
            "`response_format.json_schema` must have `schema`",
        ),
        (
            with_messages("1"),
            "`messages[0]` must be an object, but is a number",
        ),
        (with_messages("{}"), "`messages[0]` must have `role`"),
        (
            with_messages(r#"{"role":"boss","content":"a"}"#),
            "`messages[0].role` must be `developer`, `system`, `user`, `assistant`, `tool` or `function`",
        ),
        (
            with_messages(r#"{"role":"user"}"#),
            "`messages[0]` must have `content`",
        ),
        (
            with_messages(r#"{"role":"user","content":null}"#),
            "`messages[0]` must have `content`",
        ),
        (
            with_messages(r#"{"role":"user","content":1}"#),
            "`messages[0].content` must be a string, but is a number",
        ),
        (
            with_messages(r#"{"role":"assistant"}"#),
            "`messages[0]` must have `content`",
        ),
        (
            with_messages(r#"{"role":"tool","content":"a"}"#),
            "`messages[0]` must have `tool_call_id`",
        ),
        (
            with_messages(r#"{"role":"tool","tool_call_id":"a"}"#),
            "`messages[0]` must have `content`",
        ),
        (
            with_messages(r#"{"role":"function","content":"a"}"#),
            "`messages[0]` must have `name`",
        ),
        (
            with_messages(r#"{"role":"function","content":"a","name":"f"}"#),
            "`messages[0].name` must be the name of a function that was called before",
        ),
        (
            with_messages(
                r#"{"role":"tool","tool_call_id":"a","content":[{"type":"image_url","image_url":{"url":"x"}}]}"#,
            ),
            "`messages[0].content[0]` must be a part of type `text`",
        ),
        (
            with_messages(
                r#"{"role":"developer","content":[{"type":"image_url","image_url":{"url":"x"}}]}"#,
            ),
            "`messages[0].content[0]` must be a part of type `text`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"x"}}]}"#,
            ),
            "`messages[0].content[0]` must be a part of type `text` or `refusal`",
        ),
        (
            part(r#"{"type":"refusal","refusal":"x"}"#),
            "`messages[0].content[0]` must be a part of type `text`, `image_url`, `input_audio` or `file`",
        ),
        (part("{}"), "`messages[0].content[0]` must have `type`"),
        (
            part(r#""a""#),
            "`messages[0].content[0]` must be an object, but is a string",
        ),
        (
            part(r#"{"type":"text"}"#),
            "`messages[0].content[0]` must have `text`",
        ),
        (
            part(r#"{"type":"image_url","image_url":"x"}"#),
            "`messages[0].content[0].image_url` must be an object, but is a string",
        ),
        (
            part(r#"{"type":"image_url","image_url":{}}"#),
            "`messages[0].content[0].image_url` must have `url`",
        ),
        (
            part(r#"{"type":"image_url","image_url":{"url":"x","detail":"most"}}"#),
            "`messages[0].content[0].image_url.detail` must be `auto`, `low`, `high` or `original`",
        ),
        (
            part(r#"{"type":"image_url","image_url":{"url":"data:image/png,AA"}}"#),
            "`messages[0].content[0].image_url.url` must be a base64 `data:` URL that says its type, such as `data:image/png;base64,…`",
        ),
        (
            part(r#"{"type":"image_url","image_url":{"url":"data:;base64,AA"}}"#),
            "`messages[0].content[0].image_url.url` must be a base64 `data:` URL that says its type, such as `data:image/png;base64,…`",
        ),
        (
            part(r#"{"type":"input_audio","input_audio":{"format":"wav"}}"#),
            "`messages[0].content[0].input_audio` must have `data`",
        ),
        (
            part(r#"{"type":"input_audio","input_audio":{"data":"AA"}}"#),
            "`messages[0].content[0].input_audio` must have `format`",
        ),
        (
            part(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"ogg"}}"#),
            "`messages[0].content[0].input_audio.format` must be `wav` or `mp3`",
        ),
        (
            part(r#"{"type":"file","file":{}}"#),
            "`messages[0].content[0].file` must have `file_data`",
        ),
        (
            part(r#"{"type":"file","file":{"file_data":"data:a/b;base64,A","file_id":"x"}}"#),
            "`messages[0].content[0].file.file_id` must be absent beside `file_data`",
        ),
        (
            part(r#"{"type":"file","file":{"file_data":"JVBE"}}"#),
            "`messages[0].content[0].file.file_data` must be a base64 `data:` URL that says its type, such as `data:image/png;base64,…`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            ),
            "`messages[0].tool_calls[0]` must have `type`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
            ),
            "`messages[0].tool_calls[0]` must have `id`",
        ),
        (
            with_messages(r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}"#),
            "`messages[0].tool_calls[0]` must have `function`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"arguments":"{}"}}]}"#,
            ),
            "`messages[0].tool_calls[0].function` must have `name`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f"}}]}"#,
            ),
            "`messages[0].tool_calls[0].function` must have `arguments`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":{}}}]}"#,
            ),
            "`messages[0].tool_calls[0].function.arguments` must be a string, but is an object",
        ),
        (
            with_messages(
                r#"{"role":"assistant","thinking_blocks":[{"type":"other"}],"content":"a"}"#,
            ),
            "`messages[0].thinking_blocks[0].type` must be `thinking` or `redacted_thinking`",
        ),
        (
            with_messages(
                r#"{"role":"assistant","thinking_blocks":[{"type":"thinking"}],"content":"a"}"#,
            ),
            "`messages[0].thinking_blocks[0]` must have `thinking`",
        ),
    ] {
        match read(&text) {
            Err(error @ ConvertError::Invalid { .. }) => {
                assert_eq!(error.to_string(), message, "{text}");
            }
            other => panic!("{other:?}: {text}"),
        }
    }
}

#[test]
fn broken_off_anywhere_it_is_no_request_and_no_panic() {
    let text = with(
        r#""tools":[{"type":"function","function":{"name":"a\u0041"}}],"stop":["x"],"tool_choice":{"type":"function","function":{"name":"a"}},"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"a":[1]}}}"#,
    );
    assert!(read(&text).is_ok());
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let error = read(&text[..end]).unwrap_err();
        assert!(matches!(error, ConvertError::Syntax(_)), "{end}: {error}");
    }
}
