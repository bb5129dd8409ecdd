use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    config::read_config,
    parts::read_part,
    tools::{Called, read_tool_config, read_tools},
};
use crate::convert::{
    error::Wrong,
    model::{Message, Own, Part, PartKind, Request, Role},
    own::{hint, matters, unknown},
    parts::Parts,
    read::Reader,
    text::Text,
};

/// The calls of a request that wait for their results.
#[derive(Debug, Default)]
struct Calls<'a> {
    /// Their ids, by the name of the tool.
    waiting: HashMap<String, VecDeque<Text<'a>>>,
    ids: HashSet<String>,
    answered: HashSet<String>,
    made: u64,
}

/// Reads a request. The model, and whether the reply is to be streamed, stand in its path.
pub(in crate::convert) fn read_request<'a>(json: &mut Reader<'a>) -> Request<'a> {
    let at = json.at();
    let mut request = Request::default();
    let mut own = Vec::new();
    let (mut system, mut contents, mut called) = (None, None, Called::Unsaid);
    json.object_in_any_case(|json, name| {
        let at = json.at();
        if json.null() {
            return;
        }
        match name {
            // It is the path that counts.
            "model" => {
                json.text();
            }
            "systemInstruction" => system = Some(read_content(json, &mut own).1),
            "contents" => contents = Some(read_contents(json, &mut own)),
            "tools" => request.tools = read_tools(json, &mut own),
            "toolConfig" => called = read_tool_config(json, &mut own),
            "generationConfig" => read_config(json, &mut request, &mut own),
            "safetySettings" => {
                let mut any = false;
                json.array(|json| {
                    any = true;
                    json.skip();
                });
                if any {
                    own.push(matters(at));
                }
            }
            "labels" | "serviceTier" | "store" => {
                json.skip();
                own.push(hint(at));
            }
            _ => unknown(json, &mut own),
        }
    });
    match &contents {
        None => json.fail(at, Wrong::Missing { member: "contents" }),
        Some((at, contents)) if contents.is_empty() => {
            let expected = "an array of at least one content";
            json.fail(*at, Wrong::Value { expected });
        }
        Some(_) => {}
    }
    request.messages = contents.map(|(_, contents)| contents).unwrap_or_default();
    if let Some(mut system) = system {
        system.role = Role::System;
        request.messages.insert(0, system);
    }
    Calls::default().link(&mut request.messages, json);
    called.choose(&mut request);
    request.own = own;
    request
}

fn read_contents<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> (usize, Vec<Message<'a>>) {
    let (at, mut messages) = (json.at(), Vec::new());
    json.array(|json| {
        let (role, mut message) = read_content(json, own);
        match role.as_ref().map(Text::decode).as_deref() {
            // `function` is what results had once.
            None | Some("user" | "function") => {}
            Some("model") => message.role = Role::Assistant,
            Some(_) => {
                let at = role.as_ref().map(Text::at).unwrap_or_default();
                let expected = "`user` or `model`";
                json.fail(at, Wrong::Value { expected });
            }
        }
        messages.push(message);
    });
    (at, messages)
}

/// Reads one turn, and the role that it has.
fn read_content<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> (Option<Text<'a>>, Message<'a>) {
    let at = json.at();
    let (mut role, mut parts) = (None, None);
    json.object_in_any_case(|json, name| match name {
        _ if json.null() => {}
        "role" => role = json.text_or_null(),
        "parts" => {
            let at = json.at();
            let mut read = Parts::default();
            json.array(|json| push(&mut read, read_part(json, own)));
            if read.is_empty() {
                let expected = "an array of at least one part";
                json.fail(at, Wrong::Value { expected });
            }
            parts = Some(read);
        }
        _ => unknown(json, own),
    });
    if parts.is_none() {
        json.fail(at, Wrong::Missing { member: "parts" });
    }
    let message = Message {
        role: Role::User,
        parts: parts.unwrap_or_default(),
        name: None,
        at,
    };
    (role, message)
}

/// Adds a part. Thoughts that came in pieces are one: the signature of the last is that of all.
fn push<'a>(parts: &mut Parts<'a>, part: Part<'a>) {
    if let PartKind::Reasoning(more) = &part.kind
        && let Some(Part {
            kind: PartKind::Reasoning(before),
            ..
        }) = parts.last_mut()
        && before.signature.is_none()
        && before.redacted.is_none()
        && more.redacted.is_none()
    {
        before.text.join(&more.text);
        before.signature.clone_from(&more.signature);
        return;
    }
    parts.push(part);
}

// ===== impl Calls =====

impl<'a> Calls<'a> {
    /// Gives every call an id, and every result that of the call that it answers: by its id, or else
    /// the first of that name that is not answered.
    fn link(mut self, messages: &mut [Message<'a>], json: &mut Reader<'a>) {
        for part in messages.iter().flat_map(|message| message.parts.iter()) {
            if let PartKind::Call(call) = &part.kind
                && let Some(id) = &call.id
            {
                self.ids.insert(id.decode().into_owned());
            }
        }
        for part in messages
            .iter_mut()
            .flat_map(|message| message.parts.iter_mut())
        {
            match &mut part.kind {
                PartKind::Call(call) => {
                    let id = call.id.get_or_insert_with(|| self.make(part.at)).clone();
                    let name = call.name.decode().into_owned();
                    self.waiting.entry(name).or_default().push_back(id);
                }
                PartKind::Result(outcome) => {
                    let name = outcome.name.as_ref().map(Text::decode).unwrap_or_default();
                    let id = match &outcome.id {
                        Some(id) if self.ids.contains(&*id.decode()) => Some(id.clone()),
                        _ => self.next(&name),
                    };
                    match &id {
                        Some(id) => {
                            self.answered.insert(id.decode().into_owned());
                        }
                        None => {
                            let expected = "the result of a call that was made before";
                            json.fail(part.at, Wrong::Value { expected });
                        }
                    }
                    outcome.id = id;
                }
                _ => {}
            }
        }
    }

    fn make(&mut self, at: usize) -> Text<'a> {
        loop {
            let id = format!("call_{}", self.made);
            self.made += 1;
            if !self.ids.contains(&id) {
                return Text::of(&id).placed(at);
            }
        }
    }

    fn next(&mut self, name: &str) -> Option<Text<'a>> {
        let waiting = self.waiting.get_mut(name)?;
        loop {
            let id = waiting.pop_front()?;
            if !self.answered.contains(&*id.decode()) {
                return Some(id);
            }
        }
    }
}

/// Reads an array of strings.
pub(super) fn read_texts<'a>(json: &mut Reader<'a>) -> Vec<Text<'a>> {
    let mut texts = Vec::new();
    json.array(|json| texts.push(json.text()));
    texts
}
