//! Messages of a request, written.

use crate::convert::{
    model::{Arguments, Call, Content, Media, Message, Outcome, Part, PartKind, Role, Source},
    notes::Notes,
    text::Text,
    write::Writer,
};

/// Writes what a message becomes: one, several, or none if nothing of it can be said.
pub(super) fn write(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    match message.role {
        Role::System => write_system(message, notes, to),
        Role::User => write_user(message, notes, to),
        Role::Assistant => write_assistant(message, notes, to),
    }
}

fn write_system(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    let texts = texts(&message.parts, notes, "the system says text");
    if !texts.is_empty() {
        to.object(|to| {
            to.name("role").str("system");
            write_name(message, to);
            write_texts(&texts, to.name("content"));
        });
    }
}

/// First the results, each a message of its own, since they belong to the calls before them.
fn write_user(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    let mut parts = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match &part.kind {
            PartKind::Result(outcome) => write_result(outcome, part.at, notes, to),
            _ => parts.push(part),
        }
    }
    if parts.is_empty() && !message.parts.is_empty() {
        return;
    }
    to.object(|to| {
        to.name("role").str("user");
        write_name(message, to);
        to.name("content");
        match parts.as_slice() {
            [
                Part {
                    kind: PartKind::Text { text, .. },
                    ..
                },
            ] => to.text(text),
            parts => to.array(|to| {
                for part in parts {
                    write_part(part, notes, to);
                }
            }),
        }
    });
}

fn write_result(outcome: &Outcome<'_>, at: usize, notes: &mut Notes, to: &mut Writer<'_>) {
    let failed = Text::plain("Error: ");
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
                let mut texts = texts(parts, notes, "the result of a tool is text");
                if outcome.failed {
                    // It has no member for it, and the model is to know.
                    match texts.as_slice() {
                        [] => to.str("Error"),
                        [text] => to.pieces([&failed, *text]),
                        _ => {
                            texts.insert(0, &failed);
                            write_texts(&texts, to);
                        }
                    }
                } else {
                    write_texts(&texts, to);
                }
            }
        }
    });
}

fn write_assistant(message: &Message<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    let (mut texts, mut refusals, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for part in &message.parts {
        match &part.kind {
            PartKind::Text { text, signature } => {
                if let Some(signature) = signature {
                    notes.leave_out(signature.value.at());
                }
                texts.push(text);
            }
            PartKind::Refusal(text) => refusals.push(text),
            PartKind::Call(call) => calls.push(call),
            // Whoever wants it back is another provider.
            PartKind::Reasoning(_) => notes.leave_out(part.at),
            PartKind::Own => notes.unfit(part.at, "it has no such part"),
            _ => notes.unfit(part.at, "the assistant says text and calls tools"),
        }
    }
    if texts.is_empty() && refusals.is_empty() && calls.is_empty() {
        return;
    }
    to.object(|to| {
        to.name("role").str("assistant");
        write_name(message, to);
        to.name("content");
        if texts.is_empty() {
            to.null();
        } else {
            write_texts(&texts, to);
        }
        if !refusals.is_empty() {
            to.name("refusal").pieces(refusals.iter().copied());
        }
        if !calls.is_empty() {
            to.name("tool_calls").array(|to| {
                for (n, call) in calls.iter().enumerate() {
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

/// The texts of the parts; the rest is unfit for this reason.
fn texts<'p, 'a>(parts: &'p [Part<'a>], notes: &mut Notes, why: &'static str) -> Vec<&'p Text<'a>> {
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match &part.kind {
            PartKind::Text { text, .. } => texts.push(text),
            _ => notes.unfit(part.at, why),
        }
    }
    texts
}

/// Writes a string where it is one, or parts.
fn write_texts(texts: &[&Text<'_>], to: &mut Writer<'_>) {
    match texts {
        [] => to.str(""),
        [text] => to.text(text),
        texts => to.array(|to| texts.iter().for_each(|text| write_text(text, to))),
    }
}

fn write_text(text: &Text<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("type").str("text");
        to.name("text").text(text);
    });
}
