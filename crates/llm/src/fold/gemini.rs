use std::collections::BTreeMap;

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    FoldError, MOST_CHOICES, MOST_PARTS, Object, Odd,
    merge::{index, is_nothing, join, join_lists, last, text},
    write_data,
};

/// The chunks so far.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    reply: Object,
    candidates: BTreeMap<u64, Candidate>,
}

#[derive(Debug, Default)]
struct Candidate {
    content: Object,
    parts: Vec<Value>,
    rest: Object,
}

// ===== impl Chunks =====

impl Chunks {
    pub(super) fn add(&mut self, chunk: Object) -> Result<(), Odd> {
        for (name, value) in chunk {
            let Value::Array(candidates) = value else {
                last(name, value, &mut self.reply);
                continue;
            };
            if name != "candidates" {
                last(name, candidates.into(), &mut self.reply);
                continue;
            }
            for candidate in candidates {
                let Value::Object(candidate) = candidate else {
                    return Err(Odd("a candidate is no object"));
                };
                let number = index(&candidate).unwrap_or_default();
                let known = self.candidates.contains_key(&number);
                if !known && self.candidates.len() == MOST_CHOICES {
                    return Err(Odd("it has more than 128 candidates"));
                }
                self.candidates.entry(number).or_default().add(candidate)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Object, FoldError> {
        let blocked = self.reply.get("promptFeedback");
        let blocked = blocked.is_some_and(|why| !is_nothing(&why["blockReason"]));
        let finished = |candidate: &Candidate| !text(&candidate.rest, "finishReason").is_empty();
        let whole = self.candidates.values().all(finished);
        if !whole || (self.candidates.is_empty() && !blocked) {
            return Err(FoldError::Unfinished);
        }
        if !self
            .reply
            .get("usageMetadata")
            .is_some_and(Value::is_object)
        {
            return Err(FoldError::NoUsage);
        }
        if !self.candidates.is_empty() {
            let candidates = self.candidates.into_values().map(Candidate::finish);
            self.reply.insert("candidates".into(), candidates.collect());
        }
        Ok(self.reply)
    }
}

// ===== impl Candidate =====

impl Candidate {
    fn add(&mut self, candidate: Object) -> Result<(), Odd> {
        for (name, value) in candidate {
            match (&*name, value) {
                ("content", Value::Object(mut content)) => {
                    if let Some(Value::Array(parts)) = content.remove("parts") {
                        for part in parts {
                            self.part(part)?;
                        }
                    }
                    for (name, value) in content {
                        last(name, value, &mut self.content);
                    }
                }
                ("logprobsResult", value) => join_lists(name, value, &mut self.rest),
                (_, value) => last(name, value, &mut self.rest),
            }
        }
        Ok(())
    }

    /// Adds a part: text to the text before it, if both are thoughts or neither is.
    fn part(&mut self, part: Value) -> Result<(), Odd> {
        let Value::Object(mut part) = part else {
            return Err(Odd("a part is no object"));
        };
        if let Some(Value::Object(call)) = part.get("functionCall")
            && (call.contains_key("partialArgs") || call.contains_key("willContinue"))
        {
            return Err(Odd("the arguments of a call come in pieces"));
        }
        let empty = part.len() == 1 && part.get("text").is_some_and(is_nothing);
        if let Some(Value::Object(before)) = self.parts.last_mut()
            && is_text(before)
            && is_text(&part)
            && before.get("thought") == part.get("thought")
            // What was signed is whole.
            && !before.contains_key("thoughtSignature")
        {
            join(
                "text".into(),
                part.remove("text").unwrap_or_default(),
                before,
            );
            for (name, value) in part {
                last(name, value, before);
            }
        } else if !empty {
            if self.parts.len() == MOST_PARTS {
                return Err(Odd("it has more than 4096 parts"));
            }
            self.parts.push(part.into());
        }
        Ok(())
    }

    fn finish(mut self) -> Value {
        if !self.parts.is_empty() {
            self.content.insert("parts".into(), self.parts.into());
        }
        if !self.content.is_empty() {
            self.rest.insert("content".into(), self.content.into());
        }
        self.rest.into()
    }
}

/// Whether a part is text, or thought, and nothing else.
fn is_text(part: &Object) -> bool {
    let known = |name: &String| matches!(&**name, "text" | "thought" | "thoughtSignature");
    part.get("text").is_some_and(Value::is_string) && part.keys().all(known)
}

/// Writes a whole reply as the one chunk that it is.
pub(super) fn write(reply: Object, out: &mut BytesMut) -> Result<(), Odd> {
    let blocked = reply
        .get("promptFeedback")
        .is_some_and(|why| !is_nothing(&why["blockReason"]));
    let some = reply.get("candidates").is_some_and(|all| *all != json!([]));
    if !some && !blocked {
        return Err(Odd("it has no candidates"));
    }
    write_data(&Value::Object(reply), out);
    Ok(())
}
