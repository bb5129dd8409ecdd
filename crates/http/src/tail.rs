use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{
    Class, Completion, Finish, Money, Outcome, Progress, Refused, Report, Sent, Usage,
};
use bytes::Bytes;
use http::{Extensions, HeaderMap};
use http_body::{Frame, SizeHint};

use crate::{
    Link, Meter,
    duties::{Duties, finish},
};

/// What a body knows of its call, and whom it tells.
pub(crate) struct Tail {
    // Of the call so far; once it is `known`, of the whole call.
    seen: Seen,
    known: bool,
    over: bool,
    content: bool,
    // Its head says how long the body is.
    sized: bool,
    // Whether it may not end without its terminator; and that it did.
    strict: bool,
    unfinished: bool,
    // A layer's answer to whether to ask again, in place of the reply's.
    at_once: bool,
    told: Told,
    duties: Duties,
}

/// An outcome in less space: a body is moved often, and its usage is seldom known before its end.
struct Seen {
    class: Class,
    sent: Sent,
    should_retry: Option<bool>,
    retry_after: Option<Duration>,
    finish: Option<Finish>,
    used: Option<Box<(Option<Usage>, Option<Money>)>>,
}

/// Who tells what a body means.
enum Told {
    /// Nobody: its clean end is a success.
    End,
    Meter(Box<dyn Meter>),
    Link(Link),
}

/// How a body ended.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Clean,
    Broken(Outcome),
    Dropped,
}

// ===== impl Tail =====

impl Tail {
    pub(crate) fn new(seen: Outcome, meter: Option<Box<dyn Meter>>) -> Self {
        Self::by(seen, meter.map_or(Told::End, Told::Meter))
    }

    pub(crate) fn over(seen: Outcome) -> Self {
        let mut tail = Self::new(seen, None);
        (tail.known, tail.over) = (true, true);
        tail
    }

    pub(crate) fn linked(seen: Outcome, link: Link) -> Self {
        Self::by(seen, Told::Link(link))
    }

    fn by(seen: Outcome, told: Told) -> Self {
        Self {
            seen: seen.into(),
            known: false,
            over: false,
            content: false,
            sized: false,
            strict: false,
            unfinished: false,
            at_once: false,
            told,
            duties: Duties::default(),
        }
    }

    /// Of a body that begins with this hint, and may not end without its terminator if that is
    /// `strict`.
    pub(crate) fn of(mut self, hint: &SizeHint, strict: bool) -> Self {
        (self.sized, self.strict) = (hint.exact().is_some(), strict);
        self
    }

    pub(crate) fn seen(&self) -> Outcome {
        let seen = self.seen.outcome();
        if self.at_once { at_once(seen) } else { seen }
    }

    pub(crate) const fn retry_at_once(&mut self) {
        self.at_once = true;
    }

    pub(crate) fn attach<R: Report + Send + 'static>(&mut self, mut completion: Completion<R>) {
        if self.over {
            completion.complete(&self.seen());
        } else {
            self.duties.attach(completion);
        }
    }

    /// A frame is about to be delivered.
    pub(crate) fn delivers(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let progress = self.measure(data);
            self.tell(progress);
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers(trailers);
        }
    }

    /// Tells who watches what [`measure`](Self::measure) said of the chunk that is about to be
    /// delivered.
    pub(crate) fn tell(&mut self, progress: Option<Progress>) {
        if let Some(progress) = progress {
            self.duties.tell(progress);
        }
    }

    /// Shows a chunk to the meter. Peek does it before anybody watches.
    pub(crate) fn measure(&mut self, data: &Bytes) -> Option<Progress> {
        let progress = match &mut self.told {
            Told::Meter(meter) => meter.chunk(data),
            Told::Link(link) => link.take()?,
            Told::End if data.is_empty() => return None,
            Told::End => Progress::Content,
        };
        // What comes after a failed head is its explanation.
        if !progress.is_content() || failed(self.seen.class) {
            return Some(Progress::Ping);
        }
        let first = !std::mem::replace(&mut self.content, true);
        Some(if first {
            Progress::FirstContent
        } else {
            Progress::Content
        })
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Told::Meter(meter) = &mut self.told {
            meter.trailers(trailers);
        }
    }

    /// What the meter has to say to those who see the head.
    pub(crate) fn learned(&self, head: &mut Extensions) {
        if let Told::Meter(meter) = &self.told {
            meter.learned(head);
        }
    }

    /// Peek is over, the body is not: what the reply has said of itself goes for the call.
    pub(crate) fn peeked(&mut self) {
        if let Some(said) = self.verdict(false) {
            self.seen = self.with_facts(self.judged(said)).into();
        }
    }

    /// Whether content has come.
    pub(crate) const fn had_content(&self) -> bool {
        self.content
    }

    /// Whether a caller may see the response by now: there is content, or the call is decided.
    pub(crate) fn is_known(&self) -> bool {
        self.content || self.verdict(false).is_some()
    }

    /// Whether somebody cuts the body short, which has nothing to deliver.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        let refused = ready!(self.duties.poll_cut(cx));
        let class = self.broken_off(refused.outcome()).class;
        Poll::Ready(refused.with_class(class))
    }

    /// How the body ends is known, though not all of it is delivered. What comes of that later
    /// changes nothing any more.
    pub(crate) fn ends(&mut self, end: &End) {
        if !std::mem::replace(&mut self.known, true) {
            self.unfinished = self.strict && self.is_cut(end);
            self.seen = self.outcome(end).into();
            self.at_once = false;
            self.told = Told::End;
        }
    }

    /// Whether nothing is missing of what broke off: it did so after its terminator, and promised no
    /// more.
    pub(crate) const fn is_whole(&self) -> bool {
        !self.sized && matches!(self.seen.class, Class::Success)
    }

    /// The body is over, and gone.
    pub(crate) fn end(&mut self, end: &End) {
        if !std::mem::replace(&mut self.over, true) {
            // Nothing is learned from a clean end, and nobody asks.
            if matches!((&self.told, end), (Told::End, End::Clean)) && self.duties.is_empty() {
                self.known = true;
                return;
            }
            self.ends(end);
            self.duties.complete(&self.seen());
        }
    }

    /// It ended cleanly, and without the terminator that it should have. That is told once.
    pub(crate) const fn take_unfinished(&mut self) -> bool {
        std::mem::replace(&mut self.unfinished, false)
    }

    fn is_cut(&self, end: &End) -> bool {
        matches!(end, End::Clean) && !failed(self.seen.class) && self.verdict(true).is_none()
    }

    fn verdict(&self, clean: bool) -> Option<Outcome> {
        match &self.told {
            Told::Meter(meter) => meter.verdict(clean),
            Told::Link(link) => link.outcome(),
            Told::End => clean.then_some(Outcome::SUCCESS),
        }
    }

    /// What would be reported if the body was dropped now.
    pub(crate) fn if_dropped(&self) -> Outcome {
        if self.known {
            self.seen()
        } else {
            self.outcome(&End::Dropped)
        }
    }

    /// How the call went, by the word of the reply itself, though the body is not over.
    pub(crate) fn told(&self) -> Option<Outcome> {
        let Told::Meter(meter) = &self.told else {
            let whole = self.known && matches!(self.seen.class, Class::Success);
            return whole.then(|| self.seen());
        };
        meter.verdict(false).map(|_| self.outcome(&End::Dropped))
    }

    fn outcome(&self, end: &End) -> Outcome {
        let said = self.verdict(matches!(end, End::Clean));
        let outcome = match (said, end) {
            // Another stream was made of one that went well, and broke by itself.
            (Some(said), End::Broken(broken)) if self.is_linked() && !said.failed() => {
                self.broken_off(*broken).or(&said)
            }
            (Some(said), _) => self.judged(said),
            (None, _) if failed(self.seen.class) => self.seen(),
            // The terminator is missing.
            (None, End::Clean) => self.broken_off(Outcome::new(Class::Unavailable)),
            (None, End::Broken(broken)) => self.broken_off(*broken),
            (None, End::Dropped) => Outcome::new(Class::Cancelled),
        };
        self.with_facts(outcome)
    }

    const fn is_linked(&self) -> bool {
        matches!(self.told, Told::Link(_))
    }

    /// What a failed head said stands, unless the body knows better what failed.
    fn judged(&self, said: Outcome) -> Outcome {
        if failed(self.seen.class) && !said.failed() {
            self.seen()
        } else {
            self.broken_off(said)
        }
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
        if let Told::Meter(meter) = &self.told {
            measured.usage = outcome.usage.or_else(|| meter.usage());
            measured.cost = outcome.cost.or_else(|| meter.cost());
            measured.finish = outcome.finish.or_else(|| meter.finish());
        }
        let known = measured.or(&self.seen.outcome());
        // Nothing is asked again once there was content.
        if self.at_once && !self.content {
            at_once(known)
        } else {
            known
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if !self.over {
            // It may be the meter that panics, once more. Who has not been told by then hears that the
            // call was cancelled.
            finish(|| self.end(&End::Dropped));
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("seen", &self.seen())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

// ===== impl Seen =====

impl From<Outcome> for Seen {
    fn from(outcome: Outcome) -> Self {
        let used = (outcome.usage, outcome.cost);
        Self {
            class: outcome.class,
            sent: outcome.sent,
            should_retry: outcome.should_retry,
            retry_after: outcome.retry_after,
            finish: outcome.finish,
            used: (used != (None, None)).then(|| Box::new(used)),
        }
    }
}

impl Seen {
    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::new(self.class);
        outcome.sent = self.sent;
        outcome.should_retry = self.should_retry;
        outcome.retry_after = self.retry_after;
        outcome.finish = self.finish;
        if let Some(used) = &self.used {
            (outcome.usage, outcome.cost) = **used;
        }
        outcome
    }
}

const fn at_once(outcome: Outcome) -> Outcome {
    outcome
        .with_should_retry(true)
        .with_retry_after(Duration::ZERO)
}

const fn failed(class: Class) -> bool {
    Outcome::new(class).failed()
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    use buttress_core::{Class, Completion, Outcome, Progress, Report, Usage};
    use bytes::Bytes;
    use http_body::Frame;

    use super::Tail;
    use crate::Meter;

    struct Broken;

    impl Meter for Broken {
        fn chunk(&mut self, _: &Bytes) -> Progress {
            panic!("on purpose");
        }

        fn verdict(&self, _: bool) -> Option<Outcome> {
            panic!("and ever since");
        }

        fn usage(&self) -> Option<Usage> {
            None
        }
    }

    struct Told(Arc<Mutex<Vec<Class>>>);

    impl Report for Told {
        fn report(&mut self, outcome: &Outcome) {
            self.0.lock().unwrap().push(outcome.class);
        }
    }

    #[test]
    fn t9_a_meter_that_panics_again_as_it_goes_does_not_end_the_process() {
        let told = Arc::default();
        let mut tail = Tail::new(Outcome::SUCCESS, Some(Box::new(Broken)));
        tail.attach(Completion::new(Told(Arc::clone(&told))));
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            tail.delivers(&Frame::data(Bytes::from("hello")));
        }));
        assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"on purpose"));
        assert_eq!(*told.lock().unwrap(), [Class::Cancelled]);
    }
}
