use crate::{
    convert::{
        error::Wrong,
        model::{Candidate, Finish, Part, PartKind, Reasoned, Reply, Rest},
        openai::said::{Said, is_empty, text_part},
        read::Reader,
        rest,
        text::Text,
    },
    json::Kind,
};

pub(in crate::convert) fn read_reply<'a>(json: &mut Reader<'a>) -> Reply<'a> {
    let at = json.at();
    let (mut reply, mut choices) = (Reply::default(), false);
    json.object(|json, name| match name {
        _ if json.null() => {}
        "id" => reply.id = text_or_nothing(json),
        "object" => json.skip(),
        "created" if json.kind() == Kind::Number => reply.created = Some(json.raw()),
        "model" => reply.model = text_or_nothing(json),
        "choices" => {
            choices = true;
            json.array(|json| {
                let index = reply.candidates.len() as u64;
                reply.candidates.push(read_choice(json, index));
            });
        }
        "usage" => reply.usage = super::read_usage(json),
        _ => keep(json, name, &mut reply.rest),
    });
    if !choices {
        json.fail(at, Wrong::Missing { member: "choices" });
    }
    reply
}

fn read_choice<'a>(json: &mut Reader<'a>, index: u64) -> Candidate<'a> {
    let at = json.at();
    let mut candidate = Candidate {
        index,
        ..Candidate::default()
    };
    let (mut said, mut finish, mut stop) = (None, None, None);
    json.object(|json, name| match name {
        _ if json.null() => {}
        "index" => candidate.index = json.count(),
        "message" => said = Some(read_message(json, &mut candidate.rest)),
        "logprobs" => candidate.logprobs = Some(json.raw()),
        "finish_reason" => finish = text_or_nothing(json),
        // vLLM's: the stop sequence that came, or the number of a token.
        "stop_reason" => stop = text_or_nothing(json),
        _ => keep(json, name, &mut candidate.rest),
    });
    if said.is_none() {
        json.fail(at, Wrong::Missing { member: "message" });
    }
    candidate.parts = said.unwrap_or_default().parts().into();
    candidate.parts.retain(|part| !is_empty(part));
    let calls = |part: &Part<'_>| matches!(part.kind, PartKind::Call(_));
    let calls = candidate.parts.iter().any(calls);
    candidate.finish = finish.map(|finish| word(finish, stop, calls));
    candidate
}

fn read_message<'a>(json: &mut Reader<'a>, beside: &mut Rest<'a>) -> Said<'a> {
    let mut said = Said::default();
    json.object(|json, name| match name {
        _ if json.null() => {}
        "role" => json.skip(),
        "content" => said.content = content(json).into(),
        "tool_calls" => json.array(|json| said.call(json, None)),
        "function_call" => {
            said.function_call(json, None);
        }
        _ => {
            if !said.member(json, name) {
                keep(json, name, beside);
            }
        }
    });
    said
}

/// Takes what is said: a string, or parts, as some compatible servers write it.
pub(in crate::convert::openai) fn content<'a>(json: &mut Reader<'a>) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    if json.kind() != Kind::Array {
        parts.push(text_part(json.text()));
        return parts;
    }
    json.array(|json| {
        let at = json.at();
        let (mut kind, mut known) = (None, true);
        let mut reasoning = Text::default();
        json.object(|json, name| match (name, json.kind()) {
            ("type", _) => json.skip(),
            ("text", Kind::String) => kind = Some(text_part(json.text()).kind),
            ("refusal", Kind::String) => kind = Some(PartKind::Refusal(json.text())),
            ("thinking", Kind::String) => reasoning = json.text(),
            // Mistral's.
            ("thinking", Kind::Array) => json.array(|json| {
                json.object(|json, name| match (name, json.kind()) {
                    ("text", Kind::String) => reasoning.join(&json.text()),
                    _ => json.skip(),
                });
            }),
            (_, Kind::Null | Kind::Bool | Kind::Number | Kind::String) => json.skip(),
            _ => {
                known = false;
                json.skip();
            }
        });
        if kind.is_none() && !reasoning.is_empty() {
            let text = reasoning;
            kind = Some(PartKind::Reasoning(Box::new(Reasoned {
                text,
                ..Reasoned::default()
            })));
        }
        match kind {
            Some(kind) => parts.push(Part { kind, at }),
            None if known => {}
            None => {
                let expected = "a part that is text";
                json.fail(at, Wrong::Value { expected });
            }
        }
    });
    parts
}

/// Why a reply ended. `stop` is the sequence that came, and `calls` whether tools were called: where
/// the caller chose the tool, OpenAI says `stop` after the call.
pub(in crate::convert::openai) fn word<'a>(
    reason: Text<'a>,
    stop: Option<Text<'a>>,
    calls: bool,
) -> Finish<'a> {
    match &*reason.decode() {
        "stop" if calls => Finish::Calls,
        "stop" if stop.is_some() => Finish::Sequence(stop),
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::Calls,
        "content_filter" => Finish::Filtered,
        _ => Finish::Other(reason),
    }
}

/// Takes a string that says something, or anything else for nothing.
pub(in crate::convert::openai) fn text_or_nothing<'a>(json: &mut Reader<'a>) -> Option<Text<'a>> {
    if json.kind() == Kind::String {
        Some(json.text()).filter(|text| !text.is_empty())
    } else {
        json.skip();
        None
    }
}

/// Takes what nothing here knows, and keeps it unless it is empty.
fn keep<'a>(json: &mut Reader<'a>, name: &str, rest: &mut Rest<'a>) {
    let value = json.raw();
    if !matches!(value.written(), "[]" | "{}" | "\"\"") {
        rest::set(Text::of(name), value, rest);
    }
}
