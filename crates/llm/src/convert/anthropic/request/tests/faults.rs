use super::{fault, hello, read, saying};

#[test]
fn every_fault_is_told_with_its_field() {
    for (text, told) in [
        ("[]", "the body must be an object, but is an array"),
        ("{}", "the body must have `model`"),
        (
            r#"{"model":"m","messages":[]}"#,
            "the body must have `max_tokens`",
        ),
        (
            r#"{"model":"m","max_tokens":1}"#,
            "the body must have `messages`",
        ),
        (
            r#"{"model":1}"#,
            "`model` must be a string, but is a number",
        ),
        (r#"{"model":null}"#, "`model` must be a string, but is null"),
        (
            r#"{"model":"m","model":"m"}"#,
            "`model` comes a second time",
        ),
        (
            r#"{"model":"m","max_tokens":"1"}"#,
            "`max_tokens` must be a whole number of 0 or more, but is a string",
        ),
        (
            r#"{"messages":{}}"#,
            "`messages` must be an array, but is an object",
        ),
        (
            r#"{"messages":[1]}"#,
            "`messages[0]` must be an object, but is a number",
        ),
        (
            r#"{"messages":[{"content":""}]}"#,
            "`messages[0]` must have `role`",
        ),
        (
            r#"{"messages":[{"role":"user"}]}"#,
            "`messages[0]` must have `content`",
        ),
        (
            r#"{"messages":[{"role":"tool","content":""}]}"#,
            "`messages[0].role` must be `user`, `assistant` or `system`",
        ),
        (
            r#"{"messages":[{"role":"user","content":null}]}"#,
            "`messages[0].content` must be a string or an array, but is null",
        ),
    ] {
        assert_eq!(fault(text), told);
    }
    for (members, told) in [
        (
            r#""system":1"#,
            "`system` must be a string or an array, but is a number",
        ),
        (
            r#""system":[{"type":"image"}]"#,
            "`system[0].type` must be `text`: the system says nothing else",
        ),
        (
            r#""stream":1"#,
            "`stream` must be a boolean, but is a number",
        ),
        (
            r#""stop_sequences":[1]"#,
            "`stop_sequences[0]` must be a string, but is a number",
        ),
        (
            r#""temperature":"1""#,
            "`temperature` must be a number from 0 to 1, but is a string",
        ),
        (r#""tools":[{}]"#, "`tools[0]` must have `input_schema`"),
        (
            r#""tools":[{"input_schema":{}}]"#,
            "`tools[0]` must have `name`",
        ),
        (
            r#""tools":[{"name":"f","input_schema":1}]"#,
            "`tools[0].input_schema` must be an object, but is a number",
        ),
        (r#""tool_choice":{}"#, "`tool_choice` must have `type`"),
        (
            r#""tool_choice":{"type":"required"}"#,
            "`tool_choice.type` must be `auto`, `any`, `tool` or `none`",
        ),
        (
            r#""tool_choice":{"type":"tool"}"#,
            "`tool_choice` must have `name`",
        ),
        (r#""thinking":{}"#, "`thinking` must have `type`"),
        (
            r#""thinking":{"type":"on"}"#,
            "`thinking.type` must be `enabled`, `adaptive`, `disabled` or `between_tools`",
        ),
        (
            r#""thinking":{"type":"enabled"}"#,
            "`thinking` must have `budget_tokens`",
        ),
        (
            r#""thinking":{"type":"adaptive","display":"loud"}"#,
            "`thinking.display` must be `summarized` or `omitted`",
        ),
        (
            r#""output_config":{"effort":"huge"}"#,
            "`output_config.effort` must be `low`, `medium`, `high`, `xhigh` or `max`",
        ),
        (
            r#""output_config":{"format":{"type":"json"}}"#,
            "`output_config.format.type` must be `json_schema`",
        ),
        (
            r#""output_config":{"format":{"type":"json_schema"}}"#,
            "`output_config.format` must have `schema`",
        ),
    ] {
        assert_eq!(fault(&hello(members)), told);
    }
    for (role, block, told) in [
        ("user", "1", " must be an object, but is a number"),
        ("user", "{}", " must have `type`"),
        ("user", r#"{"type":"text"}"#, " must have `text`"),
        (
            "user",
            r#"{"type":"text","text":1}"#,
            ".text must be a string, but is a number",
        ),
        ("user", r#"{"type":"image"}"#, " must have `source`"),
        (
            "user",
            r#"{"type":"image","source":{}}"#,
            ".source must have `type`",
        ),
        (
            "user",
            r#"{"type":"image","source":{"type":"text","data":""}}"#,
            ".source.type must be `base64`, `url` or `file`",
        ),
        (
            "user",
            r#"{"type":"document","source":{"type":"x"}}"#,
            ".source.type must be `base64`, `text`, `url`, `file` or `content`",
        ),
        (
            "user",
            r#"{"type":"image","source":{"type":"base64","data":""}}"#,
            ".source must have `media_type`",
        ),
        (
            "user",
            r#"{"type":"image","source":{"type":"url"}}"#,
            ".source must have `url`",
        ),
        (
            "user",
            r#"{"type":"image","source":{"type":"file"}}"#,
            ".source must have `file_id`",
        ),
        (
            "user",
            r#"{"type":"tool_result"}"#,
            " must have `tool_use_id`",
        ),
        (
            "user",
            r#"{"type":"tool_use"}"#,
            ".type must be a block that stands here: only an assistant thinks or calls",
        ),
        (
            "assistant",
            r#"{"type":"tool_result"}"#,
            ".type must be a block that stands here: results are the user's",
        ),
        ("assistant", r#"{"type":"tool_use"}"#, " must have `input`"),
        (
            "assistant",
            r#"{"type":"tool_use","input":"{}"}"#,
            ".input must be an object, but is a string",
        ),
        (
            "assistant",
            r#"{"type":"tool_use","input":{}}"#,
            " must have `id`",
        ),
        (
            "assistant",
            r#"{"type":"tool_use","input":{},"id":"i"}"#,
            " must have `name`",
        ),
        (
            "assistant",
            r#"{"type":"thinking","thinking":""}"#,
            " must have `signature`",
        ),
        (
            "assistant",
            r#"{"type":"redacted_thinking"}"#,
            " must have `data`",
        ),
    ] {
        let (field, what) = told.split_once(' ').unwrap();
        let told = format!("`messages[0].content[0]{field}` {what}");
        assert_eq!(fault(&saying(role, &format!("[{block}]"))), told);
    }
}

#[test]
fn a_result_does_not_hold_results() {
    let text = saying(
        "user",
        r#"[{"type":"tool_result","tool_use_id":"i","content":[{"type":"tool_result","tool_use_id":"j"}]}]"#,
    );
    assert_eq!(
        fault(&text),
        "`messages[0].content[0].content[0].type` must be a block that stands here: results are the user's"
    );
}

#[test]
fn s7_no_bytes_make_it_panic() {
    let whole = hello(
        r#""system":[{"type":"text","text":"s"}],"thinking":{"type":"enabled","budget_tokens":1},"tools":[{"name":"f","input_schema":{}}]"#,
    );
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(fault(&hello(&format!(r#""new":{deep}"#))).contains("deep"));
}
