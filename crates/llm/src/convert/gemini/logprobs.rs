//! Probabilities of tokens: what Gemini tells in two lists, OpenAI tells in one.

use bytes::BytesMut;

use crate::convert::{
    read::{Names, Numbers, Reader},
    text::{Raw, Text},
    write::Writer,
};

/// A token and the logarithm of its probability.
type Token<'a> = (Text<'a>, Raw<'a>);

/// Reads a `logprobsResult`, and writes OpenAI's `logprobs`.
pub(super) fn read<'a>(json: &mut Reader<'a>) -> Raw<'a> {
    let (mut chosen, mut top) = (Vec::new(), Vec::new());
    json.object_in_any_case(|json, name| match name {
        _ if json.null() => {}
        "chosenCandidates" => chosen = read_tokens(json, LOG),
        "topCandidates" => json.array(|json| {
            let mut tokens = Vec::new();
            json.object_in_any_case(|json, name| match name {
                _ if json.null() => {}
                "candidates" => tokens = read_tokens(json, LOG),
                _ => json.skip(),
            });
            top.push(tokens);
        }),
        _ => json.skip(),
    });
    let mut out = BytesMut::new();
    Writer::new(&mut out).object(|to| {
        to.name("content").array(|to| {
            for (at, token) in chosen.iter().enumerate() {
                to.object(|to| {
                    write_openai(token, to);
                    to.name("top_logprobs").array(|to| {
                        for token in top.get(at).into_iter().flatten() {
                            to.object(|to| write_openai(token, to));
                        }
                    });
                });
            }
        });
        to.name("refusal").null();
    });
    Raw::of(String::from_utf8_lossy(&out).into_owned())
}

const LOG: &str = "logProbability";

fn read_tokens<'a>(json: &mut Reader<'a>, log: &str) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    json.array(|json| {
        let (mut token, mut probability) = (Text::default(), Raw::new("0", 0));
        json.object(|json, name| match name {
            "token" => token = json.text(),
            name if name == log => probability = json.number(Numbers::ANY),
            _ => json.skip(),
        });
        tokens.push((token, probability));
    });
    tokens
}

fn write_openai((token, probability): &Token<'_>, to: &mut Writer<'_>) {
    to.name("token").text(token);
    to.name("logprob").raw(probability);
    to.name("bytes").array(|to| {
        for byte in token.decode().bytes() {
            to.count(byte.into());
        }
    });
}

/// Reads OpenAI's `logprobs`, and writes the member `logprobsResult`. What is none is left out.
pub(super) fn write(logprobs: &Raw<'_>, to: &mut Writer<'_>) {
    let (mut chosen, mut top) = (Vec::new(), Vec::new());
    let mut json = Reader::new(logprobs.written(), Names::Any);
    json.object(|json, name| match name {
        _ if json.null() => {}
        "content" => json.array(|json| {
            let (mut token, mut probability) = (Text::default(), Raw::new("0", 0));
            let mut others = Vec::new();
            json.object(|json, name| match name {
                _ if json.null() => {}
                "token" => token = json.text(),
                "logprob" => probability = json.number(Numbers::ANY),
                "top_logprobs" => others = read_tokens(json, "logprob"),
                _ => json.skip(),
            });
            chosen.push((token, probability));
            top.push(others);
        }),
        _ => json.skip(),
    });
    if json.end().is_err() || chosen.is_empty() {
        return;
    }
    to.name("logprobsResult").object(|to| {
        to.name("topCandidates").array(|to| {
            for tokens in &top {
                to.object(|to| write_tokens(to.name("candidates"), tokens));
            }
        });
        write_tokens(to.name("chosenCandidates"), &chosen);
    });
}

fn write_tokens(to: &mut Writer<'_>, tokens: &[Token<'_>]) {
    to.array(|to| {
        for (token, probability) in tokens {
            to.object(|to| {
                to.name("token").text(token);
                to.name(LOG).raw(probability);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use serde_json::{Value, json};

    use super::{read, write};
    use crate::convert::{
        read::{Names, Reader},
        text::Raw,
        write::Writer,
    };

    #[test]
    fn both_forms_say_the_same() {
        let gemini = json!({
            "topCandidates": [
                {"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -1}]},
                {"candidates": []},
            ],
            "chosenCandidates": [
                {"token": "é", "logProbability": -0.5},
                {"token": "!", "logProbability": -2e-5},
            ],
        });
        let text = gemini.to_string();
        let mut json = Reader::new(&text, Names::Any);
        let openai = read(&mut json);
        json.end().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(openai.written()).unwrap(),
            json!({"content": [
                {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -1, "bytes": [101]},
                ]},
                {"token": "!", "logprob": -2e-5, "bytes": [33], "top_logprobs": []},
            ], "refusal": null})
        );
        let mut out = BytesMut::new();
        Writer::new(&mut out).object(|to| write(&openai, to));
        let again: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(again, json!({"logprobsResult": gemini}));
    }

    #[test]
    fn what_is_no_list_of_tokens_is_left_out() {
        for odd in [
            "null",
            "{}",
            r#"{"content":null}"#,
            r#"{"content":[1]}"#,
            "7",
        ] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).object(|to| write(&Raw::new(odd, 0), to));
            assert_eq!(out, "{}", "{odd}");
        }
    }
}
