use std::collections::{HashMap, VecDeque};

use super::{hint, matters, members, parts, unknown};
use crate::convert::{
    error::Wrong,
    model::{Content, Message, Outcome, Own, Part, PartKind, Role},
    openai::said::{Said, is_empty},
    parts::Parts,
    read::Reader,
    signature,
    text::Text,
};

/// Takes the array of messages.
pub(super) fn read<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Vec<Message<'a>> {
    let mut messages = Messages {
        list: Vec::new(),
        own,
        results: false,
        calls: 0,
        waiting: HashMap::new(),
    };
    json.array(|json| messages.read(json));
    messages.list
}

struct Messages<'a, 'o> {
    list: Vec<Message<'a>>,
    own: &'o mut Vec<Own>,
    /// The last one holds results of tools, and another result belongs to it.
    results: bool,
    /// How many calls without an id came.
    calls: u64,
    /// Calls without an id that have no result yet: by the name, the ids that we gave them.
    waiting: HashMap<String, VecDeque<Text<'a>>>,
}

// ===== impl Messages =====

impl<'a> Messages<'a, '_> {
    fn read(&mut self, json: &mut Reader<'a>) {
        let Some(role) = json.tag("role") else {
            return json.skip();
        };
        match &*role.decode() {
            "system" | "developer" => self.plain(json, Role::System),
            "user" => self.plain(json, Role::User),
            "assistant" => self.assistant(json),
            "tool" => self.result(json, "tool_call_id"),
            "function" => self.result(json, "name"),
            _ => {
                let expected = "`developer`, `system`, `user`, `assistant`, `tool` or `function`";
                json.fail(role.at(), Wrong::Value { expected });
                json.skip();
            }
        }
    }

    /// What the user or the system says.
    fn plain(&mut self, json: &mut Reader<'a>, role: Role) {
        let at = json.at();
        let (mut content, mut speaker) = (None, None);
        members(json, |json, name| match name {
            "role" => json.skip(),
            "content" => content = Some(parts::read(json, self.own)),
            "name" => speaker = Some(json.text()),
            _ => unknown(json, self.own),
        });
        if content.is_none() {
            json.fail(at, Wrong::Missing { member: "content" });
        }
        let parts = content.unwrap_or_default();
        check(&parts, role, json);
        self.push(role, parts, speaker, at);
    }

    fn assistant(&mut self, json: &mut Reader<'a>) {
        let at = json.at();
        let (mut said, mut speaker) = (Said::default(), None);
        members(json, |json, name| match name {
            "role" => json.skip(),
            "name" => speaker = Some(json.text()),
            "content" => {
                let parts = parts::read(json, self.own);
                check(&parts, Role::Assistant, json);
                said.content = parts;
            }
            "tool_calls" => json.array(|json| match json.tag("type") {
                Some(kind) if *kind.decode() == *"function" => {
                    said.call(json, Some(self.own));
                }
                Some(_) => {
                    said.calls.push(Part {
                        kind: PartKind::Own,
                        at: json.at(),
                    });
                    json.skip();
                }
                None => json.skip(),
            }),
            "function_call" => {
                if let Some(call) = said.function_call(json, Some(self.own)) {
                    let id = Text::of(&format!("call_{}", self.calls));
                    self.calls += 1;
                    let waiting = self.waiting.entry(call.name.decode().into_owned());
                    waiting.or_default().push_back(id.clone());
                    call.id = Some(id);
                }
            }
            // Sources of what the provider searched for: they come with a reply, and go back with it.
            "annotations" => {
                let at = json.at();
                let mut any = false;
                json.array(|json| {
                    any = true;
                    json.skip();
                });
                if any {
                    self.own.push(hint(at));
                }
            }
            "audio" => {
                self.own.push(matters(json.at()));
                json.raw_object();
            }
            _ => {
                if !said.member(json, name) {
                    unknown(json, self.own);
                }
            }
        });
        let parts = said.parts();
        if parts.is_empty() {
            json.fail(at, Wrong::Missing { member: "content" });
        }
        self.push(Role::Assistant, parts, speaker, at);
    }

    /// The result of a tool, told by the id of the call or, long ago, by the name of the function.
    fn result(&mut self, json: &mut Reader<'a>, by: &'static str) {
        let at = json.at();
        let (mut id, mut tool, mut content) = (None, None, None);
        members(json, |json, name| match name {
            "role" => json.skip(),
            "tool_call_id" if by == name => id = Some(json.text()),
            "name" => tool = Some(json.text()),
            "content" => content = Some(parts::read(json, self.own)),
            _ => unknown(json, self.own),
        });
        let is_there = match by {
            "name" => tool.is_some(),
            _ => id.is_some(),
        };
        for (is_there, member) in [(is_there, by), (content.is_some(), "content")] {
            if !is_there {
                json.fail(at, Wrong::Missing { member });
            }
        }
        let mut content = content.unwrap_or_default();
        for part in content.iter() {
            if !matches!(part.kind, PartKind::Text { .. } | PartKind::Own) {
                let expected = "a part of type `text`";
                json.fail(part.at, Wrong::Value { expected });
            }
        }
        content.retain(|part| !is_empty(part));
        let id = match (id, &tool) {
            (Some(id), _) => signature::split(&id).0,
            (None, Some(tool)) => self.answer(tool, json),
            (None, None) => Text::default(),
        };
        let part = Part {
            kind: PartKind::Result(Box::new(Outcome {
                id: Some(id),
                name: tool,
                content: Content::Parts(content.into()),
                failed: false,
            })),
            at,
        };
        match self.list.last_mut() {
            Some(last) if self.results => last.parts.push(part),
            _ => {
                self.push(Role::User, part.into(), None, at);
                self.results = true;
            }
        }
    }

    /// The id of the first call of this function that has no result yet.
    fn answer(&mut self, function: &Text<'a>, json: &mut Reader<'a>) -> Text<'a> {
        let waiting = self.waiting.get_mut(&*function.decode());
        match waiting.and_then(VecDeque::pop_front) {
            Some(id) => id,
            None => {
                let expected = "the name of a function that was called before";
                json.fail(function.at(), Wrong::Value { expected });
                Text::default()
            }
        }
    }

    fn push(&mut self, role: Role, parts: Parts<'a>, name: Option<Text<'a>>, at: usize) {
        self.results = false;
        self.list.push(Message {
            role,
            parts,
            name,
            at,
        });
    }
}

/// Whether these parts may stand in a message of that role.
fn check<'a>(parts: &[Part<'a>], role: Role, json: &mut Reader<'a>) {
    for part in parts {
        let expected = match (role, &part.kind) {
            (_, PartKind::Text { .. } | PartKind::Own) => continue,
            (Role::User, PartKind::Refusal(_)) => {
                "a part of type `text`, `image_url`, `input_audio` or `file`"
            }
            (Role::User, _) | (Role::Assistant, PartKind::Refusal(_)) => continue,
            (Role::Assistant, _) => "a part of type `text` or `refusal`",
            (Role::System, _) => "a part of type `text`",
        };
        json.fail(part.at, Wrong::Value { expected });
    }
}
