//! Blocks of content, and what each becomes.

use super::{
    own::{own, unless},
    source::read_source,
};
use crate::{
    Dialect,
    convert::{
        anthropic::signature,
        error::Wrong,
        model::{
            Arguments, Call, Content, Outcome, Own, Part, PartKind, Reasoned, Signature, Weight,
        },
        parts::Parts,
        read::Reader,
        signature::split,
        text::Text,
    },
    json::Kind,
};

/// Who says it, and so which blocks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    System,
    User,
    Assistant,
    Result,
}

/// Takes content: a string, or an array of blocks.
pub(super) fn read_content<'a>(
    json: &mut Reader<'a>,
    place: Place,
    owns: &mut Vec<Own>,
) -> Parts<'a> {
    let mut parts = Parts::default();
    match json.kind() {
        Kind::String => {
            let text = json.text();
            parts.push(Part {
                at: text.at(),
                kind: PartKind::Text {
                    text,
                    signature: None,
                },
            });
        }
        Kind::Array => json.array(|json| read_block(json, place, owns, &mut parts)),
        kind => {
            let at = json.at();
            let expected = "a string or an array";
            json.fail(at, Wrong::Type { expected, kind });
            json.skip();
        }
    }
    parts
}

fn read_block<'a>(json: &mut Reader<'a>, place: Place, owns: &mut Vec<Own>, parts: &mut Parts<'a>) {
    let at = json.at();
    let Some(kind) = json.look("type") else {
        // What is no object is told as such.
        json.object(|json, _| json.skip());
        json.fail(at, Wrong::Missing { member: "type" });
        return;
    };
    let kind = match (&*kind.decode(), place) {
        ("text", _) => read_text(json, owns),
        (_, Place::System) => {
            let expected = "`text`: the system says nothing else";
            json.fail(kind.at(), Wrong::Value { expected });
            return json.skip();
        }
        ("image", _) => {
            let media = read_media(json, false, owns);
            media.map_or(PartKind::Own, |(media, _)| PartKind::Image(Box::new(media)))
        }
        ("document", _) => {
            let media = read_media(json, true, owns);
            media.map_or(PartKind::Own, |(media, name)| PartKind::File {
                media: Box::new(media),
                name,
            })
        }
        ("thinking", Place::Assistant) => match read_thinking(json, owns) {
            // A signature of the text before it, which its provider signs and this dialect does not.
            Reasoned {
                text,
                signature: Some(signature),
                ..
            } if text.is_empty() && signature.of == Dialect::Gemini => {
                return sign(signature, at, parts);
            }
            reasoned => PartKind::Reasoning(Box::new(reasoned)),
        },
        ("redacted_thinking", Place::Assistant) => read_redacted(json, owns),
        ("tool_use", Place::Assistant) => read_call(json, owns),
        ("tool_result", Place::User) => read_result(json, owns),
        ("thinking" | "redacted_thinking" | "tool_use", _) => {
            let expected = "a block that stands here: only an assistant thinks or calls";
            json.fail(kind.at(), Wrong::Value { expected });
            return json.skip();
        }
        ("tool_result", _) => {
            let expected = "a block that stands here: results are the user's";
            json.fail(kind.at(), Wrong::Value { expected });
            return json.skip();
        }
        _ => {
            json.skip();
            PartKind::Own
        }
    };
    parts.push(Part { kind, at });
}

fn sign<'a>(signed: Signature<'a>, at: usize, parts: &mut Parts<'a>) {
    if let Some(PartKind::Text { signature, .. }) = parts.last_mut().map(|part| &mut part.kind)
        && signature.is_none()
    {
        *signature = Some(signed);
        return;
    }
    parts.push(Part {
        at,
        kind: PartKind::Text {
            text: Text::default().placed(at),
            signature: Some(signed),
        },
    });
}

fn read_text<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let mut text = None;
    json.object(|json, name| match name {
        "type" => json.skip(),
        "text" => text = Some(json.text()),
        // Of what was said before.
        "cache_control" | "citations" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    PartKind::Text {
        text: need(json, text, at, "text"),
        signature: None,
    }
}

fn read_media<'a>(
    json: &mut Reader<'a>,
    document: bool,
    owns: &mut Vec<Own>,
) -> Option<(crate::convert::model::Media<'a>, Option<Text<'a>>)> {
    let at = json.at();
    let (mut source, mut title) = (None, None);
    json.object(|json, name| match name {
        "type" => json.skip(),
        "source" => source = Some(read_source(json, document, owns)),
        "title" if document => title = json.text_or_null(),
        "citations" if document => read_citations(json, owns),
        "cache_control" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    if source.is_none() {
        json.fail(at, Wrong::Missing { member: "source" });
    }
    source.flatten().map(|media| (media, title))
}

/// Whether a document is to be quoted from.
fn read_citations<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) {
    if json.null() {
        return;
    }
    json.object(|json, name| match name {
        "enabled" => unless("false", json, owns),
        _ => own(json, Weight::Matters, owns),
    });
}

fn read_thinking<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> Reasoned<'a> {
    let at = json.at();
    let (mut text, mut signed) = (None, None);
    json.object(|json, name| match name {
        "type" => json.skip(),
        "thinking" => text = Some(json.text()),
        "signature" => signed = Some(json.text()),
        "cache_control" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    Reasoned {
        text: need(json, text, at, "thinking"),
        signature: signature::read(need(json, signed, at, "signature")),
        redacted: None,
    }
}

fn read_redacted<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let mut data = None;
    json.object(|json, name| match name {
        "type" => json.skip(),
        "data" => data = Some(json.text()),
        "cache_control" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    PartKind::Reasoning(Box::new(Reasoned {
        redacted: Some(need(json, data, at, "data")),
        ..Reasoned::default()
    }))
}

fn read_call<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut id, mut called, mut input) = (None, None, None);
    json.object(|json, name| match name {
        "type" => json.skip(),
        "id" => id = Some(json.text()),
        "name" => called = Some(json.text()),
        "input" => input = Some(json.raw_object()),
        "caller" => read_caller(json, owns),
        "cache_control" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    if input.is_none() {
        json.fail(at, Wrong::Missing { member: "input" });
    }
    let (id, signature) = split(&need(json, id, at, "id"));
    PartKind::Call(Box::new(Call {
        id: Some(id),
        name: need(json, called, at, "name"),
        arguments: Arguments::Object(input.unwrap_or_default()),
        signature,
    }))
}

/// Who called: the model, unless a server tool did.
fn read_caller<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) {
    let direct = json
        .look("type")
        .is_some_and(|kind| kind.decode() == "direct");
    if direct {
        json.skip();
    } else {
        own(json, Weight::Matters, owns);
    }
}

fn read_result<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut id, mut content, mut failed) = (None, Parts::default(), false);
    json.object(|json, name| match name {
        "type" => json.skip(),
        "tool_use_id" => id = Some(json.text()),
        "content" if json.null() => {}
        "content" => content = read_content(json, Place::Result, owns),
        "is_error" => failed = json.bool_or_null().unwrap_or(false),
        "cache_control" => own(json, Weight::Hint, owns),
        _ => own(json, Weight::Matters, owns),
    });
    // The signature came with the call as well.
    let (id, _) = split(&need(json, id, at, "tool_use_id"));
    PartKind::Result(Box::new(Outcome {
        id: Some(id),
        name: None,
        content: Content::Parts(content.into()),
        failed,
    }))
}

/// A member that the object at `at` must have.
pub(super) fn need<'a>(
    json: &mut Reader<'a>,
    value: Option<Text<'a>>,
    at: usize,
    member: &'static str,
) -> Text<'a> {
    value.unwrap_or_else(|| {
        json.fail(at, Wrong::Missing { member });
        Text::default()
    })
}
