//! Calls that come in pieces, of which servers number some and name others.

use super::chunk::Piece;
use crate::convert::{
    error::Wrong,
    model::{Arguments, Event, Signature},
    read::Reader,
    text::{Raw, Text},
};

/// The calls of a stream.
#[derive(Debug, Default)]
pub(super) struct Calls {
    all: Vec<Call>,
    /// How many bytes of arguments wait for the name of their call.
    held: usize,
}

#[derive(Debug)]
struct Call {
    candidate: u64,
    /// As the server numbers it.
    index: Option<u64>,
    id: Option<Text<'static>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not told yet: its name or its id is missing.
    Waiting {
        name: Option<Text<'static>>,
        signature: Option<Signature<'static>>,
        arguments: Held,
    },
    /// Told, as that number.
    Begun(u64),
}

/// Arguments that came too early.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Pieces(Text<'static>),
    Object(Raw<'static>),
}

/// How many calls a stream may have.
const MOST: usize = 1024;

/// How many bytes of arguments wait at most.
const MOST_HELD: usize = 4 << 20;

// ===== impl Calls =====

impl Calls {
    /// Whether this candidate called anything.
    pub(super) fn any(&self, candidate: u64) -> bool {
        self.all.iter().any(|call| call.candidate == candidate)
    }

    /// Whether some call was not told yet.
    pub(super) fn waiting(&self) -> bool {
        let waiting = |call: &Call| matches!(call.state, State::Waiting { .. });
        self.all.iter().any(waiting)
    }

    /// A piece came, and `tell` is told what is known of the call.
    pub(super) fn piece<'a>(
        &mut self,
        candidate: u64,
        piece: Piece<'a>,
        json: &mut Reader<'a>,
        at: usize,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let found = self.find(candidate, &piece);
        let Piece {
            index,
            id,
            name,
            arguments,
            signature,
        } = piece;
        let found = found.unwrap_or_else(|| {
            self.all.push(Call {
                candidate,
                index,
                id: None,
                state: State::Waiting {
                    name: None,
                    signature: None,
                    arguments: Held::Nothing,
                },
            });
            self.all.len() - 1
        });
        if found == MOST {
            self.all.pop();
            return json.fail(at, Wrong::TooMany);
        }
        let number = self.begun(candidate);
        let call = &mut self.all[found];
        call.id = call.id.take().or_else(|| id.map(Text::into_owned));
        let State::Waiting {
            name: old_name,
            signature: old_signature,
            arguments: held,
        } = &mut call.state
        else {
            if let (State::Begun(call), Some(arguments)) = (&call.state, arguments) {
                tell(event(candidate, *call, arguments));
            }
            return;
        };
        if old_name.is_none() {
            *old_name = name.map(Text::into_owned);
        }
        if old_signature.is_none() {
            *old_signature = signature.map(owned);
        }
        if let Some(arguments) = arguments {
            self.held += held.add(arguments);
        }
        if (old_name.is_some() && call.id.is_some()) || self.held > MOST_HELD {
            call.begin(number, json, at, tell);
        }
    }

    /// Nothing more comes for this candidate: what waits for an id has none.
    pub(super) fn finish<'a>(
        &mut self,
        candidate: u64,
        json: &mut Reader<'a>,
        at: usize,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let mut number = self.begun(candidate);
        for call in &mut self.all {
            if call.candidate == candidate && matches!(call.state, State::Waiting { .. }) {
                call.begin(number, json, at, tell);
                number += 1;
            }
        }
    }

    fn begun(&self, candidate: u64) -> u64 {
        let begun =
            |call: &&Call| call.candidate == candidate && matches!(call.state, State::Begun(_));
        self.all.iter().filter(begun).count() as u64
    }

    /// Which call a piece belongs to. `None`: another one begins.
    fn find(&self, candidate: u64, piece: &Piece<'_>) -> Option<usize> {
        let id = piece.id.as_ref();
        let last = |found: &dyn Fn(&Call) -> bool| {
            self.all
                .iter()
                .rposition(|call| call.candidate == candidate && found(call))
        };
        let same_id = |call: &Call| match (&call.id, id) {
            (Some(known), Some(id)) => known.written() == id.written(),
            _ => true,
        };
        if let Some(index) = piece.index {
            // Some servers number every call 0, and some make up an id for every piece.
            return last(&|call| call.index == Some(index))
                .filter(|found| piece.name.is_none() || same_id(&self.all[*found]));
        }
        match (id, &piece.name) {
            (Some(id), _) if last(&|call| call.is(id)).is_some() => last(&|call| call.is(id)),
            (_, Some(_)) => None,
            (_, None) => last(&|_| true),
        }
    }
}

// ===== impl Call =====

impl Call {
    fn is(&self, id: &Text<'_>) -> bool {
        let known = self.id.as_ref();
        known.is_some_and(|known| known.written() == id.written())
    }

    fn begin<'a>(
        &mut self,
        number: u64,
        json: &mut Reader<'a>,
        at: usize,
        tell: &mut dyn FnMut(Event<'a>),
    ) {
        let candidate = self.candidate;
        let state = std::mem::replace(&mut self.state, State::Begun(number));
        let State::Waiting {
            name,
            signature,
            arguments,
        } = state
        else {
            return;
        };
        let Some(name) = name else {
            let member = "function.name";
            return json.fail(at, Wrong::Missing { member });
        };
        tell(Event::Call {
            candidate,
            call: number,
            id: self.id.clone(),
            name,
            signature,
        });
        let arguments = match arguments {
            Held::Nothing => return,
            Held::Pieces(text) => Arguments::Written(text),
            Held::Object(raw) => Arguments::Object(raw),
        };
        tell(event(candidate, number, arguments));
    }
}

// ===== impl Held =====

impl Held {
    /// How many bytes it is longer.
    fn add(&mut self, arguments: Arguments<'_>) -> usize {
        match (&mut *self, arguments) {
            (Self::Pieces(text), Arguments::Written(piece)) => {
                text.join(&piece);
                piece.written().len()
            }
            (_, Arguments::Written(piece)) => {
                *self = Self::Pieces(piece.clone().into_owned());
                piece.written().len()
            }
            (_, Arguments::Object(object)) => {
                let len = object.written().len();
                *self = Self::Object(object.into_owned());
                len
            }
        }
    }
}

fn event(candidate: u64, call: u64, arguments: Arguments<'_>) -> Event<'_> {
    match arguments {
        Arguments::Written(piece) => Event::Arguments {
            candidate,
            call,
            piece,
        },
        Arguments::Object(arguments) => Event::Object {
            candidate,
            call,
            arguments,
        },
    }
}

fn owned(signature: Signature<'_>) -> Signature<'static> {
    Signature {
        of: signature.of,
        value: signature.value.into_owned(),
    }
}
