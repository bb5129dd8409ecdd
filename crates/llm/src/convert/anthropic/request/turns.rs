//! Messages as the API wants them: what the system says apart, turns that alternate, and the results
//! of calls before anything else.

use std::ops::Range;

use super::source::{check_document, check_image, write_source};
use crate::{
    Dialect,
    convert::{
        anthropic::id::safe_id,
        arguments,
        error::Wrong,
        model::{Content, Media, Message, Outcome, Part, PartKind, Reasoned, Role},
        notes::Notes,
        text::Text,
        write::Writer,
    },
};

/// What is left of the messages once what cannot be said was noted.
#[derive(Debug, Default)]
pub(super) struct Turns<'r, 'a> {
    pub(super) system: Vec<&'r Part<'a>>,
    turns: Vec<Turn>,
    /// Those of all turns: a list for each would be an allocation for each.
    parts: Vec<&'r Part<'a>>,
}

#[derive(Debug)]
struct Turn {
    role: Role,
    /// Which of the parts are its own.
    parts: Range<usize>,
}

const NOT_HERE: &str = "it has no such part";

// ===== impl Turns =====

impl<'r, 'a> Turns<'r, 'a> {
    pub(super) fn of(messages: &'r [Message<'a>], notes: &mut Notes) -> Self {
        let mut all = Self::default();
        for message in messages {
            if let Some(name) = &message.name {
                notes.unfit(name.at(), "it has no names of speakers");
            }
            let parts = message.parts.iter();
            if message.role == Role::System {
                all.system.extend(parts.filter(|part| says(part, notes)));
                continue;
            }
            let start = all.parts.len();
            let parts = parts.filter(|part| is_kept(part, message.role, notes));
            all.parts.extend(parts);
            let end = all.parts.len();
            match all.turns.last_mut() {
                Some(turn) if turn.role == message.role => turn.parts.end = end,
                // Nothing was said, and the API takes no turn without content.
                _ if start == end => notes.leave_out(message.at),
                _ => all.turns.push(Turn {
                    role: message.role,
                    parts: start..end,
                }),
            }
        }
        let first = all.turns.first();
        if first.is_none_or(|turn| turn.role != Role::User) {
            let at = all.parts.first().or(all.system.first()).map(|part| part.at);
            let at = at.or(messages.first().map(|message| message.at));
            notes.unfit(
                at.unwrap_or_default(),
                "its first message is the user's, and says something",
            );
        }
        all
    }

    /// Writes the value of `messages`.
    pub(super) fn write(&self, to: &mut Writer<'_>) {
        to.array(|to| {
            for turn in &self.turns {
                let parts = &self.parts[turn.parts.clone()];
                to.object(|to| {
                    to.name("role").str(match turn.role {
                        Role::Assistant => "assistant",
                        _ => "user",
                    });
                    to.name("content").array(|to| {
                        let is_result = |part: &Part<'_>| matches!(part.kind, PartKind::Result(_));
                        for results in [true, false] {
                            for part in parts.iter().filter(|part| is_result(part) == results) {
                                write_part(part, to);
                            }
                        }
                    });
                });
            }
        });
    }
}

/// Whether a part of what the system says is text; the API takes no empty one.
fn says(part: &Part<'_>, notes: &mut Notes) -> bool {
    match &part.kind {
        PartKind::Text { text, .. } => !text.is_empty(),
        _ => {
            notes.unfit(part.at, "its system says text and nothing else");
            false
        }
    }
}

/// Whether a part is written. If not, it is noted, or says nothing.
fn is_kept(part: &Part<'_>, role: Role, notes: &mut Notes) -> bool {
    match (&part.kind, role) {
        (PartKind::Text { text, signature }, _) => {
            if let Some(signature) = signature {
                notes.leave_out(signature.value.at());
            }
            !text.is_empty()
        }
        (PartKind::Refusal(text), Role::Assistant) => !text.is_empty(),
        (PartKind::Reasoning(reasoned), Role::Assistant) => {
            let kept = is_signed_here(reasoned);
            if !kept {
                notes.leave_out(part.at);
            }
            kept
        }
        (PartKind::Call(call), Role::Assistant) => {
            if let Some(signature) = &call.signature {
                notes.leave_out(signature.value.at());
            }
            if call.id.is_none() {
                notes.fail(part.at, Wrong::Missing { member: "id" });
            }
            true
        }
        (PartKind::Result(outcome), Role::User) => {
            if outcome.id.is_none() {
                let member = "tool_call_id";
                notes.fail(part.at, Wrong::Missing { member });
            }
            if let Content::Parts(parts) = &outcome.content {
                for part in parts {
                    check_in_result(part, notes);
                }
            }
            true
        }
        (PartKind::Image(media), Role::User) => {
            check_image(media, notes);
            true
        }
        (PartKind::File { media, .. }, Role::User) => {
            check_document(media, notes);
            true
        }
        (PartKind::Audio(_), _) => {
            notes.unfit(part.at, "it does not hear");
            false
        }
        _ => {
            notes.unfit(part.at, NOT_HERE);
            false
        }
    }
}

fn check_in_result(part: &Part<'_>, notes: &mut Notes) {
    match &part.kind {
        PartKind::Text { .. } => {}
        PartKind::Image(media) => check_image(media, notes),
        PartKind::File { media, .. } => check_document(media, notes),
        _ => notes.unfit(part.at, "its results are text, images and documents"),
    }
}

/// The API refuses what it did not sign itself.
fn is_signed_here(reasoned: &Reasoned<'_>) -> bool {
    let signed = reasoned.signature.as_ref();
    reasoned.redacted.is_some()
        || signed.is_some_and(|signature| signature.of == Dialect::Anthropic)
}

fn write_part(part: &Part<'_>, to: &mut Writer<'_>) {
    match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => write_text(text, to),
        PartKind::Image(media) => write_media("image", media, None, to),
        PartKind::File { media, name } => write_media("document", media, name.as_ref(), to),
        PartKind::Reasoning(reasoned) => write_reasoning(reasoned, to),
        PartKind::Call(call) => to.object(|to| {
            to.name("type").str("tool_use");
            write_id("id", call.id.as_ref(), to);
            to.name("name").text(&call.name);
            arguments::write(&call.arguments, to.name("input"));
        }),
        PartKind::Result(outcome) => write_result(outcome, to),
        // They were noted.
        PartKind::Audio(_) | PartKind::Own => {}
    }
}

pub(super) fn write_text(text: &Text<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("text");
        to.name("text").text(text);
    });
}

fn write_media(kind: &str, media: &Media<'_>, title: Option<&Text<'_>>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str(kind);
        write_source(&media.source, to);
        if let Some(title) = title {
            to.name("title").text(title);
        }
    });
}

fn write_reasoning(reasoned: &Reasoned<'_>, to: &mut Writer<'_>) {
    to.object(|to| match (&reasoned.redacted, &reasoned.signature) {
        (Some(data), _) => {
            to.name("type").str("redacted_thinking");
            to.name("data").text(data);
        }
        (None, signature) => {
            to.name("type").str("thinking");
            to.name("thinking").text(&reasoned.text);
            let nothing = Text::default();
            let value = signature.as_ref().map_or(&nothing, |signed| &signed.value);
            to.name("signature").text(value);
        }
    });
}

fn write_result(outcome: &Outcome<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("tool_result");
        write_id("tool_use_id", outcome.id.as_ref(), to);
        match &outcome.content {
            Content::Object(object) => to.name("content").quoted(object),
            Content::Parts(parts) => {
                let says = |part: &&Part<'_>| !matches!(&part.kind, PartKind::Text { text, .. } if text.is_empty());
                let mut parts = parts.iter().filter(says).peekable();
                if parts.peek().is_some() {
                    to.name("content").array(|to| {
                        for part in parts {
                            write_part(part, to);
                        }
                    });
                }
            }
        }
        if outcome.failed {
            to.name("is_error").bool(true);
        }
    });
}

fn write_id(name: &str, id: Option<&Text<'_>>, to: &mut Writer<'_>) {
    let nothing = Text::default();
    let id = id.unwrap_or(&nothing);
    match safe_id(id) {
        Some(safe) => to.name(name).text(&safe),
        None => to.name(name).text(id),
    }
}
