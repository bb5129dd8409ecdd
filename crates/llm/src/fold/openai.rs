use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::{
    FoldError, MOST_CHOICES, MOST_PARTS, Object, Odd,
    merge::{first, index, is_nothing, join, join_lists, last, text},
    write_data,
};

/// The chunks so far.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    reply: Object,
    choices: BTreeMap<u64, Choice>,
    done: bool,
}

#[derive(Debug, Default)]
struct Choice {
    message: Object,
    calls: Vec<Call>,
    rest: Object,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    said: Object,
}

// ===== impl Chunks =====

impl Chunks {
    pub(super) fn done(&mut self) {
        self.done = true;
    }

    pub(super) fn add(&mut self, chunk: Object) -> Result<(), Odd> {
        if self.done {
            return Ok(());
        }
        for (name, value) in chunk {
            match (&*name, value) {
                ("choices", Value::Array(choices)) => {
                    for choice in choices {
                        let Value::Object(choice) = choice else {
                            return Err(Odd("a choice is no object"));
                        };
                        self.choice(choice)?;
                    }
                }
                // Noise, so that the lengths of chunks tell nothing.
                ("obfuscation" | "object" | "choices", _) => {}
                // Azure's first chunk has them, and nothing in them.
                ("id" | "model", value) => first(name, value, &mut self.reply),
                ("created", value) if value == json!(0) => {}
                ("created", value) => first(name, value, &mut self.reply),
                (_, value) => last(name, value, &mut self.reply),
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: Object) -> Result<(), Odd> {
        let number = index(&choice).unwrap_or_default();
        let full = self.choices.len() == MOST_CHOICES && !self.choices.contains_key(&number);
        if full {
            return Err(Odd("it has more than 128 choices"));
        }
        let said = self.choices.entry(number).or_default();
        for (name, value) in choice {
            match (&*name, value) {
                ("index", _) => {}
                ("delta", Value::Object(delta)) => said.delta(delta)?,
                ("delta", Value::Null) => {}
                ("delta", _) => return Err(Odd("a delta is no object")),
                // Moonshot's place for it.
                ("usage", value @ Value::Object(_)) => last(name, value, &mut self.reply),
                ("logprobs", value) => join_lists(name, value, &mut said.rest),
                (_, value) => last(name, value, &mut said.rest),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Object, FoldError> {
        if self.choices.is_empty() {
            return Err(FoldError::Unfinished);
        }
        let mut choices = Vec::with_capacity(self.choices.len());
        for (number, choice) in self.choices {
            choices.push(choice.finish(number, self.done)?);
        }
        if !self.reply.get("usage").is_some_and(Value::is_object) {
            return Err(FoldError::NoUsage);
        }
        self.reply.insert("object".into(), "chat.completion".into());
        self.reply.insert("choices".into(), choices.into());
        Ok(self.reply)
    }
}

// ===== impl Choice =====

impl Choice {
    fn delta(&mut self, delta: Object) -> Result<(), Odd> {
        for (name, value) in delta {
            match (&*name, value) {
                ("tool_calls", Value::Array(pieces)) => {
                    for piece in pieces {
                        let Value::Object(piece) = piece else {
                            return Err(Odd("a piece of a call is no object"));
                        };
                        self.piece(piece)?;
                    }
                }
                ("tool_calls", _) => {}
                ("function_call", Value::Object(piece)) => {
                    let call = self.message.entry(name).or_insert_with(|| json!({}));
                    if let Value::Object(call) = call {
                        function(piece, call);
                    }
                }
                ("audio", Value::Object(piece)) => {
                    let audio = self.message.entry(name).or_insert_with(|| json!({}));
                    if let Value::Object(audio) = audio {
                        for (name, value) in piece {
                            match &*name {
                                "data" | "transcript" => join(name, value, audio),
                                _ => last(name, value, audio),
                            }
                        }
                    }
                }
                // Some servers say the role in every chunk.
                ("role", value) => first(name, value, &mut self.message),
                ("content" | "refusal" | "reasoning_content" | "reasoning", value) => {
                    join(name, value, &mut self.message);
                }
                (_, value @ Value::Array(_)) => join(name, value, &mut self.message),
                (_, value) => last(name, value, &mut self.message),
            }
        }
        Ok(())
    }

    fn piece(&mut self, mut piece: Object) -> Result<(), Odd> {
        let number = index(&piece);
        piece.remove("index");
        let id = text(&piece, "id");
        let known = self.calls.iter().rposition(|call| {
            let same = match number {
                Some(_) => call.index == number,
                // Some servers number nothing: what has no id goes on.
                None => true,
            };
            let said = text(&call.said, "id");
            same && (id.is_empty() || said.is_empty() || said == id)
        });
        let at = known.unwrap_or(self.calls.len());
        if known.is_none() {
            if at == MOST_PARTS {
                return Err(Odd("it has more than 4096 calls"));
            }
            let (index, said) = (number, Object::new());
            self.calls.push(Call { index, said });
        }
        let call = &mut self.calls[at].said;
        for (name, value) in piece {
            match (&*name, value) {
                ("function" | "custom", Value::Object(piece)) => {
                    let said = call.entry(name).or_insert_with(|| json!({}));
                    if let Value::Object(said) = said {
                        function(piece, said);
                    }
                }
                (_, value) => last(name, value, call),
            }
        }
        Ok(())
    }

    fn finish(mut self, number: u64, done: bool) -> Result<Value, FoldError> {
        let called = !self.calls.is_empty();
        let unsaid = self.rest.get("finish_reason").is_none_or(is_nothing);
        if unsaid {
            if !done {
                return Err(FoldError::Unfinished);
            }
            // Some servers write `[DONE]` and no reason: then it was said.
            let reason = if called { "tool_calls" } else { "stop" };
            self.rest.insert("finish_reason".into(), reason.into());
        }
        let message = &mut self.message;
        first("role".into(), "assistant".into(), message);
        let instead = called || !text(message, "refusal").is_empty();
        if text(message, "content").is_empty()
            && !message.get("content").is_some_and(Value::is_array)
        {
            let empty = message.get("content").is_some_and(Value::is_string);
            if instead || !empty {
                message.insert("content".into(), Value::Null);
            }
        }
        if called {
            let calls = self.calls.into_iter().map(|call| {
                let mut said = call.said;
                first("type".into(), "function".into(), &mut said);
                Value::Object(said)
            });
            message.insert("tool_calls".into(), calls.collect());
        }
        self.rest.insert("index".into(), number.into());
        self.rest.insert("message".into(), self.message.into());
        Ok(self.rest.into())
    }
}

/// Adds a piece of a call: its name comes once, and the rest in pieces.
fn function(piece: Object, into: &mut Object) {
    for (name, value) in piece {
        match (&*name, value) {
            ("name", value) => first(name, value, into),
            // Some servers say them as an object.
            (_, Value::Object(arguments)) => {
                last(name, Value::Object(arguments).to_string().into(), into);
            }
            (_, value) => join(name, value, into),
        }
    }
}

/// Writes a whole reply as chunks: what is said, why it ended, what it took.
pub(super) fn write(mut reply: Object, include_usage: bool, out: &mut BytesMut) -> Result<(), Odd> {
    let Some(Value::Array(choices)) = reply.remove("choices") else {
        return Err(Odd("it has no choices"));
    };
    if choices.is_empty() || choices.len() > MOST_CHOICES {
        return Err(Odd("it has no choices, or more than 128"));
    }
    let usage = reply.remove("usage");
    reply.insert("object".into(), "chat.completion.chunk".into());
    let mut chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = reply.clone();
        chunk.insert("choices".into(), choices);
        if include_usage {
            chunk.insert("usage".into(), usage.unwrap_or_default());
        }
        write_data(&Value::Object(chunk), out);
    };
    let mut ends = Vec::with_capacity(choices.len());
    for (at, choice) in choices.into_iter().enumerate() {
        let Value::Object(mut choice) = choice else {
            return Err(Odd("a choice is no object"));
        };
        let Some(Value::Object(mut delta)) = choice.remove("message") else {
            return Err(Odd("a choice has no message"));
        };
        if let Some(Value::Array(calls)) = delta.get_mut("tool_calls") {
            for (number, call) in calls.iter_mut().enumerate() {
                if let Value::Object(call) = call {
                    call.insert("index".into(), number.into());
                }
            }
        }
        first("index".into(), at.into(), &mut choice);
        let mut end = choice.clone();
        end.remove("logprobs");
        end.insert("delta".into(), json!({}));
        first("finish_reason".into(), "stop".into(), &mut end);
        ends.push(end);
        choice.retain(|name, _| matches!(&**name, "index" | "logprobs"));
        choice.insert("delta".into(), delta.into());
        choice.insert("finish_reason".into(), Value::Null);
        chunk(json!([choice]), None);
    }
    for end in ends {
        chunk(json!([end]), None);
    }
    if include_usage {
        let Some(usage) = usage else {
            return Err(Odd("it tells no usage"));
        };
        chunk(json!([]), Some(usage));
    }
    out.put_slice(b"data: [DONE]\n\n");
    Ok(())
}
