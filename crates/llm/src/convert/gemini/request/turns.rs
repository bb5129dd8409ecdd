//! Messages as the API wants them: what the system says apart, turns that alternate, and results
//! before anything else, in the order of their calls.

use std::{collections::HashMap, ops::Range};

use crate::{
    Dialect,
    convert::{
        error::Wrong,
        gemini::{
            media,
            part::{write_call, write_text, write_thought},
            signature::UNSIGNED,
        },
        model::{Call, Content, Message, Outcome, Part, PartKind, Reasoned, Role, Source},
        notes::Notes,
        text::Text,
        write::Writer,
    },
};

/// What is left of the messages once what cannot be said was noted.
#[derive(Debug, Default)]
pub(super) struct Turns<'r, 'a> {
    system: Vec<&'r Part<'a>>,
    turns: Vec<Turn<'r, 'a>>,
    /// Those of all turns: a list for each would be an allocation for each.
    parts: Vec<&'r Part<'a>>,
    /// The calls so far by their ids, each with its number.
    calls: HashMap<String, (usize, &'r Text<'a>)>,
}

#[derive(Debug)]
struct Turn<'r, 'a> {
    role: Role,
    results: Vec<Answer<'r, 'a>>,
    /// Which of the parts are its own.
    parts: Range<usize>,
}

/// The result of a tool, and of which call it is.
#[derive(Debug)]
struct Answer<'r, 'a> {
    call: usize,
    name: &'r Text<'a>,
    outcome: &'r Outcome<'a>,
}

/// What stands between two texts of one result.
static LINE: Text<'static> = Text::plain("\\n");

// ===== impl Turns =====

impl<'r, 'a> Turns<'r, 'a> {
    pub(super) fn of(messages: &'r [Message<'a>], notes: &mut Notes) -> Self {
        let mut all = Self::default();
        for message in messages {
            if let Some(name) = &message.name {
                notes.unfit(name.at(), "it has no names of speakers");
            }
            match message.role {
                Role::System => {
                    let parts = message.parts.iter();
                    all.system.extend(parts.filter(|part| says(part, notes)));
                }
                role => {
                    let turn = all.turn(message, role, notes);
                    if turn.results.is_empty() && turn.parts.is_empty() {
                        // Nothing was said, and the API takes no turn without parts.
                        notes.leave_out(message.at);
                    } else {
                        all.push(turn);
                    }
                }
            }
        }
        let first = all.turns.first();
        if first.is_none_or(|turn| turn.role != Role::User) {
            let at = first.and_then(|turn| all.parts[turn.parts.clone()].first());
            let at = at.or(all.system.first()).map(|part| part.at);
            let at = at.or(messages.first().map(|message| message.at));
            notes.unfit(
                at.unwrap_or_default(),
                "its first turn is the user's, and says something",
            );
        }
        all
    }

    fn turn(&mut self, message: &'r Message<'a>, role: Role, notes: &mut Notes) -> Turn<'r, 'a> {
        let mut turn = Turn {
            role,
            results: Vec::new(),
            parts: self.parts.len()..self.parts.len(),
        };
        for part in message.parts.iter() {
            match &part.kind {
                PartKind::Result(outcome) => turn.results.extend(self.answer(part, outcome, notes)),
                kind => {
                    if let PartKind::Call(call) = kind {
                        self.call(call);
                    }
                    if is_kept(part, notes) {
                        self.parts.push(part);
                    }
                }
            }
        }
        turn.parts.end = self.parts.len();
        turn
    }

    fn call(&mut self, call: &'r Call<'a>) {
        if let Some(id) = &call.id {
            let number = self.calls.len();
            let id = id.decode().into_owned();
            self.calls.insert(id, (number, &call.name));
        }
    }

    fn answer(
        &self,
        part: &'r Part<'a>,
        outcome: &'r Outcome<'a>,
        notes: &mut Notes,
    ) -> Option<Answer<'r, 'a>> {
        if let Content::Parts(parts) = &outcome.content {
            for part in parts {
                check_answer(part, notes);
            }
        }
        let id = outcome.id.as_ref();
        let call = id.and_then(|id| self.calls.get(&*id.decode()).copied());
        let (call, name) = match (call, &outcome.name) {
            (Some((call, name)), _) => (call, name),
            (None, Some(name)) => (usize::MAX, name),
            (None, None) => {
                let expected = "the id of a call that was made before";
                notes.fail(id.map_or(part.at, Text::at), Wrong::Value { expected });
                return None;
            }
        };
        Some(Answer {
            call,
            name,
            outcome,
        })
    }

    /// Adds a turn to that of the same role before it, if it is one.
    fn push(&mut self, turn: Turn<'r, 'a>) {
        match self.turns.last_mut() {
            Some(last) if last.role == turn.role => {
                last.results.extend(turn.results);
                last.parts.end = turn.parts.end;
            }
            _ => self.turns.push(turn),
        }
        if let Some(last) = self.turns.last_mut() {
            last.results.sort_by_key(|answer| answer.call);
        }
    }

    /// Writes the members `systemInstruction` and `contents`. `signed`: the model checks that the
    /// calls are its own.
    pub(super) fn write(&self, signed: bool, to: &mut Writer<'_>) {
        if !self.system.is_empty() {
            to.name("systemInstruction").object(|to| {
                to.name("parts").array(|to| {
                    for part in &self.system {
                        to.object(|to| write_part(part, to));
                    }
                });
            });
        }
        to.name("contents").array(|to| {
            for turn in &self.turns {
                to.object(|to| turn.write(&self.parts[turn.parts.clone()], signed, to));
            }
        });
    }
}

// ===== impl Turn =====

impl Turn<'_, '_> {
    fn write(&self, parts: &[&Part<'_>], signed: bool, to: &mut Writer<'_>) {
        to.name("role").str(match self.role {
            Role::Assistant => "model",
            _ => "user",
        });
        to.name("parts").array(|to| {
            for answer in &self.results {
                to.object(|to| answer.write(to));
            }
            // Of several calls at once the first is signed.
            let mut calls = 0;
            for part in parts {
                to.object(|to| {
                    write_part(part, to);
                    if let PartKind::Call(call) = &part.kind {
                        let unsigned = own_signature(call).is_none();
                        if signed && calls == 0 && unsigned {
                            to.name("thoughtSignature").str(UNSIGNED);
                        }
                        calls += 1;
                    }
                });
            }
        });
    }
}

// ===== impl Answer =====

impl Answer<'_, '_> {
    fn write(&self, to: &mut Writer<'_>) {
        to.name("functionResponse").object(|to| {
            if let Some(id) = &self.outcome.id {
                to.name("id").text(id);
            }
            to.name("name").text(self.name);
            match &self.outcome.content {
                Content::Object(response) => to.name("response").raw(response),
                Content::Parts(parts) => self.write_parts(parts, to),
            }
        });
    }

    fn write_parts(&self, parts: &[Part<'_>], to: &mut Writer<'_>) {
        let texts = parts.iter().filter_map(|part| match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => Some(text),
            _ => None,
        });
        let lines = texts
            .enumerate()
            .flat_map(|(line, text)| [(line > 0).then_some(&LINE), Some(text)]);
        let failed = self.outcome.failed;
        to.name("response").object(|to| {
            to.name(if failed { "error" } else { "result" })
                .pieces(lines.flatten());
        });
        let media = || {
            parts.iter().filter_map(|part| match &part.kind {
                PartKind::Image(media) | PartKind::File { media, .. } => Some(&media.source),
                _ => None,
            })
        };
        if media().next().is_some() {
            to.name("parts").array(|to| {
                for source in media() {
                    to.object(|to| media::write(source, to));
                }
            });
        }
    }
}

/// Whether a part of what the system says is text that says something.
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
fn is_kept(part: &Part<'_>, notes: &mut Notes) -> bool {
    match &part.kind {
        PartKind::Text { text, signature } => {
            let own = signature.as_ref().filter(|by| by.of == Dialect::Gemini);
            if let Some(other) = signature
                && own.is_none()
            {
                notes.leave_out(other.value.at());
            }
            own.is_some() || !text.is_empty()
        }
        PartKind::Refusal(text) => !text.is_empty(),
        PartKind::Reasoning(reasoned) => {
            let kept = is_own(reasoned);
            if !kept {
                notes.leave_out(part.at);
            }
            kept
        }
        PartKind::Call(call) => {
            if let Some(signature) = &call.signature
                && own_signature(call).is_none()
            {
                notes.leave_out(signature.value.at());
            }
            true
        }
        PartKind::Image(media) | PartKind::Audio(media) => {
            check(&media.source, notes);
            if let Some(detail) = &media.detail
                && detail.decode() != "auto"
            {
                notes.leave_out(detail.at());
            }
            true
        }
        PartKind::File { media, name } => {
            check(&media.source, notes);
            if let Some(name) = name {
                notes.leave_out(name.at());
            }
            true
        }
        // Results are apart.
        PartKind::Result(_) | PartKind::Own => {
            notes.unfit(part.at, "it has no such part");
            false
        }
    }
}

/// Notes what a result cannot hold.
fn check_answer(part: &Part<'_>, notes: &mut Notes) {
    match &part.kind {
        PartKind::Text { .. } | PartKind::Refusal(_) => {}
        PartKind::Image(media) | PartKind::File { media, .. } => match &media.source {
            Source::Data { .. } => {}
            _ => notes.unfit(part.at, "its results hold text and bytes, and no URLs"),
        },
        _ => notes.unfit(part.at, "its results hold text, images and documents"),
    }
}

fn check(source: &Source<'_>, notes: &mut Notes) {
    if let Some((at, why)) = media::unfit(source) {
        notes.unfit(at, why);
    }
}

/// Whether the API made it: it wants its own thoughts back, and nobody else's.
fn is_own(reasoned: &Reasoned<'_>) -> bool {
    let signature = reasoned.signature.as_ref();
    signature.is_some_and(|signature| signature.of == Dialect::Gemini)
}

fn own_signature<'c>(call: &'c Call<'_>) -> Option<&'c Text<'c>> {
    let signature = call.signature.as_ref();
    let own = signature.filter(|signature| signature.of == Dialect::Gemini);
    own.map(|signature| &signature.value)
}

fn write_part(part: &Part<'_>, to: &mut Writer<'_>) {
    match &part.kind {
        PartKind::Text { text, signature } => {
            let own = signature.as_ref().filter(|by| by.of == Dialect::Gemini);
            write_text(text, own, to);
        }
        PartKind::Refusal(text) => write_text(text, None, to),
        // A signature without thoughts is that of the text.
        PartKind::Reasoning(reasoned) if reasoned.text.is_empty() => {
            write_text(&reasoned.text, reasoned.signature.as_ref(), to);
        }
        PartKind::Reasoning(reasoned) => {
            write_thought(&reasoned.text, reasoned.signature.as_ref(), to);
        }
        PartKind::Call(call) => {
            let id = call.id.as_ref();
            write_call(id, &call.name, &call.arguments, to);
            if let Some(signature) = own_signature(call) {
                to.name("thoughtSignature").text(signature);
            }
        }
        PartKind::Image(media) | PartKind::Audio(media) | PartKind::File { media, .. } => {
            media::write(&media.source, to);
        }
        PartKind::Result(_) | PartKind::Own => {}
    }
}
