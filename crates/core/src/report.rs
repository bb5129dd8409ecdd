use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    thread,
};

use crate::{Class, Outcome, Refused};

/// A layer's interest in how one call ends, and in what happens until then.
///
/// Timeouts, metrics, breakers, limits, permits, budgets and the cache are all reports; none of
/// them wraps a body. A report is owned by a [`Completion`], which sees to it that
/// [`report`](Report::report) is called exactly once.
///
/// # Examples
///
/// A gauge that follows a call to its end, however it ends:
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use buttress_core::{Completion, Outcome, Report};
///
/// struct InFlight(Arc<AtomicUsize>);
///
/// impl Report for InFlight {
///     fn report(&mut self, _: &Outcome) {
///         self.0.fetch_sub(1, Ordering::Relaxed);
///     }
/// }
///
/// let gauge = Arc::new(AtomicUsize::new(1));
/// drop(Completion::new(InFlight(gauge.clone())));
/// assert_eq!(gauge.load(Ordering::Relaxed), 0);
/// ```
pub trait Report {
    /// The call is over. Called exactly once, last; inner layers hear it before outer ones, and
    /// after what they wrapped is gone.
    fn report(&mut self, outcome: &Outcome);

    /// Whether this report wants [`progress`](Report::progress) and
    /// [`poll_cut`](Report::poll_cut). Asked once, when it is attached. `false` by default.
    fn watches(&self) -> bool {
        false
    }

    /// Part of the response has arrived and is about to be delivered.
    fn progress(&mut self, progress: Progress) {
        let _ = progress;
    }

    /// Asked whether to cut the response short, only while it has nothing to deliver. `Ready`
    /// ends it with this refusal. When it is `Pending`, the waker in `cx` must be woken once the
    /// answer may have changed.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        let _ = cx;
        Poll::Pending
    }
}

/// What arrived.
///
/// ```
/// use buttress_core::Progress;
///
/// assert!(Progress::FirstContent.is_content());
/// assert!(!Progress::Ping.is_content());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Progress {
    /// Bytes that show that the connection lives, but no content: comments, pings, heads of
    /// messages, parts of events.
    Ping,
    /// The first content: text, reasoning, a refusal or a tool call.
    FirstContent,
    /// Further content.
    Content,
}

/// The duty to report the outcome of one call exactly once.
///
/// Dropped without one, it reports [`Cancelled`](Class::Cancelled): whoever knows more of the
/// call [completes](Completion::complete) it instead.
///
/// ```
/// use buttress_core::{Completion, Outcome, Report};
///
/// struct Print;
///
/// impl Report for Print {
///     fn report(&mut self, outcome: &Outcome) {
///         println!("{}", outcome.class);
///     }
/// }
///
/// Completion::new(Print).complete(&Outcome::SUCCESS); // prints "success"
/// drop(Completion::new(Print)); // prints "cancelled"
/// ```
pub struct Completion<R: Report + ?Sized> {
    done: bool,
    report: R,
}

// ===== impl Progress =====

impl Progress {
    /// Whether it is content, the first or further.
    #[must_use]
    pub const fn is_content(self) -> bool {
        matches!(self, Self::FirstContent | Self::Content)
    }
}

// ===== impl Completion =====

impl<R: Report> Completion<R> {
    /// Takes on the duty.
    pub const fn new(report: R) -> Self {
        Self {
            done: false,
            report,
        }
    }
}

impl<R: Report + ?Sized> Completion<R> {
    /// Does the duty. A second time does nothing.
    pub fn complete(&mut self, outcome: &Outcome) {
        if !self.done {
            // Set first: a report that panics has had its turn.
            self.done = true;
            self.report.report(outcome);
        }
    }

    /// The report that waits for the outcome.
    pub const fn get_ref(&self) -> &R {
        &self.report
    }

    /// The report that waits for the outcome, to be told of progress.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.report
    }
}

impl<R: Report + ?Sized> Drop for Completion<R> {
    fn drop(&mut self) {
        let mut complete = || self.complete(&Outcome::new(Class::Cancelled));
        if thread::panicking() {
            // A second panic while the first unwinds would end the process. The first is told.
            let _ = catch_unwind(AssertUnwindSafe(complete));
        } else {
            complete();
        }
    }
}

impl<R: Report + ?Sized> fmt::Debug for Completion<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Completion, Report};
    use crate::{Class, Outcome};

    struct Log<'a>(&'a mut Vec<Class>);

    impl Report for Log<'_> {
        fn report(&mut self, outcome: &Outcome) {
            self.0.push(outcome.class);
        }
    }

    #[test]
    fn a_duty_is_done_exactly_once() {
        let mut log = Vec::new();
        let mut completion = Completion::new(Log(&mut log));
        completion.complete(&Outcome::SUCCESS);
        completion.complete(&Outcome::new(Class::Denied));
        drop(completion);
        assert_eq!(log, [Class::Success]);
    }

    #[test]
    fn a_duty_that_is_dropped_says_cancelled() {
        let mut log = Vec::new();
        drop(Completion::new(Log(&mut log)));
        assert_eq!(log, [Class::Cancelled]);
    }

    #[test]
    fn t9_a_report_that_panics_while_something_else_does_ends_nothing_but_that() {
        struct Panics;
        impl Report for Panics {
            fn report(&mut self, _: &Outcome) {
                panic!("on purpose, too");
            }
        }
        let unwound = catch_unwind(|| {
            let _completion = Completion::new(Panics);
            panic!("on purpose");
        });
        let told = unwound.unwrap_err();
        assert_eq!(told.downcast_ref(), Some(&"on purpose"));
    }

    #[test]
    fn a_report_that_panics_is_not_asked_twice() {
        struct Panics<'a>(&'a mut u32);
        impl Report for Panics<'_> {
            fn report(&mut self, _: &Outcome) {
                *self.0 += 1;
                panic!("on purpose");
            }
        }
        let mut calls = 0;
        let completion = Completion::new(Panics(&mut calls));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(completion))).is_err());
        assert_eq!(calls, 1);
    }
}
