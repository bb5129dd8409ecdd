use crate::{
    convert::{
        error::Wrong,
        gemini::{
            media::{read_file, read_inline},
            part::read_call,
            signature::{self, Signed},
        },
        model::{Content, Outcome, Own, Part, PartKind, Reasoned, Signature},
        own::{hint, matters, unknown},
        read::{Names, Reader},
        text::{Raw, Text},
    },
    json::Kind,
};

/// Reads a part of a turn: what it holds, and what is said of it.
pub(super) fn read_part<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Part<'a> {
    let at = json.at();
    let (mut held, mut thought, mut signed) = (None, false, None);
    let mut strange = false;
    json.object_in_any_case(|json, name| {
        let at = json.at();
        if json.null() {
            return;
        }
        let kind = match name {
            "text" => PartKind::Text {
                text: json.text(),
                signature: None,
            },
            "inlineData" => read_inline(json, own),
            "fileData" => read_file(json, own),
            "functionCall" => PartKind::Call(Box::new(read_call(json, |json| unknown(json, own)))),
            "functionResponse" => PartKind::Result(Box::new(read_result(json, own))),
            "executableCode" | "codeExecutionResult" | "toolCall" | "toolResponse" => {
                json.skip();
                PartKind::Own
            }
            "thought" => {
                thought = json.bool();
                return;
            }
            "thoughtSignature" => {
                signed = Some(json.text()).filter(|signature| !signature.is_empty());
                return;
            }
            // How closely to look, and what the caller notes for itself.
            "mediaResolution" | "partMetadata" => {
                json.skip();
                own.push(hint(at));
                return;
            }
            _ => {
                json.skip();
                own.push(matters(at));
                strange = true;
                return;
            }
        };
        if held.replace(kind).is_some() {
            let expected = "the only data of its part";
            json.fail(at, Wrong::Value { expected });
        }
    });
    let kind = match (held, signed) {
        (Some(kind), None) if !thought => kind,
        (Some(kind), signed) => sign(kind, thought, signed, own),
        // At the end of a stream a signature comes alone.
        (None, Some(signed)) => {
            let text = Text::default();
            let signature = None;
            sign(
                PartKind::Text { text, signature },
                thought,
                Some(signed),
                own,
            )
        }
        (None, None) => {
            if !strange {
                json.fail(at, Wrong::Missing { member: "text" });
            }
            PartKind::Own
        }
    };
    Part { kind, at }
}

/// Makes a part one of thought, if it is, with its signature.
fn sign<'a>(
    mut kind: PartKind<'a>,
    thought: bool,
    signed: Option<Text<'a>>,
    own: &mut Vec<Own>,
) -> PartKind<'a> {
    let at = signed.as_ref().map(Text::at);
    let (by, redacted): (Option<Signature<'a>>, _) = match signed.map(signature::read) {
        None => (None, None),
        Some(Signed::By(by)) => (Some(by), None),
        Some(Signed::Redacted(data)) => (None, Some(data)),
    };
    match &mut kind {
        PartKind::Text { text, .. } if thought || redacted.is_some() => {
            return PartKind::Reasoning(Box::new(Reasoned {
                text: std::mem::take(text),
                signature: by,
                redacted,
            }));
        }
        PartKind::Text { signature, .. } => *signature = by,
        PartKind::Call(call) => call.signature = by,
        // Of an image that it made: nobody else could check it.
        _ => own.extend(at.map(hint)),
    }
    kind
}

fn read_result<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Outcome<'a> {
    let at = json.at();
    let (mut id, mut name, mut response, mut media) = (None, None, None, Vec::new());
    json.object_in_any_case(|json, member| match member {
        _ if json.null() => {}
        "id" => id = json.text_or_null().filter(|id| !id.is_empty()),
        "name" => name = json.text_or_null(),
        "response" => response = (!json.null()).then(|| json.raw_object()),
        "parts" => json.array(|json| media.push(read_medium(json, own))),
        // It says when the result of a call is heard that nobody waited for.
        "willContinue" if json.kind() == Kind::Bool => {
            let at = json.at();
            if json.bool() {
                own.push(matters(at));
            }
        }
        _ => unknown(json, own),
    });
    if name.is_none() {
        json.fail(at, Wrong::Missing { member: "name" });
    }
    let Some(response) = response else {
        json.fail(at, Wrong::Missing { member: "response" });
        return Outcome {
            id,
            name,
            content: Content::Parts(media),
            failed: false,
        };
    };
    let (content, failed) = said(json.whole(), response, media);
    Outcome {
        id,
        name,
        content,
        failed,
    }
}

/// Reads a part of a result, which is bytes.
fn read_medium<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Part<'a> {
    let at = json.at();
    let mut held = None;
    json.object_in_any_case(|json, name| match name {
        _ if json.null() => {}
        "inlineData" => held = Some(read_inline(json, own)),
        "fileData" => held = Some(read_file(json, own)),
        _ => unknown(json, own),
    });
    if held.is_none() {
        json.fail(
            at,
            Wrong::Missing {
                member: "inlineData",
            },
        );
    }
    let kind = held.unwrap_or(PartKind::Own);
    Part { kind, at }
}

/// What a tool said: the text, if an object holds nothing else by the names that are usual for it,
/// and whether that is an error.
fn said<'a>(whole: &'a str, response: Raw<'a>, media: Vec<Part<'a>>) -> (Content<'a>, bool) {
    let at = response.at();
    let written = whole.get(at..at + response.written().len());
    let (mut members, mut text, mut failed) = (0_usize, None, false);
    let mut json = Reader::new(written.unwrap_or_default(), Names::Any);
    json.object(|json, name| {
        members += 1;
        failed = name == "error";
        match (name, json.kind()) {
            ("result" | "output" | "error", Kind::String) => text = Some(json.text().placed(at)),
            _ => json.skip(),
        }
    });
    failed &= members == 1;
    let text = text.filter(|_| members == 1);
    let text = match text {
        None if media.is_empty() => return (Content::Object(response), failed),
        // There is room for an object or for parts.
        None if members > 0 => Some(Text::of(response.written()).placed(at)),
        text => text,
    };
    let text = text.map(|text| Part {
        kind: PartKind::Text {
            text,
            signature: None,
        },
        at,
    });
    (
        Content::Parts(text.into_iter().chain(media).collect()),
        failed,
    )
}
