use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Class, Completion, Outcome, Progress, Refused, Report};
use bytes::Bytes;
use http_body::Frame;

use crate::{Meter, Tracked};

/// What a body knows of its call, and whom it tells.
pub(crate) struct Tail {
    // Of the call so far; once `over`, of the whole call.
    seen: Outcome,
    over: bool,
    content: bool,
    watched: bool,
    meter: Option<Box<dyn Meter>>,
    link: Option<Link>,
    duties: Duties,
}

/// How a body ended.
pub(crate) enum End {
    Clean,
    Broken(Outcome),
    Dropped,
}

/// What a converted body knows from the one inside: see [`Body::convert`](crate::Body::convert).
#[derive(Clone, Default)]
pub struct Link {
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    outcome: Mutex<Option<Outcome>>,
    progress: AtomicU8,
}

/// Completions in the order in which they were attached. One box each, and nothing besides.
type Duties = Option<Box<Duty<dyn Report + Send>>>;

struct Duty<R: Report + ?Sized> {
    next: Duties,
    watches: bool,
    completion: Completion<R>,
}

// ===== impl Tail =====

impl Tail {
    pub(crate) fn new(seen: Outcome, meter: Option<Box<dyn Meter>>) -> Self {
        Self {
            seen,
            over: false,
            content: false,
            watched: false,
            meter,
            link: None,
            duties: None,
        }
    }

    pub(crate) fn over(seen: Outcome) -> Self {
        let mut tail = Self::new(seen, None);
        tail.over = true;
        tail
    }

    pub(crate) fn linked(seen: Outcome, link: Link) -> Self {
        let mut tail = Self::new(seen, None);
        tail.link = Some(link);
        tail
    }

    pub(crate) fn seen(&self) -> Outcome {
        self.seen
    }

    pub(crate) fn attach<R: Report + Send + 'static>(&mut self, mut completion: Completion<R>) {
        if self.over {
            return completion.complete(&self.seen);
        }
        let watches = completion.get_ref().watches();
        self.watched |= watches;
        let mut last = &mut self.duties;
        while let Some(duty) = last {
            last = &mut duty.next;
        }
        *last = Some(Box::new(Duty {
            next: None,
            watches,
            completion,
        }));
    }

    /// A frame is about to be delivered.
    pub(crate) fn delivers(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if let Some(progress) = self.measure(data)
                && self.watched
            {
                self.tell(progress);
            }
        } else if let (Some(trailers), Some(meter)) = (frame.trailers_ref(), &mut self.meter) {
            meter.trailers(trailers);
        }
    }

    /// Shows a chunk to the meter. Peek does it before anybody watches.
    pub(crate) fn measure(&mut self, data: &Bytes) -> Option<Progress> {
        let progress = match (&mut self.meter, &self.link) {
            (Some(meter), _) => meter.chunk(data),
            (None, Some(link)) => link.take()?,
            (None, None) if data.is_empty() => return None,
            (None, None) => Progress::Content,
        };
        // What comes after a failed head is its explanation.
        if !progress.is_content() || self.seen.failed() {
            return Some(Progress::Ping);
        }
        let first = !std::mem::replace(&mut self.content, true);
        Some(if first {
            Progress::FirstContent
        } else {
            Progress::Content
        })
    }

    pub(crate) fn trailers(&mut self, trailers: &http::HeaderMap) {
        if let Some(meter) = &mut self.meter {
            meter.trailers(trailers);
        }
    }

    /// A chunk that peek has measured is about to be delivered.
    pub(crate) fn redelivers(&mut self, progress: Option<Progress>) {
        if let Some(progress) = progress
            && self.watched
        {
            self.tell(progress);
        }
    }

    /// Peek is over, the body is not: what the reply has said of itself goes for the call.
    pub(crate) fn peeked(&mut self) {
        if let Some(said) = self.meter.as_ref().and_then(|meter| meter.verdict(false)) {
            self.seen = self.with_facts(self.broken_off(said));
        }
    }

    pub(crate) fn has_content(&self) -> bool {
        self.content
    }

    pub(crate) fn has_verdict(&self) -> bool {
        self.meter
            .as_ref()
            .is_none_or(|meter| meter.verdict(false).is_some())
    }

    fn tell(&mut self, progress: Progress) {
        let mut next = &mut self.duties;
        while let Some(duty) = next {
            if duty.watches {
                duty.completion.get_mut().progress(progress);
            }
            next = &mut duty.next;
        }
    }

    /// Whether somebody cuts the body short, which has nothing to deliver.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        if !self.watched {
            return Poll::Pending;
        }
        let mut next = &mut self.duties;
        while let Some(duty) = next {
            if duty.watches
                && let Poll::Ready(refused) = duty.completion.get_mut().poll_cut(cx)
            {
                let class = self.broken_off(refused.outcome()).class;
                return Poll::Ready(refused.with_class(class));
            }
            next = &mut duty.next;
        }
        Poll::Pending
    }

    /// The body is over, and gone.
    pub(crate) fn end(&mut self, end: End) {
        if !std::mem::replace(&mut self.over, true) {
            self.seen = self.outcome(&end);
            self.meter = None;
            complete(self.duties.take(), &self.seen);
        }
    }

    fn outcome(&self, end: &End) -> Outcome {
        let clean = matches!(end, End::Clean);
        let said = match (&self.meter, &self.link) {
            (Some(meter), _) => meter.verdict(clean),
            (None, Some(link)) => link.outcome(),
            (None, None) => clean.then_some(Outcome::SUCCESS),
        };
        let outcome = match (said, end) {
            // Another stream was made of one that went well, and broke by itself.
            (Some(said), End::Broken(broken)) if self.link.is_some() && !said.failed() => {
                self.broken_off(*broken).or(&said)
            }
            (_, _) if self.seen.failed() => match said {
                Some(said) if said.failed() => said,
                _ => self.seen,
            },
            (Some(said), _) => self.broken_off(said),
            // The terminator is missing.
            (None, End::Clean) => self.broken_off(Outcome::new(Class::Unavailable)),
            (None, End::Broken(broken)) => self.broken_off(*broken),
            (None, End::Dropped) => Outcome::new(Class::Cancelled),
        };
        self.with_facts(outcome)
    }

    /// A failure after the first content is another one.
    fn broken_off(&self, outcome: Outcome) -> Outcome {
        match outcome.class {
            Class::Success | Class::Cancelled => outcome,
            _ if self.content => outcome.with_class(Class::Interrupted),
            _ => outcome,
        }
    }

    fn with_facts(&self, outcome: Outcome) -> Outcome {
        let mut measured = outcome;
        if let Some(meter) = &self.meter {
            measured.usage = outcome.usage.or_else(|| meter.usage());
            measured.cost = outcome.cost.or_else(|| meter.cost());
        }
        measured.or(&self.seen)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("seen", &self.seen)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// Does one duty after the other. If one panics, the rest are done while it unwinds.
fn complete(duties: Duties, outcome: &Outcome) {
    struct Rest<'a>(Duties, &'a Outcome);

    impl Drop for Rest<'_> {
        fn drop(&mut self) {
            complete(self.0.take(), self.1);
        }
    }

    if let Some(mut duty) = duties {
        let _rest = Rest(duty.next.take(), outcome);
        duty.completion.complete(outcome);
    }
}

// ===== impl Link =====

impl Link {
    const NONE: u8 = 0;

    /// Follows `body` from here on.
    pub fn follow(&self, body: &mut impl Tracked) {
        *self
            .known
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        body.attach(Completion::new(self.clone()));
    }

    /// How the body went that was followed last, once it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        *self
            .known
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Progress> {
        match self.known.progress.swap(Self::NONE, Ordering::Relaxed) {
            Self::NONE => None,
            1 => Some(Progress::Ping),
            _ => Some(Progress::Content),
        }
    }
}

impl Report for Link {
    fn report(&mut self, outcome: &Outcome) {
        let mut known = self
            .known
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(*outcome);
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        let seen = if progress.is_content() { 2 } else { 1 };
        self.known.progress.fetch_max(seen, Ordering::Relaxed);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.outcome()).finish()
    }
}
