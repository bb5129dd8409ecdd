use std::mem;

use bytes::{BufMut, BytesMut};

use crate::{
    Dialect,
    convert::{
        context::Context,
        failure,
        gemini::{
            finish,
            part::{write_call, write_signature, write_text, write_thought},
            signature, usage,
        },
        model::{Arguments, Counts, Event, Finish, Signature},
        rest,
        text::Text,
        write::Writer,
    },
};

/// Writes the events of a stream.
#[derive(Debug, Default)]
pub(in crate::convert) struct EventWriter {
    id: Option<Text<'static>>,
    model: Option<Text<'static>>,
    /// In the order in which they began.
    calls: Vec<Pending>,
    /// How many bytes of them there are.
    held: usize,
    finishes: Vec<(u64, Finish<'static>)>,
    usage: Option<Counts<'static>>,
    over: bool,
}

/// A call that may not be whole, since Gemini has no pieces of one.
#[derive(Debug)]
struct Pending {
    candidate: u64,
    call: u64,
    id: Option<Text<'static>>,
    name: Text<'static>,
    signature: Option<Signature<'static>>,
    arguments: Arguments<'static>,
}

/// The most bytes of calls that are held, and the most calls.
const MOST: usize = 4 << 20;
const MOST_CALLS: usize = 1024;

/// The members of a chunk that are written here.
const OURS: [&str; 4] = ["candidates", "usageMetadata", "modelVersion", "responseId"];

// ===== impl EventWriter =====

impl EventWriter {
    /// Gemini has nothing that must be made up.
    pub(in crate::convert) fn new(_: Context) -> Self {
        Self::default()
    }

    /// Writes what one event becomes: frames of the stream, or nothing yet.
    pub(in crate::convert) fn write(&mut self, event: Event<'_>, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, .. } => {
                self.id = id.map(Text::into_owned);
                self.model = model.map(Text::into_owned);
            }
            Event::Text { candidate, text } | Event::Refusal { candidate, text } => {
                self.part(candidate, out, |to| write_text(&text, None, to));
            }
            Event::Reasoning { candidate, text } => {
                self.part(candidate, out, |to| write_thought(&text, None, to));
            }
            Event::Signature {
                candidate,
                signature,
            } => self.signature(candidate, &signature, out),
            Event::Redacted { candidate, data } => {
                if let Some(data) = signature::write_redacted(&data) {
                    self.part(candidate, out, |to| {
                        to.name("text").str("");
                        to.name("thought").bool(true);
                        to.name("thoughtSignature").str(&data);
                    });
                }
            }
            Event::Call {
                candidate,
                call,
                id,
                name,
                signature,
            } => {
                self.hold(name.written().len(), out);
                self.calls.push(Pending {
                    candidate,
                    call,
                    id: id.map(Text::into_owned),
                    name: name.into_owned(),
                    signature: signature.map(|Signature { of, value }| Signature {
                        of,
                        value: value.into_owned(),
                    }),
                    arguments: Arguments::Written(Text::default()),
                });
            }
            Event::Arguments {
                candidate,
                call,
                piece,
            } => {
                self.hold(piece.written().len(), out);
                if let Some(pending) = self.pending(candidate, call)
                    && let Arguments::Written(written) = &mut pending.arguments
                {
                    written.join(&piece);
                }
            }
            Event::Object {
                candidate,
                call,
                arguments,
            } => {
                self.hold(arguments.written().len(), out);
                if let Some(pending) = self.pending(candidate, call) {
                    pending.arguments = Arguments::Object(arguments.into_owned());
                }
                // Behind one that is not whole they wait, for their order.
                let whole = |call: &Pending| matches!(call.arguments, Arguments::Object(_));
                if self.calls.iter().all(whole) {
                    self.calls(candidate, out);
                }
            }
            Event::Finish { candidate, finish } => {
                self.calls(candidate, out);
                self.finishes.retain(|(known, _)| *known != candidate);
                self.finishes.push((candidate, finish.into_owned()));
            }
            Event::Usage(counts) => self.usage = Some(counts.into_owned()),
            Event::Rest(members) => self.frame(out, |to| rest::write(&members, &OURS, to)),
            // Strict clients fail at comments.
            Event::Ping => {}
            Event::Error { of, envelope } => {
                self.fail(&failure::event(of, envelope, Dialect::Gemini), out);
            }
            Event::End => self.end(out),
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        while let Some(candidate) = self.calls.first().map(|call| call.candidate) {
            self.calls(candidate, out);
        }
        if !self.finishes.is_empty() || self.usage.is_some() {
            self.frame(out, |to| {
                to.name("candidates").array(|to| {
                    for (candidate, finish) in &self.finishes {
                        to.object(|to| {
                            // As the API has it: there are clients that look for a part.
                            write_content(to, |to| write_text(&Text::default(), None, to));
                            finish::write(finish, to);
                            to.name("index").count(*candidate);
                        });
                    }
                });
                if let Some(counts) = &self.usage {
                    usage::write(counts, to);
                }
            });
        }
        self.over = true;
    }

    /// Gemini signs text, and Anthropic reasoning.
    fn signature(&self, candidate: u64, signature: &Signature<'_>, out: &mut BytesMut) {
        if signature::write(signature).is_none() {
            return;
        }
        self.part(candidate, out, |to| {
            to.name("text").str("");
            if signature.of != Dialect::Gemini {
                to.name("thought").bool(true);
            }
            write_signature(Some(signature), to);
        });
    }

    fn pending(&mut self, candidate: u64, call: u64) -> Option<&mut Pending> {
        let same = |known: &&mut Pending| known.candidate == candidate && known.call == call;
        // Most pieces are of the last one.
        self.calls.iter_mut().rev().find(same)
    }

    /// Holds so many bytes more, if there is room.
    fn hold(&mut self, more: usize, out: &mut BytesMut) {
        self.held = self.held.saturating_add(more);
        if self.held > MOST || self.calls.len() == MOST_CALLS {
            let message = "the calls of tools in the reply are more than 4 MiB, or than 1024";
            self.fail(&failure::event_of_ours(message, Dialect::Gemini), out);
        }
    }

    fn fail(&mut self, event: &[u8], out: &mut BytesMut) {
        out.put_slice(event);
        self.calls = Vec::new();
        self.over = true;
    }

    /// Writes the calls of a candidate, which are whole.
    fn calls(&mut self, candidate: u64, out: &mut BytesMut) {
        let (whole, others) = mem::take(&mut self.calls)
            .into_iter()
            .partition(|call| call.candidate == candidate);
        self.calls = others;
        if self.calls.is_empty() {
            self.held = 0;
        }
        let whole: Vec<Pending> = whole;
        for call in whole {
            self.part(candidate, out, |to| {
                write_call(call.id.as_ref(), &call.name, &call.arguments, to);
                write_signature(call.signature.as_ref(), to);
            });
        }
    }

    /// Writes a chunk with one part.
    fn part(&self, candidate: u64, out: &mut BytesMut, members: impl FnOnce(&mut Writer<'_>)) {
        self.frame(out, |to| {
            to.name("candidates").array(|to| {
                to.object(|to| {
                    write_content(to, members);
                    to.name("index").count(candidate);
                });
            });
        });
    }

    fn frame(&self, out: &mut BytesMut, members: impl FnOnce(&mut Writer<'_>)) {
        out.put_slice(b"data: ");
        Writer::new(out).object(|to| {
            members(to);
            if let Some(model) = &self.model {
                to.name("modelVersion").text(model);
            }
            if let Some(id) = &self.id {
                to.name("responseId").text(id);
            }
        });
        out.put_slice(b"\n\n");
    }
}

fn write_content(to: &mut Writer<'_>, part: impl FnOnce(&mut Writer<'_>)) {
    to.name("content").object(|to| {
        to.name("parts").array(|to| to.object(part));
        to.name("role").str("model");
    });
}
