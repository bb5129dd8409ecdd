//! A shared reply and two of its readers, naively.

use buttress_core::Class;
use buttress_http::Shared;

use crate::pipe::Piped;

pub(crate) const CAP: usize = Shared::<Piped>::MAX_BYTES;
/// Two of them are under the cap, three above.
pub(crate) const CHUNK: usize = 3 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Chunk,
    Terminator,
    Trailers,
}

/// What the upstream sends.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) items: &'static [Item],
    /// It says beforehand how long it is.
    pub(crate) sized: bool,
    pub(crate) content: bool,
    /// All of it is there when peek looks.
    pub(crate) peeked: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// The upstream has something for the next poll.
    Next(Step),
    Open(usize),
    Poll(usize),
    Leave(usize),
    /// Nobody else can begin.
    LetGo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Item(Item),
    End,
    Fail,
    Panic,
    /// While it is polled, the other reader leaves.
    OtherLeaves,
    /// While it is polled, something comes, and the other reader polls too if it has had all else.
    OtherPolls(Item),
}

/// What a poll gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Pending,
    Frame(Item),
    End,
    Failed,
    Refused(Class),
    Panicked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    pub(crate) sent: usize,
    pub(crate) next: Option<Step>,
    pub(crate) passed: Vec<Item>,
    pub(crate) whole: bool,
    // The first frame that is kept.
    pub(crate) base: usize,
    pub(crate) over: Option<Over>,
    pub(crate) readers: [Option<Reader>; 2],
    pub(crate) handle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Over {
    Ended,
    Failed,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    // Counts from its first poll on.
    pub(crate) at: Option<usize>,
    pub(crate) told: bool,
}

impl Reply {
    pub(crate) fn length(&self) -> usize {
        self.items.iter().map(|item| item.bytes()).sum()
    }

    /// Whether its last frame is known for the last one. Peek looks no further than to the
    /// terminator.
    pub(crate) fn is_known_to_end(&self) -> bool {
        self.sized || self.peeked && !self.items.contains(&Item::Terminator)
    }

    pub(crate) fn begin(self) -> Model {
        let mut model = Model {
            sent: 0,
            next: None,
            passed: Vec::new(),
            whole: !self.is_known_to_end() || self.length() <= CAP,
            base: 0,
            over: None,
            readers: [None; 2],
            handle: true,
        };
        if self.peeked {
            model.sent = self.items.len();
        }
        model
    }
}

impl Item {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Chunk => CHUNK,
            Self::Terminator => 3,
            Self::Trailers => 0,
        }
    }
}

impl Model {
    pub(crate) fn told(&self) -> bool {
        self.passed.contains(&Item::Terminator)
    }

    /// How the call went, whose body is over.
    pub(crate) fn class(&self, reply: Reply) -> Class {
        let begun = reply.content && self.passed.contains(&Item::Chunk);
        match self.over {
            _ if self.told() => Class::Success,
            Some(Over::Closed) => Class::Cancelled,
            _ if begun => Class::Interrupted,
            _ => Class::Unavailable,
        }
    }

    pub(crate) fn events(&self, reply: Reply) -> Vec<Event> {
        let mut events = Vec::new();
        let all = self.sent == reply.items.len();
        if self.next.is_none() && self.over.is_none() && !reply.peeked {
            if let Some(item) = reply.items.get(self.sent) {
                events.push(Event::Next(Step::Item(*item)));
                events.push(Event::Next(Step::OtherPolls(*item)));
            }
            if all || !reply.sized {
                events.push(Event::Next(Step::End));
            }
            for step in [Step::Fail, Step::Panic, Step::OtherLeaves] {
                events.push(Event::Next(step));
            }
        }
        for (number, reader) in self.readers.iter().enumerate() {
            match reader {
                Some(_) => events.extend([Event::Poll(number), Event::Leave(number)]),
                None if self.handle => events.push(Event::Open(number)),
                None => {}
            }
        }
        if self.handle {
            events.push(Event::LetGo);
        }
        events
    }

    /// What is kept, naively.
    pub(crate) fn trim(&mut self) {
        let weigh = |items: &[Item]| items.iter().map(|item| item.bytes()).sum::<usize>();
        self.whole &= weigh(&self.passed) <= CAP;
        if !self.whole {
            let wanted = self.readers.iter().flatten().filter_map(|reader| reader.at);
            let wanted = wanted.filter(|at| *at >= self.base).min();
            self.base = wanted.unwrap_or(self.passed.len());
            while weigh(&self.passed[self.base..]) > CAP {
                self.base += 1;
            }
        }
    }

    pub(crate) fn poll(&mut self, reply: Reply, number: usize) -> Seen {
        let seen = self.reader(number).at;
        let at = match seen {
            Some(at) => at,
            None if self.base == 0 && self.over != Some(Over::Closed) => 0,
            None => return Seen::Refused(Class::Unavailable),
        };
        if at < self.base {
            return Seen::Refused(match at {
                0 => Class::Unavailable,
                _ => Class::Interrupted,
            });
        }
        self.reader(number).at = Some(at);
        if let Some(item) = self.passed.get(at) {
            let item = *item;
            self.reads(number, item);
            return Seen::Frame(item);
        }
        match self.over {
            Some(Over::Ended) => Seen::End,
            Some(Over::Failed) if self.told() => Seen::End,
            Some(Over::Failed | Over::Closed) => Seen::Refused(self.class(reply)),
            None => self.drive(reply, number),
        }
    }

    fn drive(&mut self, reply: Reply, number: usize) -> Seen {
        if reply.peeked {
            match reply.items.get(self.passed.len()) {
                Some(item) => self.next = Some(Step::Item(*item)),
                None => self.next = Some(Step::End),
            }
        }
        match self.next.take() {
            None => Seen::Pending,
            Some(Step::Item(item)) => {
                self.passed.push(item);
                self.reads(number, item);
                if reply.is_known_to_end() && self.passed.len() == reply.items.len() {
                    self.over = Some(Over::Ended);
                }
                Seen::Frame(item)
            }
            Some(Step::End) => {
                self.over = Some(Over::Ended);
                Seen::End
            }
            Some(Step::Fail) => {
                self.over = Some(Over::Failed);
                match self.told() {
                    true => Seen::End,
                    false => Seen::Failed,
                }
            }
            Some(Step::Panic) => {
                self.over = Some(Over::Failed);
                Seen::Panicked
            }
            Some(Step::OtherLeaves) => {
                self.readers[1 - number] = None;
                self.trim();
                Seen::Pending
            }
            Some(Step::OtherPolls(item)) => {
                if self.is_at_end(1 - number) {
                    self.reader(1 - number).at = Some(self.passed.len());
                }
                self.next = Some(Step::Item(item));
                Seen::Pending
            }
        }
    }

    pub(crate) fn is_at_end(&self, number: usize) -> bool {
        self.readers[number].is_some_and(|reader| match reader.at {
            Some(at) => at == self.passed.len(),
            None => self.passed.is_empty(),
        })
    }

    fn reads(&mut self, number: usize, item: Item) {
        let reader = self.reader(number);
        reader.at = reader.at.map(|at| at + 1);
        reader.told |= item == Item::Terminator;
        self.trim();
    }

    pub(crate) fn leave(&mut self, reply: Reply, number: usize) {
        let left = self.readers[number].take().expect("it is open");
        self.trim();
        let alone = self.readers == [None; 2];
        if alone && self.over.is_none() {
            let more = reply.sized && self.passed.len() < reply.items.len();
            if !self.whole {
                self.over = Some(Over::Closed);
            } else if left.told && !more {
                self.over = Some(Over::Ended);
            }
        }
    }

    pub(crate) fn reader(&mut self, number: usize) -> &mut Reader {
        self.readers[number].as_mut().expect("it is open")
    }
}
