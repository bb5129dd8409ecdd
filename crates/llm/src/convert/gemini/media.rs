//! Images, sound and documents.

use crate::convert::{
    error::Wrong,
    model::{Media, Own, PartKind, Source},
    own::unknown,
    read::Reader,
    signature,
    text::Text,
    write::Writer,
};

/// Where the API keeps what is uploaded to it.
const FILES: &str = "https://generativelanguage.googleapis.com/";

/// What a URL ends with, and what is found there. The API tells the rest from what it fetches.
const ENDINGS: [(&str, &str); 18] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("html", "text/html"),
    ("csv", "text/csv"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mp3"),
    ("aiff", "audio/aiff"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
];

/// Reads an `inlineData`: bytes in base64.
pub(super) fn read_inline<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut mime, mut data, mut name) = (None, None, None);
    json.object_in_any_case(|json, member| match member {
        "mimeType" => mime = json.text_or_null(),
        "data" => data = json.text_or_null(),
        "displayName" => name = json.text_or_null(),
        _ => unknown(json, own),
    });
    let Some(mime) = mime else {
        json.fail(at, Wrong::Missing { member: "mimeType" });
        return PartKind::Own;
    };
    let Some(data) = data.map(standard) else {
        json.fail(at, Wrong::Missing { member: "data" });
        return PartKind::Own;
    };
    let said = mime.decode().into_owned();
    part(&said, Source::Data { mime, data }, name)
}

/// Reads a `fileData`: what was uploaded before, or a URL.
pub(super) fn read_file<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> PartKind<'a> {
    let at = json.at();
    let (mut mime, mut url, mut name) = (None, None, None);
    json.object_in_any_case(|json, member| match member {
        "mimeType" => mime = json.text_or_null(),
        "fileUri" => url = json.text_or_null(),
        "displayName" => name = json.text_or_null(),
        _ => unknown(json, own),
    });
    let Some(url) = url else {
        json.fail(at, Wrong::Missing { member: "fileUri" });
        return PartKind::Own;
    };
    let said = match &mime {
        Some(mime) => mime.decode().into_owned(),
        None => mime_of(&url).unwrap_or_default().to_owned(),
    };
    let address = url.decode();
    // A page on which a film is shown, which no other provider watches.
    let film = ["https://www.youtube.com/", "https://youtu.be/"];
    if film.iter().any(|site| address.starts_with(site)) {
        return PartKind::Own;
    }
    let is_url = address.starts_with("https://") || address.starts_with("http://");
    let source = if is_url && !address.starts_with(FILES) {
        Source::Url { mime, url }
    } else {
        Source::Uploaded(url)
    };
    part(&said, source, name)
}

/// The part that a source of this type is.
fn part<'a>(mime: &str, source: Source<'a>, name: Option<Text<'a>>) -> PartKind<'a> {
    let detail = None;
    let media = Box::new(Media { source, detail });
    match mime.split('/').next() {
        Some("image") => PartKind::Image(media),
        Some("audio") => PartKind::Audio(media),
        // Films are its alone.
        Some("video") => PartKind::Own,
        _ => PartKind::File { media, name },
    }
}

/// Writes where the bytes are, as a member of a part.
pub(super) fn write(source: &Source<'_>, to: &mut Writer<'_>) {
    match source {
        Source::Data { mime, data } => to.name("inlineData").object(|to| {
            to.name("mimeType").text(mime);
            to.name("data").text(data);
        }),
        Source::Url { mime, url } => to.name("fileData").object(|to| {
            match (mime, mime_of(url)) {
                (Some(mime), _) => to.name("mimeType").text(mime),
                (None, Some(mime)) => to.name("mimeType").str(mime),
                (None, None) => {}
            }
            to.name("fileUri").text(url);
        }),
        Source::Uploaded(url) => {
            to.name("fileData")
                .object(|to| to.name("fileUri").text(url));
        }
    }
}

/// Why the API cannot be given this, and where that stands.
pub(super) fn unfit(source: &Source<'_>) -> Option<(usize, &'static str)> {
    match source {
        Source::Data { .. } => None,
        Source::Url { url, .. } => {
            let fetched = url.decode().starts_with("https://");
            (!fetched).then_some((url.at(), "it fetches from https URLs alone"))
        }
        Source::Uploaded(id) => {
            let id_of_its_own = id.decode().starts_with(FILES) || id.decode().starts_with("gs://");
            (!id_of_its_own).then_some((id.at(), "it knows no file of another provider"))
        }
    }
}

fn mime_of(url: &Text<'_>) -> Option<&'static str> {
    let url = url.decode();
    let path = url.split(['?', '#']).next()?;
    let (_, name) = path.rsplit_once('/')?;
    let (_, ending) = name.rsplit_once('.')?;
    let found = |(known, _): &&(&str, &str)| known.eq_ignore_ascii_case(ending);
    ENDINGS.iter().find(found).map(|(_, mime)| *mime)
}

/// Base64 in the alphabet that every provider takes.
fn standard(data: Text<'_>) -> Text<'_> {
    if memchr::memchr2(b'-', b'_', data.written().as_bytes()).is_none() {
        return data;
    }
    Text::of(&signature::standard(&data.decode())).placed(data.at())
}
