//! A whole reply, or a chunk of one: they have one form.

use std::fmt::Write as _;

use super::{finish, logprobs, part::read_call, usage};
use crate::{
    Dialect,
    convert::{
        error::Wrong,
        model::{Call, Candidate, Counts, Finish, Part, PartKind, Reasoned, Rest, Signature},
        read::Reader,
        rest,
        text::{Raw, Text},
    },
};

/// What was read of one.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) model: Option<Text<'a>>,
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) usage: Option<Counts<'a>>,
    pub(super) rest: Rest<'a>,
    /// The prompt was refused.
    pub(super) blocked: bool,
    /// Where an error stands.
    pub(super) error: Option<usize>,
}

/// The most candidates of one reply. The API makes 8.
pub(super) const MOST_CANDIDATES: usize = 64;

// ===== impl Chunk =====

impl<'a> Chunk<'a> {
    pub(super) fn read(json: &mut Reader<'a>) -> Self {
        let mut chunk = Self::default();
        json.object_in_any_case(|json, name| {
            let at = json.at();
            if json.null() {
                return;
            }
            match name {
                "candidates" => json.array(|json| {
                    let at = json.at();
                    let candidate = read_candidate(json);
                    if chunk.candidates.len() < MOST_CANDIDATES {
                        chunk.candidates.push(candidate);
                    } else {
                        json.fail(at, Wrong::TooMany);
                    }
                }),
                "usageMetadata" => chunk.usage = Some(usage::read(json)),
                "modelVersion" => chunk.model = Some(json.text()),
                "responseId" => chunk.id = Some(json.text()),
                "promptFeedback" => chunk.feedback(json),
                "error" => {
                    json.skip();
                    chunk.error = Some(at);
                }
                _ => rest::keep(name, json, &mut chunk.rest),
            }
        });
        chunk
    }

    /// Whether there is anything of a reply in it.
    pub(super) fn says_something(&self) -> bool {
        self.blocked || !self.candidates.is_empty() || self.usage.is_some() || self.id.is_some()
    }

    fn feedback(&mut self, json: &mut Reader<'a>) {
        // What it says is kept as it stands.
        let value = json.peek();
        json.object_in_any_case(|json, name| match name {
            _ if json.null() => {}
            "blockReason" => {
                self.blocked |= json.text().decode() != "BLOCKED_REASON_UNSPECIFIED";
            }
            _ => json.skip(),
        });
        rest::set(Text::plain("promptFeedback"), value, &mut self.rest);
    }
}

fn read_candidate<'a>(json: &mut Reader<'a>) -> Candidate<'a> {
    let mut candidate = Candidate::default();
    // What only Gemini's parts hold, as it stands, one part after the other.
    let mut strange = String::new();
    json.object_in_any_case(|json, name| {
        if json.null() {
            return;
        }
        match name {
            "index" => candidate.index = json.count(),
            "content" => json.object_in_any_case(|json, name| match name {
                _ if json.null() => {}
                "parts" => json.array(|json| {
                    candidate.parts.extend(read_part(json, &mut strange));
                }),
                _ => json.skip(),
            }),
            "finishReason" => {
                let reason = json.text();
                candidate.finish = finish::read(&reason);
                if candidate.finish == Some(Finish::Filtered) {
                    // Which filter it was.
                    let word = Raw::of(format!("\"{}\"", reason.written()));
                    let name = Text::plain("native_finish_reason");
                    rest::set(name, word.placed(reason.at()), &mut candidate.rest);
                }
            }
            "logprobsResult" => candidate.logprobs = Some(logprobs::read(json)),
            _ => rest::keep(name, json, &mut candidate.rest),
        }
    });
    if !strange.is_empty() {
        let parts = Raw::of(format!("[{strange}]"));
        rest::set(Text::plain("parts"), parts, &mut candidate.rest);
    }
    let called = |part: &Part<'_>| matches!(part.kind, PartKind::Call(_));
    if candidate.parts.iter().any(called) {
        candidate.finish = candidate.finish.map(finish::called);
    }
    candidate
}

/// Reads a part. What nobody else has is added to `strange`.
fn read_part<'a>(json: &mut Reader<'a>, strange: &mut String) -> Option<Part<'a>> {
    let at = json.at();
    let (mut text, mut call, mut signature, mut thought) = (None, None, None, false);
    let mut others = String::new();
    json.object_in_any_case(|json, name| {
        if json.null() {
            return;
        }
        match name {
            "text" => text = Some(json.text()),
            "thought" => thought = json.bool(),
            "thoughtSignature" => {
                signature = Some(json.text()).filter(|signature| !signature.is_empty());
            }
            "functionCall" => call = Some(read_call(json, Reader::skip)),
            _ => {
                let (name, value) = (Text::of(name), json.raw());
                let comma = if others.is_empty() { "" } else { "," };
                // A `String` can always be written to.
                let _ = write!(others, r#"{comma}"{}":{}"#, name.written(), value.written());
            }
        }
    });
    if !others.is_empty() {
        if !strange.is_empty() {
            strange.push(',');
        }
        let _ = write!(strange, "{{{others}}}");
    }
    let signature = signature.map(|value| Signature {
        of: Dialect::Gemini,
        value,
    });
    let kind = match (call, text) {
        (Some(call), _) => PartKind::Call(Box::new(Call { signature, ..call })),
        (None, Some(text)) if thought => PartKind::Reasoning(Box::new(Reasoned {
            text,
            signature,
            redacted: None,
        })),
        (None, Some(text)) => PartKind::Text { text, signature },
        (None, None) => PartKind::Text {
            text: Text::default(),
            signature: Some(signature?),
        },
    };
    Some(Part { kind, at })
}
