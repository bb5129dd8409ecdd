//! Whole replies.

use super::{
    chunk::{Chunk, MOST_CANDIDATES},
    finish, logprobs, media,
    part::{write_call, write_signature, write_text, write_thought},
    signature, usage,
};
use crate::{
    convert::{
        context::Context,
        error::Wrong,
        model::{Candidate, Finish, Part, PartKind, Reply},
        read::Reader,
        rest,
        write::Writer,
    },
    json::Kind,
};

/// The members that are written here: of a reply, and of a candidate.
const OURS: [&str; 4] = ["candidates", "usageMetadata", "modelVersion", "responseId"];
const OURS_OF_CANDIDATE: [&str; 4] = ["content", "finishReason", "index", "logprobsResult"];

/// Reads a reply, or all chunks of one in an array, as a stream is that was not asked for as events.
pub(in crate::convert) fn read_reply<'a>(json: &mut Reader<'a>) -> Reply<'a> {
    let at = json.at();
    let mut whole = Chunk::default();
    if json.kind() == Kind::Array {
        json.array(|json| {
            let at = json.at();
            whole.add(Chunk::read(json));
            if whole.candidates.len() > MOST_CANDIDATES {
                whole.candidates.truncate(MOST_CANDIDATES);
                json.fail(at, Wrong::TooMany);
            }
        });
    } else {
        whole = Chunk::read(json);
    }
    if let Some(at) = whole.error {
        let expected = "left out of a reply";
        json.fail(at, Wrong::Value { expected });
    } else if !whole.says_something() {
        let member = "candidates";
        json.fail(at, Wrong::Missing { member });
    }
    if whole.blocked && whole.candidates.is_empty() {
        whole.candidates.push(Candidate {
            finish: Some(Finish::Filtered),
            ..Candidate::default()
        });
    }
    Reply {
        id: whole.id,
        model: whole.model,
        created: None,
        candidates: whole.candidates,
        usage: whole.usage,
        rest: whole.rest,
    }
}

pub(in crate::convert) fn write_reply(reply: &Reply<'_>, _: &Context, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("candidates").array(|to| {
            for candidate in &reply.candidates {
                to.object(|to| write_candidate(candidate, to));
            }
        });
        if let Some(counts) = &reply.usage {
            usage::write(counts, to);
        }
        if let Some(model) = &reply.model {
            to.name("modelVersion").text(model);
        }
        if let Some(id) = &reply.id {
            to.name("responseId").text(id);
        }
        rest::write(&reply.rest, &OURS, to);
    });
}

fn write_candidate(candidate: &Candidate<'_>, to: &mut Writer<'_>) {
    to.name("content").object(|to| {
        to.name("parts").array(|to| {
            for part in &candidate.parts {
                write_part(&part.kind, to);
            }
        });
        to.name("role").str("model");
    });
    let mut told = false;
    if let Some(finish) = &candidate.finish {
        finish::write(finish, to);
        told = matches!(finish, Finish::Other(_));
    }
    to.name("index").count(candidate.index);
    if let Some(logprobs) = &candidate.logprobs {
        logprobs::write(logprobs, to);
    }
    let message = told.then_some("finishMessage");
    let ours: Vec<_> = OURS_OF_CANDIDATE.into_iter().chain(message).collect();
    rest::write(&candidate.rest, &ours, to);
}

fn write_part(kind: &PartKind<'_>, to: &mut Writer<'_>) {
    match kind {
        PartKind::Text { text, signature } => {
            to.object(|to| write_text(text, signature.as_ref(), to));
        }
        PartKind::Refusal(text) => to.object(|to| write_text(text, None, to)),
        PartKind::Reasoning(reasoned) if reasoned.redacted.is_some() => {
            let data = reasoned.redacted.as_ref();
            if let Some(data) = data.and_then(signature::write_redacted) {
                to.object(|to| {
                    to.name("text").str("");
                    to.name("thought").bool(true);
                    to.name("thoughtSignature").str(&data);
                });
            }
        }
        PartKind::Reasoning(reasoned) => to.object(|to| {
            write_thought(&reasoned.text, reasoned.signature.as_ref(), to);
        }),
        PartKind::Call(call) => to.object(|to| {
            write_call(call.id.as_ref(), &call.name, &call.arguments, to);
            write_signature(call.signature.as_ref(), to);
        }),
        PartKind::Image(media) | PartKind::Audio(media) | PartKind::File { media, .. } => {
            to.object(|to| media::write(&media.source, to));
        }
        // No reply has them.
        PartKind::Result(_) | PartKind::Own => {}
    }
}

// ===== impl Chunk =====

impl<'a> Chunk<'a> {
    /// Adds the chunk that comes next.
    fn add(&mut self, next: Self) {
        self.id = self.id.take().or(next.id);
        self.model = self.model.take().or(next.model);
        self.usage = next.usage.or(self.usage.take());
        for (name, value) in next.rest {
            rest::set(name, value, &mut self.rest);
        }
        self.blocked |= next.blocked;
        self.error = self.error.or(next.error);
        for candidate in next.candidates {
            let same = |known: &&mut Candidate<'_>| known.index == candidate.index;
            match self.candidates.iter_mut().find(same) {
                Some(known) => add(known, candidate),
                None => self.candidates.push(candidate),
            }
        }
    }
}

fn add<'a>(known: &mut Candidate<'a>, next: Candidate<'a>) {
    for part in next.parts {
        push(&mut known.parts, part);
    }
    known.finish = next.finish.or(known.finish.take());
    let called = |part: &Part<'_>| matches!(part.kind, PartKind::Call(_));
    if known.parts.iter().any(called) {
        known.finish = known.finish.take().map(finish::called);
    }
    known.logprobs = next.logprobs.or(known.logprobs.take());
    for (name, value) in next.rest {
        rest::set(name, value, &mut known.rest);
    }
}

/// Adds a part, to the one before it if that is of the same kind and not signed.
fn push<'a>(parts: &mut Vec<Part<'a>>, part: Part<'a>) {
    let last = parts.last_mut().map(|last| &mut last.kind);
    let (text, signed, more, signature) = match (last, &part.kind) {
        (
            Some(PartKind::Text { text, signature }),
            PartKind::Text {
                text: more,
                signature: by,
            },
        ) => (text, signature, more, by),
        (Some(PartKind::Reasoning(before)), PartKind::Reasoning(next)) => (
            &mut before.text,
            &mut before.signature,
            &next.text,
            &next.signature,
        ),
        _ => return parts.push(part),
    };
    if signed.is_some() {
        return parts.push(part);
    }
    text.join(more);
    signed.clone_from(signature);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use serde_json::{Value, json};

    use super::{read_reply, write_reply};
    use crate::{
        Dialect,
        convert::{
            ConvertError,
            context::Context,
            model::{
                Arguments, Call, Candidate, Finish, Part, PartKind, Reasoned, Reply, Signature,
            },
            read::{Names, Reader},
            text::{Raw, Text},
            write::Writer,
        },
    };

    fn read(text: &str) -> Result<Reply<'_>, ConvertError> {
        let mut json = Reader::new(text, Names::Any);
        let reply = read_reply(&mut json);
        json.end().map_err(|fault| fault.explain(text))?;
        Ok(reply)
    }

    fn write(reply: &Reply<'_>) -> Value {
        let mut out = BytesMut::new();
        let context = Context {
            created: 1,
            unique: 2,
            include_usage: false,
        };
        write_reply(reply, &context, &mut Writer::new(&mut out));
        serde_json::from_slice(&out).unwrap()
    }

    fn rest(rest: &[(Text<'_>, Raw<'_>)]) -> Vec<(String, String)> {
        let rest = rest.iter();
        rest.map(|(name, value)| (name.written().to_owned(), value.written().to_owned()))
            .collect()
    }

    #[test]
    fn one_of_its_own_is_itself_again() {
        let reply = json!({
            "candidates": [
                {
                    "content": {"parts": [
                        {"text": "hm", "thought": true},
                        {"text": "so \"it\" is", "thoughtSignature": "AAAA"},
                    ], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                    "citationMetadata": {"citationSources": []},
                    "safetyRatings": [{"category": "X"}],
                    "logprobsResult": {
                        "topCandidates": [{"candidates": [{"token": "so", "logProbability": -1}]}],
                        "chosenCandidates": [{"token": "so", "logProbability": -1}],
                    },
                },
                {
                    "content": {"parts": [
                        {"functionCall": {"id": "1", "name": "f", "args": {"a": [1]}}, "thoughtSignature": "BBBB"},
                        {"functionCall": {"name": "g", "args": {}}},
                    ], "role": "model"},
                    "finishReason": "STOP",
                    "index": 1,
                },
                {"content": {"parts": [], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 2},
            ],
            "usageMetadata": {
                "promptTokenCount": 9, "cachedContentTokenCount": 3, "candidatesTokenCount": 5,
                "thoughtsTokenCount": 185, "totalTokenCount": 199,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
            },
            "modelVersion": "gemini-3-pro-preview",
            "responseId": "r1",
            "modelStatus": {"modelStage": "STABLE"},
        });
        let text = reply.to_string();
        let read = read(&text).unwrap();
        assert_eq!(read.candidates[0].finish, Some(Finish::Stop));
        assert_eq!(read.candidates[1].finish, Some(Finish::Calls));
        assert_eq!(write(&read), reply);
    }

    #[test]
    fn a_blocked_prompt_is_a_filtered_reply() {
        let text = r#"{"promptFeedback":{"blockReason":"SAFETY","safetyRatings":[]},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;
        let reply = read(text).unwrap();
        assert_eq!(reply.candidates.len(), 1);
        assert_eq!(reply.candidates[0].finish, Some(Finish::Filtered));
        assert_eq!(
            rest(&reply.rest),
            [(
                "promptFeedback".to_owned(),
                r#"{"blockReason":"SAFETY","safetyRatings":[]}"#.to_owned()
            )]
        );
        let text = r#"{"promptFeedback":{"safetyRatings":[]},"candidates":[]}"#;
        assert!(read(text).is_err(), "nothing was said");
    }

    #[test]
    fn which_filter_it_was_is_kept() {
        let text = r#"{"candidates":[{"finishReason":"RECITATION","finishMessage":"m"}]}"#;
        let reply = read(text).unwrap();
        assert_eq!(reply.candidates[0].finish, Some(Finish::Filtered));
        assert_eq!(
            rest(&reply.candidates[0].rest),
            [
                (
                    "native_finish_reason".to_owned(),
                    r#""RECITATION""#.to_owned()
                ),
                ("finishMessage".to_owned(), r#""m""#.to_owned()),
            ]
        );
    }

    #[test]
    fn parts_that_nobody_else_has_are_kept_as_they_stand() {
        let text = r#"{"candidates":[{"content":{"parts":[
            {"executableCode":{"language":"PYTHON","code":"\"1\""}},
            {"text":"so","partMetadata":{"a":1}},
            {"inlineData":{"mimeType":"image/png","data":"AAAA"},"videoMetadata":{}},
            {"thoughtSignature":"AAAA"}
        ]}}]}"#;
        let reply = read(text).unwrap();
        let candidate = &reply.candidates[0];
        assert_eq!(
            rest(&candidate.rest),
            [(
                "parts".to_owned(),
                r#"[{"executableCode":{"language":"PYTHON","code":"\"1\""}},{"partMetadata":{"a":1}},{"inlineData":{"mimeType":"image/png","data":"AAAA"},"videoMetadata":{}}]"#.to_owned()
            )]
        );
        assert_eq!(candidate.parts.len(), 2);
        assert!(
            matches!(&candidate.parts[1].kind, PartKind::Text { text, signature: Some(_) } if text.is_empty())
        );
    }

    #[test]
    fn chunks_in_an_array_are_one_reply() {
        let text = json!([
            {"candidates": [{"content": {"parts": [{"text": "h", "thought": true}]}, "index": 0}], "modelVersion": "m", "responseId": "r", "usageMetadata": {"promptTokenCount": 1}},
            {"candidates": [{"content": {"parts": [{"text": "m", "thought": true}]}, "index": 0}], "modelVersion": "m", "responseId": "r"},
            {"candidates": [{"content": {"parts": [{"text": "so"}]}, "index": 0}, {"content": {"parts": [{"text": "b"}]}, "index": 1, "finishReason": "STOP"}]},
            {"candidates": [{"content": {"parts": [{"text": "!", "thoughtSignature": "AAAA"}, {"functionCall": {"name": "f"}}]}, "index": 0}]},
            {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}},
        ])
        .to_string();
        let reply = read(&text).unwrap();
        assert_eq!(reply.candidates[0].finish, Some(Finish::Calls));
        let written = write(&reply);
        assert_eq!(
            written,
            json!({
                "candidates": [
                    {"content": {"parts": [
                        {"text": "hm", "thought": true},
                        {"text": "so!", "thoughtSignature": "AAAA"},
                        {"functionCall": {"name": "f", "args": {}}},
                        {"text": ""},
                    ], "role": "model"}, "finishReason": "STOP", "index": 0},
                    {"content": {"parts": [{"text": "b"}], "role": "model"}, "finishReason": "STOP", "index": 1},
                ],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
                "modelVersion": "m",
                "responseId": "r",
            })
        );
    }

    #[test]
    fn what_is_no_reply_is_told_with_its_field() {
        for (text, field, what) in [
            ("{}", "", "must have `candidates`"),
            ("[]", "", "must have `candidates`"),
            (r#"{"new":1}"#, "", "must have `candidates`"),
            ("7", "", "must be an object, but is a number"),
            (
                r#"{"error":{"code":500}}"#,
                "error",
                "must be left out of a reply",
            ),
            (
                r#"[{"error":{"code":500}}]"#,
                "[0].error",
                "must be left out of a reply",
            ),
            (
                r#"{"candidates":{}}"#,
                "candidates",
                "must be an array, but is an object",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":1}]}}]}"#,
                "candidates[0].content.parts[0].text",
                "must be a string, but is a number",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}"#,
                "candidates[0].content.parts[0].functionCall",
                "must have `name`",
            ),
        ] {
            let expected = ConvertError::Invalid {
                field: field.to_owned(),
                what: what.to_owned(),
            };
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn null_is_absent() {
        let text = r#"{"candidates":[{"content":null,"finishReason":null,"index":null,"logprobsResult":null,"new":null},{"content":{"parts":null}},{"content":{"parts":[{"text":null}]}}],"usageMetadata":null,"modelVersion":null,"error":null,"promptFeedback":null}"#;
        let reply = read(text).unwrap();
        assert_eq!(reply.candidates.len(), 3);
        assert!(reply.rest.is_empty() && reply.usage.is_none());
        assert!(
            reply
                .candidates
                .iter()
                .all(|candidate| candidate.parts.is_empty()
                    && candidate.rest.is_empty()
                    && candidate.finish.is_none())
        );
    }

    #[test]
    fn what_others_say_has_a_place() {
        let by = |of| Signature {
            of,
            value: Text::plain("AAAA"),
        };
        let kinds = [
            PartKind::Reasoning(Box::new(Reasoned {
                text: Text::plain("hm"),
                signature: Some(by(Dialect::Anthropic)),
                redacted: None,
            })),
            PartKind::Reasoning(Box::new(Reasoned {
                redacted: Some(Text::plain("BBBB")),
                ..Reasoned::default()
            })),
            PartKind::Refusal(Text::plain("no")),
            PartKind::Call(Box::new(Call {
                id: Some(Text::plain("call_1")),
                name: Text::plain("f"),
                arguments: Arguments::Written(Text::plain(r#"{\"a\":1}"#)),
                signature: None,
            })),
        ];
        let reply = Reply {
            candidates: vec![Candidate {
                parts: kinds.into_iter().map(|kind| Part { kind, at: 0 }).collect(),
                finish: Some(Finish::Other(Text::plain("odd"))),
                rest: vec![
                    (Text::plain("index"), Raw::new("9", 0)),
                    (Text::plain("finishMessage"), Raw::new("9", 0)),
                    (Text::plain("new"), Raw::new("9", 0)),
                ],
                ..Candidate::default()
            }],
            rest: vec![
                (Text::plain("candidates"), Raw::new("9", 0)),
                (Text::plain("service_tier"), Raw::new("9", 0)),
            ],
            ..Reply::default()
        };
        assert_eq!(
            write(&reply),
            json!({
                "candidates": [{
                    "content": {"parts": [
                        {"text": "hm", "thought": true, "thoughtSignature": "YW50aHJvcGljAAAA"},
                        {"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljLnJlZGFjdGVkBBBB"},
                        {"text": "no"},
                        {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}},
                    ], "role": "model"},
                    "finishReason": "OTHER",
                    "finishMessage": "odd",
                    "index": 0,
                    "new": 9,
                }],
                "service_tier": 9,
            })
        );
    }
}
