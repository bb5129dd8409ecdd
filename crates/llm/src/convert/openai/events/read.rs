use super::{
    calls::Calls,
    chunk::{Choice, Delta},
};
use crate::{
    Dialect,
    convert::{
        model::{Counts, Event, Finish, PartKind, Rest},
        openai::reply::{read_usage, text_or_nothing, word},
        read::Reader,
        rest,
        text::{Raw, Text},
    },
    json::Kind,
};

/// Reads the events of a stream, one after the other.
#[derive(Debug, Default)]
pub(in crate::convert) struct EventReader {
    started: bool,
    head: Box<Head>,
    /// What else the chunks have, as it was last: most servers repeat it in each.
    rest: Rest<'static>,
    begun: u128,
    finished: u128,
    /// Whose reasoning was told since it was signed last.
    reasoned: u128,
    calls: Calls,
}

/// What was told of the reply before it started: some servers say who replies later.
#[derive(Debug, Default)]
struct Head {
    id: Option<Text<'static>>,
    model: Option<Text<'static>>,
    created: Option<Raw<'static>>,
}

/// What is to be told at the end of a chunk.
#[derive(Default)]
struct Late<'a> {
    finished: Vec<(u64, Finish<'a>)>,
    usage: Option<Counts<'a>>,
    error: bool,
}

/// How much of what the chunks have besides is compared with the next.
const MOST_REST: usize = 16;
const LONGEST_REST: usize = 1 << 10;

// ===== impl EventReader =====

impl EventReader {
    /// Reads the data of one event, and tells what it says in order.
    pub(in crate::convert) fn read<'a>(
        &mut self,
        json: &mut Reader<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let mut late = Late::default();
        // Of the first chunk, since some servers write who replies after what is said.
        let mut choices = Vec::new();
        let mut rest = Rest::new();
        json.object(|json, name| match name {
            "choices" if json.kind() == Kind::Array => json.array(|json| {
                let choice = Choice::read(json);
                if json.is_failed() {
                    return;
                }
                if self.started {
                    self.choice(choice, json, &mut late, tell);
                } else {
                    choices.push(choice);
                }
            }),
            "usage" => late.usage = read_usage(json),
            "error" => late.error |= !is_nothing(&json.raw()),
            "object" | "type" if json.kind() == Kind::String => {
                late.error |= *json.text().decode() == *"error";
            }
            // Noise, so that the lengths of chunks tell nothing.
            "obfuscation" => json.skip(),
            "id" | "model" | "created" if self.started => json.skip(),
            "id" => {
                self.head.id = text_or_nothing(json)
                    .map(Text::into_owned)
                    .or(self.head.id.take())
            }
            "model" => {
                self.head.model = text_or_nothing(json)
                    .map(Text::into_owned)
                    .or(self.head.model.take());
            }
            "created" if json.kind() == Kind::Number => {
                self.head.created = Some(json.raw().into_owned());
            }
            _ => {
                let value = json.raw();
                if !is_nothing(&value) && self.is_new(name, &value) {
                    rest::set(Text::of(name), value, &mut rest);
                }
            }
        });
        if json.is_failed() {
            return;
        }
        if late.error {
            // However many choices are finished: it is not whole.
            self.begun = 0;
            let (of, envelope) = (Dialect::OpenAi, json.whole());
            return tell(Event::Error { of, envelope });
        }
        if !self.started {
            if choices.is_empty() && late.usage.is_none() {
                // It says nothing yet, and who replies may come later.
                return;
            }
            rest = self.start(tell);
        }
        if !rest.is_empty() {
            tell(Event::Rest(rest));
        }
        for choice in choices {
            self.choice(choice, json, &mut late, tell);
        }
        for (candidate, finish) in late.finished {
            tell(Event::Finish { candidate, finish });
        }
        if let Some(usage) = late.usage {
            tell(Event::Usage(usage));
        }
    }

    /// `[DONE]` came. Some servers write it and no `finish_reason` before: then it was said.
    pub(in crate::convert) fn done(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        if !self.calls.waiting() {
            let unfinished = self.begun & !self.finished;
            for candidate in (0..128).filter(|bit| unfinished >> bit & 1 == 1) {
                let finish = match self.calls.any(candidate) {
                    true => Finish::Calls,
                    false => Finish::Stop,
                };
                tell(Event::Finish { candidate, finish });
            }
            self.finished = self.begun;
        }
        self.end(tell);
    }

    /// The body ended cleanly. Tells what is still to be told, with [`Event::End`] if the stream is
    /// complete.
    pub(in crate::convert) fn end(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        if self.begun != 0 && self.begun == self.finished {
            tell(Event::End);
        }
    }

    fn start<'a>(&mut self, tell: &mut dyn FnMut(Event<'a>)) -> Rest<'a> {
        self.started = true;
        tell(Event::Start {
            id: self.head.id.take(),
            model: self.head.model.take(),
            created: self.head.created.take(),
        });
        self.rest.clone()
    }

    fn choice<'a>(
        &mut self,
        choice: Choice<'a>,
        json: &mut Reader<'a>,
        late: &mut Late<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let candidate = choice.index;
        let bit = 1 << candidate.min(127);
        self.begun |= bit;
        self.delta(candidate, choice.delta, json, choice.at, tell);
        if let Some(reason) = choice.finish
            && self.finished & bit == 0
        {
            self.finished |= bit;
            self.calls.finish(candidate, json, choice.at, tell);
            let calls = self.calls.any(candidate);
            late.finished
                .push((candidate, word(reason, choice.stop, calls)));
        }
        late.usage = late.usage.take().or(choice.usage);
    }

    fn delta<'a>(
        &mut self,
        candidate: u64,
        delta: Delta<'a>,
        json: &mut Reader<'a>,
        at: usize,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let bit = 1 << candidate.min(127);
        if let Some(text) = delta.reasoning {
            self.reasoned |= bit;
            tell(Event::Reasoning { candidate, text });
        }
        for part in delta.thinking {
            let PartKind::Reasoning(reasoned) = part.kind else {
                continue;
            };
            if let Some(data) = reasoned.redacted {
                tell(Event::Redacted { candidate, data });
                continue;
            }
            // What came as reasoning before is the text of this block.
            if self.reasoned & bit == 0 && !reasoned.text.is_empty() {
                self.reasoned |= bit;
                let text = reasoned.text;
                tell(Event::Reasoning { candidate, text });
            }
            if let Some(signature) = reasoned.signature {
                self.reasoned &= !bit;
                tell(Event::Signature {
                    candidate,
                    signature,
                });
            }
        }
        if let Some(text) = delta.text {
            tell(Event::Text { candidate, text });
        }
        for part in delta.parts {
            match part.kind {
                PartKind::Text { text, .. } if !text.is_empty() => {
                    tell(Event::Text { candidate, text });
                }
                PartKind::Refusal(text) => tell(Event::Refusal { candidate, text }),
                PartKind::Reasoning(reasoned) => {
                    let text = reasoned.text;
                    tell(Event::Reasoning { candidate, text });
                }
                _ => {}
            }
        }
        if let Some(signature) = delta.signature {
            tell(Event::Signature {
                candidate,
                signature,
            });
        }
        if let Some(text) = delta.refusal {
            tell(Event::Refusal { candidate, text });
        }
        for piece in delta.calls {
            self.calls.piece(candidate, piece, json, at, tell);
        }
    }

    /// Whether it is not what the chunk before had.
    fn is_new(&mut self, name: &str, value: &Raw<'_>) -> bool {
        if value.written().len() > LONGEST_REST {
            return true;
        }
        let room = self.rest.len() < MOST_REST;
        let mut all = self.rest.iter_mut();
        match all.find(|(known, _)| *known.decode() == *name) {
            Some((_, known)) if known.written() == value.written() => return false,
            Some((_, known)) => *known = value.clone().into_owned(),
            None if room => self.rest.push((Text::of(name), value.clone().into_owned())),
            None => {}
        }
        true
    }
}

/// `null`, `""`, `[]`, `{}` and booleans say nothing.
fn is_nothing(value: &Raw<'_>) -> bool {
    matches!(
        value.written(),
        "null" | "true" | "false" | "\"\"" | "[]" | "{}"
    )
}
