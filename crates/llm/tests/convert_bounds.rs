//! Requests that are as long as they may be: what is done for each of many members must not look at
//! all the others. Where it does, these tests take hours.

use buttress_llm::{Dialect, convert::Conversion};

/// As many as a caller may well put into a body of some MiB.
const MANY: usize = 40_000;

fn to_anthropic(body: String) -> buttress_llm::convert::Converted {
    let way = Conversion::new(Dialect::OpenAi, Dialect::Anthropic);
    way.request(body).unwrap()
}

/// This text for every number, with commas between.
fn many(one: impl Fn(usize) -> String) -> String {
    (0..MANY).map(one).collect::<Vec<_>>().join(",")
}

#[test]
fn however_many_members_are_left_out_each_is_named() {
    let part = r#"{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}"#;
    let parts = many(|_| part.to_owned());
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{parts}]}}],"store":true}}"#
    );
    let asked = to_anthropic(body);
    let left_out = asked.left_out();
    assert_eq!(left_out.len(), MANY + 1);
    for at in [0, 1, MANY - 1] {
        let name = format!("messages[0].content[{at}].cache_control");
        assert!(left_out.contains(&name), "{name}");
    }
    assert!(left_out.contains(&"store".to_owned()));
}

#[test]
fn however_many_tools_are_allowed_they_are_chosen() {
    let function = |at| format!(r#"{{"type":"function","function":{{"name":"f{at}"}}}}"#);
    let (tools, allowed) = (many(function), many(|at| function(MANY - 1 - at)));
    let asked = to_anthropic(format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],"tools":[{tools}],"tool_choice":
        {{"type":"allowed_tools","allowed_tools":{{"mode":"auto","tools":[{allowed}]}}}}}}"#
    ));
    let said: serde_json::Value = serde_json::from_slice(asked.body()).unwrap();
    assert_eq!(said["tools"].as_array().unwrap().len(), MANY);
}

#[test]
fn however_many_functions_were_called_each_result_finds_its_call() {
    let call = |at| {
        format!(r#"{{"role":"assistant","function_call":{{"name":"f{at}","arguments":"{{}}"}}}}"#)
    };
    let result = |at| {
        format!(
            r#"{{"role":"function","name":"f{}","content":"x"}}"#,
            MANY - 1 - at
        )
    };
    let (calls, results) = (many(call), many(result));
    let asked = to_anthropic(format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}},{calls},{results}]}}"#
    ));
    let said: serde_json::Value = serde_json::from_slice(asked.body()).unwrap();
    let id =
        |turn: usize, at: usize, name: &str| said["messages"][turn]["content"][at][name].clone();
    assert_eq!(id(1, 0, "id"), id(2, MANY - 1, "tool_use_id"));
    assert_eq!(id(1, MANY - 1, "id"), id(2, 0, "tool_use_id"));
}

#[test]
fn however_many_members_an_object_has_it_is_one_too_many() {
    let members: Vec<_> = (0..10 * MANY).map(|at| format!(r#""x{at}":1"#)).collect();
    let members = members.join(",");
    let way = Conversion::new(Dialect::OpenAi, Dialect::Anthropic);
    let error = way.request(format!("{{{members}}}")).unwrap_err();
    assert_eq!(error.field(), Some("x256"));
}
