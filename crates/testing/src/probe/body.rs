//! The body of a reply, under the probe's control, and known to be alive until it is dropped.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    core::{Core, Point},
    reply::Failure,
};

/// The body of a [`Reply`](super::Reply): chunks, trailers, an end or an error when the probe says
/// so.
///
/// It knows its length and its end where the probe gave them, as the body of a real client does.
/// `Send`, but neither `Clone` nor `Sync`.
pub struct Body {
    id: u64,
    core: Arc<Core>,
    not_sync: PhantomData<Cell<()>>,
}

/// What a body holds when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Two chunks of known length.
    Whole,
    /// One chunk, and more may come.
    Open,
    /// Over before it is polled.
    Empty,
    /// A chunk and trailers.
    Trailers,
}

#[derive(Default)]
pub(super) struct Bodies {
    made: u64,
    alive: BTreeMap<u64, State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    over: bool,
    known: bool,
    waker: Option<Waker>,
}

enum Piece {
    Data(Bytes),
    Trailers,
    Error(Failure),
}

pub(super) const CHUNK: &[u8] = b"data: {}\n\n";

// ===== impl Body =====

impl Body {
    pub(super) fn new(core: &Arc<Core>, content: Content) -> Self {
        let id = core.bodies(|bodies| bodies.make(content));
        Self {
            id,
            core: Arc::clone(core),
            not_sync: PhantomData,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.core.panics(Point::Body) {
            self.core.event(&format!("body {} panics", self.id));
            panic!("the probe's inner service panics in poll_frame, as asked");
        }
        self.core
            .poll_body(|bodies| bodies.poll(self.id, cx.waker()))
    }

    fn is_end_stream(&self) -> bool {
        self.core.bodies(|bodies| bodies.is_over(self.id))
    }

    fn size_hint(&self) -> SizeHint {
        match self.core.bodies(|bodies| bodies.known_length(self.id)) {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.core.change_body(self.id, "is dropped", |bodies| {
            bodies.alive.remove(&self.id);
        });
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

// ===== impl Bodies =====

impl Bodies {
    fn make(&mut self, content: Content) -> u64 {
        let chunk = || Piece::Data(Bytes::from_static(CHUNK));
        let (pieces, over, known) = match content {
            Content::Whole => (vec![chunk(), chunk()], true, true),
            Content::Open => (vec![chunk()], false, false),
            Content::Empty => (vec![], true, true),
            Content::Trailers => (vec![chunk(), Piece::Trailers], true, false),
        };
        let state = State {
            pieces: pieces.into(),
            over,
            known,
            waker: None,
        };
        self.made += 1;
        self.alive.insert(self.made, state);
        self.made
    }

    /// How many bodies live.
    pub(super) fn alive(&self) -> usize {
        self.alive.len()
    }

    /// The body that was made last, 0 if none was.
    pub(super) fn last(&self) -> u64 {
        self.made
    }

    /// One more chunk.
    pub(super) fn push(&mut self, id: u64) {
        if let Some(body) = self.alive.get_mut(&id) {
            body.pieces
                .push_back(Piece::Data(Bytes::from_static(CHUNK)));
        }
    }

    /// Nothing more will come; the body knows it once its chunks are taken.
    pub(super) fn end(&mut self, id: u64) {
        if let Some(body) = self.alive.get_mut(&id) {
            body.over = true;
        }
    }

    /// It breaks after the chunks that it has.
    pub(super) fn fail(&mut self, id: u64, failure: Failure) {
        if let Some(body) = self.alive.get_mut(&id) {
            body.pieces.push_back(Piece::Error(failure));
            body.over = true;
        }
    }

    pub(super) fn take_waker(&mut self, id: u64) -> Option<Waker> {
        self.alive.get_mut(&id)?.waker.take()
    }

    fn is_over(&self, id: u64) -> bool {
        self.alive
            .get(&id)
            .is_some_and(|body| body.over && body.pieces.is_empty())
    }

    fn known_length(&self, id: u64) -> Option<u64> {
        let body = self.alive.get(&id).filter(|body| body.known)?;
        let length = |piece: &Piece| match piece {
            Piece::Data(data) => data.len() as u64,
            Piece::Trailers | Piece::Error(_) => 0,
        };
        Some(body.pieces.iter().map(length).sum())
    }

    #[expect(
        clippy::type_complexity,
        reason = "what `poll_frame` gives, and the line for it"
    )]
    fn poll(
        &mut self,
        id: u64,
        waker: &Waker,
    ) -> Poll<(Option<Result<Frame<Bytes>, Failure>>, Option<String>)> {
        let body = self.alive.get_mut(&id).expect("a live body");
        let (frame, what) = match body.pieces.pop_front() {
            Some(Piece::Data(data)) => (Some(Ok(Frame::data(data))), "a chunk"),
            Some(Piece::Trailers) => {
                let trailers = [("probe".parse(), "trailer".parse())];
                let trailers = trailers
                    .into_iter()
                    .filter_map(|(n, v)| Some((n.ok()?, v.ok()?)));
                (Some(Ok(Frame::trailers(trailers.collect()))), "trailers")
            }
            Some(Piece::Error(failure)) => (Some(Err(failure)), "an error"),
            None if body.over => (None, "the end"),
            None => {
                body.waker = Some(waker.clone());
                return Poll::Pending;
            }
        };
        Poll::Ready((frame, Some(format!("body {id} gives {what}"))))
    }
}
