use serde_json::{Value, json};

use super::{asked, call, result, say, signed, text, why_unfit, written};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        gemini::request::tests::write,
        model::{
            Arguments, Call, Content, Media, Outcome, Part, PartKind, Reasoned, Request, Role,
            Source,
        },
        text::{Raw, Text},
    },
};

#[test]
fn the_system_is_heard_first_and_turns_of_one_role_are_one() {
    let request = asked(vec![
        say(Role::System, vec![text("a")]),
        say(Role::User, vec![text("1")]),
        say(Role::User, vec![text("2")]),
        say(Role::System, vec![text(""), text("b")]),
        say(Role::Assistant, vec![text("3"), text("")]),
        say(Role::Assistant, vec![PartKind::Refusal(Text::plain("no"))]),
    ]);
    assert_eq!(
        written(&request),
        json!({
            "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "1"}, {"text": "2"}]},
                {"role": "model", "parts": [{"text": "3"}, {"text": "no"}]},
            ],
        })
    );
}

#[test]
fn results_come_first_in_the_order_of_their_calls_and_with_their_names() {
    let request = asked(vec![
        say(Role::User, vec![text("go")]),
        say(Role::Assistant, vec![call("x", "f"), call("y", "g")]),
        say(Role::User, vec![result("y", "2"), result("x", "1")]),
        say(Role::User, vec![text("well?")]),
        // The same id again is the later call.
        say(Role::Assistant, vec![call("x", "h")]),
        say(Role::User, vec![text("here"), result("x", "3")]),
    ]);
    let answer = |id: &str, name: &str, said: &str| json!({"functionResponse": {"id": id, "name": name, "response": {"result": said}}});
    let made = |id: &str, name: &str| json!({"functionCall": {"id": id, "name": name, "args": {}}});
    assert_eq!(
        written(&request)["contents"],
        json!([
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [made("x", "f"), made("y", "g")]},
            {"role": "user", "parts": [answer("x", "f", "1"), answer("y", "g", "2"), {"text": "well?"}]},
            {"role": "model", "parts": [made("x", "h")]},
            {"role": "user", "parts": [answer("x", "h", "3"), {"text": "here"}]},
        ])
    );
}

#[test]
fn a_result_of_no_call_is_a_fault() {
    let body = r#"{"messages":[{"tool_call_id":"x"}]}"#;
    let mut answer = result("x", "1");
    if let PartKind::Result(outcome) = &mut answer {
        outcome.id = Some(Text::plain("x").placed(body.find("\"x\"").unwrap()));
    }
    let request = asked(vec![say(Role::User, vec![answer])]);
    assert_eq!(
        write(body, &request),
        Err(ConvertError::Invalid {
            field: "messages[0].tool_call_id".to_owned(),
            what: "must be the id of a call that was made before".to_owned(),
        })
    );
}

#[test]
fn a_result_of_several_parts_is_lines_and_bytes() {
    let image = |source| {
        let detail = None;
        PartKind::Image(Box::new(Media { source, detail }))
    };
    let answer = |parts: Vec<PartKind<'static>>, failed| {
        let parts = parts.into_iter().map(|kind| Part { kind, at: 0 });
        let outcome = Outcome {
            id: Some(Text::plain("x")),
            name: None,
            content: Content::Parts(parts.collect()),
            failed,
        };
        asked(vec![
            say(Role::User, vec![text("go")]),
            say(Role::Assistant, vec![call("x", "f")]),
            say(Role::User, vec![PartKind::Result(Box::new(outcome))]),
        ])
    };
    let png = Source::Data {
        mime: Text::plain("image/png"),
        data: Text::plain("AAAA"),
    };
    let request = answer(vec![text("a"), image(png), text("b")], true);
    assert_eq!(
        written(&request)["contents"][2]["parts"][0]["functionResponse"],
        json!({
            "id": "x", "name": "f", "response": {"error": "a\nb"},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
        })
    );
    let request = answer(Vec::new(), false);
    assert_eq!(
        written(&request)["contents"][2]["parts"][0]["functionResponse"]["response"],
        json!({"result": ""})
    );
    let url = Source::Url {
        mime: None,
        url: Text::plain("https://a.example/b.png"),
    };
    let request = answer(vec![image(url)], false);
    assert_eq!(
        why_unfit(&request),
        "its results hold text and bytes, and no URLs"
    );
    let request = answer(vec![PartKind::Own], false);
    assert_eq!(
        why_unfit(&request),
        "its results hold text, images and documents"
    );
}

#[test]
fn what_gemini_signed_goes_back_and_nobody_elses() {
    let reasoned = |of| {
        PartKind::Reasoning(Box::new(Reasoned {
            text: Text::plain("hm"),
            signature: signed(of),
            redacted: None,
        }))
    };
    let spoken = |of| PartKind::Text {
        text: Text::plain("so"),
        signature: signed(of),
    };
    let called = |of| {
        PartKind::Call(Box::new(Call {
            id: None,
            name: Text::plain("f"),
            arguments: Arguments::Object(Raw::new("{}", 0)),
            signature: signed(of),
        }))
    };
    let request = |of| {
        asked(vec![
            say(Role::User, vec![text("go")]),
            say(Role::Assistant, vec![reasoned(of), spoken(of), called(of)]),
        ])
    };
    assert_eq!(
        written(&request(Dialect::Gemini))["contents"][1]["parts"],
        json!([
            {"text": "hm", "thought": true, "thoughtSignature": "AAAA"},
            {"text": "so", "thoughtSignature": "AAAA"},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "AAAA"},
        ])
    );
    let (written, left_out) = write("", &request(Dialect::Anthropic)).unwrap();
    assert_eq!(left_out.len(), 3);
    assert_eq!(
        written["contents"][1]["parts"],
        json!([{"text": "so"}, {"functionCall": {"name": "f", "args": {}}}])
    );
    // A turn of nothing but what another provider signed is none.
    let only = asked(vec![
        say(Role::User, vec![text("go")]),
        say(Role::Assistant, vec![reasoned(Dialect::Anthropic)]),
    ]);
    let (written, left_out) = write("", &only).unwrap();
    assert_eq!(left_out.len(), 2);
    assert_eq!(written["contents"].as_array().unwrap().len(), 1);
}

#[test]
fn a_signature_alone_is_that_of_the_text() {
    let alone = PartKind::Reasoning(Box::new(Reasoned {
        text: Text::default(),
        signature: signed(Dialect::Gemini),
        redacted: None,
    }));
    let request = asked(vec![
        say(Role::User, vec![text("go")]),
        say(Role::Assistant, vec![text("so"), alone]),
    ]);
    assert_eq!(
        written(&request)["contents"][1]["parts"],
        json!([{"text": "so"}, {"text": "", "thoughtSignature": "AAAA"}])
    );
}

#[test]
fn calls_of_another_provider_pass_where_the_model_checks_them() {
    for (model, checks) in [
        ("gemini-3-pro-preview", true),
        ("google/gemini-3.1-flash", true),
        ("gemini-10", true),
        ("gemini-flash-latest", true),
        ("gemini-2.5-pro", false),
        ("gemini-pro", false),
        ("gpt-4o", false),
        ("", false),
    ] {
        let request = Request {
            model: Text::plain(model),
            ..asked(vec![
                say(Role::User, vec![text("go")]),
                say(
                    Role::Assistant,
                    vec![text("so"), call("x", "f"), call("y", "f")],
                ),
            ])
        };
        let written = written(&request);
        let parts = &written["contents"][1]["parts"];
        let expected = checks.then_some("skip_thought_signature_validator");
        assert_eq!(parts[1]["thoughtSignature"].as_str(), expected, "{model}");
        assert_eq!(parts[2]["thoughtSignature"], Value::Null);
    }
}

#[test]
fn the_first_turn_is_the_users() {
    for messages in [
        vec![],
        vec![say(Role::System, vec![text("a")])],
        vec![say(Role::Assistant, vec![text("a")])],
        vec![say(Role::User, vec![text("")])],
    ] {
        assert_eq!(
            why_unfit(&asked(messages)),
            "its first turn is the user's, and says something"
        );
    }
}
