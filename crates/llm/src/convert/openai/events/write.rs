use bytes::{BufMut, BytesMut};

use crate::{
    Dialect,
    convert::{
        context::Context,
        failure,
        model::{Event, Finish, Reasoned, Rest, Signature},
        openai::reply::{OWN, begins, write_finish, write_proof, write_thinking, write_usage},
        rest, signature,
        text::{Raw, Text},
        write::Writer,
    },
};

/// Writes the events of a stream.
#[derive(Debug)]
pub(in crate::convert) struct EventWriter {
    context: Context,
    /// What every frame begins with, up to the value of `choices`. Empty before the first.
    head: BytesMut,
    /// Members for the next frame.
    rest: Rest<'static>,
    /// The usage as it was told last.
    usage: BytesMut,
    /// The candidates that have their role.
    begun: u128,
    /// How many calls began: ids are made of it.
    calls: u64,
    /// Calls without arguments until now.
    bare: Vec<(u64, u64)>,
    thought: Thought,
    /// How many blocks of thinking were told.
    blocks: u64,
    /// Gemini's last signature of what each candidate said.
    proofs: Vec<(u64, Signature<'static>)>,
    over: bool,
}

/// The thought that is told, until it is signed: with its signature it is told again, whole.
#[derive(Debug, Default)]
struct Thought {
    text: Option<Text<'static>>,
    candidate: u64,
    /// It is too long to be kept.
    lost: bool,
}

/// How much of a thought is kept.
const LONGEST_THOUGHT: usize = 4 << 20;

/// How much of what only the other dialect knows waits for the next frame.
const LONGEST_REST: usize = 4 << 20;

/// How many calls may wait for their arguments.
const MOST_BARE: usize = 1024;

// ===== impl EventWriter =====

impl EventWriter {
    pub(in crate::convert) fn new(context: Context) -> Self {
        Self {
            context,
            head: BytesMut::new(),
            rest: Rest::new(),
            usage: BytesMut::new(),
            begun: 0,
            calls: 0,
            bare: Vec::new(),
            thought: Thought::default(),
            blocks: 0,
            proofs: Vec::new(),
            over: false,
        }
    }

    /// Writes what one event becomes: frames of the stream, or nothing yet.
    pub(in crate::convert) fn write(&mut self, event: Event<'_>, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, created } => {
                self.start(id.as_ref(), model.as_ref(), created.as_ref());
                self.begin(0, out);
            }
            Event::Text { candidate, text } => {
                self.thought.end(candidate);
                self.delta(candidate, out, |to| to.name("content").text(&text));
            }
            Event::Refusal { candidate, text } => {
                self.delta(candidate, out, |to| to.name("refusal").text(&text));
            }
            Event::Reasoning { candidate, text } => {
                self.thought.add(candidate, &text);
                self.delta(candidate, out, |to| {
                    to.name("reasoning_content").text(&text);
                });
            }
            Event::Signature {
                candidate,
                signature,
            } => self.sign(candidate, signature, out),
            Event::Redacted { candidate, data } => {
                let thought = Reasoned {
                    redacted: Some(data),
                    ..Reasoned::default()
                };
                self.think(candidate, &thought, out);
            }
            Event::Call {
                candidate,
                call,
                id,
                name,
                signature,
            } => {
                self.thought.end(candidate);
                let id = id.unwrap_or_else(|| self.context.call_id("call_", self.calls));
                self.calls += 1;
                if self.bare.len() < MOST_BARE {
                    self.bare.push((candidate, call));
                }
                let id = signature::join(&id, signature.as_ref());
                self.call(candidate, call, out, |to| {
                    to.name("id").text(&id);
                    to.name("type").str("function");
                    to.name("function").object(|to| {
                        to.name("name").text(&name);
                        to.name("arguments").str("");
                    });
                });
            }
            Event::Arguments {
                candidate,
                call,
                piece,
            } => {
                if !piece.is_empty() {
                    self.arguments(candidate, call, out, |to| to.text(&piece));
                }
            }
            Event::Object {
                candidate,
                call,
                arguments,
            } => self.arguments(candidate, call, out, |to| to.quoted(&arguments)),
            Event::Finish { candidate, finish } => self.finish(candidate, &finish, out),
            Event::Usage(counts) => {
                self.usage.clear();
                write_usage(&counts, &mut Writer::new(&mut self.usage));
            }
            Event::Rest(rest) => self.keep(rest, out),
            Event::Ping => {}
            Event::Error { of, envelope } => {
                out.put(failure::event(of, envelope, Dialect::OpenAi));
                self.over = true;
            }
            Event::End => {
                if self.context.include_usage && !self.usage.is_empty() {
                    let usage = self.usage.split();
                    self.frame(out, |to| to.array(|_| {}), Some(&usage));
                }
                out.put_slice(b"data: [DONE]\n\n");
                self.over = true;
            }
        }
    }

    fn start(
        &mut self,
        id: Option<&Text<'_>>,
        model: Option<&Text<'_>>,
        created: Option<&Raw<'_>>,
    ) {
        self.head.clear();
        self.head.put_slice(b"data: {");
        let object = "chat.completion.chunk";
        let created = created.map(Raw::written);
        let to = &mut Writer::new(&mut self.head);
        begins(object, (id, model), created, &self.context, to);
        to.name("choices");
    }

    /// Writes the role, if it was not.
    fn begin(&mut self, candidate: u64, out: &mut BytesMut) {
        let bit = 1 << candidate.min(127);
        if self.begun & bit == 0 {
            self.begun |= bit;
            self.choice(candidate, out, None, |to| {
                to.name("role").str("assistant");
                to.name("content").str("");
            });
        }
    }

    fn delta(&mut self, candidate: u64, out: &mut BytesMut, members: impl FnOnce(&mut Writer<'_>)) {
        self.begin(candidate, out);
        self.choice(candidate, out, None, members);
    }

    fn call(
        &mut self,
        candidate: u64,
        call: u64,
        out: &mut BytesMut,
        members: impl FnOnce(&mut Writer<'_>),
    ) {
        self.delta(candidate, out, |to| {
            to.name("tool_calls").array(|to| {
                to.object(|to| {
                    to.name("index").count(call);
                    members(to);
                });
            });
        });
    }

    fn arguments(
        &mut self,
        candidate: u64,
        call: u64,
        out: &mut BytesMut,
        value: impl FnOnce(&mut Writer<'_>),
    ) {
        self.bare.retain(|bare| *bare != (candidate, call));
        self.call(candidate, call, out, |to| {
            to.name("function").object(|to| value(to.name("arguments")));
        });
    }

    fn sign(&mut self, candidate: u64, signature: Signature<'_>, out: &mut BytesMut) {
        match signature.of {
            Dialect::Anthropic => {
                if let Some(text) = self.thought.take(candidate) {
                    let thought = Reasoned {
                        text,
                        signature: Some(signature),
                        redacted: None,
                    };
                    self.think(candidate, &thought, out);
                }
            }
            // At its end: OpenAI's SDK joins the texts of deltas, and two of them would be none.
            Dialect::Gemini if signature.value.written().len() <= LONGEST_THOUGHT => {
                self.proofs.retain(|(known, _)| *known != candidate);
                let (of, value) = (signature.of, signature.value.into_owned());
                self.proofs.push((candidate, Signature { of, value }));
            }
            _ => {}
        }
    }

    fn think(&mut self, candidate: u64, thought: &Reasoned<'_>, out: &mut BytesMut) {
        let index = self.blocks;
        self.blocks += 1;
        self.delta(candidate, out, |to| {
            to.name("thinking_blocks")
                .array(|to| write_thinking(thought, Some(index), to));
        });
    }

    fn finish(&mut self, candidate: u64, finish: &Finish<'_>, out: &mut BytesMut) {
        self.begin(candidate, out);
        let bare: Vec<u64> = self
            .bare
            .iter()
            .filter(|bare| bare.0 == candidate)
            .map(|bare| bare.1)
            .collect();
        for call in bare {
            // The empty object; an empty string is no JSON.
            self.arguments(candidate, call, out, |to| to.str("{}"));
        }
        let proof = self
            .proofs
            .iter()
            .position(|(known, _)| *known == candidate);
        let proof = proof.map(|at| self.proofs.swap_remove(at).1);
        self.choice(candidate, out, Some(finish), |to| {
            if let Some(proof) = &proof {
                write_proof(proof, to);
            }
        });
    }

    fn choice(
        &mut self,
        candidate: u64,
        out: &mut BytesMut,
        finish: Option<&Finish<'_>>,
        delta: impl FnOnce(&mut Writer<'_>),
    ) {
        let choices = |to: &mut Writer<'_>| {
            to.array(|to| {
                to.object(|to| {
                    to.name("index").count(candidate);
                    to.name("delta").object(delta);
                    match finish {
                        Some(finish) => write_finish(finish, to),
                        None => to.name("finish_reason").null(),
                    }
                });
            });
        };
        self.frame(out, choices, None);
    }

    fn frame(
        &mut self,
        out: &mut BytesMut,
        choices: impl FnOnce(&mut Writer<'_>),
        usage: Option<&[u8]>,
    ) {
        if self.head.is_empty() {
            self.start(None, None, None);
        }
        out.put_slice(&self.head);
        choices(&mut Writer::new(out));
        if let Some(usage) = usage {
            out.put_slice(b",\"usage\":");
            out.put_slice(usage);
        } else if self.context.include_usage {
            out.put_slice(b",\"usage\":null");
        }
        rest::write(&self.rest, OWN, &mut Writer::new(out));
        self.rest.clear();
        out.put_slice(b"}\n\n");
    }

    /// Keeps members for the next frame, with those that wait for it already: a chunk may tell of the
    /// reply and of each candidate.
    fn keep(&mut self, rest: Rest<'_>, out: &mut BytesMut) {
        let long = |(_, value): &(Text<'_>, Raw<'_>)| value.written().len();
        let waits: usize = self.rest.iter().map(long).sum();
        if waits + rest.iter().map(long).sum::<usize>() > LONGEST_REST {
            self.frame(out, |to| to.array(|_| {}), None);
        }
        for (name, value) in rest {
            let (name, value) = (name.into_owned(), value.into_owned());
            let mut known = self.rest.iter_mut();
            match known.find(|(known, _)| known.written() == name.written()) {
                Some(known) => known.1 = value,
                None => self.rest.push((name, value)),
            }
        }
    }
}

// ===== impl Thought =====

impl Thought {
    fn add(&mut self, candidate: u64, piece: &Text<'_>) {
        if self.candidate != candidate {
            *self = Self::default();
            self.candidate = candidate;
        }
        if self.lost {
            return;
        }
        let text = self.text.get_or_insert_default();
        if text.written().len() + piece.written().len() > LONGEST_THOUGHT {
            self.text = None;
            self.lost = true;
        } else {
            text.join(piece);
        }
    }

    /// What was said since the last signature. `None`: it was too long.
    fn take(&mut self, candidate: u64) -> Option<Text<'static>> {
        let thought = std::mem::take(self);
        let is_whole = thought.candidate == candidate && !thought.lost;
        is_whole.then(|| thought.text.unwrap_or_default())
    }

    /// Something else is said: what was not signed will not be.
    fn end(&mut self, candidate: u64) {
        if self.candidate == candidate && (self.text.is_some() || self.lost) {
            *self = Self::default();
        }
    }
}
