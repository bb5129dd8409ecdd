use std::collections::VecDeque;

use bytes::BytesMut;

use super::{
    frame::{delta, start, stop},
    whole::Whole,
};
use crate::convert::{
    anthropic::signature,
    model::Signature,
    text::{Raw, Text},
};

/// The blocks that are not yet over. One is open at a time: what is said of those behind it is held
/// until it is closed.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    queue: VecDeque<Block>,
    next: u64,
    held: usize,
}

#[derive(Debug)]
struct Block {
    index: u64,
    kind: Kind,
    /// What is held of it.
    frames: BytesMut,
}

#[derive(Debug)]
enum Kind {
    Text,
    Thinking { signed: bool },
    Redacted,
    Call { number: u64, arguments: Whole },
}

/// How much is held of the blocks behind the open one.
pub(super) const MOST_HELD: usize = 4 << 20;

// ===== impl Blocks =====

impl Blocks {
    pub(super) fn text(&mut self, text: &Text<'_>, out: &mut BytesMut) {
        if !matches!(self.last(), Some(Kind::Text)) {
            self.open(Kind::Text, out, |index, out| {
                start(index, out, |to| {
                    to.name("type").str("text");
                    to.name("text").str("");
                });
            });
        }
        self.say(
            out,
            |_| true,
            |block, out| {
                delta(block.index, "text_delta", "text", out, |to| to.text(text));
            },
        );
    }

    pub(super) fn thinking(&mut self, text: &Text<'_>, out: &mut BytesMut) {
        self.open_thinking(out);
        self.say(
            out,
            |_| true,
            |block, out| {
                delta(block.index, "thinking_delta", "thinking", out, |to| {
                    to.text(text);
                });
            },
        );
    }

    pub(super) fn sign(&mut self, signed: &Signature<'_>, out: &mut BytesMut) {
        self.open_thinking(out);
        self.say(
            out,
            |_| true,
            |block, out| {
                block.kind = Kind::Thinking { signed: true };
                delta(block.index, "signature_delta", "signature", out, |to| {
                    signature::write(Some(signed), to);
                });
            },
        );
    }

    pub(super) fn redacted(&mut self, data: &Text<'_>, out: &mut BytesMut) {
        self.open(Kind::Redacted, out, |index, out| {
            start(index, out, |to| {
                to.name("type").str("redacted_thinking");
                to.name("data").text(data);
            });
        });
    }

    pub(super) fn call(&mut self, number: u64, id: &Text<'_>, name: &Text<'_>, out: &mut BytesMut) {
        let arguments = Whole::default();
        self.open(Kind::Call { number, arguments }, out, |index, out| {
            start(index, out, |to| {
                to.name("type").str("tool_use");
                to.name("id").text(id);
                to.name("name").text(name);
                to.name("input").object(|_| ());
            });
        });
    }

    pub(super) fn arguments(&mut self, number: u64, piece: &Text<'_>, out: &mut BytesMut) {
        self.say(out, of(number), |block, out| {
            if let Kind::Call { arguments, .. } = &mut block.kind {
                arguments.push(piece);
            }
            delta(block.index, "input_json_delta", "partial_json", out, |to| {
                to.text(piece);
            });
        });
    }

    pub(super) fn object(&mut self, number: u64, object: &Raw<'_>, out: &mut BytesMut) {
        self.say(out, of(number), |block, out| {
            if let Kind::Call { arguments, .. } = &mut block.kind {
                arguments.push(&Text::plain("{}"));
            }
            delta(block.index, "input_json_delta", "partial_json", out, |to| {
                to.quoted(object);
            });
        });
    }

    /// Whether more is held than may be.
    pub(super) const fn is_too_much(&self) -> bool {
        self.held > MOST_HELD
    }

    /// Nothing more is said.
    pub(super) fn end(&mut self, out: &mut BytesMut) {
        while self.close(out) {}
    }

    fn last(&self) -> Option<&Kind> {
        self.queue.back().map(|block| &block.kind)
    }

    fn open_thinking(&mut self, out: &mut BytesMut) {
        if matches!(self.last(), Some(Kind::Thinking { signed: false })) {
            return;
        }
        self.open(Kind::Thinking { signed: false }, out, |index, out| {
            start(index, out, |to| {
                to.name("type").str("thinking");
                to.name("thinking").str("");
                to.name("signature").str("");
            });
        });
    }

    /// Puts a block behind the others, and begins it.
    fn open(&mut self, kind: Kind, out: &mut BytesMut, begin: impl FnOnce(u64, &mut BytesMut)) {
        let index = self.next;
        self.next += 1;
        self.queue.push_back(Block {
            index,
            kind,
            frames: BytesMut::new(),
        });
        self.settle(out);
        self.say(
            out,
            |block| block.index == index,
            |block, out| {
                begin(block.index, out);
            },
        );
    }

    /// Says something of the last such block: at once if it is open.
    fn say(
        &mut self,
        out: &mut BytesMut,
        is_it: impl Fn(&Block) -> bool,
        write: impl FnOnce(&mut Block, &mut BytesMut),
    ) {
        let Some(at) = self.queue.iter().rposition(is_it) else {
            // Its arguments were whole; after them comes space at most.
            return;
        };
        let block = &mut self.queue[at];
        if at == 0 {
            write(block, out);
        } else {
            let mut frames = std::mem::take(&mut block.frames);
            let before = frames.len();
            write(block, &mut frames);
            self.held += frames.len() - before;
            block.frames = frames;
        }
        self.settle(out);
    }

    /// Closes what is over and not the last.
    fn settle(&mut self, out: &mut BytesMut) {
        while self.queue.len() > 1 {
            let is_over = match &self.queue[0].kind {
                Kind::Call { arguments, .. } => arguments.is_over(),
                Kind::Text | Kind::Thinking { .. } | Kind::Redacted => true,
            };
            if !is_over {
                break;
            }
            self.close(out);
        }
    }

    /// Closes the open block and opens the next, if there is one. Whether there was one to close.
    fn close(&mut self, out: &mut BytesMut) -> bool {
        let Some(block) = self.queue.pop_front() else {
            return false;
        };
        stop(block.index, out);
        if let Some(next) = self.queue.front_mut() {
            let frames = std::mem::take(&mut next.frames);
            self.held -= frames.len();
            out.extend_from_slice(&frames);
        }
        true
    }
}

fn of(number: u64) -> impl Fn(&Block) -> bool {
    move |block| matches!(block.kind, Kind::Call { number: other, .. } if other == number)
}
