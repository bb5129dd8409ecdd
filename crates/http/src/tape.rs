//! One body, recorded as it passes, and read by several.

mod shelf;
mod state;
mod waiting;

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

pub(crate) use self::{shelf::Content, state::most_frames};
use self::{
    state::{Finished, Kept, Source, State},
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
    // Once it has ended and is whole. What is read often is read without a lock.
    finished: OnceLock<Finished<M>>,
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
    ended: bool,
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
            state: Mutex::new(State::new(source, hint, whole)),
            finished: OnceLock::new(),
            waker: Waker::from(waiting.clone()),
            waiting,
        }
    }
}

impl<S, M: Copy> Tape<S, M> {
    /// One that has ended, well, after these frames. None, if a recording would not have been whole.
    /// `sized`: its length was known beforehand.
    pub(crate) fn of(frames: Vec<(Content, M)>, sized: bool, cap: usize) -> Option<Self> {
        let (waiting, finished) = (Arc::new(Waiting::default()), Finished::of(frames, sized));
        finished.fits(cap).then(|| Self {
            cap,
            state: Mutex::new(State::new(Source::Ended, SizeHint::default(), true)),
            finished: OnceLock::from(finished),
            waker: Waker::from(waiting.clone()),
            waiting,
        })
    }

    /// All frames, if it is over and whole, and whether its length was known beforehand.
    pub(crate) fn recorded(&self) -> Option<(Vec<(Content, M)>, bool)> {
        match self.lock() {
            Ok(state) if !state.whole || !state.is_over() => None,
            // It broke off.
            Ok(state) => Some((state.kept.iter().map(Kept::copy).collect(), false)),
            Err(finished) => {
                let frames = finished.frames.iter().map(Kept::copy);
                Some((frames.collect(), finished.sized))
            }
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
        let mut state = match self.lock() {
            Ok(state) => state,
            Err(finished) => return Poll::Ready(finished.read(place).map(Ok)),
        };
        if !state.join(place) {
            return Poll::Ready(Some(Err(Stop::Behind)));
        }
        if let Some((content, mark)) = state.read(place, self.cap) {
            drop(state);
            return Poll::Ready(Some(Ok((content.into_frame(), mark))));
        }
        let Some(source) = state.take() else {
            return match state.source {
                Source::Ended => {
                    place.ended = true;
                    Poll::Ready(None)
                }
                Source::Failed => Poll::Ready(Some(Err(Stop::Failed))),
                Source::Closed => Poll::Ready(Some(Err(Stop::Behind))),
                Source::Here(_) | Source::Out => {
                    state.missed = true;
                    let old = self.waiting.register(&mut place.slot, cx.waker());
                    drop(state);
                    drop(old);
                    Poll::Pending
                }
            };
        };
        drop(state);
        // Before the source is polled: it may wake at once.
        drop(self.waiting.register(&mut place.slot, cx.waker()));
        self.drive(source, place.slot).poll_frame(place, mark)
    }
}

impl<S, M> Tape<S, M> {
    /// This reader wants nothing more.
    pub(crate) fn leave(&self, place: &mut Place) {
        if let (Some(next), Ok(mut state)) = (place.next.take(), self.lock()) {
            state.depart(next);
            state.trim(self.cap);
        }
        self.waiting.leave(place.slot.take());
    }

    /// Ends it here, unless somebody is polling, or the source is sure to have more for whoever
    /// begins anew. If that can be nobody, all who come are behind.
    ///
    /// The source is dropped with what this gives, where no lock is to be held.
    pub(crate) fn close(&self) -> Option<impl Sized> {
        let mut state = self.lock().ok()?;
        if state.whole && state.hint.lower() > 0 {
            return None;
        }
        let how = match state.whole {
            true => Source::Ended,
            false => Source::Closed,
        };
        let source = state.take()?;
        drop(state);
        let mut last = self.drive(source, None);
        last.ending.how = Some(how);
        Some(last)
    }

    /// Looks at the source, if nobody is polling and it is not over.
    pub(crate) fn source<T>(&self, look: impl FnOnce(&S) -> T) -> Option<T> {
        match &self.lock().ok()?.source {
            Source::Here(source) => Some(look(source)),
            _ => None,
        }
    }

    /// Whether everything that has passed is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock().map_or(true, |state| state.whole)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().map_or(true, |state| state.is_over())
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.lock()
            .is_ok_and(|state| matches!(state.source, Source::Failed))
    }

    /// How much memory is taken by what is kept, about.
    pub(crate) fn weight(&self) -> usize {
        let (weight, frames) = match self.lock() {
            Ok(state) => (state.weight, state.kept.len()),
            Err(finished) => (finished.weight, finished.frames.len()),
        };
        weight + frames * size_of::<Kept<M>>()
    }

    /// Whether nothing comes after what this reader has read, now that it may have been found out
    /// by another.
    pub(crate) fn is_at_end(&self, place: &Place) -> bool {
        let next = place.next.unwrap_or(0);
        match self.lock() {
            Ok(state) => matches!(state.source, Source::Ended) && next == state.passed_frames(),
            Err(finished) => next == finished.frames.len(),
        }
    }

    /// The same, as it was when this reader polled last.
    pub(crate) fn is_end_stream(&self, place: &Place) -> bool {
        place.ended || place.next.is_none() && self.is_at_end(place)
    }

    /// As the source said at first: one of unknown length stays so when its length is known, since
    /// a body that is framed by its length loses its trailers on HTTP/1.1.
    pub(crate) fn size_hint(&self, place: &Place) -> SizeHint {
        let (passed, lower, upper) = match self.lock() {
            Ok(state) if place.next.unwrap_or(0) < state.base => return SizeHint::new(),
            Ok(state) => (state.passed, state.hint.lower(), state.hint.upper()),
            Err(finished) => (finished.bytes, 0, finished.sized.then_some(0)),
        };
        let kept = passed - place.read;
        let mut hint = SizeHint::new();
        hint.set_lower(lower.saturating_add(kept));
        if let Some(upper) = upper.and_then(|most| most.checked_add(kept)) {
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

    fn lock(&self) -> Result<MutexGuard<'_, State<S, M>>, &Finished<M>> {
        if let Some(finished) = self.finished.get() {
            return Err(finished);
        }
        let state = self.lock_state();
        // It is finished under the lock.
        match self.finished.get() {
            Some(finished) => Err(finished),
            None => Ok(state),
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, State<S, M>> {
        // Nothing that can panic leaves it half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                let mut state = tape.lock_state();
                state.record(place, &frame, mark, tape.cap);
                state.hint = hint;
                drop(state);
                place.ended = ended;
                if ended {
                    self.ending.how = Some(Source::Ended);
                } else {
                    self.returns(true);
                }
                Poll::Ready(Some(Ok((frame, mark))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Stop::Source(error)))),
            Poll::Ready(None) => {
                place.ended = true;
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
            let mut state = self.ending.tape.lock_state();
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
            let mut state = self.tape.lock_state();
            if let Some(finished) = state.end(how) {
                // It ends once.
                let _ = self.tape.finished.set(finished);
            }
            drop(state);
            self.wake();
        }
    }
}
