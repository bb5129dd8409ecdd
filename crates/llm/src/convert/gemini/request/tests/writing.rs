mod turns;

use serde_json::{Value, json};

use super::{again, write};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        model::{
            Arguments, Budget, Call, Choice, Content, Media, Message, Outcome, Output, Part,
            PartKind, Reasoning, Request, Role, Signature, Source, Tool,
        },
        text::{Raw, Text},
    },
};

fn text(text: &'static str) -> PartKind<'static> {
    PartKind::Text {
        text: Text::plain(text),
        signature: None,
    }
}

fn say(role: Role, parts: Vec<PartKind<'static>>) -> Message<'static> {
    Message {
        role,
        parts: parts
            .into_iter()
            .map(|kind| Part { kind, at: 0 })
            .collect::<Vec<_>>()
            .into(),
        name: None,
        at: 0,
    }
}

fn asked(messages: Vec<Message<'static>>) -> Request<'static> {
    Request {
        messages,
        ..Request::default()
    }
}

fn hello() -> Request<'static> {
    asked(vec![say(Role::User, vec![text("hello")])])
}

fn call(id: &'static str, name: &'static str) -> PartKind<'static> {
    PartKind::Call(Box::new(Call {
        id: Some(Text::plain(id)),
        name: Text::plain(name),
        arguments: Arguments::Written(Text::plain("")),
        signature: None,
    }))
}

fn result(id: &'static str, said: &'static str) -> PartKind<'static> {
    PartKind::Result(Box::new(Outcome {
        id: Some(Text::plain(id)),
        name: None,
        content: Content::Parts(vec![Part {
            kind: text(said),
            at: 0,
        }]),
        failed: false,
    }))
}

fn signed(of: Dialect) -> Option<Signature<'static>> {
    let value = Text::plain("AAAA");
    Some(Signature { of, value })
}

fn tool(strict: Option<bool>) -> Tool<'static> {
    Tool {
        name: Text::plain("f"),
        description: Some(Text::plain("does it")),
        parameters: Some(Raw::new(r#"{"type":"object"}"#, 0)),
        strict,
    }
}

/// What is written, where nothing is left out.
fn written(request: &Request<'_>) -> Value {
    let (written, left_out) = write("", request).unwrap();
    assert_eq!(left_out, [""; 0]);
    written
}

fn why_unfit(request: &Request<'_>) -> &'static str {
    match write("", request) {
        Err(ConvertError::Unfit { why, to, .. }) => {
            assert_eq!(to, Dialect::Gemini);
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_of_its_own_is_itself_again() {
    let request = json!({
        "systemInstruction": {"parts": [{"text": "be \"brief\"\n"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b"}},
            ]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true, "thoughtSignature": "AAAA"},
                {"text": "I call", "thoughtSignature": "BBBB"},
                {"functionCall": {"id": "1", "name": "f", "args": {"a": [1, {"b": null}]}}, "thoughtSignature": "CCCC"},
                {"functionCall": {"id": "2", "name": "g", "args": {}}},
                {"functionCall": {"id": "3", "name": "h", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "1", "name": "f", "response": {"result": "r"}}},
                {"functionResponse": {"id": "2", "name": "g", "response": {"error": "no"}}},
                {"functionResponse": {"id": "3", "name": "h", "response": {"temperature": 1}}},
                {"text": "go on"},
            ]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "f", "description": "does f", "parametersJsonSchema": {"type": "object"}},
            {"name": "g"},
        ]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}},
        "generationConfig": {
            "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7, "candidateCount": 2,
            "maxOutputTokens": 100, "presencePenalty": 0.5, "frequencyPenalty": -0.5,
            "stopSequences": ["a"], "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"}, "responseLogprobs": true, "logprobs": 2,
            "thinkingConfig": {"thinkingBudget": 100, "includeThoughts": true},
        },
    });
    let (again, left_out) = again(&request.to_string()).unwrap();
    assert_eq!(again, request);
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn nothing_is_said_of_what_was_not_asked() {
    assert_eq!(
        written(&hello()),
        json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]})
    );
    let usual = Request {
        candidates: Some(Raw::new("1", 0)),
        presence_penalty: Some(Raw::new("0", 0)),
        frequency_penalty: Some(Raw::new("0.0", 0)),
        choice: Some(Choice::None),
        parallel: Some(false),
        ..hello()
    };
    assert_eq!(written(&usual), written(&hello()));
}

#[test]
fn what_it_cannot_say_is_unfit_and_says_why() {
    let with = |kind| asked(vec![say(Role::User, vec![kind])]);
    let image = |source| {
        let detail = None;
        PartKind::Image(Box::new(Media { source, detail }))
    };
    let named = Message {
        name: Some(Text::plain("bob")),
        ..say(Role::User, vec![text("a")])
    };
    for (request, why) in [
        (asked(vec![named]), "it has no names of speakers"),
        (
            asked(vec![say(Role::System, vec![PartKind::Own])]),
            "its system says text and nothing else",
        ),
        (with(PartKind::Own), "it has no such part"),
        (
            with(image(Source::Url {
                mime: None,
                url: Text::plain("http://a.example/b.png"),
            })),
            "it fetches from https URLs alone",
        ),
        (
            with(image(Source::Uploaded(Text::plain("file-1")))),
            "it knows no file of another provider",
        ),
        (
            Request {
                tools: vec![tool(None)],
                parallel: Some(false),
                ..hello()
            },
            "it calls several tools at once",
        ),
        (
            Request {
                stop: vec![Text::plain("x"); 6],
                ..hello()
            },
            "it takes five stop sequences at most",
        ),
        (
            Request {
                seed: Some(Raw::new("3000000000", 0)),
                ..hello()
            },
            "its seeds are whole numbers of 32 bits",
        ),
        (
            Request {
                logprobs: Some(Raw::new("0", 0)),
                stream: true,
                ..hello()
            },
            "its streams tell no probabilities",
        ),
        (
            Request {
                reasoning: Reasoning {
                    effort: Some(Text::plain("new")),
                    ..Reasoning::default()
                },
                ..hello()
            },
            "it has no such effort",
        ),
    ] {
        assert_eq!(why_unfit(&request), why);
    }
}

#[test]
fn a_tool_has_a_name_that_the_api_takes() {
    let long = "x".repeat(129);
    for (name, taken) in [
        ("_a.b:c-9", true),
        (&long[1..], true),
        (&long, false),
        ("", false),
        ("9a", false),
        ("-a", false),
        ("a b", false),
        ("é", false),
    ] {
        let named = Tool {
            name: Text::new(name, 0).into_owned(),
            ..tool(None)
        };
        let request = Request {
            tools: vec![named],
            ..hello()
        };
        if taken {
            written(&request);
        } else {
            assert_eq!(why_unfit(&request), "its tools have other names", "{name}");
        }
    }
}

#[test]
fn where_several_calls_are_refused_is_told() {
    let body = r#"{"tools":[],"parallel_tool_calls":false}"#;
    let request = Request {
        tools: vec![tool(None)],
        parallel: Some(false),
        parallel_at: body.find("false").unwrap(),
        ..hello()
    };
    let error = write(body, &request).unwrap_err();
    assert_eq!(error.field(), Some("parallel_tool_calls"));
}

#[test]
fn what_does_not_change_the_reply_is_left_out_and_named() {
    let body = r#"{"user":"u","name":"n","description":"d","detail":"high","filename":"f"}"#;
    let at = |value: &'static str| {
        Text::plain(value).placed(body.find(&format!(":\"{value}\"")).unwrap() + 1)
    };
    let url = || Source::Url {
        mime: None,
        url: Text::plain("https://a.example/b.png"),
    };
    let request = Request {
        user: Some(at("u")),
        output: Output::Schema {
            name: Some(at("n")),
            description: Some(at("d")),
            schema: Raw::new("{}", 0),
            strict: Some(true),
        },
        ..asked(vec![say(
            Role::User,
            vec![
                PartKind::Image(Box::new(Media {
                    source: url(),
                    detail: Some(at("high")),
                })),
                PartKind::Image(Box::new(Media {
                    source: url(),
                    detail: Some(Text::plain("auto")),
                })),
                PartKind::File {
                    media: Box::new(Media {
                        source: url(),
                        detail: None,
                    }),
                    name: Some(at("f")),
                },
            ],
        )])
    };
    let (written, mut left_out) = write(body, &request).unwrap();
    left_out.sort();
    assert_eq!(
        left_out,
        ["description", "detail", "filename", "name", "user"]
    );
    assert_eq!(
        written["contents"][0]["parts"][0],
        json!({"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.png"}})
    );
    assert_eq!(
        written["generationConfig"],
        json!({"responseMimeType": "application/json", "responseJsonSchema": {}})
    );
}

#[test]
fn every_choice_of_a_tool_is_a_mode() {
    for (choice, strict, mode) in [
        (None, None, Value::Null),
        (None, Some(false), Value::Null),
        (None, Some(true), json!({"mode": "VALIDATED"})),
        (Some(Choice::Auto), None, json!({"mode": "AUTO"})),
        (Some(Choice::Auto), Some(true), json!({"mode": "VALIDATED"})),
        (Some(Choice::None), Some(true), json!({"mode": "NONE"})),
        (Some(Choice::Any), Some(true), json!({"mode": "ANY"})),
        (
            Some(Choice::Named(vec![Text::plain("f")])),
            None,
            json!({"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ),
    ] {
        let request = Request {
            tools: vec![tool(strict)],
            choice,
            ..hello()
        };
        let written = written(&request);
        assert_eq!(
            written["tools"],
            json!([{"functionDeclarations": [{"name": "f", "description": "does it", "parametersJsonSchema": {"type": "object"}}]}])
        );
        assert_eq!(written["toolConfig"]["functionCallingConfig"], mode);
    }
}

#[test]
fn every_effort_and_budget_is_a_number_of_tokens() {
    let tokens = || Budget::Tokens(Raw::new("2000", 0));
    for (effort, budget, told, expected) in [
        (None, Budget::Unsaid, None, Value::Null),
        (None, Budget::Unsaid, Some(false), Value::Null),
        (
            None,
            Budget::Unsaid,
            Some(true),
            json!({"includeThoughts": true}),
        ),
        (
            Some("none"),
            Budget::Unsaid,
            None,
            json!({"thinkingBudget": 0}),
        ),
        (
            Some("minimal"),
            Budget::Unsaid,
            None,
            json!({"thinkingBudget": 1024, "includeThoughts": true}),
        ),
        (
            Some("low"),
            Budget::Unsaid,
            Some(false),
            json!({"thinkingBudget": 1024}),
        ),
        (
            Some("medium"),
            Budget::Unsaid,
            None,
            json!({"thinkingBudget": 8192, "includeThoughts": true}),
        ),
        (
            Some("high"),
            Budget::Unsaid,
            None,
            json!({"thinkingBudget": 24576, "includeThoughts": true}),
        ),
        (
            Some("xhigh"),
            Budget::Unsaid,
            None,
            json!({"thinkingBudget": 24576, "includeThoughts": true}),
        ),
        (
            Some("max"),
            Budget::Adaptive,
            None,
            json!({"thinkingBudget": 24576, "includeThoughts": true}),
        ),
        (
            None,
            Budget::Adaptive,
            None,
            json!({"thinkingBudget": -1, "includeThoughts": true}),
        ),
        (None, Budget::Off, None, json!({"thinkingBudget": 0})),
        (None, tokens(), Some(false), json!({"thinkingBudget": 2000})),
    ] {
        let request = Request {
            reasoning: Reasoning {
                effort: effort.map(Text::plain),
                budget,
                told,
            },
            ..hello()
        };
        let written = written(&request);
        assert_eq!(
            written["generationConfig"]["thinkingConfig"], expected,
            "{effort:?}"
        );
    }
    // The number is the closer one.
    let both = Request {
        reasoning: Reasoning {
            effort: Some(Text::plain("low")),
            budget: tokens(),
            told: None,
        },
        ..hello()
    };
    let (written, left_out) = write("", &both).unwrap();
    assert_eq!(left_out.len(), 1);
    assert_eq!(
        written["generationConfig"]["thinkingConfig"]["thinkingBudget"],
        2000
    );
}

#[test]
fn any_json_is_asked_for_by_its_type() {
    let request = Request {
        output: Output::Json { at: 0 },
        ..hello()
    };
    assert_eq!(
        written(&request)["generationConfig"],
        json!({"responseMimeType": "application/json"})
    );
}
