//! A whole reply, told as the events of a stream.

use super::model::{Arguments, Call, Event, Finish, Part, PartKind, Reasoned, Reply, Signature};

/// Tells what a reply says in the order in which a stream would, up to its end.
///
/// One that does not say why it ended was said: it is whole.
pub(super) fn tell<'a>(reply: Reply<'a>, tell: &mut dyn FnMut(Event<'a>)) {
    let Reply {
        id,
        model,
        created,
        candidates,
        usage,
        rest,
    } = reply;
    tell(Event::Start { id, model, created });
    if !rest.is_empty() {
        tell(Event::Rest(rest));
    }
    let mut finishes = Vec::with_capacity(candidates.len());
    for said in candidates {
        let candidate = said.index;
        if !said.rest.is_empty() {
            tell(Event::Rest(said.rest));
        }
        let mut calls = 0;
        for part in said.parts {
            tell_part(candidate, part, &mut calls, tell);
        }
        let otherwise = match calls {
            0 => Finish::Stop,
            _ => Finish::Calls,
        };
        finishes.push((candidate, said.finish.unwrap_or(otherwise)));
    }
    for (candidate, finish) in finishes {
        tell(Event::Finish { candidate, finish });
    }
    if let Some(usage) = usage {
        tell(Event::Usage(usage));
    }
    tell(Event::End);
}

fn tell_part<'a>(candidate: u64, part: Part<'a>, calls: &mut u64, tell: &mut dyn FnMut(Event<'a>)) {
    match part.kind {
        PartKind::Text { text, signature } => {
            if !text.is_empty() {
                tell(Event::Text { candidate, text });
            }
            sign(candidate, signature, tell);
        }
        PartKind::Reasoning(reasoned) => {
            let Reasoned {
                text,
                signature,
                redacted,
            } = *reasoned;
            if let Some(data) = redacted {
                return tell(Event::Redacted { candidate, data });
            }
            if !text.is_empty() {
                tell(Event::Reasoning { candidate, text });
            }
            sign(candidate, signature, tell);
        }
        PartKind::Refusal(text) => tell(Event::Refusal { candidate, text }),
        PartKind::Call(call) => {
            let Call {
                id,
                name,
                arguments,
                signature,
            } = *call;
            let call = *calls;
            *calls += 1;
            tell(Event::Call {
                candidate,
                call,
                id,
                name,
                signature,
            });
            match arguments {
                Arguments::Object(arguments) => tell(Event::Object {
                    candidate,
                    call,
                    arguments,
                }),
                Arguments::Written(piece) if !piece.is_empty() => tell(Event::Arguments {
                    candidate,
                    call,
                    piece,
                }),
                Arguments::Written(_) => {}
            }
        }
        // Streams have no other part.
        _ => {}
    }
}

fn sign<'a>(candidate: u64, signature: Option<Signature<'a>>, tell: &mut dyn FnMut(Event<'a>)) {
    if let Some(signature) = signature {
        tell(Event::Signature {
            candidate,
            signature,
        });
    }
}
