//! Messages of a request, written.

use std::iter;

use crate::convert::{
    model::{Arguments, Call, Content, Media, Message, Outcome, Part, PartKind, Role, Source},
    notes::Notes,
    text::Text,
    write::Writer,
};

/// What stands before the result of a tool that failed.
static FAILED: Text<'static> = Text::plain("Error: ");

/// Writes what a message becomes: one, several, or none if nothing of it can be said.
pub(super) fn write(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    match message.role {
        Role::System => write_system(message, notes, to),
        Role::User => write_user(message, notes, to),
        Role::Assistant => write_assistant(message, notes, to),
    }
}

fn write_system(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    check_texts(&message.parts, notes, "the system says text");
    let texts = texts(&message.parts);
    if texts.clone().next().is_some() {
        to.object(|to| {
            to.name("role").str("system");
            write_name(message, to);
            write_texts(texts, to.name("content"));
        });
    }
}

/// First the results, each a message of its own, since they belong to the calls before them.
fn write_user(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    for part in message.parts.iter() {
        if let PartKind::Result(outcome) = &part.kind {
            write_result(outcome, part.at, notes, to);
        }
    }
    let is_result = |part: &&Part<'_>| matches!(part.kind, PartKind::Result(_));
    let parts = message.parts.iter().filter(|part| !is_result(part));
    let mut first = parts.clone();
    let first = (first.next(), first.next());
    if first.0.is_none() && !message.parts.is_empty() {
        return;
    }
    to.object(|to| {
        to.name("role").str("user");
        write_name(message, to);
        to.name("content");
        match first {
            (
                Some(Part {
                    kind: PartKind::Text { text, .. },
                    ..
                }),
                None,
            ) => to.text(text),
            _ => to.array(|to| {
                for part in parts {
                    write_part(part, notes, to);
                }
            }),
        }
    });
}

fn write_result(outcome: &Outcome<'_>, at: usize, notes: &mut Notes, to: &mut Writer<'_>) {
    let Some(id) = &outcome.id else {
        return notes.unfit(at, "a result belongs to a call by its id");
    };
    to.object(|to| {
        to.name("role").str("tool");
        to.name("tool_call_id").text(id);
        to.name("content");
        match &outcome.content {
            Content::Object(object) => to.quoted(object),
            Content::Parts(parts) => {
                check_texts(parts, notes, "the result of a tool is text");
                let texts = texts(parts);
                if outcome.failed {
                    // It has no member for it, and the model is to know.
                    let mut first = texts.clone();
                    match (first.next(), first.next()) {
                        (None, _) => to.str("Error"),
                        (Some(text), None) => to.pieces([&FAILED, text]),
                        _ => write_texts(iter::once(&FAILED).chain(texts), to),
                    }
                } else {
                    write_texts(texts, to);
                }
            }
        }
    });
}

fn write_assistant(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    let mut says = false;
    for part in message.parts.iter() {
        match &part.kind {
            PartKind::Text { signature, .. } => {
                if let Some(signature) = signature {
                    notes.leave_out(signature.value.at());
                }
                says = true;
            }
            PartKind::Refusal(_) | PartKind::Call(_) => says = true,
            // Whoever wants it back is another provider.
            PartKind::Reasoning(_) => notes.leave_out(part.at),
            PartKind::Own => notes.unfit(part.at, "it has no such part"),
            _ => notes.unfit(part.at, "the assistant says text and calls tools"),
        }
    }
    if !says {
        return;
    }
    let texts = texts(&message.parts);
    let refusals = message.parts.iter().filter_map(|part| match &part.kind {
        PartKind::Refusal(text) => Some(text),
        _ => None,
    });
    let calls = message.parts.iter().filter_map(|part| match &part.kind {
        PartKind::Call(call) => Some(call),
        _ => None,
    });
    to.object(|to| {
        to.name("role").str("assistant");
        write_name(message, to);
        to.name("content");
        if texts.clone().next().is_none() {
            to.null();
        } else {
            write_texts(texts, to);
        }
        if refusals.clone().next().is_some() {
            to.name("refusal").pieces(refusals);
        }
        if calls.clone().next().is_some() {
            to.name("tool_calls").array(|to| {
                for (n, call) in calls.enumerate() {
                    write_call(call, n, to);
                }
            });
        }
    });
}

fn write_call(call: &Call<'_>, n: usize, to: &mut Writer<'_>) {
    to.object(|to| {
        match &call.id {
            Some(id) => to.name("id").text(id),
            None => to.name("id").text(&Text::of(&format!("call_{n}"))),
        }
        to.name("type").str("function");
        to.name("function").object(|to| {
            to.name("name").text(&call.name);
            write_arguments(&call.arguments, to.name("arguments"));
        });
    });
}

pub(in crate::convert::openai) fn write_arguments(arguments: &Arguments<'_>, to: &mut Writer<'_>) {
    match arguments {
        Arguments::Object(object) => to.quoted(object),
        Arguments::Written(text) if text.is_empty() => to.str("{}"),
        Arguments::Written(text) => to.text(text),
    }
}

fn write_part(part: &Part<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    match &part.kind {
        PartKind::Text { text, .. } => write_text(text, to),
        PartKind::Image(media) => write_image(media, part.at, notes, to),
        PartKind::Audio(media) => write_audio(media, part.at, notes, to),
        PartKind::File { media, name } => write_file(media, name.as_ref(), part.at, notes, to),
        PartKind::Own => notes.unfit(part.at, "it has no such part"),
        _ => notes.unfit(part.at, "the user does not say this"),
    }
}

fn write_image(media: &Media<'_>, at: usize, notes: &mut Notes, to: &mut Writer<'_>) {
    if let Source::Uploaded(id) = &media.source {
        return notes.unfit(id.at().max(at), "it takes an image by its URL or in base64");
    }
    to.object(|to| {
        to.name("type").str("image_url");
        to.name("image_url").object(|to| {
            to.name("url");
            match &media.source {
                Source::Data { mime, data } => write_data(mime, data, to),
                Source::Url { url, .. } | Source::Uploaded(url) => to.text(url),
            }
            if let Some(detail) = &media.detail {
                to.name("detail").text(detail);
            }
        });
    });
}

fn write_audio(media: &Media<'_>, at: usize, notes: &mut Notes, to: &mut Writer<'_>) {
    let Source::Data { mime, data } = &media.source else {
        return notes.unfit(at, "it takes audio in base64");
    };
    let format = match &*mime.decode() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
        "audio/mp3" | "audio/mpeg" => "mp3",
        _ => return notes.unfit(at, "it takes audio as WAV or MP3"),
    };
    to.object(|to| {
        to.name("type").str("input_audio");
        to.name("input_audio").object(|to| {
            to.name("data").text(data);
            to.name("format").str(format);
        });
    });
}

fn write_file(
    media: &Media<'_>,
    name: Option<&Text<'_>>,
    at: usize,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    let Source::Data { mime, data } = &media.source else {
        return notes.unfit(at, "it takes a file in base64");
    };
    to.object(|to| {
        to.name("type").str("file");
        to.name("file").object(|to| {
            match name {
                Some(name) => to.name("filename").text(name),
                // It must have one, and takes the type from it.
                None if *mime.decode() == *"application/pdf" => {
                    to.name("filename").str("file.pdf");
                }
                None => to.name("filename").str("file"),
            }
            write_data(mime, data, to.name("file_data"));
        });
    });
}

/// Writes a `data:` URL.
pub(in crate::convert::openai) fn write_data(
    mime: &Text<'_>,
    data: &Text<'_>,
    to: &mut Writer<'_>,
) {
    let (scheme, base64) = (Text::plain("data:"), Text::plain(";base64,"));
    to.pieces([&scheme, mime, &base64, data]);
}

fn write_name(message: &Message<'_>, to: &mut Writer<'_>) {
    if let Some(name) = &message.name {
        to.name("name").text(name);
    }
}

/// What is no text is unfit for this reason.
fn check_texts(parts: &[Part<'_>], notes: &mut Notes, why: &'static str) {
    for part in parts {
        if !matches!(part.kind, PartKind::Text { .. }) {
            notes.unfit(part.at, why);
        }
    }
}

/// The texts of the parts.
fn texts<'p>(parts: &'p [Part<'p>]) -> impl Iterator<Item = &'p Text<'p>> + Clone {
    parts.iter().filter_map(|part| match &part.kind {
        PartKind::Text { text, .. } => Some(text),
        _ => None,
    })
}

/// Writes a string where it is one, or parts.
fn write_texts<'t>(mut texts: impl Iterator<Item = &'t Text<'t>> + Clone, to: &mut Writer<'_>) {
    let all = texts.clone();
    match (texts.next(), texts.next()) {
        (None, _) => to.str(""),
        (Some(text), None) => to.text(text),
        _ => to.array(|to| all.for_each(|text| write_text(text, to))),
    }
}

fn write_text(text: &Text<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("text");
        to.name("text").text(text);
    });
}
