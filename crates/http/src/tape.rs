//! One body, recorded as it passes, and read by several.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    shelf::{Content, Shelf},
    waiting::Waiting,
};

/// A body that is polled once, by whichever of its readers comes to the end of what is recorded.
///
/// What has passed is kept up to a cap, so that another reader may begin at the beginning. Beyond
/// the cap it is not whole any more: nobody can begin, and only what some reader still waits for
/// is kept, up to the cap again. A reader that falls further behind is told so.
///
/// With each frame goes a mark, that whoever polled made of the source.
pub(crate) struct Tape<S, M> {
    cap: usize,
    state: Mutex<State<S, M>>,
    // Apart from the state, because the source owns the waker, and must not own itself by it.
    waiting: Arc<Waiting>,
    waker: Waker,
}

/// Where one reader is. Whoever has one gives it back with [`Tape::leave`].
#[derive(Debug, Default)]
pub(crate) struct Place {
    // None until the first poll: it counts from then on.
    next: Option<usize>,
    read: u64,
    slot: Option<usize>,
}

/// What a reader gets.
pub(crate) type Next<E, M> = Option<Result<(Frame<Bytes>, M), Stop<E>>>;

/// Why a reader gets nothing more.
pub(crate) enum Stop<E> {
    /// The source failed, polled by this reader.
    Source(E),
    /// The source failed, polled by another.
    Failed,
    /// What comes next has been let go.
    Behind,
}

struct State<S, M> {
    source: Source<S>,
    // Of what the source has yet to deliver.
    hint: SizeHint,
    // Somebody found the source out.
    missed: bool,
    whole: bool,
    // The number of the first frame that is kept.
    base: usize,
    kept: VecDeque<Kept<M>>,
    weight: usize,
    shelf: Shelf,
    // How many bytes of data the source has delivered.
    passed: u64,
    // How many readers have read all that there is.
    ahead: usize,
}

enum Source<S> {
    Here(Pin<Box<S>>),
    // With the reader that polls it: no lock is held meanwhile.
    Out,
    Ended,
    Failed,
}

struct Kept<M> {
    content: Content,
    mark: M,
    // How many readers come to this frame next.
    readers: usize,
}

/// A reader that polls the source.
struct Driver<'a, S, M> {
    // Declared first: it is gone, with all that happens then, before anybody hears of its end.
    source: Option<Pin<Box<S>>>,
    ending: Ending<'a, S, M>,
}

struct Ending<'a, S, M> {
    tape: &'a Tape<S, M>,
    slot: Option<usize>,
    how: Option<Source<S>>,
}

// ===== impl Tape =====

impl<S: Body, M> Tape<S, M> {
    pub(crate) fn new(source: S, cap: usize) -> Self {
        let waiting = Arc::new(Waiting::default());
        let hint = source.size_hint();
        let whole = usize::try_from(hint.lower()).is_ok_and(|lower| lower <= cap);
        let source = if source.is_end_stream() {
            Source::Ended
        } else {
            Source::Here(Box::pin(source))
        };
        Self {
            cap,
            state: Mutex::new(State {
                source,
                hint,
                missed: false,
                whole,
                base: 0,
                kept: VecDeque::new(),
                weight: 0,
                shelf: Shelf::new(),
                passed: 0,
                ahead: 0,
            }),
            waker: Waker::from(waiting.clone()),
            waiting,
        }
    }
}

impl<S, M> Tape<S, M>
where
    S: Body<Data = Bytes>,
    M: Copy,
{
    /// The next frame for this reader. `mark` looks at the source after it has delivered.
    pub(crate) fn poll_frame(
        &self,
        place: &mut Place,
        cx: &mut Context<'_>,
        mark: impl FnOnce(&S) -> M,
    ) -> Poll<Next<S::Error, M>> {
        let mut state = self.lock();
        if !state.join(place) {
            return Poll::Ready(Some(Err(Stop::Behind)));
        }
        if let Some((content, mark)) = state.read(place, self.cap) {
            drop(state);
            return Poll::Ready(Some(Ok((content.into_frame(), mark))));
        }
        let source = match mem::replace(&mut state.source, Source::Out) {
            Source::Here(source) => source,
            Source::Out => {
                state.missed = true;
                self.waiting.register(&mut place.slot, cx.waker());
                return Poll::Pending;
            }
            Source::Ended => {
                state.source = Source::Ended;
                return Poll::Ready(None);
            }
            Source::Failed => {
                state.source = Source::Failed;
                return Poll::Ready(Some(Err(Stop::Failed)));
            }
        };
        drop(state);
        // Before the source is polled: it may wake at once.
        self.waiting.register(&mut place.slot, cx.waker());
        self.drive(source, place.slot).poll_frame(place, mark)
    }
}

impl<S, M> Tape<S, M> {
    /// This reader wants nothing more.
    pub(crate) fn leave(&self, place: &mut Place) {
        let mut state = self.lock();
        if let Some(next) = place.next.take() {
            state.depart(next);
            state.trim(self.cap);
        }
        drop(state);
        self.waiting.leave(place.slot.take());
    }

    /// Ends it here, unless somebody is polling. The source is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if let Source::Here(_) = state.source
            && let Source::Here(source) = mem::replace(&mut state.source, Source::Out)
        {
            drop(state);
            self.drive(source, None).ending.how = Some(Source::Ended);
        }
    }

    /// Looks at the source, if nobody is polling and it is not over.
    pub(crate) fn source<T>(&self, look: impl FnOnce(&S) -> T) -> Option<T> {
        match &self.lock().source {
            Source::Here(source) => Some(look(source)),
            _ => None,
        }
    }

    /// Whether everything that has passed is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock().whole
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.lock().source, Source::Ended | Source::Failed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.lock().source, Source::Failed)
    }

    /// How much memory is taken by what is kept, about.
    pub(crate) fn weight(&self) -> usize {
        let state = self.lock();
        state.weight + state.kept.len() * size_of::<Kept<M>>()
    }

    pub(crate) fn is_end_stream(&self, place: &Place) -> bool {
        let state = self.lock();
        matches!(state.source, Source::Ended) && place.next.unwrap_or(0) == state.end()
    }

    pub(crate) fn size_hint(&self, place: &Place) -> SizeHint {
        let state = self.lock();
        let mut hint = SizeHint::new();
        if place.next.unwrap_or(0) < state.base {
            return hint;
        }
        let kept = state.passed - place.read;
        hint.set_lower(state.hint.lower().saturating_add(kept));
        if let Some(upper) = state.hint.upper().and_then(|most| most.checked_add(kept)) {
            hint.set_upper(upper);
        }
        hint
    }

    fn drive(&self, source: Pin<Box<S>>, slot: Option<usize>) -> Driver<'_, S, M> {
        Driver {
            source: Some(source),
            ending: Ending {
                tape: self,
                slot,
                // Until it returns or ends, it can only panic.
                how: Some(Source::Failed),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S, M>> {
        // Nothing that can panic leaves it half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl<S, M> State<S, M> {
    fn end(&self) -> usize {
        self.base + self.kept.len()
    }

    /// Whether what this reader wants next is there, or yet to come.
    fn join(&mut self, place: &mut Place) -> bool {
        if let Some(next) = place.next {
            return next >= self.base;
        }
        if self.base == 0 {
            place.next = Some(0);
            self.arrive(0);
        }
        self.base == 0
    }

    fn arrive(&mut self, at: usize) {
        match self.kept.get_mut(at - self.base) {
            Some(kept) => kept.readers += 1,
            None => self.ahead += 1,
        }
    }

    fn depart(&mut self, at: usize) {
        // One that has fallen behind is counted nowhere.
        if let Some(index) = at.checked_sub(self.base) {
            match self.kept.get_mut(index) {
                Some(kept) => kept.readers -= 1,
                None => self.ahead -= 1,
            }
        }
    }

    fn read(&mut self, place: &mut Place, cap: usize) -> Option<(Content, M)>
    where
        M: Copy,
    {
        let next = place.next?;
        let kept = self.kept.get(next - self.base)?;
        let (content, mark) = (kept.content.clone(), kept.mark);
        self.depart(next);
        self.arrive(next + 1);
        place.pass(content.bytes());
        self.trim(cap);
        Some((content, mark))
    }

    /// Takes what the source delivered to the reader at `place`.
    fn record(&mut self, place: &mut Place, frame: &Frame<Bytes>, mark: M, cap: usize) {
        // The one who polled is ahead, and stays so.
        let others = self.ahead - 1;
        self.ahead = 1;
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        place.pass(bytes);
        self.passed += bytes as u64;
        if self.whole || others > 0 || !self.kept.is_empty() {
            let content = self.shelf.keep(frame);
            self.weight += content.weight();
            self.kept.push_back(Kept {
                content,
                mark,
                readers: others,
            });
        } else {
            self.base += 1;
        }
        self.trim(cap);
    }

    fn trim(&mut self, cap: usize) {
        self.whole &= self.fits(cap);
        while !self.whole
            && let Some(first) = self.kept.front()
            && (first.readers == 0 || !self.fits(cap))
        {
            self.weight -= first.content.weight();
            self.base += 1;
            self.kept.pop_front();
        }
    }

    /// Frames are bounded too, so that a drip of single bytes takes twice the cap and not fifty
    /// times.
    fn fits(&self, cap: usize) -> bool {
        self.weight <= cap && self.kept.len() <= cap / size_of::<Kept<M>>() + 1024
    }
}

// ===== impl Place =====

impl Place {
    pub(crate) fn has_read(&self) -> bool {
        self.next.is_some_and(|next| next > 0)
    }

    fn pass(&mut self, bytes: usize) {
        self.next = self.next.map(|next| next + 1);
        self.read += bytes as u64;
    }
}

// ===== impl Driver =====

impl<S, M> Driver<'_, S, M>
where
    S: Body<Data = Bytes>,
    M: Copy,
{
    fn poll_frame(
        mut self,
        place: &mut Place,
        mark: impl FnOnce(&S) -> M,
    ) -> Poll<Next<S::Error, M>> {
        let tape = self.ending.tape;
        let Some(source) = &mut self.source else {
            unreachable!("it goes back only below");
        };
        match source
            .as_mut()
            .poll_frame(&mut Context::from_waker(&tape.waker))
        {
            Poll::Ready(Some(Ok(frame))) => {
                let (mark, hint, ended) =
                    (mark(source), source.size_hint(), source.is_end_stream());
                let mut state = tape.lock();
                state.record(place, &frame, mark, tape.cap);
                state.hint = hint;
                drop(state);
                if ended {
                    self.ending.how = Some(Source::Ended);
                } else {
                    self.returns(true);
                }
                Poll::Ready(Some(Ok((frame, mark))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Stop::Source(error)))),
            Poll::Ready(None) => {
                self.ending.how = Some(Source::Ended);
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.returns(false);
                Poll::Pending
            }
        }
    }

    /// Puts the source back, for whoever comes next.
    fn returns(mut self, delivered: bool) {
        self.ending.how = None;
        if let Some(source) = self.source.take() {
            let mut state = self.ending.tape.lock();
            state.source = Source::Here(source);
            let missed = mem::take(&mut state.missed);
            drop(state);
            if delivered || missed {
                self.ending.wake();
            }
        }
    }
}

// ===== impl Ending =====

impl<S, M> Ending<'_, S, M> {
    /// The one who drives is awake.
    fn wake(&self) {
        self.tape.waiting.wake_others(self.slot);
    }
}

impl<S, M> Drop for Ending<'_, S, M> {
    fn drop(&mut self) {
        if let Some(how) = self.how.take() {
            let mut state = self.tape.lock();
            state.hint = match how {
                Source::Ended => SizeHint::with_exact(0),
                _ => SizeHint::default(),
            };
            state.source = how;
            state.kept.shrink_to_fit();
            state.shelf = Shelf::new();
            drop(state);
            self.wake();
        }
    }
}
