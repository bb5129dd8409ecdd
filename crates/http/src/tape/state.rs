//! What is recorded, and who has read how far.

use std::{collections::VecDeque, mem, pin::Pin};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    Place,
    shelf::{Content, Shelf},
};

pub(super) struct State<S, M> {
    pub(super) source: Source<S>,
    // Of what the source has yet to deliver.
    pub(super) hint: SizeHint,
    // Somebody found the source out.
    pub(super) missed: bool,
    pub(super) whole: bool,
    // The number of the first frame that is kept.
    pub(super) base: usize,
    pub(super) kept: VecDeque<Kept<M>>,
    pub(super) weight: usize,
    shelf: Shelf,
    // How many bytes of data the source has delivered.
    pub(super) passed: u64,
    // How many readers have read all that there is.
    ahead: usize,
}

pub(super) enum Source<S> {
    Here(Pin<Box<S>>),
    // With the reader that polls it: no lock is held meanwhile.
    Out,
    Ended,
    Failed,
    // Given up half-way.
    Closed,
}

pub(super) struct Kept<M> {
    content: Content,
    mark: M,
    // How many readers come to this frame next.
    readers: usize,
}

pub(super) struct Finished<M> {
    pub(super) frames: Box<[Kept<M>]>,
    // Its length was known beforehand.
    pub(super) sized: bool,
    pub(super) bytes: u64,
    pub(super) weight: usize,
}

// ===== impl State =====

impl<S, M> State<S, M> {
    pub(super) fn new(source: Source<S>, hint: SizeHint, whole: bool) -> Self {
        Self {
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
        }
    }

    /// The number of the next frame that the source will deliver.
    pub(super) fn passed_frames(&self) -> usize {
        self.base + self.kept.len()
    }

    pub(super) fn is_over(&self) -> bool {
        !matches!(self.source, Source::Here(_) | Source::Out)
    }

    /// The source, if it is here.
    pub(super) fn take(&mut self) -> Option<Pin<Box<S>>> {
        match mem::replace(&mut self.source, Source::Out) {
            Source::Here(source) => Some(source),
            other => {
                self.source = other;
                None
            }
        }
    }

    /// Whether what this reader wants next is there, or yet to come.
    pub(super) fn join(&mut self, place: &mut Place) -> bool {
        if let Some(next) = place.next {
            return next >= self.base;
        }
        if self.base == 0 {
            place.next = Some(0);
            self.arrive(0);
        }
        self.base == 0
    }

    /// The source is gone. Gives what is kept, if that can be read from now on without a lock.
    pub(super) fn end(&mut self, how: Source<S>) -> Option<Finished<M>> {
        self.hint = match (&how, self.hint.upper()) {
            (Source::Ended, Some(_)) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        };
        self.source = how;
        self.shelf = Shelf::new();
        let finished = self.whole && matches!(self.source, Source::Ended);
        finished.then(|| Finished {
            frames: mem::take(&mut self.kept).into_iter().collect(),
            sized: self.hint.upper().is_some(),
            bytes: self.passed,
            weight: self.weight,
        })
    }

    fn arrive(&mut self, at: usize) {
        match self.kept.get_mut(at - self.base) {
            Some(kept) => kept.readers += 1,
            None => self.ahead += 1,
        }
    }

    pub(super) fn depart(&mut self, at: usize) {
        // One that has fallen behind is counted nowhere.
        if let Some(index) = at.checked_sub(self.base) {
            match self.kept.get_mut(index) {
                Some(kept) => kept.readers -= 1,
                None => self.ahead -= 1,
            }
        }
    }

    pub(super) fn read(&mut self, place: &mut Place, cap: usize) -> Option<(Content, M)>
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
    pub(super) fn record(&mut self, place: &mut Place, frame: &Frame<Bytes>, mark: M, cap: usize) {
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

    pub(super) fn trim(&mut self, cap: usize) {
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

    fn fits(&self, cap: usize) -> bool {
        fits::<M>(self.weight, self.kept.len(), cap)
    }
}

/// Frames are bounded too, so that a drip of single bytes takes twice the cap and not fifty times.
const fn fits<M>(weight: usize, frames: usize, cap: usize) -> bool {
    weight <= cap && frames <= most_frames::<M>(cap)
}

/// How many frames are kept at most under this cap.
pub(crate) const fn most_frames<M>(cap: usize) -> usize {
    cap / size_of::<Kept<M>>() + 1024
}

// ===== impl Kept =====

impl<M: Copy> Kept<M> {
    pub(super) fn copy(&self) -> (Content, M) {
        (self.content.clone(), self.mark)
    }
}

// ===== impl Finished =====

impl<M: Copy> Finished<M> {
    pub(super) fn of(frames: Vec<(Content, M)>, sized: bool) -> Self {
        Self {
            sized,
            bytes: frames.iter().map(|(one, _)| one.bytes() as u64).sum(),
            weight: frames.iter().map(|(one, _)| one.weight()).sum(),
            frames: frames
                .into_iter()
                .map(|(content, mark)| Kept {
                    content,
                    mark,
                    readers: 0,
                })
                .collect(),
        }
    }

    pub(super) const fn fits(&self, cap: usize) -> bool {
        fits::<M>(self.weight, self.frames.len(), cap)
    }

    pub(super) fn read(&self, place: &mut Place) -> Option<(Frame<Bytes>, M)> {
        let next = *place.next.get_or_insert(0);
        let kept = self.frames.get(next);
        place.ended = next + 1 >= self.frames.len();
        let Kept { content, mark, .. } = kept?;
        place.pass(content.bytes());
        Some((content.clone().into_frame(), *mark))
    }
}
