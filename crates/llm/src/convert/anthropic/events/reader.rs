use crate::{
    Dialect,
    convert::{
        anthropic::{
            reply::{Block, OURS},
            signature, stop,
            usage::Told,
        },
        model::{Arguments, Event, Finish, Rest},
        read::Reader,
        rest,
        signature::split,
        text::{Raw, Text},
    },
    json::Kind,
};

/// Reads the events of a message.
#[derive(Debug, Default)]
pub(in crate::convert) struct EventReader {
    begun: bool,
    /// It was told why the message ends.
    finished: bool,
    stopped: bool,
    calls: u64,
    /// The calls whose blocks are open: one, unless a server mixes them.
    open: Vec<Open>,
    told: Told,
}

#[derive(Debug)]
struct Open {
    index: u64,
    call: u64,
    /// What was told of the arguments.
    arguments: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Pieces,
    All,
}

/// How many calls may be open at once; what is said of more is not told.
const MOST_OPEN: usize = 1024;

/// What an event has, whatever its type.
#[derive(Debug, Default)]
struct Seen<'a> {
    kind: Option<Text<'a>>,
    index: u64,
    block_type: Option<Text<'a>>,
    block: Block<'a>,
    piece: Option<Text<'a>>,
    reason: Option<Text<'a>>,
    sequence: Option<Text<'a>>,
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    usage: bool,
    rest: Rest<'a>,
}

// ===== impl EventReader =====

impl EventReader {
    /// Reads the data of one event, and tells what it says in order.
    pub(in crate::convert) fn read<'a>(
        &mut self,
        json: &mut Reader<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let mut seen = Seen::default();
        seen.read(json, &mut self.told);
        if self.stopped {
            return;
        }
        let kind = seen.kind.take().unwrap_or_default();
        match &*kind.decode() {
            "content_block_delta" => self.delta(seen, tell),
            "content_block_start" => self.start(seen, tell),
            "content_block_stop" => self.stop(seen.index, tell),
            "message_start" => {
                if !self.begun {
                    self.begun = true;
                    let (id, model) = (seen.id, seen.model);
                    let created = None;
                    tell(Event::Start { id, model, created });
                }
                self.besides(seen.usage, seen.rest, tell);
            }
            "message_delta" => {
                if let Some(reason) = seen.reason {
                    self.finished = true;
                    tell(Event::Finish {
                        candidate: 0,
                        finish: stop::read(&reason, seen.sequence),
                    });
                }
                self.besides(seen.usage, seen.rest, tell);
            }
            "message_stop" => {
                self.stopped = true;
                if self.is_whole(tell) {
                    tell(Event::End);
                }
            }
            "ping" => tell(Event::Ping),
            "error" => {
                self.stopped = true;
                tell(Event::Error {
                    of: Dialect::Anthropic,
                    envelope: json.whole(),
                });
            }
            // Events are added as the API grows.
            _ => {}
        }
    }

    /// The body ended cleanly. It is complete only after `message_stop`, which told so.
    pub(in crate::convert) fn end(&mut self, _: &mut dyn FnMut(Event<'_>)) {}

    /// Whether `message_stop` ends a message. If it was not told why, the message was said all the
    /// same, as before a `[DONE]`: but not one whose call may lack half of its arguments.
    fn is_whole<'a>(&self, tell: &mut dyn FnMut(Event<'a>)) -> bool {
        if self.finished {
            return true;
        }
        if !self.begun || !self.open.is_empty() {
            return false;
        }
        let finish = match self.calls {
            0 => Finish::Stop,
            _ => Finish::Calls,
        };
        tell(Event::Finish {
            candidate: 0,
            finish,
        });
        true
    }

    fn besides<'a>(&self, usage: bool, rest: Rest<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        if let Some(counts) = self.told.counts().filter(|_| usage) {
            tell(Event::Usage(counts));
        }
        if !rest.is_empty() {
            tell(Event::Rest(rest));
        }
    }

    fn start<'a>(&mut self, seen: Seen<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        let (candidate, block) = (0, seen.block);
        let kind = seen.block_type.unwrap_or_default();
        match &*kind.decode() {
            "text" if !block.text.is_empty() => tell(Event::Text {
                candidate,
                text: block.text,
            }),
            "thinking" => {
                if !block.text.is_empty() {
                    tell(Event::Reasoning {
                        candidate,
                        text: block.text,
                    });
                }
                sign(block.signature, tell);
            }
            "redacted_thinking" => tell(Event::Redacted {
                candidate,
                data: block.data,
            }),
            "tool_use" if self.open.len() < MOST_OPEN => {
                let call = self.calls;
                self.calls += 1;
                let id = block.id.map(|id| split(&id));
                let (id, signature) = id.map_or((None, None), |(id, of)| (Some(id), of));
                tell(Event::Call {
                    candidate,
                    call,
                    id,
                    name: block.name,
                    signature,
                });
                // Some servers say all of it here.
                let arguments = match block.input {
                    Arguments::Object(object) if is_empty(&object) => Heard::Nothing,
                    Arguments::Object(arguments) => {
                        tell(Event::Object {
                            candidate,
                            call,
                            arguments,
                        });
                        Heard::All
                    }
                    Arguments::Written(piece) if piece.is_empty() => Heard::Nothing,
                    Arguments::Written(piece) => {
                        tell(Event::Arguments {
                            candidate,
                            call,
                            piece,
                        });
                        Heard::All
                    }
                };
                let index = seen.index;
                self.open.push(Open {
                    index,
                    call,
                    arguments,
                });
            }
            // What the provider's own tools do is no call of the caller's.
            _ => {}
        }
    }

    fn delta<'a>(&mut self, seen: Seen<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        let (candidate, block) = (0, seen.block);
        let kind = seen.block_type.unwrap_or_default();
        match &*kind.decode() {
            "text_delta" if !block.text.is_empty() => tell(Event::Text {
                candidate,
                text: block.text,
            }),
            "thinking_delta" if !block.text.is_empty() => tell(Event::Reasoning {
                candidate,
                text: block.text,
            }),
            "signature_delta" => sign(block.signature, tell),
            "input_json_delta" => {
                let Some(piece) = seen.piece.filter(|piece| !piece.is_empty()) else {
                    return;
                };
                let open = self.open.iter_mut().find(|open| open.index == seen.index);
                if let Some(open) = open.filter(|open| open.arguments != Heard::All) {
                    open.arguments = Heard::Pieces;
                    let call = open.call;
                    tell(Event::Arguments {
                        candidate,
                        call,
                        piece,
                    });
                }
            }
            // Citations have no place elsewhere; who wants them asks in this dialect.
            _ => {}
        }
    }

    fn stop<'a>(&mut self, index: u64, tell: &mut dyn FnMut(Event<'a>)) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else {
            return;
        };
        let open = self.open.swap_remove(at);
        if open.arguments == Heard::Nothing {
            tell(Event::Object {
                candidate: 0,
                call: open.call,
                arguments: Raw::of("{}"),
            });
        }
    }
}

// ===== impl Seen =====

impl<'a> Seen<'a> {
    fn read(&mut self, json: &mut Reader<'a>, told: &mut Told) {
        json.object(|json, name| match (name, json.kind()) {
            (_, Kind::Null) => json.skip(),
            ("type", Kind::String) => self.kind = Some(json.text()),
            ("index", Kind::Number) => self.index = json.count(),
            ("content_block" | "delta", Kind::Object) => self.inside(json),
            ("message", Kind::Object) => self.message(json, told),
            ("usage", _) => {
                self.usage = true;
                told.read(json);
            }
            ("error", _) => json.skip(),
            _ => rest::set(Text::of(name), json.raw(), &mut self.rest),
        });
    }

    /// A block, a piece of one, or what changed of the message.
    fn inside(&mut self, json: &mut Reader<'a>) {
        json.object(|json, name| match (name, json.kind()) {
            (_, Kind::Null) => json.skip(),
            ("type", Kind::String) => self.block_type = Some(json.text()),
            ("partial_json", Kind::String) => self.piece = Some(json.text()),
            ("stop_reason", Kind::String) => self.reason = Some(json.text()),
            ("stop_sequence", Kind::String) => self.sequence = Some(json.text()),
            ("stop_details" | "container", _) => {
                rest::set(Text::of(name), json.raw(), &mut self.rest);
            }
            _ => self.block.member(name, json),
        });
    }

    fn message(&mut self, json: &mut Reader<'a>, told: &mut Told) {
        json.object(|json, name| {
            if json.null() {
                return;
            }
            match name {
                "id" => self.id = Some(json.text()),
                "model" => self.model = Some(json.text()),
                "usage" => {
                    self.usage = true;
                    told.read(json);
                }
                name if OURS.contains(&name) => json.skip(),
                _ => rest::set(Text::of(name), json.raw(), &mut self.rest),
            }
        });
    }
}

fn sign<'a>(written: Text<'a>, tell: &mut dyn FnMut(Event<'a>)) {
    if let Some(signature) = signature::read(written) {
        tell(Event::Signature {
            candidate: 0,
            signature,
        });
    }
}

fn is_empty(object: &Raw<'_>) -> bool {
    let inside = object.written().trim_matches(['{', '}']);
    inside.trim_ascii().is_empty()
}
