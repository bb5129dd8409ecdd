//! What others say, for OpenAI.

use super::*;

fn part(kind: PartKind<'_>) -> Part<'_> {
    Part { kind, at: 7 }
}

fn text(text: &str) -> PartKind<'_> {
    PartKind::Text {
        text: Text::new(text, 0),
        signature: None,
    }
}

fn turn<'a>(role: Role, parts: Vec<PartKind<'a>>) -> Request<'a> {
    Request {
        messages: vec![Message {
            role,
            parts: parts.into_iter().map(part).collect::<Vec<_>>().into(),
            name: None,
            at: 0,
        }],
        ..Request::default()
    }
}

fn image<'a>() -> PartKind<'a> {
    PartKind::Image(Box::new(Media {
        source: Source::Data {
            mime: Text::plain("image/png"),
            data: Text::plain("AAAA"),
        },
        detail: None,
    }))
}

fn result<'a>(content: Content<'a>, failed: bool) -> PartKind<'a> {
    PartKind::Result(Box::new(Outcome {
        id: Some(Text::plain("a")),
        name: None,
        content,
        failed,
    }))
}

#[test]
fn results_stand_before_what_the_user_says_and_a_failure_is_told() {
    let texts = |texts: &[&'static str]| {
        Content::Parts(texts.iter().map(|said| part(text(said))).collect())
    };
    let object = Content::Object(Raw::of(r#"{"a":"\""}"#));
    let request = turn(
        Role::User,
        vec![
            text("x"),
            result(object, false),
            result(texts(&[]), false),
            result(texts(&[]), true),
            result(texts(&["no"]), true),
            result(texts(&["no", "way"]), true),
            image(),
        ],
    );
    let result = |content: Value| json!({"role": "tool", "tool_call_id": "a", "content": content});
    let part = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        write(&request).unwrap().0["messages"],
        json!([
            result(json!("{\"a\":\"\\\"\"}")),
            result(json!("")),
            result(json!("Error")),
            result(json!("Error: no")),
            result(json!([part("Error: "), part("no"), part("way")])),
            {"role": "user", "content": [part("x"),
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        ])
    );
}

#[test]
fn a_call_has_an_id_and_arguments_in_a_string() {
    let call = |arguments| {
        PartKind::Call(Box::new(Call {
            id: None,
            name: Text::plain("f"),
            arguments,
            signature: None,
        }))
    };
    let request = turn(
        Role::Assistant,
        vec![
            call(Arguments::Object(Raw::of("{\"a\" : \"\\n\"}"))),
            call(Arguments::Written(Text::default())),
            call(Arguments::Written(Text::new(r#"{\"a\":1}"#, 0))),
        ],
    );
    let (said, _) = write(&request).unwrap();
    let said: Vec<_> = (0..3)
        .map(|n| {
            let call = &said["messages"][0]["tool_calls"][n];
            (
                call["id"].as_str().unwrap().to_owned(),
                call["function"]["arguments"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        ("call_0", "{\"a\" : \"\\n\"}"),
        ("call_1", "{}"),
        ("call_2", "{\"a\":1}"),
    ];
    assert_eq!(
        said,
        expected.map(|(id, said)| (id.to_owned(), said.to_owned()))
    );
}

#[test]
fn a_turn_of_which_nothing_can_be_said_is_no_message() {
    let signature = Some(Signature {
        of: Dialect::Anthropic,
        value: Text::plain("c2ln"),
    });
    let thought = PartKind::Reasoning(Box::new(Reasoned {
        text: Text::plain("hm"),
        signature,
        redacted: None,
    }));
    let (said, left_out) = write(&turn(Role::Assistant, vec![thought])).unwrap();
    assert_eq!((said["messages"].clone(), left_out), (json!([]), vec![7]));
    let (said, _) = write(&turn(Role::System, vec![])).unwrap();
    assert_eq!(said["messages"], json!([]));
}

#[test]
fn what_openai_cannot_say_is_unfit_where_it_stands() {
    let media = |source| Media {
        source,
        detail: None,
    };
    let uploaded = || media(Source::Uploaded(Text::plain("file-1")));
    let url = || {
        media(Source::Url {
            mime: None,
            url: Text::plain("https://x.test"),
        })
    };
    let ogg = Source::Data {
        mime: Text::plain("audio/ogg"),
        data: Text::plain("AAAA"),
    };
    for (role, kind) in [
        (Role::User, PartKind::Own),
        (Role::User, PartKind::Image(Box::new(uploaded()))),
        (Role::User, PartKind::Audio(Box::new(url()))),
        (Role::User, PartKind::Audio(Box::new(media(ogg)))),
        (
            Role::User,
            PartKind::File {
                media: Box::new(uploaded()),
                name: None,
            },
        ),
        (
            Role::User,
            PartKind::File {
                media: Box::new(url()),
                name: None,
            },
        ),
        (Role::User, PartKind::Refusal(Text::plain("no"))),
        (
            Role::User,
            result(Content::Parts(vec![part(image())]), false),
        ),
        (
            Role::User,
            PartKind::Result(Box::new(Outcome {
                id: None,
                name: None,
                content: Content::Parts(vec![]),
                failed: false,
            })),
        ),
        (Role::System, image()),
        (Role::System, PartKind::Own),
        (Role::Assistant, image()),
        (Role::Assistant, PartKind::Own),
    ] {
        let request = turn(role, vec![kind]);
        let fault = write(&request).unwrap_err();
        assert_eq!(fault.at, 7, "{request:?}");
        let error = fault.explain(r#"{"a":[{}]}"#);
        assert!(matches!(error, ConvertError::Unfit { .. }), "{error}");
    }
    let at = |at| Some(Raw::new("3", at));
    let stops = (0..5).map(|at| Text::new("x", at)).collect();
    for (request, place) in [
        (
            Request {
                top_k: at(11),
                ..Request::default()
            },
            11,
        ),
        (
            Request {
                logprobs: at(12),
                stream: true,
                ..Request::default()
            },
            12,
        ),
        (
            Request {
                stop: stops,
                ..Request::default()
            },
            4,
        ),
    ] {
        assert_eq!(write(&request).unwrap_err().at, place);
    }
}

#[test]
fn a_budget_is_an_effort() {
    for (budget, effort) in [
        (Budget::Unsaid, None),
        (Budget::Adaptive, None),
        (Budget::Off, Some("none")),
        (Budget::Tokens(Raw::of("0")), Some("none")),
        (Budget::Tokens(Raw::of("1")), Some("low")),
        (Budget::Tokens(Raw::of("1024")), Some("low")),
        (Budget::Tokens(Raw::of("1025")), Some("medium")),
        (Budget::Tokens(Raw::of("2048")), Some("medium")),
        (Budget::Tokens(Raw::of("2049")), Some("high")),
        (Budget::Tokens(Raw::of("1e9")), Some("high")),
    ] {
        let mut request = Request::default();
        request.reasoning.budget = budget;
        let (said, _) = write(&request).unwrap();
        assert_eq!(said["reasoning_effort"].as_str(), effort, "{request:?}");
    }
    let mut request = Request::default();
    request.reasoning.effort = Some(Text::plain("xhigh"));
    request.reasoning.budget = Budget::Tokens(Raw::new("9", 5));
    let (said, left_out) = write(&request).unwrap();
    assert_eq!(
        (said["reasoning_effort"].as_str(), left_out),
        (Some("xhigh"), vec![5])
    );
}

#[test]
fn one_of_several_tools_is_an_allowed_tool() {
    let names = |names: &[&'static str]| names.iter().copied().map(Text::plain).collect();
    for (named, expected) in [
        (names(&[]), json!("required")),
        (names(&["a"]), tool("a")),
        (
            names(&["a", "b"]),
            json!({"type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [tool("a"), tool("b")]}}),
        ),
    ] {
        let request = Request {
            choice: Some(Choice::Named(named)),
            ..Request::default()
        };
        assert_eq!(write(&request).unwrap().0["tool_choice"], expected);
    }
}
