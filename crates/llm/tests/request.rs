//! What is read of requests, and what edits leave as it was.

use std::borrow::Cow;

use buttress_llm::request::{Peek, PeekError};
use bytes::Bytes;
use proptest::prelude::*;

fn peek(body: &str) -> Peek {
    Peek::new(body.to_owned()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn error(body: impl Into<Bytes>) -> PeekError {
    Peek::new(body).expect_err("an error")
}

#[test]
fn what_matters_is_found_wherever_it_stands() {
    let request = peek(
        r#"{"messages":[{"role":"user","content":"{\"model\":\"x\",\"stream\":false}"}],
            "metadata":{"model":"x","stream":false,"max_tokens":1},
            "max_completion_tokens":500 , "max_tokens" : 600,
            "stream" : true, "stream_options":{"include_obfuscation":false,"include_usage":true},
            "mod\u0065l":"gp\u0074-4.1\/nano"}"#,
    );
    assert_eq!(request.model(), Some("gpt-4.1/nano"));
    assert!(request.stream() && request.include_usage());
    assert_eq!(request.max_tokens(), Some(500));

    let request = peek("{}");
    assert_eq!((request.model(), request.max_tokens()), (None, None));
    assert!(!request.stream() && !request.include_usage());

    let request = peek(r#"{"model":"m","stream":null,"stream_options":null,"max_tokens":null}"#);
    assert!(!request.stream() && !request.include_usage());
    assert_eq!(request.max_tokens(), None);

    for (body, bound) in [
        (r#"{"max_tokens":7.0}"#, Some(7)),
        (r#"{"max_tokens":-1}"#, None),
        (r#"{"max_tokens":1.5}"#, None),
        (r#"{"max_output_tokens":9}"#, Some(9)),
        (
            r#"{"generationConfig":{"maxOutputTokens":8,"temperature":1}}"#,
            Some(8),
        ),
        (r#"{"generation_config":{"max_output_tokens":8}}"#, Some(8)),
        (r#"{"generationConfig":null}"#, None),
    ] {
        assert_eq!(peek(body).max_tokens(), bound, "{body}");
    }
}

#[test]
fn every_kind_of_bad_body_has_its_own_error() {
    let syntax = |at, found: Option<u8>, expected| PeekError::Syntax {
        at,
        found,
        expected,
    };
    for (body, expected) in [
        (&b""[..], syntax(0, None, "a value")),
        (b"{\"model\":\"m\"", syntax(12, None, "`,` or `}`")),
        (b"{\"model\":\"m\"}}", syntax(13, Some(b'}'), "the end")),
        (b"{\"model\":}", syntax(9, Some(b'}'), "a value")),
        (b"{model:1}", syntax(1, Some(b'm'), "the name of a member")),
        (
            b"{\"a\":\"\0\"}",
            syntax(6, Some(0), "a string without control characters"),
        ),
        (b"{\"a\":1}\0", syntax(7, Some(0), "the end")),
        (b"{\"a\":\"\xff\"}", PeekError::Utf8 { at: 6 }),
        (b"[1]", PeekError::NotObject { found: "an array" }),
        (b"null", PeekError::NotObject { found: "null" }),
        (b"[1", syntax(2, None, "`,` or `]`")),
        (
            b"{\"model\":\"a\",\"model\":\"b\"}",
            PeekError::Duplicate {
                member: "model",
                at: 21,
            },
        ),
        (
            b"{\"model\":\"a\",\"m\\u006fdel\":\"b\"}",
            PeekError::Duplicate {
                member: "model",
                at: 26,
            },
        ),
        (
            b"{\"stream\":true,\"stream\":true}",
            PeekError::Duplicate {
                member: "stream",
                at: 24,
            },
        ),
        (
            b"{\"stream_options\":null,\"stream_options\":{}}",
            PeekError::Duplicate {
                member: "stream_options",
                at: 40,
            },
        ),
        (
            b"{\"stream_options\":{\"include_usage\":true,\"include_usage\":true}}",
            PeekError::Duplicate {
                member: "stream_options.include_usage",
                at: 56,
            },
        ),
        (
            b"{\"max_tokens\":1,\"max_tokens\":2}",
            PeekError::Duplicate {
                member: "max_tokens",
                at: 29,
            },
        ),
        (
            b"{\"generationConfig\":{},\"generation_config\":{}}",
            PeekError::Duplicate {
                member: "generationConfig",
                at: 43,
            },
        ),
        (
            b"{\"model\":1}",
            PeekError::Type {
                member: "model",
                at: 9,
                found: "a number",
                expected: "a string",
            },
        ),
        (
            b"{\"model\":null}",
            PeekError::Type {
                member: "model",
                at: 9,
                found: "null",
                expected: "a string",
            },
        ),
        (
            b"{\"model\":\"\\ud800\"}",
            PeekError::Type {
                member: "model",
                at: 9,
                found: "half of a surrogate pair",
                expected: "text",
            },
        ),
        (
            b"{\"stream\":\"true\"}",
            PeekError::Type {
                member: "stream",
                at: 10,
                found: "a string",
                expected: "a boolean",
            },
        ),
        (
            b"{\"stream_options\":[]}",
            PeekError::Type {
                member: "stream_options",
                at: 18,
                found: "an array",
                expected: "an object",
            },
        ),
        (
            b"{\"stream_options\":{\"include_usage\":1}}",
            PeekError::Type {
                member: "stream_options.include_usage",
                at: 35,
                found: "a number",
                expected: "a boolean",
            },
        ),
        (
            b"{\"max_tokens\":\"1\"}",
            PeekError::Type {
                member: "max_tokens",
                at: 14,
                found: "a string",
                expected: "a number",
            },
        ),
    ] {
        assert_eq!(error(body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn what_is_no_json_is_told_before_what_is_wrong_in_it() {
    // A wrong type first, but the reader at the end would see no JSON at all: either may be told,
    // what must not happen is that broken text is read as a null.
    assert!(matches!(error("{\"model\":"), PeekError::Syntax { .. }));
    assert!(matches!(error("{\"stream\":"), PeekError::Syntax { .. }));
    assert!(matches!(
        error("{\"max_tokens\":"),
        PeekError::Syntax { .. }
    ));
    assert!(matches!(
        error("{\"stream_options\":{\"include_usage\":"),
        PeekError::Syntax { .. }
    ));
}

#[test]
fn s5_a_model_with_control_characters_is_refused() {
    for model in ["a\\r\\nb", "\\u0000", "a\\tb", "\\u007f", "\\u0085"] {
        let body = format!(r#"{{"model":"{model}"}}"#);
        assert!(
            matches!(
                error(body),
                PeekError::Type {
                    member: "model",
                    ..
                }
            ),
            "{model}"
        );
    }
}

#[test]
fn s7_ten_thousand_levels_are_an_error() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let body = format!("{{\"a\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
        assert!(matches!(error(body), PeekError::Depth { .. }));
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
    assert!(Peek::new(deep).is_ok());
}

#[test]
fn s1_nothing_of_the_body_is_shown() {
    for body in [
        r#"{"model":"canary","stream":"canary"}"#,
        r#"{"model":"canary"canary"#,
        r#"{"canary":1,"model":"canary","model":"canary"}"#,
    ] {
        let error = error(body);
        assert!(!format!("{error} {error:#?}").contains("canary"), "{error}");
    }
    assert!(!format!("{:#?}", peek(r#"{"model":"canary"}"#)).contains("canary"));
    assert_eq!(
        error("{\"a\" canary}").to_string(),
        "the body is not JSON: at byte 5, expected `:`, found `c`"
    );
}

#[test]
fn an_edit_changes_nothing_else() {
    for (body, expected) in [
        (
            r#"{"stream":true,"model":"a"}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"b"}"#,
        ),
        (
            "{\n  \"model\" : \"a\" ,\n  \"stream\": true,\r\n\t\"stream_options\" : null\n}\n",
            "{\n  \"model\" : \"b\" ,\n  \"stream\": true,\r\n\t\"stream_options\" : {\"include_usage\":true}\n}\n",
        ),
        (
            r#"{"stream_options":{ },"model":"a","stream":true}"#,
            r#"{"stream_options":{"include_usage":true },"model":"b","stream":true}"#,
        ),
        (
            r#"{"stream_options":{ "include_obfuscation" : false},"model":"a","stream":true}"#,
            r#"{"stream_options":{"include_usage":true, "include_obfuscation" : false},"model":"b","stream":true}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"x":[],"include_usage":false,"y":1e400}}"#,
            r#"{"model":"b","stream":true,"stream_options":{"x":[],"include_usage":true,"y":1e400}}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"model":"b","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"b","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        // Without a stream, the option would be refused.
        (
            r#"{"model":"a","stream":false}"#,
            r#"{"model":"b","stream":false}"#,
        ),
        // What no parser keeps: numbers of any size, doubled members, escapes.
        (
            r#"{"x":1.0000000000000000000001,"y":1,"y":2,"s":"\u0041\/","model":"\u0061"}"#,
            r#"{"x":1.0000000000000000000001,"y":1,"y":2,"s":"\u0041\/","model":"b"}"#,
        ),
    ] {
        let request = peek(body);
        let edited = request.edit().model("b").include_usage().finish();
        assert_eq!(edited, expected);
        assert_eq!(request.body(), body);
        if request.stream() {
            assert!(Peek::new(edited).unwrap().include_usage());
        }
    }
}

#[test]
fn an_edit_that_changes_nothing_copies_nothing() {
    let request = peek(r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#);
    for edited in [
        request.edit().finish(),
        request.edit().model("a").include_usage().finish(),
        peek("{}").edit().model("x").include_usage().finish(),
    ] {
        assert!(edited.as_ptr() == request.body().as_ptr() || edited == "{}");
    }
}

#[test]
fn a_new_name_is_quoted_as_json() {
    let edited = peek(r#"{"model":"a"}"#)
        .edit()
        .model("\"\\\n\u{0}é")
        .finish();
    assert_eq!(edited, "{\"model\":\"\\\"\\\\\\n\\u0000é\"}");
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn it_reads_what_serde_json_reads(
        extra in json(), model in "[ -~é]{0,12}", stream in any::<bool>(), pretty in any::<bool>(),
    ) {
        let value = serde_json::json!({
            "a": extra, "model": model, "stream": stream, "z": extra,
        });
        let body = if pretty {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        let request = peek(&body);
        prop_assert_eq!(request.model(), Some(&*model));
        prop_assert_eq!(request.stream(), stream);
        let edited = request.edit().model("new").include_usage().finish();
        // Not `value`: reading and writing a number may change it.
        let mut expected: serde_json::Value = serde_json::from_str(&body).unwrap();
        expected["model"] = "new".into();
        if stream {
            expected["stream_options"] = serde_json::json!({"include_usage": true});
        }
        let edited: serde_json::Value = serde_json::from_slice(&edited).unwrap();
        prop_assert_eq!(edited, expected);
    }

    #[test]
    fn broken_bodies_are_refused_exactly_where_serde_json_refuses_them(
        extra in json(), at in any::<prop::sample::Index>(), with in any::<u8>(), how in 0..3,
    ) {
        let mut body = serde_json::json!({"model": "m", "x": extra}).to_string().into_bytes();
        let at = at.index(body.len());
        match how {
            0 => body[at] = with,
            1 => body.insert(at, with),
            _ => drop(body.remove(at)),
        }
        let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body);
        match Peek::new(body.clone()) {
            Ok(request) => {
                // What only a tree cannot hold: half surrogate pairs, and numbers past a double.
                if let Ok(theirs) = theirs {
                    let model = theirs.get("model").and_then(|model| model.as_str());
                    prop_assert_eq!(request.model(), model);
                } else {
                    let lossy: Cow<'_, str> = String::from_utf8_lossy(&body);
                    let error = theirs.unwrap_err().to_string();
                    prop_assert!(
                        error.contains("surrogate") || error.contains("out of range")
                            || error.contains("hex escape"),
                        "{}: {}", lossy, error
                    );
                }
            }
            Err(PeekError::Type { .. } | PeekError::Duplicate { .. }) => {}
            Err(error) => prop_assert!(theirs.is_err(), "{}: {}", String::from_utf8_lossy(&body), error),
        }
    }
}
