use std::borrow::Cow;

use crate::{
    Dialect,
    convert::{
        context::Context,
        model::{Candidate, Finish, Part, PartKind, Reasoned, Reply, Signature, Source},
        openai::request::{write_arguments, write_data},
        rest, signature,
        text::Text,
        write::Writer,
    },
};

pub(in crate::convert) fn write_reply(reply: &Reply<'_>, context: &Context, to: &mut Writer<'_>) {
    let mut calls = 0;
    to.object(|to| {
        begins(
            "chat.completion",
            (reply.id.as_ref(), reply.model.as_ref()),
            reply.created.as_ref().map(|created| created.written()),
            context,
            to,
        );
        to.name("choices").array(|to| {
            for candidate in &reply.candidates {
                to.object(|to| write_choice(candidate, context, &mut calls, to));
            }
        });
        if let Some(usage) = &reply.usage {
            super::write_usage(usage, to.name("usage"));
        }
        rest::write(&reply.rest, OWN, to);
    });
}

/// Writes what a reply begins with, and every chunk of one.
pub(in crate::convert::openai) fn begins(
    object: &str,
    (id, model): (Option<&Text<'_>>, Option<&Text<'_>>),
    created: Option<&str>,
    context: &Context,
    to: &mut Writer<'_>,
) {
    match id {
        Some(id) => to.name("id").text(id),
        None => to.name("id").text(&context.reply_id("chatcmpl-")),
    }
    to.name("object").str(object);
    match created {
        Some(created) => to
            .name("created")
            .raw(&crate::convert::text::Raw::new(created, 0)),
        None => to.name("created").count(context.created),
    }
    match model {
        Some(model) => to.name("model").text(model),
        None => to.name("model").str(""),
    }
}

fn write_choice(
    candidate: &Candidate<'_>,
    context: &Context,
    calls: &mut u64,
    to: &mut Writer<'_>,
) {
    to.name("index").count(candidate.index);
    to.name("message")
        .object(|to| write_message(&candidate.parts, context, calls, to));
    match &candidate.logprobs {
        Some(logprobs) => to.name("logprobs").raw(logprobs),
        None => to.name("logprobs").null(),
    }
    match &candidate.finish {
        Some(finish) => write_finish(finish, to),
        None => to.name("finish_reason").null(),
    }
    rest::write(&candidate.rest, OWN_OF_CHOICE, to);
}

fn write_message(parts: &[Part<'_>], context: &Context, calls: &mut u64, to: &mut Writer<'_>) {
    let (mut texts, mut refusals, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut images, mut called, mut proof) = (Vec::new(), Vec::new(), None);
    for part in parts {
        match &part.kind {
            PartKind::Text { text, signature } => {
                texts.push(text);
                proof = signature.as_ref().or(proof);
            }
            PartKind::Refusal(text) => refusals.push(text),
            PartKind::Reasoning(reasoned) => thoughts.push(reasoned),
            PartKind::Call(call) => called.push(call),
            PartKind::Image(media) => images.push(media),
            // Nothing that was asked for is another one: the request would have been unfit.
            _ => {}
        }
    }
    to.name("role").str("assistant");
    pieces_or_null("content", &texts, to);
    pieces_or_null("refusal", &refusals, to);
    if thoughts.iter().any(|thought| !thought.text.is_empty()) {
        to.name("reasoning_content")
            .pieces(thoughts.iter().map(|thought| &thought.text));
    }
    if thoughts.iter().any(|thought| is_anthropics(thought)) {
        to.name("thinking_blocks").array(|to| {
            for thought in &thoughts {
                write_thinking(thought, None, to);
            }
        });
    }
    if let Some(proof) = proof {
        write_proof(proof, to);
    }
    if !images.is_empty() {
        // OpenRouter's place for them; OpenAI has none.
        to.name("images").array(|to| {
            for media in images {
                to.object(|to| {
                    to.name("type").str("image_url");
                    to.name("image_url").object(|to| match &media.source {
                        Source::Data { mime, data } => write_data(mime, data, to.name("url")),
                        Source::Url { url, .. } | Source::Uploaded(url) => {
                            to.name("url").text(url);
                        }
                    });
                });
            }
        });
    }
    if !called.is_empty() {
        to.name("tool_calls").array(|to| {
            for call in called {
                let id = match &call.id {
                    Some(id) => Cow::Borrowed(id),
                    None => Cow::Owned(context.call_id("call_", *calls)),
                };
                *calls += 1;
                to.object(|to| {
                    to.name("id")
                        .text(&signature::join(&id, call.signature.as_ref()));
                    to.name("type").str("function");
                    to.name("function").object(|to| {
                        to.name("name").text(&call.name);
                        write_arguments(&call.arguments, to.name("arguments"));
                    });
                });
            }
        });
    }
}

fn pieces_or_null(name: &str, pieces: &[&Text<'_>], to: &mut Writer<'_>) {
    to.name(name);
    if pieces.is_empty() {
        to.null();
    } else {
        to.pieces(pieces.iter().copied());
    }
}

fn is_anthropics(thought: &Reasoned<'_>) -> bool {
    let signed = thought.signature.as_ref();
    thought.redacted.is_some() || signed.is_some_and(|proof| proof.of == Dialect::Anthropic)
}

/// Writes one of `thinking_blocks`, if Anthropic signed it. In a stream it is numbered: OpenAI's SDK
/// refuses a list in a delta whose elements are not.
pub(in crate::convert::openai) fn write_thinking(
    thought: &Reasoned<'_>,
    index: Option<u64>,
    to: &mut Writer<'_>,
) {
    let number = |to: &mut Writer<'_>| {
        if let Some(index) = index {
            to.name("index").count(index);
        }
    };
    if let Some(data) = &thought.redacted {
        to.object(|to| {
            number(to);
            to.name("type").str("redacted_thinking");
            to.name("data").text(data);
        });
    } else if let Some(proof) = &thought.signature
        && proof.of == Dialect::Anthropic
    {
        to.object(|to| {
            number(to);
            to.name("type").str("thinking");
            to.name("thinking").text(&thought.text);
            to.name("signature").text(&proof.value);
        });
    }
}

/// Writes Gemini's signature of the text, where Google's own endpoint for OpenAI's dialect has it.
pub(in crate::convert::openai) fn write_proof(proof: &Signature<'_>, to: &mut Writer<'_>) {
    if proof.of == Dialect::Gemini {
        to.name("extra_content").object(|to| {
            to.name("google")
                .object(|to| to.name("thought_signature").text(&proof.value));
        });
    }
}

/// What `finish_reason` says.
const fn finish_word(finish: &Finish<'_>) -> &'static str {
    match finish {
        Finish::Stop | Finish::Sequence(_) | Finish::Paused | Finish::Other(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// Writes why it ended; and what OpenAI has no word for, beside it.
pub(in crate::convert::openai) fn write_finish(finish: &Finish<'_>, to: &mut Writer<'_>) {
    to.name("finish_reason").str(finish_word(finish));
    match finish {
        Finish::Sequence(Some(stop)) => to.name("stop_reason").text(stop),
        Finish::Paused => to.name("native_finish_reason").str("pause_turn"),
        Finish::Other(word) => to.name("native_finish_reason").text(word),
        _ => {}
    }
}

pub(in crate::convert::openai) const OWN: &[&str] =
    &["id", "object", "created", "model", "choices", "usage"];

const OWN_OF_CHOICE: &[&str] = &[
    "index",
    "message",
    "logprobs",
    "finish_reason",
    "stop_reason",
    "native_finish_reason",
];
