//! Where the bytes of an image or a document are.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::own::own;
use crate::convert::{
    error::Wrong,
    model::{Media, Own, Source, Weight},
    notes::Notes,
    read::Reader,
    text::Text,
    write::Writer,
};

/// The kinds of images that the API takes.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

const PDF: &str = "application/pdf";
const PLAIN: &str = "text/plain";

/// Takes a `source`. `None`: it is one that no other dialect has.
pub(super) fn read_source<'a>(
    json: &mut Reader<'a>,
    document: bool,
    owns: &mut Vec<Own>,
) -> Option<Media<'a>> {
    let at = json.at();
    let Some(kind) = json.look("type") else {
        json.fail(at, Wrong::Missing { member: "type" });
        json.skip();
        return None;
    };
    let (mut mime, mut data, mut url, mut id) = (None, None, None, None);
    let said = kind.decode();
    match (&*said, document) {
        ("base64" | "url" | "file", _) | ("text", true) => {}
        ("content", true) => {
            json.skip();
            return None;
        }
        _ => {
            let expected = if document {
                "`base64`, `text`, `url`, `file` or `content`"
            } else {
                "`base64`, `url` or `file`"
            };
            json.fail(kind.at(), Wrong::Value { expected });
            json.skip();
            return None;
        }
    }
    json.object(|json, name| match name {
        "type" => json.skip(),
        "media_type" => mime = json.text_or_null(),
        "data" => data = Some(json.text()),
        "url" => url = Some(json.text()),
        "file_id" => id = Some(json.text()),
        _ => own(json, Weight::Matters, owns),
    });
    let mut need = |value: Option<Text<'a>>, member| {
        if value.is_none() {
            json.fail(at, Wrong::Missing { member });
        }
        value.unwrap_or_default()
    };
    let source = match &*said {
        "url" => Source::Url {
            mime: None,
            url: need(url, "url"),
        },
        "file" => Source::Uploaded(need(id, "file_id")),
        "text" => {
            let text = need(data, "data");
            let encoded = STANDARD.encode(&*text.decode());
            Source::Data {
                mime: Text::plain(PLAIN).placed(at),
                data: Text::of(&encoded).placed(text.at()),
            }
        }
        _ => Source::Data {
            mime: need(mime, "media_type"),
            data: need(data, "data"),
        },
    };
    Some(Media {
        source,
        detail: None,
    })
}

/// Whether an image can be said, and a note if not.
pub(super) fn check_image(media: &Media<'_>, notes: &mut Notes) {
    match &media.source {
        Source::Data { mime, .. } => {
            if !IMAGES.contains(&image_type(&mime.decode())) {
                notes.unfit(mime.at(), "it takes images as JPEG, PNG, GIF or WebP");
            }
        }
        Source::Url { .. } => {}
        Source::Uploaded(id) => uploaded(id, notes),
    }
    if let Some(detail) = media
        .detail
        .as_ref()
        .filter(|detail| detail.decode() != "auto")
    {
        notes.leave_out(detail.at());
    }
}

/// Whether a document can be said, and a note if not.
pub(super) fn check_document(media: &Media<'_>, notes: &mut Notes) {
    match &media.source {
        Source::Data { mime, data } => match &*mime.decode() {
            PDF => {}
            PLAIN => {
                if plain(data).is_none() {
                    notes.fail(
                        data.at(),
                        Wrong::Value {
                            expected: "base64 of a text in UTF-8",
                        },
                    );
                }
            }
            _ => notes.unfit(mime.at(), "it takes documents as PDF or plain text"),
        },
        Source::Url { mime, .. } => {
            if let Some(mime) = mime.as_ref().filter(|mime| mime.decode() != PDF) {
                notes.unfit(mime.at(), "it takes a document at a URL as PDF alone");
            }
        }
        Source::Uploaded(id) => uploaded(id, notes),
    }
}

fn uploaded(id: &Text<'_>, notes: &mut Notes) {
    notes.unfit(
        id.at(),
        "what was uploaded to another provider is not there",
    );
}

/// Writes a source that was checked.
pub(super) fn write_source(source: &Source<'_>, to: &mut Writer<'_>) {
    to.name("source").object(|to| match source {
        Source::Data { mime, data } => {
            let mime = mime.decode();
            if let Some(text) = (*mime == *PLAIN).then(|| plain(data)).flatten() {
                to.name("type").str("text");
                to.name("media_type").str(PLAIN);
                to.name("data").text(&Text::of(&text));
                return;
            }
            to.name("type").str("base64");
            to.name("media_type").text(&Text::of(image_type(&mime)));
            to.name("data").text(data);
        }
        Source::Url { url, .. } => {
            to.name("type").str("url");
            to.name("url").text(url);
        }
        Source::Uploaded(id) => {
            to.name("type").str("file");
            to.name("file_id").text(id);
        }
    });
}

/// The name that is registered, for one that is often written.
fn image_type(mime: &str) -> &str {
    match mime {
        "image/jpg" => "image/jpeg",
        other => other,
    }
}

fn plain(data: &Text<'_>) -> Option<String> {
    String::from_utf8(STANDARD.decode(&*data.decode()).ok()?).ok()
}
