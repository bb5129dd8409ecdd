//! Numbers that no endpoint of the caller's dialect would take are the caller's 400, with the member
//! named, what was found, and what was expected.

use buttress_core::Class;
use buttress_llm::{Dialect, convert::Conversion};

const COUNT: &str = "a whole number of 0 or more";
const SOME: &str = "a whole number of 1 or more";
const WHOLE: &str = "a whole number";
const TO_1: &str = "a number from 0 to 1";
const TO_2: &str = "a number from 0 to 2";
const PENALTY: &str = "a number from -2 to 2";

/// A member, what it is expected to be, and what it is not.
type Wrong = (&'static str, &'static str, &'static [&'static str]);

/// A request of the dialect with this member, and the name by which it is called.
fn request(dialect: Dialect, member: &str, value: &str) -> (String, String) {
    let hi = r#""messages":[{"role":"user","content":"Hi"}]"#;
    match dialect {
        Dialect::OpenAi => (
            format!(r#"{{"model":"m",{hi},"{member}":{value}}}"#),
            member.to_owned(),
        ),
        Dialect::Anthropic if member == "max_tokens" => (
            format!(r#"{{"model":"m",{hi},"max_tokens":{value}}}"#),
            member.to_owned(),
        ),
        Dialect::Anthropic if member == "budget_tokens" => (
            format!(
                r#"{{"model":"m","max_tokens":9,{hi},"thinking":{{"type":"enabled","budget_tokens":{value}}}}}"#
            ),
            "thinking.budget_tokens".to_owned(),
        ),
        Dialect::Anthropic => (
            format!(r#"{{"model":"m","max_tokens":9,{hi},"{member}":{value}}}"#),
            member.to_owned(),
        ),
        _ => (
            format!(
                r#"{{"contents":[{{"role":"user","parts":[{{"text":"Hi"}}]}}],"generationConfig":{{"{member}":{value}}}}}"#
            ),
            format!("generationConfig.{member}"),
        ),
    }
}

#[test]
fn a_wrong_number_is_named_with_what_was_found_and_what_was_expected() {
    let table: [(Dialect, &[Wrong]); 3] = [
        (
            Dialect::OpenAi,
            &[
                ("max_tokens", COUNT, &["-1", "1.5", "1e999"]),
                ("max_completion_tokens", COUNT, &["-1", "0.5", "-1e9"]),
                ("temperature", TO_2, &["-0.1", "2.01", "1e999"]),
                ("top_p", TO_1, &["-0.1", "1.01"]),
                ("top_k", COUNT, &["-1", "2.5"]),
                ("seed", WHOLE, &["1.5", "-0.5"]),
                ("presence_penalty", PENALTY, &["-2.1", "3"]),
                ("frequency_penalty", PENALTY, &["-2.1", "3"]),
                ("n", SOME, &["0", "-1", "1.5"]),
                ("top_logprobs", COUNT, &["-1", "1.5"]),
            ],
        ),
        (
            Dialect::Anthropic,
            &[
                ("max_tokens", COUNT, &["-1", "1.5", "1e999"]),
                ("temperature", TO_1, &["-0.1", "1.01"]),
                ("top_p", TO_1, &["-0.1", "1.01"]),
                ("top_k", COUNT, &["-1", "2.5"]),
                ("budget_tokens", COUNT, &["-1", "1024.5"]),
            ],
        ),
        (
            Dialect::Gemini,
            &[
                ("maxOutputTokens", COUNT, &["-1", "1.5"]),
                ("temperature", TO_2, &["-0.1", "2.01"]),
                ("topP", TO_1, &["-0.1", "1.01"]),
                ("topK", COUNT, &["-1", "2.5"]),
                ("seed", WHOLE, &["1.5"]),
                ("presencePenalty", PENALTY, &["3"]),
                ("frequencyPenalty", PENALTY, &["-2.1"]),
                ("candidateCount", SOME, &["0", "-1"]),
            ],
        ),
    ];
    for (caller, members) in table {
        for endpoint in Dialect::ALL {
            for (member, expected, wrong) in members {
                let other = [
                    ("\"1\"", "a string"),
                    ("[]", "an array"),
                    ("true", "a boolean"),
                ];
                let wrong = wrong.iter().map(|wrong| (*wrong, *wrong)).chain(other);
                for (value, found) in wrong {
                    let (body, field) = request(caller, member, value);
                    let converted = Conversion::new(caller, endpoint).request(body.clone());
                    if caller == endpoint {
                        // Which number it is, is the endpoint's to judge.
                        if value == found {
                            assert_eq!(converted.unwrap().body(), &body);
                        }
                        continue;
                    }
                    let error = converted.unwrap_err();
                    assert_eq!(error.class(), Class::Invalid);
                    assert_eq!(
                        error.to_string(),
                        format!("`{field}` must be {expected}, but is {found}")
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_just_within_the_bounds_is_no_fault() {
    for (caller, members) in [
        (
            Dialect::OpenAi,
            &[
                ("max_tokens", &["1", "7.0", "7e2"][..]),
                ("temperature", &["0", "2"]),
                ("top_p", &["0.0", "1"]),
                ("seed", &["-1", "0"]),
                ("presence_penalty", &["-2", "2", "-0.0"]),
                ("n", &["1", "2"]),
            ][..],
        ),
        (
            Dialect::Anthropic,
            &[
                ("max_tokens", &["0", "1"]),
                ("temperature", &["0", "1"]),
                ("top_p", &["0", "1", "null"]),
                ("top_k", &["0", "40", "null"]),
                ("budget_tokens", &["1024"]),
            ],
        ),
        (
            Dialect::Gemini,
            &[
                ("maxOutputTokens", &["1", "null"]),
                ("topK", &["40", "40.0"]),
                ("candidateCount", &["1"]),
            ],
        ),
    ] {
        for endpoint in Dialect::ALL {
            for (member, values) in members {
                for value in *values {
                    let (body, _) = request(caller, member, value);
                    if let Err(error) = Conversion::new(caller, endpoint).request(body) {
                        assert_eq!(error.class(), Class::Unfit, "{member} {value}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn words_to_stop_at_are_strings() {
    for (caller, member, value, told) in [
        (
            Dialect::OpenAi,
            "stop",
            "1",
            "`stop` must be a string or an array of strings, but is a number",
        ),
        (
            Dialect::OpenAi,
            "stop",
            "{}",
            "`stop` must be a string or an array of strings, but is an object",
        ),
        (
            Dialect::OpenAi,
            "stop",
            r#"["a",null]"#,
            "`stop[1]` must be a string, but is null",
        ),
        (
            Dialect::Anthropic,
            "stop_sequences",
            r#""a""#,
            "`stop_sequences` must be an array, but is a string",
        ),
        (
            Dialect::Gemini,
            "stopSequences",
            "[1]",
            "`generationConfig.stopSequences[0]` must be a string, but is a number",
        ),
    ] {
        for endpoint in Dialect::ALL.into_iter().filter(|to| *to != caller) {
            let (body, _) = request(caller, member, value);
            let error = Conversion::new(caller, endpoint).request(body).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}
