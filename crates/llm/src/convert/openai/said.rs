//! What an assistant's message has, in a request and in a reply.

use crate::{
    Dialect,
    convert::{
        error::Wrong,
        model::{Arguments, Call, Own, Part, PartKind, Reasoned, Signature},
        own::matters,
        parts::Parts,
        read::Reader,
        signature,
        text::Text,
    },
    json::Kind,
};

/// An assistant's message, member by member.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) content: Parts<'a>,
    pub(super) calls: Vec<Part<'a>>,
    refusal: Option<Text<'a>>,
    reasoning: Option<Text<'a>>,
    /// Anthropic's, each with its signature.
    thinking: Vec<Part<'a>>,
    /// Gemini's, of the text.
    signature: Option<Signature<'a>>,
}

// ===== impl Said =====

impl<'a> Said<'a> {
    /// Takes the value, if the member is one that requests and replies write in the same way.
    pub(super) fn member(&mut self, json: &mut Reader<'a>, name: &str) -> bool {
        match name {
            "refusal" => self.refusal = Some(json.text()),
            "reasoning_content" => self.reasoning = Some(json.text()),
            // Some servers write both.
            "reasoning" if json.kind() == Kind::String => {
                let reasoning = json.text();
                self.reasoning.get_or_insert(reasoning);
            }
            "thinking_blocks" => json.array(|json| self.thinking.extend(read_thinking(json))),
            "extra_content" => self.signature = read_extra(json),
            _ => return false,
        }
        true
    }

    /// Takes one of `tool_calls`: strictly, if there is a list for what only OpenAI knows.
    pub(super) fn call(&mut self, json: &mut Reader<'a>, mut own: Option<&mut Vec<Own>>) {
        let strict = own.is_some();
        let at = json.at();
        let (mut id, mut function, mut signature) = (None, None, None);
        json.object(|json, name| match name {
            _ if json.null() => {}
            "type" | "index" => json.skip(),
            "id" => id = Some(json.text()).filter(|id| strict || !id.is_empty()),
            "function" => function = Some(read_function(json, own.as_deref_mut())),
            "extra_content" => signature = read_extra(json),
            _ => unknown(json, own.as_deref_mut()),
        });
        if function.is_none() {
            json.fail(at, Wrong::Missing { member: "function" });
        }
        if strict && id.is_none() {
            json.fail(at, Wrong::Missing { member: "id" });
        }
        let Some(mut call) = function else {
            return;
        };
        if let Some(id) = id {
            let (id, joined) = signature::split(&id);
            signature = joined.or(signature);
            call.id = Some(id);
        }
        call.signature = signature;
        let kind = PartKind::Call(Box::new(call));
        self.calls.push(Part { kind, at });
    }

    /// Takes `function_call`: a call without an id, of the time before tools.
    pub(super) fn function_call(
        &mut self,
        json: &mut Reader<'a>,
        own: Option<&mut Vec<Own>>,
    ) -> Option<&mut Call<'a>> {
        let at = json.at();
        let kind = PartKind::Call(Box::new(read_function(json, own)));
        self.calls.push(Part { kind, at });
        match self.calls.last_mut()?.kind {
            PartKind::Call(ref mut call) => Some(call),
            _ => None,
        }
    }

    /// The parts, in the order that every dialect can say. An empty string is one only if it is all
    /// there is.
    pub(super) fn parts(self) -> Parts<'a> {
        let mut parts = Parts::from(self.thinking);
        let reasoning = self.reasoning.filter(|text| !text.is_empty());
        if parts.is_empty()
            && let Some(text) = reasoning
        {
            // With its signatures, it was said already.
            let at = text.at();
            let reasoned = Reasoned {
                text,
                ..Reasoned::default()
            };
            let kind = PartKind::Reasoning(Box::new(reasoned));
            parts.push(Part { kind, at });
        }
        parts.append(self.content);
        if let Some(proof) = self.signature {
            let last = parts
                .iter_mut()
                .rev()
                .find_map(|part| match &mut part.kind {
                    PartKind::Text { signature, .. } => Some(signature),
                    _ => None,
                });
            if let Some(signature) = last {
                *signature = Some(proof);
            } else {
                let mut part = text_part(Text::new("", proof.value.at()));
                if let PartKind::Text { signature, .. } = &mut part.kind {
                    *signature = Some(proof);
                }
                parts.push(part);
            }
        }
        if let Some(refusal) = self.refusal.filter(|text| !text.is_empty()) {
            let at = refusal.at();
            let kind = PartKind::Refusal(refusal);
            parts.push(Part { kind, at });
        }
        parts.append(self.calls);
        if parts.len() > 1 {
            parts.retain(|part| !is_empty(part));
        }
        parts
    }
}

pub(super) fn text_part(text: Text<'_>) -> Part<'_> {
    let at = text.at();
    let signature = None;
    let kind = PartKind::Text { text, signature };
    Part { kind, at }
}

/// Whether it is text that says nothing.
pub(super) fn is_empty(part: &Part<'_>) -> bool {
    match &part.kind {
        PartKind::Text { text, signature } => text.is_empty() && signature.is_none(),
        _ => false,
    }
}

/// Takes `{"name": …, "arguments": …}`.
fn read_function<'a>(json: &mut Reader<'a>, mut own: Option<&mut Vec<Own>>) -> Call<'a> {
    let strict = own.is_some();
    let at = json.at();
    let (mut function, mut arguments) = (None, None);
    json.object(|json, name| match name {
        _ if json.null() => {}
        "name" => function = Some(json.text()),
        "arguments" if !strict && json.kind() == Kind::Object => {
            arguments = Some(Arguments::Object(json.raw()));
        }
        "arguments" => arguments = Some(Arguments::Written(json.text())),
        _ => unknown(json, own.as_deref_mut()),
    });
    let arguments_are_there = !strict || arguments.is_some();
    for (is_there, member) in [
        (function.is_some(), "name"),
        (arguments_are_there, "arguments"),
    ] {
        if !is_there {
            json.fail(at, Wrong::Missing { member });
        }
    }
    Call {
        id: None,
        name: function.unwrap_or_default(),
        arguments: arguments.unwrap_or(Arguments::Written(Text::default())),
        signature: None,
    }
}

/// Takes one of `thinking_blocks`: what Anthropic wants back, as LiteLLM was the first to carry it.
pub(super) fn read_thinking<'a>(json: &mut Reader<'a>) -> Option<Part<'a>> {
    let at = json.at();
    let Some(tag) = json.tag("type") else {
        json.skip();
        return None;
    };
    let (mut text, mut proof, mut data) = (None, None, None);
    json.object(|json, name| match name {
        _ if json.null() => {}
        "thinking" => text = Some(json.text()),
        "signature" => proof = Some(json.text()).filter(|proof| !proof.is_empty()),
        "data" => data = Some(json.text()),
        _ => json.skip(),
    });
    let member = match &*tag.decode() {
        "thinking" => text.is_none().then_some("thinking"),
        "redacted_thinking" => data.is_none().then_some("data"),
        _ => {
            let expected = "`thinking` or `redacted_thinking`";
            json.fail(tag.at(), Wrong::Value { expected });
            None
        }
    };
    if let Some(member) = member {
        json.fail(at, Wrong::Missing { member });
    }
    let of = Dialect::Anthropic;
    let reasoned = Reasoned {
        text: text.unwrap_or_default(),
        signature: proof.map(|value| Signature { of, value }),
        redacted: data,
    };
    let kind = PartKind::Reasoning(Box::new(reasoned));
    Some(Part { kind, at })
}

/// Takes `{"google": {"thought_signature": …}}`.
pub(super) fn read_extra<'a>(json: &mut Reader<'a>) -> Option<Signature<'a>> {
    let mut signature = None;
    json.object(|json, name| match (name, json.kind()) {
        ("google", Kind::Object) => json.object(|json, name| match (name, json.kind()) {
            ("thought_signature", Kind::String) => {
                let (of, value) = (Dialect::Gemini, json.text());
                signature = Some(Signature { of, value });
            }
            _ => json.skip(),
        }),
        _ => json.skip(),
    });
    signature
}

/// Takes what is unknown: named in a request, and nothing in a reply.
fn unknown<'a>(json: &mut Reader<'a>, own: Option<&mut Vec<Own>>) {
    if let Some(own) = own {
        own.push(matters(json.at()));
    }
    json.skip();
}
