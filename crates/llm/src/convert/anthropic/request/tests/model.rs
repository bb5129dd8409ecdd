//! What other dialects say and this one has other words for, or none.

use serde_json::json;

use super::write;
use crate::{
    Dialect,
    convert::model::{
        Arguments, Budget, Call, Choice, Content, Media, Message, Outcome, Output, Part, PartKind,
        Reasoning, Request, Role, Signature, Source, Tool,
    },
    convert::text::{Raw, Text},
};

fn part(kind: PartKind<'_>) -> Part<'_> {
    Part { kind, at: 0 }
}

fn text(text: &'static str) -> Text<'static> {
    Text::plain(text)
}

fn said(text: &'static str) -> Part<'static> {
    part(PartKind::Text {
        text: Text::plain(text),
        signature: None,
    })
}

fn message(role: Role, parts: Vec<Part<'_>>) -> Message<'_> {
    Message {
        role,
        parts: parts.into(),
        name: None,
        at: 0,
    }
}

fn hello(model: &'static str) -> Request<'static> {
    Request {
        model: Text::plain(model),
        messages: vec![message(Role::User, vec![said("Hi")])],
        ..Request::default()
    }
}

fn unfit(request: &Request<'_>) -> String {
    write(request, "{}").unwrap_err().to_string()
}

fn written(request: &Request<'_>) -> serde_json::Value {
    write(request, "{}").unwrap().0
}

#[test]
fn a_limit_is_made_where_there_is_none() {
    assert_eq!(written(&hello("m"))["max_tokens"], 4096);
    let request = Request {
        max_tokens: Some(Raw::of("0")),
        ..hello("m")
    };
    assert_eq!(written(&request)["max_tokens"], 0);
}

#[test]
fn an_effort_is_a_budget_to_older_models_and_itself_to_later_ones() {
    for (effort, budget, later) in [
        ("minimal", 1024, "low"),
        ("low", 1024, "low"),
        ("medium", 2048, "medium"),
        ("high", 4096, "high"),
        ("xhigh", 8192, "xhigh"),
        ("max", 16384, "max"),
    ] {
        let asks = |model, most: &'static str| Request {
            reasoning: Reasoning {
                effort: Some(text(effort)),
                ..Reasoning::default()
            },
            max_tokens: Some(Raw::of(most)),
            ..hello(model)
        };
        for model in [
            "claude-sonnet-4-5-20250929",
            "claude-haiku-4-5",
            "anthropic.claude-opus-4-1-20250805-v1:0",
            "claude-opus-4-20250514",
            "claude-sonnet-4@20250514",
            "claude-3-7-sonnet-latest",
            "deepseek-chat",
        ] {
            let request = written(&asks(model, "20000"));
            assert_eq!(
                request["thinking"],
                json!({"type": "enabled", "budget_tokens": budget})
            );
            assert_eq!(request["max_tokens"], 20000);
            assert_eq!(request.get("output_config"), None);
            // The budget must be less than the limit.
            let request = written(&asks(model, "1000"));
            assert_eq!(request["max_tokens"], 1000 + budget);
        }
        for model in ["claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-5"] {
            let request = written(&asks(model, "1000"));
            assert_eq!(request["thinking"], json!({"type": "adaptive"}));
            assert_eq!(request["output_config"], json!({"effort": later}));
            assert_eq!(request["max_tokens"], 1000);
        }
    }
    let none = |model| Request {
        reasoning: Reasoning {
            effort: Some(text("none")),
            ..Reasoning::default()
        },
        ..hello(model)
    };
    for model in ["claude-sonnet-4-5", "claude-sonnet-4-6"] {
        let request = written(&none(model));
        assert_eq!(request["thinking"], json!({"type": "disabled"}));
        assert_eq!(request.get("output_config"), None);
    }
    let request = Request {
        reasoning: Reasoning {
            effort: Some(text("huge")),
            ..Reasoning::default()
        },
        ..hello("m")
    };
    assert!(unfit(&request).ends_with("it has no such effort"));
}

#[test]
fn a_budget_is_an_effort_to_later_models() {
    let asks = |model, budget| Request {
        reasoning: Reasoning {
            budget,
            told: Some(false),
            ..Reasoning::default()
        },
        ..hello(model)
    };
    let tokens = |tokens: &'static str| Budget::Tokens(Raw::of(tokens));
    for (budget, effort) in [("1024", "low"), ("2048", "medium"), ("2049", "high")] {
        let request = written(&asks("claude-opus-4-8", tokens(budget)));
        assert_eq!(
            request["thinking"],
            json!({"type": "adaptive", "display": "omitted"})
        );
        assert_eq!(request["output_config"], json!({"effort": effort}));
    }
    let request = written(&asks("claude-haiku-4-5", tokens("512")));
    assert_eq!(request["thinking"]["budget_tokens"], 1024);
    let request = written(&asks("claude-haiku-4-5", Budget::Adaptive));
    assert_eq!(request["thinking"]["budget_tokens"], 2048);
    for model in ["claude-haiku-4-5", "claude-opus-4-8"] {
        for budget in [tokens("0"), Budget::Off] {
            let request = written(&asks(model, budget));
            assert_eq!(request["thinking"], json!({"type": "disabled"}));
        }
    }
    let error = unfit(&asks("m", tokens("1.5")));
    assert!(
        error.ends_with("must be a whole number of tokens"),
        "{error}"
    );
}

#[test]
fn what_stands_in_the_way_of_thinking_is_named() {
    let thinking = || Request {
        reasoning: Reasoning {
            budget: Budget::Adaptive,
            ..Reasoning::default()
        },
        ..hello("claude-opus-4-6")
    };
    for (request, why) in [
        (
            Request {
                temperature: Some(Raw::of("0.5")),
                ..thinking()
            },
            "the temperature is 1",
        ),
        (
            Request {
                top_k: Some(Raw::of("5")),
                ..thinking()
            },
            "it takes none",
        ),
        (
            Request {
                top_p: Some(Raw::of("0.9")),
                ..thinking()
            },
            "it is 0.95 or more",
        ),
    ] {
        let error = unfit(&request);
        assert!(error.ends_with(why), "{error}");
    }
    let request = Request {
        temperature: Some(Raw::of("1.0")),
        top_p: Some(Raw::of("0.95")),
        ..thinking()
    };
    let request = written(&request);
    assert_eq!(
        (request.get("temperature"), &request["top_p"]),
        (None, &json!(0.95))
    );
}

#[test]
fn what_cannot_be_said_is_unfit_and_what_says_nothing_is_not() {
    let one = || Some(Raw::of("1"));
    for (request, why) in [
        (
            Request {
                temperature: Some(Raw::of("1.01")),
                ..hello("m")
            },
            "its temperature is from 0 to 1",
        ),
        (
            Request {
                seed: one(),
                ..hello("m")
            },
            "it cannot be seeded",
        ),
        (
            Request {
                presence_penalty: one(),
                ..hello("m")
            },
            "it has no penalties",
        ),
        (
            Request {
                frequency_penalty: one(),
                ..hello("m")
            },
            "it has no penalties",
        ),
        (
            Request {
                candidates: Some(Raw::of("2")),
                ..hello("m")
            },
            "it gives one reply",
        ),
        (
            Request {
                logprobs: one(),
                ..hello("m")
            },
            "it tells no probabilities",
        ),
        (
            Request {
                stop: vec![text(r"\n ")],
                ..hello("m")
            },
            "it stops at no sequence of spaces alone",
        ),
        (
            Request {
                output: Output::Json { at: 0 },
                ..hello("m")
            },
            "it has no form of any JSON, only of a schema",
        ),
        (
            Request {
                tools: vec![tool()],
                choice: Some(Choice::Named(vec![text("a"), text("b")])),
                ..hello("m")
            },
            "it is told one tool, or any",
        ),
        (
            Request {
                messages: vec![Message {
                    name: Some(text("Ada")),
                    ..message(Role::User, vec![said("Hi")])
                }],
                ..hello("m")
            },
            "it has no names of speakers",
        ),
    ] {
        let error = unfit(&request);
        assert!(error.ends_with(why), "{error}");
    }
    let request = Request {
        temperature: Some(Raw::of("1")),
        top_p: Some(Raw::of("1.0")),
        presence_penalty: Some(Raw::of("0")),
        frequency_penalty: Some(Raw::of("0.0")),
        candidates: one(),
        choice: Some(Choice::Auto),
        parallel: Some(true),
        ..hello("m")
    };
    assert_eq!(written(&request), written(&hello("m")));
}

fn tool() -> Tool<'static> {
    Tool {
        name: text("f"),
        description: None,
        parameters: None,
        strict: None,
    }
}

#[test]
fn one_call_at_a_time_is_said_in_the_choice() {
    let request = Request {
        tools: vec![tool()],
        parallel: Some(false),
        ..hello("m")
    };
    assert_eq!(
        written(&request)["tool_choice"],
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
}

#[test]
fn media_that_it_does_not_take_are_unfit() {
    let data = |mime: &'static str, data: &'static str| Media {
        source: Source::Data {
            mime: text(mime),
            data: text(data),
        },
        detail: None,
    };
    let file = |media| PartKind::File {
        media: Box::new(media),
        name: None,
    };
    let uploaded = || Media {
        source: Source::Uploaded(text("file-1")),
        detail: None,
    };
    let url = Media {
        source: Source::Url {
            mime: Some(text("text/csv")),
            url: text("https://x"),
        },
        detail: None,
    };
    for (kind, why) in [
        (
            PartKind::Image(Box::new(data("image/tiff", ""))),
            "it takes images as JPEG, PNG, GIF or WebP",
        ),
        (
            PartKind::Image(Box::new(uploaded())),
            "what was uploaded to another provider is not there",
        ),
        (
            file(data("text/csv", "")),
            "it takes documents as PDF or plain text",
        ),
        (
            file(data("text/plain", "_")),
            "must be base64 of a text in UTF-8",
        ),
        (
            file(data("text/plain", "/w==")),
            "must be base64 of a text in UTF-8",
        ),
        (
            file(uploaded()),
            "what was uploaded to another provider is not there",
        ),
        (file(url), "it takes a document at a URL as PDF alone"),
        (
            PartKind::Audio(Box::new(data("audio/wav", ""))),
            "it does not hear",
        ),
        (PartKind::Own, "it has no such part"),
    ] {
        let request = Request {
            messages: vec![message(Role::User, vec![part(kind)])],
            ..hello("m")
        };
        let error = unfit(&request);
        assert!(error.ends_with(why), "{error}");
    }
    let request = Request {
        messages: vec![message(
            Role::User,
            vec![part(PartKind::Image(Box::new(data("image/jpg", "AA=="))))],
        )],
        ..hello("m")
    };
    assert_eq!(
        written(&request)["messages"][0]["content"][0]["source"]["media_type"],
        "image/jpeg"
    );
}

#[test]
fn arguments_that_are_a_string_become_the_object_that_it_says() {
    for (arguments, input) in [
        ("", json!({})),
        (" ", json!({})),
        ("null", json!({})),
        (r#"{\"a\":\"\\u00e9\\n\"}"#, json!({"a": "\u{e9}\n"})),
        (r#" {\"a\": 1}\n"#, json!({"a": 1})),
        (r#"{\"a\":"#, json!({"INVALID_JSON": "{\"a\":"})),
        ("[1]", json!({"INVALID_JSON": "[1]"})),
    ] {
        let call = Call {
            id: Some(text("functions.f:0")),
            name: text("f"),
            arguments: Arguments::Written(text(arguments)),
            signature: None,
        };
        let result = Outcome {
            id: Some(text("functions.f:0")),
            name: None,
            content: Content::Object(Raw::of(r#"{"b":"c"}"#)),
            failed: false,
        };
        let request = Request {
            messages: vec![
                message(Role::User, vec![said("Hi")]),
                message(Role::Assistant, vec![part(PartKind::Call(Box::new(call)))]),
                message(Role::User, vec![part(PartKind::Result(Box::new(result)))]),
            ],
            ..hello("m")
        };
        let request = written(&request);
        assert_eq!(
            request["messages"][1]["content"],
            // Its ids have an alphabet.
            json!([{"type": "tool_use", "id": "functions_f_0", "name": "f", "input": input}])
        );
        assert_eq!(
            request["messages"][2]["content"],
            json!([{"type": "tool_result", "tool_use_id": "functions_f_0", "content": "{\"b\":\"c\"}"}])
        );
    }
}

#[test]
fn what_another_provider_signed_is_not_sent() {
    let gemini = || {
        Some(Signature {
            of: Dialect::Gemini,
            value: text("AAAA"),
        })
    };
    let request = Request {
        messages: vec![
            message(Role::User, vec![said("Hi")]),
            message(
                Role::Assistant,
                vec![
                    part(PartKind::Text {
                        text: text("So"),
                        signature: gemini(),
                    }),
                    part(PartKind::Refusal(text("No"))),
                    part(PartKind::Call(Box::new(Call {
                        id: Some(text("i")),
                        name: text("f"),
                        arguments: Arguments::Object(Raw::of("{}")),
                        signature: gemini(),
                    }))),
                ],
            ),
        ],
        ..hello("m")
    };
    let (request, left_out) = write(&request, "{}").unwrap();
    assert_eq!(
        request["messages"][1]["content"],
        json!([
            {"type": "text", "text": "So"},
            {"type": "text", "text": "No"},
            {"type": "tool_use", "id": "i", "name": "f", "input": {}},
        ])
    );
    assert_eq!(left_out.len(), 2);
}
