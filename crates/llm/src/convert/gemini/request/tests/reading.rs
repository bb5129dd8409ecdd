use serde_json::{Value, json};

use super::{HELLO, again, parts, read};
use crate::convert::model::{Budget, Choice, Content, Output, Part, PartKind, Role, Source};

#[test]
fn every_field_of_the_config_is_read() {
    let text = format!(
        r#"{{{HELLO},"generationConfig":{{"temperature":0.5,"topP":0.9,"topK":40,"seed":-7,
        "presencePenalty":0.1,"frequencyPenalty":-0.2,"maxOutputTokens":100,"candidateCount":2,
        "stopSequences":["a","b"],"responseLogprobs":true,"logprobs":3,
        "thinkingConfig":{{"thinkingBudget":512,"includeThoughts":true}},
        "responseMimeType":"application/json","responseJsonSchema":{{"type":"object"}}}}}}"#
    );
    let request = read(&text).unwrap();
    let said = |number: &Option<crate::convert::text::Raw<'_>>| {
        number.as_ref().map(|number| number.written().to_owned())
    };
    for (number, expected) in [
        (&request.temperature, "0.5"),
        (&request.top_p, "0.9"),
        (&request.top_k, "40"),
        (&request.seed, "-7"),
        (&request.presence_penalty, "0.1"),
        (&request.frequency_penalty, "-0.2"),
        (&request.max_tokens, "100"),
        (&request.candidates, "2"),
        (&request.logprobs, "3"),
    ] {
        assert_eq!(said(number).as_deref(), Some(expected));
    }
    let stop: Vec<_> = request.stop.iter().map(|stop| stop.decode()).collect();
    assert_eq!(stop, ["a", "b"]);
    assert!(
        matches!(&request.reasoning.budget, Budget::Tokens(budget) if budget.written() == "512")
    );
    assert_eq!(request.reasoning.told, Some(true));
    assert!(
        matches!(&request.output, Output::Schema { schema, .. } if schema.written() == r#"{"type":"object"}"#)
    );
    assert!(request.own.is_empty());
    assert!(request.model.is_empty() && !request.stream);
}

#[test]
fn names_in_snake_case_are_those_in_camel_case() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b"}},
            ]},
            {"role": "model", "parts": [{"functionCall": {"name": "f"}, "thoughtSignature": "AAAA"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "r"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "topP": 1, "topK": 2, "maxOutputTokens": 3, "candidateCount": 4, "stopSequences": ["x"],
            "presencePenalty": 1, "frequencyPenalty": 1, "responseMimeType": "application/json",
            "responseJsonSchema": {"my_name": 1},
            "responseLogprobs": true, "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": true},
        },
    });
    let snake = snake_case(&camel);
    assert!(snake.to_string().contains("system_instruction"));
    let (camel, snake) = (camel.to_string(), snake.to_string());
    assert_eq!(again(&camel).unwrap(), again(&snake).unwrap());
}

fn snake_case(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let name = |name: &String| {
                let snake = name.chars().map(|c| match c.is_ascii_uppercase() {
                    true => format!("_{}", c.to_ascii_lowercase()),
                    false => c.to_string(),
                });
                snake.collect::<String>()
            };
            members
                .iter()
                .map(|(key, value)| (name(key), snake_case(value)))
                .collect()
        }
        Value::Array(values) => values.iter().map(snake_case).collect(),
        other => other.clone(),
    }
}

#[test]
fn bytes_and_files_are_what_their_types_say() {
    let one = |part: &str| format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#);
    let text = one(r#"{"inlineData":{"mimeType":"image/png","data":"-_8"}}"#);
    let request = read(&text).unwrap();
    let PartKind::Image(media) = &parts(&request)[0].kind else {
        panic!("no image");
    };
    // Base64 in the other alphabet.
    assert!(
        matches!(&media.source, Source::Data { mime, data } if mime.decode() == "image/png" && data.decode() == "+/8=")
    );

    let text = one(r#"{"inlineData":{"mimeType":"audio/wav","data":"AAAA"}}"#);
    assert!(matches!(
        parts(&read(&text).unwrap())[0].kind,
        PartKind::Audio(_)
    ));

    let text =
        one(r#"{"inlineData":{"mimeType":"application/pdf","data":"AAAA","displayName":"a.pdf"}}"#);
    let request = read(&text).unwrap();
    assert!(
        matches!(&parts(&request)[0].kind, PartKind::File { name: Some(name), .. } if name.decode() == "a.pdf")
    );

    for (uri, url) in [
        ("https://a.example/b.png", true),
        (
            "https://generativelanguage.googleapis.com/v1beta/files/x",
            false,
        ),
        ("gs://bucket/x", false),
    ] {
        let text = one(&format!(
            r#"{{"fileData":{{"mimeType":"image/png","fileUri":"{uri}"}}}}"#
        ));
        let request = read(&text).unwrap();
        let PartKind::Image(media) = &parts(&request)[0].kind else {
            panic!("no image");
        };
        assert_eq!(matches!(media.source, Source::Url { .. }), url, "{uri}");
    }
    let text = one(r#"{"fileData":{"fileUri":"https://a.example/b.JPG?x=1"}}"#);
    assert!(matches!(
        parts(&read(&text).unwrap())[0].kind,
        PartKind::Image(_)
    ));
}

#[test]
fn calls_without_ids_are_given_some_and_results_find_them_by_name_in_order() {
    let text = json!({"contents": [
        {"parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"functionCall": {"name": "f", "args": {"n": 1}}},
            {"functionCall": {"name": "g", "id": "call_1"}},
            {"functionCall": {"name": "f", "args": {"n": 2}}},
        ]},
        {"role": "function", "parts": [
            {"functionResponse": {"name": "g", "response": {}}},
            {"functionResponse": {"name": "f", "id": "unheard of", "response": {}}},
            {"functionResponse": {"name": "f", "response": {}}},
        ]},
    ]})
    .to_string();
    let request = read(&text).unwrap();
    let ids: Vec<_> = parts(&request)
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Call(call) => call.id.as_ref(),
            PartKind::Result(outcome) => outcome.id.as_ref(),
            _ => None,
        })
        .map(|id| id.decode())
        .collect();
    // An id that is taken is not made.
    assert_eq!(
        ids,
        ["call_0", "call_1", "call_2", "call_1", "call_0", "call_2"]
    );
    assert!(
        request
            .messages
            .iter()
            .all(|message| message.role != Role::System)
    );
    assert_eq!(request.messages[1].role, Role::Assistant);
    assert_eq!(request.messages[2].role, Role::User);
}

#[test]
fn what_a_tool_said_is_a_text_an_error_or_an_object() {
    for (response, expected, failed) in [
        (r#"{"result":"a\nb"}"#, Some(r"a\nb"), false),
        (r#"{"output":"a"}"#, Some("a"), false),
        (r#"{"error":"no"}"#, Some("no"), true),
        (r#"{"error":{"code":1}}"#, None, true),
        (r#"{"result":1}"#, None, false),
        (r#"{"result":"a","b":1}"#, None, false),
        (r#"{"a":1,"error":"no"}"#, None, false),
        ("{}", None, false),
    ] {
        let text = format!(
            r#"{{"contents":[{{"role":"model","parts":[{{"functionCall":{{"name":"f"}}}}]}},{{"parts":[{{"functionResponse":{{"name":"f","response":{response}}}}}]}}]}}"#
        );
        let request = read(&text).unwrap();
        let PartKind::Result(outcome) = &parts(&request)[1].kind else {
            panic!("no result");
        };
        assert_eq!(outcome.failed, failed, "{response}");
        match (&outcome.content, expected) {
            (Content::Object(object), None) => assert_eq!(object.written(), response),
            (Content::Parts(parts), Some(expected)) => {
                assert!(
                    matches!(&parts[..], [Part { kind: PartKind::Text { text, .. }, .. }] if text.written() == expected)
                );
            }
            other => panic!("{response} became {other:?}"),
        }
    }
    let text = r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"}}]},{"parts":[{"functionResponse":{"name":"f","response":{"a":"\""},"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}}]}]}"#;
    let request = read(text).unwrap();
    let PartKind::Result(outcome) = &parts(&request)[1].kind else {
        panic!("no result");
    };
    let Content::Parts(parts) = &outcome.content else {
        panic!("no parts");
    };
    assert!(
        matches!(&parts[0].kind, PartKind::Text { text, .. } if text.decode() == r#"{"a":"\""}"#)
    );
    assert!(matches!(&parts[1].kind, PartKind::Image(_)));
}

#[test]
fn thoughts_in_pieces_are_one_and_the_last_signs_them() {
    let text = json!({"contents": [
        {"parts": [{"text": "go"}]},
        {"role": "model", "parts": [
            {"text": "a", "thought": true},
            {"text": "b", "thought": true},
            {"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljAAAA"},
            {"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljLnJlZGFjdGVkBBBB"},
            {"text": "c", "thought": true},
            {"text": "d"},
            {"thoughtSignature": "CCCC"},
        ]},
    ]})
    .to_string();
    let request = read(&text).unwrap();
    let said: Vec<_> = parts(&request)[1..]
        .iter()
        .map(|part| match &part.kind {
            PartKind::Reasoning(reasoned) => {
                let by = reasoned
                    .signature
                    .as_ref()
                    .map(|by| (by.of.as_str(), by.value.decode().into_owned()));
                let redacted = reasoned
                    .redacted
                    .as_ref()
                    .map(|data| data.decode().into_owned());
                ("thought", reasoned.text.decode().into_owned(), by, redacted)
            }
            PartKind::Text { text, signature } => {
                let by = signature
                    .as_ref()
                    .map(|by| (by.of.as_str(), by.value.decode().into_owned()));
                ("text", text.decode().into_owned(), by, None)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            (
                "thought",
                "ab".to_owned(),
                Some(("anthropic", "AAAA".to_owned())),
                None
            ),
            ("thought", String::new(), None, Some("BBBB".to_owned())),
            ("thought", "c".to_owned(), None, None),
            ("text", "d".to_owned(), None, None),
            (
                "text",
                String::new(),
                Some(("gemini", "CCCC".to_owned())),
                None
            ),
        ]
    );
}

#[test]
fn every_mode_of_calling_is_read() {
    let read_choice = |config: &str| {
        let text = format!(
            r#"{{{HELLO},"tools":[{{"functionDeclarations":[{{"name":"f"}}]}}],"toolConfig":{{"functionCallingConfig":{config}}}}}"#
        );
        let request = read(&text).unwrap();
        let strict = request.tools[0].strict;
        let choice = match request.choice {
            None => "unsaid".to_owned(),
            Some(Choice::Auto) => "auto".to_owned(),
            Some(Choice::None) => "none".to_owned(),
            Some(Choice::Any) => "any".to_owned(),
            Some(Choice::Named(names)) => names.iter().map(|name| name.decode()).collect(),
        };
        (choice, strict)
    };
    for (config, choice, strict) in [
        ("{}", "unsaid", None),
        (r#"{"mode":"MODE_UNSPECIFIED"}"#, "unsaid", None),
        (r#"{"mode":"AUTO"}"#, "auto", None),
        (r#"{"mode":"auto"}"#, "auto", None),
        (r#"{"mode":"NONE"}"#, "none", None),
        (r#"{"mode":"ANY"}"#, "any", None),
        (r#"{"mode":"ANY","allowedFunctionNames":["f"]}"#, "f", None),
        (r#"{"mode":"VALIDATED"}"#, "auto", Some(true)),
    ] {
        assert_eq!(read_choice(config), (choice.to_owned(), strict), "{config}");
    }
}

#[test]
fn every_level_of_thought_is_read() {
    let read_thinking = |config: &str| {
        let text = format!(r#"{{{HELLO},"generationConfig":{{"thinkingConfig":{config}}}}}"#);
        let reasoning = read(&text).unwrap().reasoning;
        let effort = reasoning.effort.map(|effort| effort.decode().into_owned());
        let budget = match reasoning.budget {
            Budget::Unsaid => "unsaid".to_owned(),
            Budget::Off => "off".to_owned(),
            Budget::Adaptive => "adaptive".to_owned(),
            Budget::Tokens(tokens) => tokens.written().to_owned(),
        };
        (effort, budget, reasoning.told)
    };
    for (config, effort, budget, told) in [
        ("{}", None, "unsaid", false),
        (
            r#"{"thinkingLevel":"THINKING_LEVEL_UNSPECIFIED"}"#,
            None,
            "unsaid",
            false,
        ),
        (
            r#"{"thinkingLevel":"MINIMAL"}"#,
            Some("minimal"),
            "unsaid",
            false,
        ),
        (r#"{"thinkingLevel":"LOW"}"#, Some("low"), "unsaid", false),
        (
            r#"{"thinkingLevel":"medium"}"#,
            Some("medium"),
            "unsaid",
            false,
        ),
        (r#"{"thinkingLevel":"HIGH"}"#, Some("high"), "unsaid", false),
        (
            r#"{"thinkingLevel":"XHIGH"}"#,
            Some("xhigh"),
            "unsaid",
            false,
        ),
        (r#"{"thinkingBudget":0}"#, None, "off", false),
        (
            r#"{"thinkingBudget":-1,"includeThoughts":true}"#,
            None,
            "adaptive",
            true,
        ),
        (
            r#"{"thinkingBudget":7,"includeThoughts":null}"#,
            None,
            "7",
            false,
        ),
    ] {
        let expected = (effort.map(str::to_owned), budget.to_owned(), Some(told));
        assert_eq!(read_thinking(config), expected, "{config}");
    }
}

#[test]
fn a_schema_of_its_own_is_json_schema_to_others() {
    let text = format!(
        r#"{{{HELLO},"tools":[{{"functionDeclarations":[{{"name":"f","description":"d","parameters":{{"type":"OBJECT"}}}}]}}],"generationConfig":{{"responseMimeType":"application/json","responseSchema":{{"type":"STRING","nullable":true}}}}}}"#
    );
    let request = read(&text).unwrap();
    let parameters = request.tools[0].parameters.as_ref().unwrap();
    assert_eq!(parameters.written(), r#"{"type":"object"}"#);
    assert!(
        matches!(&request.output, Output::Schema { schema, .. } if schema.written() == r#"{"type":["string","null"]}"#)
    );
}
