//! Every state that a shared reply and two of its readers can come to, against a naive model.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use buttress_core::{Class, Outcome, Reason, Share};
use buttress_http::{BodyError, Http};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::{
    model::{CAP, CHUNK, Event, Item, Model, Reader, Reply, Seen, Step},
    pipe::{Pipe, Woken, poll},
    support::{Call, Caller, Lines},
};

static CONTENT: [u8; CHUNK] = [b'+'; CHUNK];
static NO_CONTENT: [u8; CHUNK] = [b'x'; CHUNK];

struct Run {
    reply: Reply,
    model: Model,
    pipe: Pipe,
    call: Option<Call>,
    readers: [Arc<Mutex<Option<Caller>>>; 2],
    wakers: [(Arc<Woken>, Waker); 2],
    // How often it was woken when it was polled last, and there was nothing.
    asleep: [Option<usize>; 2],
    // Whether the other reader is to poll while one does, and what became of it.
    asks: Arc<Mutex<(bool, Option<usize>)>>,
    bill: Bill,
}

/// What readers have paid, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Bill {
    paid: u128,
    // Somebody has come to the end of the call.
    settled: bool,
    // Somebody has had the terminator, and stayed for no more.
    told: bool,
}

/// What the next events depend on.
type State = (Model, [Option<bool>; 2], Bill);

impl Run {
    fn begin(reply: Reply) -> Self {
        let (pipe, source) = match reply.sized {
            true => Pipe::with_length(reply.length() as u64),
            false => Pipe::new(),
        };
        let mut run = Self {
            reply,
            model: reply.begin(),
            pipe,
            call: None,
            readers: Default::default(),
            wakers: [Woken::new(), Woken::new()],
            asleep: [None; 2],
            asks: Default::default(),
            bill: Bill::default(),
        };
        if reply.peeked {
            for item in reply.items {
                run.pipe.send_frame(run.frame(*item));
            }
            run.pipe.end();
        }
        let peek = if reply.peeked { usize::MAX } else { 0 };
        run.call = Some(Call::answer(Lines, 200, peek, source, |_| ()));
        run
    }

    fn state(&self) -> State {
        let awake = [0, 1].map(|number| self.is_awake(number));
        (self.model.clone(), awake, self.bill)
    }

    fn is_awake(&self, number: usize) -> Option<bool> {
        self.asleep[number].map(|times| self.wakers[number].0.times() > times)
    }

    fn frame(&self, item: Item) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(match item {
            Item::Chunk if self.reply.content => &CONTENT,
            Item::Chunk => &NO_CONTENT,
            Item::Terminator => b"END",
            Item::Trailers => return Frame::trailers(HeaderMap::new()),
        }))
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Next(step) => {
                self.model.next = Some(step);
                match step {
                    Step::Item(item) => {
                        self.model.sent += 1;
                        self.pipe.send_frame(self.frame(item));
                    }
                    Step::End => self.pipe.end(),
                    Step::Fail => self.pipe.fail(),
                    Step::Panic => {
                        self.pipe.panic();
                        self.pipe.wake();
                    }
                    Step::OtherLeaves => {
                        let readers = self.readers.clone();
                        self.pipe.call(move || {
                            for reader in &readers {
                                // The one who polls is locked.
                                if let Ok(mut reader) = reader.try_lock() {
                                    drop(reader.take());
                                }
                            }
                        });
                        self.pipe.wake();
                    }
                    Step::OtherPolls(item) => {
                        self.model.sent += 1;
                        let other = self.poll_meanwhile(item);
                        self.pipe.call(other);
                        self.pipe.wake();
                    }
                }
            }
            Event::Open(number) => {
                self.model.readers[number] = Some(Reader::default());
                let call = self.call.as_ref().expect("there is a handle");
                *self.readers[number].lock().unwrap() = Some(call.open());
            }
            Event::Poll(number) => self.polls(number),
            Event::Leave(number) => self.leaves(number),
            Event::LetGo => {
                self.model.handle = false;
                self.call = None;
            }
        }
    }

    fn poll_meanwhile(&self, sent: Item) -> impl FnOnce() + Send + use<> {
        let (pipe, frame) = (self.pipe.clone(), self.frame(sent));
        let (readers, wakers) = (self.readers.clone(), self.wakers.clone());
        let asks = self.asks.clone();
        move || {
            pipe.send_frame(frame);
            let (asked, asleep) = &mut *asks.lock().unwrap();
            for (reader, (woken, waker)) in readers.iter().zip(&wakers) {
                if let Ok(mut reader) = reader.try_lock()
                    && let Some(reader) = &mut *reader
                    && *asked
                {
                    assert!(poll(&mut reader.body, waker).is_pending());
                    *asleep = Some(woken.times());
                }
            }
        }
    }

    fn polls(&mut self, number: usize) {
        *self.asks.lock().unwrap() = (self.model.is_at_end(1 - number), None);
        let expected = self.model.poll(self.reply, number);
        let times = self.wakers[number].0.times();
        let seen = self.poll(number);
        assert_eq!(seen, expected);
        let ended = match seen {
            Seen::Pending => {
                self.asleep[number] = Some(times);
                if let Some(times) = self.asks.lock().unwrap().1 {
                    self.asleep[1 - number] = Some(times);
                }
                if self.model.readers[1 - number].is_none() {
                    // It may have left meanwhile.
                    self.asleep[1 - number] = None;
                }
                return;
            }
            Seen::Frame(_) => {
                self.asleep[number] = None;
                let reader = self.readers[number].clone();
                let over =
                    (reader.lock().unwrap().as_ref()).is_some_and(|r| r.body.is_end_stream());
                if !over {
                    return;
                }
                // Whoever asks for the end in this way has had everything.
                assert_eq!(self.model.poll(self.reply, number), Seen::End);
                assert_eq!(self.poll(number), Seen::End);
                self.model.class(self.reply)
            }
            Seen::End | Seen::Failed => self.model.class(self.reply),
            Seen::Refused(class) => class,
            Seen::Panicked => return self.leaves(number),
        };
        let is_behind = matches!(seen, Seen::Refused(_))
            && (self.model.readers[number].unwrap()).at != Some(self.model.passed.len());
        if is_behind {
            self.model.leave(self.reply, number);
        } else {
            self.model.readers[number] = None;
            self.model.trim();
            self.bill.settled = true;
        }
        let outcome = self.goes(number);
        assert_eq!(outcome.class, ended, "what its layers hear");
    }

    fn poll(&mut self, number: usize) -> Seen {
        let mut reader = self.readers[number].lock().unwrap();
        let body = &mut reader.as_mut().expect("it is open").body;
        let waker = &self.wakers[number].1;
        let Ok(polled) = catch_unwind(AssertUnwindSafe(|| poll(body, waker))) else {
            return Seen::Panicked;
        };
        match polled {
            Poll::Pending => Seen::Pending,
            Poll::Ready(None) => Seen::End,
            Poll::Ready(Some(Ok(frame))) => Seen::Frame(item(&frame)),
            Poll::Ready(Some(Err(BodyError::Inner(_)))) => Seen::Failed,
            Poll::Ready(Some(Err(BodyError::Refused(refused)))) => {
                assert_eq!(refused.reason(), Reason::Coalesced);
                Seen::Refused(refused.class())
            }
            Poll::Ready(Some(Err(other))) => panic!("{other:?}"),
        }
    }

    fn leaves(&mut self, number: usize) {
        let told = self.model.reader(number).told;
        self.model.leave(self.reply, number);
        self.bill.told |= told;
        let outcome = self.goes(number);
        assert_eq!(outcome.class == Class::Success, told, "{outcome:?}");
    }

    /// What its layers have heard of a reader that is gone.
    fn goes(&mut self, number: usize) -> Outcome {
        self.asleep[number] = None;
        let caller = self.readers[number].lock().unwrap().take();
        let outcome = caller.expect("it is open").leave().outcome();
        self.bill.paid += outcome.cost.map_or(0, |cost| cost.pico());
        outcome
    }

    /// What is true at any time.
    fn holds(&self) {
        let model = &self.model;
        for number in 0..2 {
            if self.is_awake(number) == Some(false) && model.readers[number].is_some() {
                let next = model.clone().poll(self.reply, number);
                assert_eq!(next, Seen::Pending, "nobody woke reader {number}");
            }
        }
        let wanted = model.handle || model.readers != [None; 2];
        if !self.reply.peeked {
            assert_eq!(self.pipe.is_gone(), model.over.is_some() || !wanted);
        }
        let spent = 3 * model.passed.iter().filter(|item| item.bytes() > 0).count() as u128;
        let all = match self.reply.peeked {
            true => {
                3 * self
                    .reply
                    .items
                    .iter()
                    .filter(|item| item.bytes() > 0)
                    .count() as u128
            }
            false => spent,
        };
        assert!(self.bill.paid <= all, "paid twice: {:?}", self.bill);
        if self.bill.settled && !self.bill.told {
            assert_eq!(self.bill.paid, all);
        }
        let Some(call) = &self.call else { return };
        assert_eq!(Http.reopens(&call.shared), model.whole);
        assert!(Http.weight(&call.shared) <= CAP + (64 << 10));
        let ended = call.ended().map(|outcome| outcome.class);
        assert_eq!(ended.is_some(), model.over.is_some());
        let keeps = model.over.is_some() && model.told() && model.whole;
        assert_eq!(ended == Some(Class::Success), keeps, "{ended:?}");
    }
}

fn item(frame: &Frame<Bytes>) -> Item {
    match frame.data_ref().map(Bytes::len) {
        None => Item::Trailers,
        Some(CHUNK) => Item::Chunk,
        Some(3) => Item::Terminator,
        Some(other) => panic!("{other} bytes that nobody sent"),
    }
}

/// Comes to every state there is, each by the shortest way.
fn explore(reply: Reply) -> usize {
    let mut known = HashSet::new();
    let mut next = VecDeque::from([(Vec::new(), reply.begin())]);
    while let Some((way, model)) = next.pop_front() {
        for event in model.events(reply) {
            let mut run = Run::begin(reply);
            way.iter().for_each(|event| run.happens(*event));
            let result = catch_unwind(AssertUnwindSafe(|| {
                run.happens(event);
                run.holds();
            }));
            assert!(result.is_ok(), "{way:?}, then {event:?}");
            if known.insert(run.state()) {
                let mut way = way.clone();
                way.push(event);
                next.push_back((way, run.model.clone()));
            }
        }
    }
    known.len()
}

use Item::{Chunk, Terminator, Trailers};

const LIVE: Reply = Reply {
    items: &[],
    sized: false,
    content: true,
    peeked: false,
};

#[test]
fn c5_no_reader_sees_the_end_of_a_reply_over_the_cap_that_it_has_not_had_whole() {
    let states = explore(Reply {
        items: &[Chunk, Chunk, Chunk, Terminator],
        ..LIVE
    });
    assert!(states > 1000, "{states}");
}

#[test]
fn c5_nor_of_one_that_says_beforehand_that_it_is_over_the_cap() {
    let states = explore(Reply {
        items: &[Chunk, Chunk, Chunk, Terminator],
        sized: true,
        ..LIVE
    });
    assert!(states > 1000, "{states}");
}

#[test]
fn c5_nor_of_one_that_goes_on_after_its_terminator() {
    for sized in [false, true] {
        let states = explore(Reply {
            items: &[Chunk, Terminator, Chunk],
            sized,
            ..LIVE
        });
        assert!(states > 1000, "{states}");
    }
}

#[test]
fn c5_nor_of_one_with_trailers() {
    let states = explore(Reply {
        items: &[Terminator, Trailers],
        ..LIVE
    });
    assert!(states > 100, "{states}");
}

#[test]
fn c5_nor_of_one_that_peek_has_read() {
    let items: [&[Item]; 4] = [
        &[Chunk, Terminator],
        &[Chunk, Terminator, Trailers],
        &[Chunk, Chunk, Chunk],
        &[Chunk, Trailers],
    ];
    for items in items {
        let states = explore(Reply {
            items,
            content: false,
            peeked: true,
            ..LIVE
        });
        assert!(states > 50, "{states}");
    }
}
