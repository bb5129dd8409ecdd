use bytes::BytesMut;

use super::{blocks::Blocks, frame::event};
use crate::{
    Dialect,
    convert::{
        anthropic::{
            reply::{OURS, call_id},
            stop, usage,
        },
        context::Context,
        failure,
        model::{Counts, Event, Finish, Rest},
        rest,
        text::Text,
    },
};

/// Writes the events of a message, of the first candidate.
///
/// The message begins when something is said, or a sign of life comes, so that it can begin with
/// what is known of it.
#[derive(Debug)]
pub(in crate::convert) struct EventWriter {
    context: Context,
    id: Option<Text<'static>>,
    model: Text<'static>,
    stage: Stage,
    blocks: Blocks,
    calls: u64,
    refused: bool,
    finish: Option<Finish<'static>>,
    counts: Option<Counts<'static>>,
    rest: Rest<'static>,
    /// How many of the rest were told when the message began.
    rest_told: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// The endpoint began.
    Known,
    /// The message began.
    Begun,
    Over,
}

/// How many members that only the endpoint knows are kept, and how long they are.
const MOST: usize = 64;
const LONGEST: usize = 4 << 10;

// ===== impl EventWriter =====

impl EventWriter {
    pub(in crate::convert) fn new(context: Context) -> Self {
        Self {
            context,
            id: None,
            model: Text::default(),
            stage: Stage::Waiting,
            blocks: Blocks::default(),
            calls: 0,
            refused: false,
            finish: None,
            counts: None,
            rest: Rest::new(),
            rest_told: 0,
        }
    }

    /// Writes what one event becomes: frames of the stream, or nothing yet.
    pub(in crate::convert) fn write(&mut self, event: Event<'_>, out: &mut BytesMut) {
        if self.stage == Stage::Over {
            return;
        }
        match event {
            Event::Start { id, model, .. } if self.stage == Stage::Waiting => {
                self.id = id.map(Text::into_owned);
                self.model = model.map(Text::into_owned).unwrap_or_default();
                self.stage = Stage::Known;
            }
            Event::Text { candidate: 0, text } if !text.is_empty() => {
                self.begin(out);
                self.blocks.text(&text, out);
            }
            Event::Refusal { candidate: 0, text } if !text.is_empty() => {
                self.begin(out);
                self.refused = true;
                self.blocks.text(&text, out);
            }
            Event::Reasoning { candidate: 0, text } if !text.is_empty() => {
                self.begin(out);
                self.blocks.thinking(&text, out);
            }
            Event::Signature {
                candidate: 0,
                signature,
            } => {
                self.begin(out);
                self.blocks.sign(&signature, out);
            }
            Event::Redacted { candidate: 0, data } => {
                self.begin(out);
                self.blocks.redacted(&data, out);
            }
            Event::Call {
                candidate: 0,
                call,
                id,
                name,
                signature,
            } => {
                self.begin(out);
                let id = call_id(id.as_ref(), self.calls, signature.as_ref(), &self.context);
                self.calls += 1;
                self.blocks.call(call, &id, &name, out);
            }
            Event::Arguments {
                candidate: 0,
                call,
                piece,
            } if !piece.is_empty() => self.blocks.arguments(call, &piece, out),
            Event::Object {
                candidate: 0,
                call,
                arguments,
            } => self.blocks.object(call, &arguments, out),
            Event::Finish {
                candidate: 0,
                finish,
            } => self.finish = Some(finish.into_owned()),
            Event::Usage(counts) => self.counts = Some(counts.into_owned()),
            Event::Ping => {
                if self.stage == Stage::Known {
                    self.begin(out);
                }
                self::event("ping", out, |_| ());
            }
            Event::Rest(rest) => self.keep(rest),
            Event::Error { of, envelope } => {
                out.extend_from_slice(&failure::event(of, envelope, Dialect::Anthropic));
                self.stage = Stage::Over;
            }
            Event::End => self.end(out),
            // It says nothing, or is said of another candidate, for which there is no place.
            _ => {}
        }
        if self.blocks.is_too_much() {
            let message = "the endpoint mixes calls of tools, of which 4 MiB are held at most";
            out.extend_from_slice(&failure::event_of_ours(message, Dialect::Anthropic));
            self.stage = Stage::Over;
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if self.stage == Stage::Begun {
            return;
        }
        self.stage = Stage::Begun;
        self.rest_told = self.rest.len();
        event("message_start", out, |to| {
            to.name("message").object(|to| {
                match &self.id {
                    Some(id) => to.name("id").text(id),
                    None => to.name("id").text(&self.context.reply_id("msg_")),
                }
                to.name("type").str("message");
                to.name("role").str("assistant");
                to.name("model").text(&self.model);
                to.name("content").array(|_| ());
                to.name("stop_reason").null();
                to.name("stop_sequence").null();
                usage::write(self.counts.as_ref(), to.name("usage"));
                rest::write(&self.rest, &OURS, to);
            });
        });
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.begin(out);
        self.blocks.end(out);
        event("message_delta", out, |to| {
            to.name("delta").object(|to| {
                stop::write(self.finish.as_ref(), self.calls > 0, self.refused, to);
            });
            usage::write(self.counts.as_ref(), to.name("usage"));
            // What came too late for the beginning.
            let late = self.rest.split_off(self.rest_told);
            rest::write(&late, &["type", "delta", "usage"], to);
        });
        event("message_stop", out, |_| ());
        self.stage = Stage::Over;
    }

    /// Keeps what is new; most of it comes with every chunk.
    fn keep(&mut self, rest: Rest<'_>) {
        for (name, value) in rest {
            let there = |(other, _): &(Text<'_>, _)| *other.written() == *name.written();
            let fits =
                self.rest.len() < MOST && name.written().len() + value.written().len() <= LONGEST;
            if fits && !self.rest.iter().any(there) {
                self.rest.push((name.into_owned(), value.into_owned()));
            }
        }
    }
}
