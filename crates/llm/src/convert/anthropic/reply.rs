//! Whole messages.

use super::{
    signature, stop,
    usage::{self, Told},
};
use crate::{
    convert::{
        arguments,
        context::Context,
        error::Wrong,
        model::{Arguments, Call, Candidate, Part, PartKind, Reasoned, Reply},
        read::Reader,
        rest,
        signature::{join, split},
        text::{Raw, Text},
        write::Writer,
    },
    json::Kind,
};

/// The members that are written here, whatever another dialect says under these names.
pub(super) const OURS: [&str; 8] = [
    "id",
    "type",
    "role",
    "model",
    "content",
    "stop_reason",
    "stop_sequence",
    "usage",
];

/// Reads a message.
pub(in crate::convert) fn read_reply<'a>(json: &mut Reader<'a>) -> Reply<'a> {
    let mut reply = Reply::default();
    let mut candidate = Candidate::default();
    let (mut content, mut reason, mut sequence) = (false, None, None);
    let mut told = Told::default();
    let at = json.at();
    json.object(|json, name| {
        if json.null() {
            return;
        }
        match name {
            "id" => reply.id = Some(json.text()),
            "model" => reply.model = Some(json.text()),
            "type" | "role" => json.skip(),
            "content" => {
                content = true;
                json.array(|json| candidate.parts.extend(read_block(json)));
            }
            "stop_reason" => reason = Some(json.text()),
            "stop_sequence" => sequence = Some(json.text()),
            "usage" => told.read(json),
            _ => rest::set(Text::of(name), json.raw(), &mut reply.rest),
        }
    });
    if !content {
        let member = "content";
        json.fail(at, Wrong::Missing { member });
    }
    candidate.finish = reason.map(|reason| stop::read(&reason, sequence));
    reply.usage = told.counts();
    reply.candidates.push(candidate);
    reply
}

/// Takes a block. `None`: it says nothing.
fn read_block<'a>(json: &mut Reader<'a>) -> Option<Part<'a>> {
    let at = json.at();
    let kind = json.look("type").unwrap_or_default();
    let mut block = Block::default();
    let kind = match &*kind.decode() {
        "text" => {
            block.read(json);
            (!block.text.is_empty()).then_some(PartKind::Text {
                text: block.text,
                signature: None,
            })?
        }
        "thinking" => {
            block.read(json);
            PartKind::Reasoning(Box::new(Reasoned {
                text: block.text,
                signature: signature::read(block.signature),
                redacted: None,
            }))
        }
        "redacted_thinking" => {
            block.read(json);
            PartKind::Reasoning(Box::new(Reasoned {
                redacted: Some(block.data),
                ..Reasoned::default()
            }))
        }
        "tool_use" => {
            block.read(json);
            let id = block.id.map(|id| split(&id));
            let (id, signature) = id.map_or((None, None), |(id, of)| (Some(id), of));
            PartKind::Call(Box::new(Call {
                id,
                name: block.name,
                arguments: block.input,
                signature,
            }))
        }
        _ => {
            json.object(|json, _| json.skip());
            PartKind::Own
        }
    };
    Some(Part { kind, at })
}

/// Writes a message.
pub(in crate::convert) fn write_reply(reply: &Reply<'_>, context: &Context, to: &mut Writer<'_>) {
    let first = reply.candidates.iter().min_by_key(|one| one.index);
    let nothing = Candidate::default();
    let candidate = first.unwrap_or(&nothing);
    to.object(|to| {
        match &reply.id {
            Some(id) => to.name("id").text(id),
            None => to.name("id").text(&context.reply_id("msg_")),
        }
        to.name("type").str("message");
        to.name("role").str("assistant");
        to.name("model")
            .text(&reply.model.clone().unwrap_or_default());
        let (mut calls, mut refused) = (0, false);
        to.name("content").array(|to| {
            for part in &candidate.parts {
                match &part.kind {
                    PartKind::Refusal(text) => {
                        refused = true;
                        write_text(text, to);
                    }
                    PartKind::Call(call) => {
                        write_call(call, calls, context, to);
                        calls += 1;
                    }
                    kind => write_part(kind, to),
                }
            }
        });
        stop::write(candidate.finish.as_ref(), calls > 0, refused, to);
        usage::write(reply.usage.as_ref(), to.name("usage"));
        rest::write(&reply.rest, &OURS, to);
        for (name, value) in &candidate.rest {
            let there = |(other, _): &(Text<'_>, _)| *other.written() == *name.written();
            if !OURS.contains(&name.written()) && !reply.rest.iter().any(there) {
                to.name(name.written()).raw(value);
            }
        }
    });
}

fn write_part(kind: &PartKind<'_>, to: &mut Writer<'_>) {
    match kind {
        PartKind::Text { text, signature } => {
            write_text(text, to);
            // It stands after what it signs, and comes back from there.
            if let Some(signed) = signature {
                write_thinking(
                    &Text::default(),
                    |to| signature::write(Some(signed), to),
                    to,
                );
            }
        }
        PartKind::Reasoning(reasoned) => match &reasoned.redacted {
            Some(data) => to.object(|to| {
                to.name("type").str("redacted_thinking");
                to.name("data").text(data);
            }),
            None if reasoned.text.is_empty() && reasoned.signature.is_none() => {}
            None => write_thinking(
                &reasoned.text,
                |to| signature::write(reasoned.signature.as_ref(), to),
                to,
            ),
        },
        // A message has no media, and what only its dialect knows was not asked for.
        _ => {}
    }
}

/// The SDKs accept an empty text, and the API refuses it when it comes back.
fn write_text(text: &Text<'_>, to: &mut Writer<'_>) {
    if !text.is_empty() {
        to.object(|to| {
            to.name("type").str("text");
            to.name("text").text(text);
        });
    }
}

fn write_thinking(text: &Text<'_>, sign: impl FnOnce(&mut Writer<'_>), to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("thinking");
        to.name("thinking").text(text);
        sign(to.name("signature"));
    });
}

fn write_call(call: &Call<'_>, number: u64, context: &Context, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("tool_use");
        to.name("id").text(&call_id(
            call.id.as_ref(),
            number,
            call.signature.as_ref(),
            context,
        ));
        to.name("name").text(&call.name);
        arguments::write(&call.arguments, to.name("input"));
    });
}

/// The id of a call, the `number`th of the reply, as the caller is told it.
pub(super) fn call_id<'a>(
    id: Option<&Text<'a>>,
    number: u64,
    signature: Option<&crate::convert::model::Signature<'_>>,
    context: &Context,
) -> Text<'a> {
    match id {
        Some(id) => join(id, signature),
        None => join(&context.call_id("toolu_", number), signature),
    }
}

/// What a block may have, whatever its type; the types have no member in common that means two
/// things.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    /// Or what it thinks.
    pub(super) text: Text<'a>,
    pub(super) signature: Text<'a>,
    pub(super) data: Text<'a>,
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Text<'a>,
    pub(super) input: Arguments<'a>,
}

// ===== impl Block =====

impl<'a> Block<'a> {
    fn read(&mut self, json: &mut Reader<'a>) {
        json.object(|json, name| self.member(name, json));
    }

    /// Takes a member. What is of another type is another member: of a type of block that is new.
    pub(super) fn member(&mut self, name: &str, json: &mut Reader<'a>) {
        match (name, json.kind()) {
            ("text" | "thinking", Kind::String) => self.text = json.text(),
            ("signature", Kind::String) => self.signature = json.text(),
            ("data", Kind::String) => self.data = json.text(),
            ("id", Kind::String) => self.id = Some(json.text()),
            ("name", Kind::String) => self.name = json.text(),
            ("input", Kind::String) => self.input = Arguments::Written(json.text()),
            ("input", Kind::Object) => self.input = Arguments::Object(json.raw()),
            // Citations have no place elsewhere; who wants them asks in this dialect.
            _ => json.skip(),
        }
    }
}

// ===== impl Arguments =====

impl Default for Arguments<'_> {
    fn default() -> Self {
        Self::Object(Raw::of("{}"))
    }
}

#[cfg(test)]
mod tests;
