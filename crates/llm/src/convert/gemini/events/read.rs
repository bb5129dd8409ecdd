use crate::{
    Dialect,
    convert::{
        error::Wrong,
        gemini::{
            chunk::{Chunk, MOST_CANDIDATES},
            finish,
        },
        model::{Arguments, Call, Candidate, Event, Finish, Part, PartKind, Rest, Signature},
        read::Reader,
        rest,
        text::{Raw, Text},
    },
    json::Kind,
};

/// Reads the events of a stream, one after the other.
#[derive(Debug, Default)]
pub(in crate::convert) struct EventReader {
    begun: bool,
    candidates: Vec<Seen>,
    /// What was told of what only Gemini knows: most of it comes with every chunk.
    rest: Rest<'static>,
}

/// What is known of a candidate.
#[derive(Debug)]
struct Seen {
    index: u64,
    calls: u64,
    /// Some models say with every chunk that they stopped: it is told at the end.
    finish: Option<Finish<'static>>,
}

// ===== impl EventReader =====

impl EventReader {
    /// Reads the data of one event, and tells what it says in order.
    pub(in crate::convert) fn read<'a>(
        &mut self,
        json: &mut Reader<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        // Errors come in an array where events were not asked for.
        if json.kind() == Kind::Array {
            json.array(|json| self.chunk(json, tell));
        } else {
            self.chunk(json, tell);
        }
    }

    /// The body ended cleanly. Tells what is still to be told, with [`Event::End`] if the stream is
    /// complete.
    pub(in crate::convert) fn end(&mut self, tell: &mut dyn FnMut(Event<'_>)) {
        let finished = |seen: &Seen| seen.finish.is_some();
        if self.candidates.is_empty() || !self.candidates.iter().all(finished) {
            return;
        }
        for seen in self.candidates.drain(..) {
            if let Some(finish) = seen.finish {
                let candidate = seen.index;
                tell(Event::Finish { candidate, finish });
            }
        }
        tell(Event::End);
    }

    fn chunk<'a>(&mut self, json: &mut Reader<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        let at = json.at();
        let chunk = Chunk::read(json);
        if json.is_failed() {
            return;
        }
        if chunk.error.is_some() {
            let (of, envelope) = (Dialect::Gemini, json.whole());
            return tell(Event::Error { of, envelope });
        }
        if !self.begun {
            self.begun = true;
            tell(Event::Start {
                id: chunk.id,
                model: chunk.model,
                created: None,
            });
        }
        if let Some(counts) = chunk.usage {
            tell(Event::Usage(counts));
        }
        self.rest(chunk.rest, tell);
        if chunk.blocked && chunk.candidates.is_empty() && self.candidates.is_empty() {
            self.candidates.push(Seen {
                index: 0,
                calls: 0,
                finish: Some(Finish::Filtered),
            });
        }
        for candidate in chunk.candidates {
            if self.candidate(candidate, tell).is_none() {
                json.fail(at, Wrong::TooMany);
            }
        }
    }

    /// Tells what only Gemini knows, unless it was told before.
    fn rest<'a>(&mut self, members: Rest<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        let mut news = Rest::new();
        for (name, value) in members {
            let told = |(known, said): &(Text<'_>, Raw<'_>)| {
                known.written() == name.written() && said.written() == value.written()
            };
            if !self.rest.iter().any(told) {
                let known = (name.clone().into_owned(), value.clone().into_owned());
                rest::set(known.0, known.1, &mut self.rest);
                news.push((name, value));
            }
        }
        if !news.is_empty() {
            tell(Event::Rest(news));
        }
    }

    /// `None`: it is one too many.
    fn candidate<'a>(
        &mut self,
        candidate: Candidate<'a>,
        tell: &mut dyn FnMut(Event<'a>),
    ) -> Option<()> {
        self.rest(candidate.rest, tell);
        let index = candidate.index;
        let known = self.candidates.iter().position(|seen| seen.index == index);
        let at = known.unwrap_or(self.candidates.len());
        if at == MOST_CANDIDATES {
            return None;
        }
        if known.is_none() {
            self.candidates.push(Seen {
                index,
                calls: 0,
                finish: None,
            });
        }
        let seen = self.candidates.get_mut(at)?;
        for part in candidate.parts {
            seen.part(part, tell);
        }
        if let Some(finish) = candidate.finish {
            seen.finish = Some(finish.into_owned());
        }
        if seen.calls > 0 {
            seen.finish = seen.finish.take().map(finish::called);
        }
        Some(())
    }
}

// ===== impl Seen =====

impl Seen {
    fn part<'a>(&mut self, part: Part<'a>, tell: &mut dyn FnMut(Event<'a>)) {
        let candidate = self.index;
        match part.kind {
            PartKind::Text { text, signature } => {
                if !text.is_empty() {
                    tell(Event::Text { candidate, text });
                }
                self.signature(signature, tell);
            }
            PartKind::Reasoning(reasoned) => {
                let text = reasoned.text;
                if !text.is_empty() {
                    tell(Event::Reasoning { candidate, text });
                }
                self.signature(reasoned.signature, tell);
            }
            PartKind::Call(call) => {
                let Call {
                    id,
                    name,
                    arguments,
                    signature,
                } = *call;
                let call = self.calls;
                self.calls += 1;
                tell(Event::Call {
                    candidate,
                    call,
                    id,
                    name,
                    signature,
                });
                if let Arguments::Object(arguments) = arguments {
                    tell(Event::Object {
                        candidate,
                        call,
                        arguments,
                    });
                }
            }
            // No other part is read of a chunk.
            _ => {}
        }
    }

    fn signature<'a>(&self, signature: Option<Signature<'a>>, tell: &mut dyn FnMut(Event<'a>)) {
        if let Some(signature) = signature {
            tell(Event::Signature {
                candidate: self.index,
                signature,
            });
        }
    }
}
