use super::{hint, members, text_part, unknown};
use crate::{
    convert::{
        error::Wrong,
        model::{Media, Own, Part, PartKind, Source},
        parts::Parts,
        read::Reader,
        text::Text,
    },
    json::Kind,
};

/// Takes a string, or an array of parts.
pub(in crate::convert::openai) fn read<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Parts<'a> {
    if json.kind() != Kind::Array {
        return text_part(json.text()).into();
    }
    let mut parts = Parts::default();
    json.array(|json| {
        if let Some(part) = read_part(json, own) {
            parts.push(part);
        }
    });
    parts
}

fn read_part<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Option<Part<'a>> {
    let at = json.at();
    let Some(tag) = json.tag("type") else {
        json.skip();
        return None;
    };
    let member = match &*tag.decode() {
        "text" => "text",
        "refusal" => "refusal",
        "image_url" => "image_url",
        "input_audio" => "input_audio",
        "file" => "file",
        _ => {
            json.skip();
            let kind = PartKind::Own;
            return Some(Part { kind, at });
        }
    };
    let mut kind = None;
    members(json, |json, name| match name {
        "type" => json.skip(),
        _ if name == member => {
            kind = Some(match name {
                "text" => text_part(json.text()).kind,
                "refusal" => PartKind::Refusal(json.text()),
                "image_url" => read_image(json, own),
                "input_audio" => read_audio(json, own),
                _ => read_file(json, own),
            });
        }
        // Where a provider is to cache what comes before; the second is Anthropic's name for it.
        "prompt_cache_breakpoint" | "cache_control" => {
            own.push(hint(json.at()));
            json.skip();
        }
        _ => unknown(json, own),
    });
    if kind.is_none() {
        json.fail(at, Wrong::Missing { member });
    }
    kind.map(|kind| Part { kind, at })
}

fn read_image<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut url, mut detail) = (None, None);
    members(json, |json, name| match name {
        "url" => url = Some(json.text()),
        "detail" => {
            let word = json.text();
            match &*word.decode() {
                "auto" => {}
                "low" | "high" | "original" => detail = Some(word),
                _ => {
                    let expected = "`auto`, `low`, `high` or `original`";
                    json.fail(word.at(), Wrong::Value { expected });
                }
            }
        }
        _ => unknown(json, own),
    });
    if url.is_none() {
        json.fail(at, Wrong::Missing { member: "url" });
    }
    let url = url.unwrap_or_default();
    let source = if is_data(&url) {
        read_data(&url, json)
    } else {
        Source::Url { mime: None, url }
    };
    PartKind::Image(Box::new(Media { source, detail }))
}

fn read_audio<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut data, mut mime) = (None, None);
    members(json, |json, name| match name {
        "data" => data = Some(json.text()),
        "format" => {
            let format = json.text();
            mime = match &*format.decode() {
                "wav" => Some(Text::plain("audio/wav")),
                // As Gemini names it, who alone takes it besides.
                "mp3" => Some(Text::plain("audio/mp3")),
                _ => {
                    let expected = "`wav` or `mp3`";
                    json.fail(format.at(), Wrong::Value { expected });
                    None
                }
            };
        }
        _ => unknown(json, own),
    });
    for (is_there, member) in [(data.is_some(), "data"), (mime.is_some(), "format")] {
        if !is_there {
            json.fail(at, Wrong::Missing { member });
        }
    }
    let source = Source::Data {
        mime: mime.unwrap_or_default(),
        data: data.unwrap_or_default(),
    };
    let detail = None;
    PartKind::Audio(Box::new(Media { source, detail }))
}

fn read_file<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut data, mut id, mut file_name) = (None, None, None);
    members(json, |json, name| match name {
        "file_data" => data = Some(json.text()),
        "file_id" => id = Some(json.text()),
        "filename" => file_name = Some(json.text()),
        _ => unknown(json, own),
    });
    let source = match (data, id) {
        (Some(_), Some(id)) => {
            let expected = "absent beside `file_data`";
            json.fail(id.at(), Wrong::Value { expected });
            Source::Uploaded(id)
        }
        (None, Some(id)) => Source::Uploaded(id),
        (Some(data), None) => read_data(&data, json),
        (None, None) => {
            let member = "file_data";
            json.fail(at, Wrong::Missing { member });
            Source::Uploaded(Text::default())
        }
    };
    PartKind::File {
        media: Box::new(Media {
            source,
            detail: None,
        }),
        name: file_name,
    }
}

fn is_data(url: &Text<'_>) -> bool {
    let url = url.written().as_bytes();
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"data:"))
}

/// What a `data:` URL holds.
fn read_data<'a>(url: &Text<'a>, json: &mut Reader<'a>) -> Source<'a> {
    let split = is_data(url).then(|| url.split_once(',')).flatten();
    if let Some((before, data)) = split {
        let before = before.decode();
        let mut parameters = before[5..].split(';');
        let mime = parameters.next().unwrap_or_default();
        if mime.contains('/') && parameters.next_back() == Some("base64") {
            let mime = Text::of(mime);
            return Source::Data { mime, data };
        }
    }
    let expected = "a base64 `data:` URL that says its type, such as `data:image/png;base64,…`";
    json.fail(url.at(), Wrong::Value { expected });
    Source::Data {
        mime: Text::default(),
        data: Text::default(),
    }
}
