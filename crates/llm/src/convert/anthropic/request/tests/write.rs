use serde_json::json;

use super::{again, hello, read, saying, write};

#[test]
fn what_is_read_is_written_again() {
    let request = json!({
        "model": "claude-haiku-4-5",
        "max_tokens": 5000,
        "system": [{"type": "text", "text": "Be\nbrief"}, {"type": "text", "text": "Be \"kind\""}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is \u{e9} \\ this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}, "title": "a.pdf"},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "pl\u{e4}in\n"}},
                {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, {"b": null}]}},
                {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "1"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": true},
                {"type": "text", "text": "Well?"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "It is"}]},
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}, "strict": true},
            {"name": "g", "input_schema": {"type": "object"}},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "top_p": 0.97,
        "stop_sequences": ["END", "\n\nHuman:"],
        "metadata": {"user_id": "u"},
        "stream": true,
    });
    let (written, left_out) = again(&request.to_string());
    assert_eq!(written, request);
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn results_come_first_and_neighbours_of_one_role_are_one_turn() {
    let text = r#"{"model":"m","max_tokens":9,"messages":[
        {"role":"user","content":"a"},
        {"role":"system","content":"late"},
        {"role":"user","content":"b"},
        {"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":{}}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"j","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"text","text":"c"},{"type":"tool_result","tool_use_id":"i","content":"1"}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"j","content":""}]}]}"#;
    let (written, _) = again(text);
    assert_eq!(
        written,
        json!({"model": "m", "max_tokens": 9,
            "system": [{"type": "text", "text": "late"}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "i", "name": "f", "input": {}},
                    {"type": "tool_use", "id": "j", "name": "f", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text", "text": "1"}]},
                    {"type": "tool_result", "tool_use_id": "j"},
                    {"type": "text", "text": "c"}]}]})
    );
}

#[test]
fn what_says_nothing_is_no_block_and_no_turn() {
    let text = r#"{"model":"m","max_tokens":9,"system":"","messages":[
        {"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"a"}]},
        {"role":"assistant","content":""},
        {"role":"user","content":"b"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":""}]}]}"#;
    let (written, left_out) = again(text);
    assert_eq!(
        written["messages"],
        json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])
    );
    assert_eq!(written.get("system"), None);
    assert_eq!(
        left_out,
        ["messages[1]", "messages[3].content[0]", "messages[3]"]
    );
}

#[test]
fn the_first_turn_must_be_the_users() {
    for (text, field) in [
        (saying("assistant", r#""Hi""#), "messages[0].content"),
        (saying("system", r#""Hi""#), "messages[0].content"),
        (saying("user", r#""""#), "messages[0]"),
        (
            r#"{"model":"m","max_tokens":9,"messages":[]}"#.to_owned(),
            "",
        ),
    ] {
        let error = write(&read(&text).unwrap(), &text).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert_eq!(error.class(), buttress_core::Class::Unfit);
    }
}

#[test]
fn a_tool_choice_needs_tools() {
    for choice in ["auto", "none"] {
        let (written, _) = again(&hello(&format!(r#""tool_choice":{{"type":"{choice}"}}"#)));
        assert_eq!(written.get("tool_choice"), None);
    }
    let tool = r#""tools":[{"name":"f","input_schema":{}}],"tool_choice""#;
    for choice in [
        json!({"type": "none"}),
        json!({"type": "any", "disable_parallel_tool_use": true}),
        json!({"type": "tool", "name": "f"}),
    ] {
        let (written, _) = again(&hello(&format!("{tool}:{choice}")));
        assert_eq!(written["tool_choice"], choice);
        assert_eq!(
            written["tools"][0]["input_schema"],
            json!({"type": "object", "properties": {}})
        );
    }
}

#[test]
fn hints_are_left_out_and_named_and_the_rest_is_unfit() {
    let text = hello(r#""service_tier":"auto""#);
    assert_eq!(again(&text).1, ["service_tier"]);
    let text = hello(r#""container":"c""#);
    let error = write(&read(&text).unwrap(), &text).unwrap_err();
    assert_eq!(error.field(), Some("container"));
    let text = saying("user", r#"["x",{"type":"container_upload"}]"#).replace(r#""x","#, "");
    let error = write(&read(&text).unwrap(), &text).unwrap_err();
    assert_eq!(error.field(), Some("messages[0].content[0]"));
}
