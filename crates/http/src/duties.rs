use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    thread,
};

use buttress_core::{Completion, Outcome, Progress, Refused, Report};

/// Completions in the order in which they were attached. One box each, and nothing besides.
#[derive(Default)]
pub(crate) struct Duties {
    first: Next,
    watched: bool,
}

type Next = Option<Box<Duty<dyn Report + Send>>>;

struct Duty<R: Report + ?Sized> {
    next: Next,
    watches: bool,
    completion: Completion<R>,
}

/// Does what others do as something ends, though it may end because one of them panics: a second
/// panic while the first unwinds would end the process. The first is told.
pub(crate) fn finish(end: impl FnOnce()) {
    if thread::panicking() {
        let _ = catch_unwind(AssertUnwindSafe(end));
    } else {
        end();
    }
}

// ===== impl Duties =====

impl Duties {
    pub(crate) fn attach<R: Report + Send + 'static>(&mut self, completion: Completion<R>) {
        let watches = completion.get_ref().watches();
        self.watched |= watches;
        let mut last = &mut self.first;
        while let Some(duty) = last {
            last = &mut duty.next;
        }
        *last = Some(Box::new(Duty {
            next: None,
            watches,
            completion,
        }));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn tell(&mut self, progress: Progress) {
        self.watchers(|report| {
            report.progress(progress);
            None::<()>
        });
    }

    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        let cut = self.watchers(|report| match report.poll_cut(cx) {
            Poll::Ready(refused) => Some(refused),
            Poll::Pending => None,
        });
        cut.map_or(Poll::Pending, Poll::Ready)
    }

    /// Does one duty after the other. If one panics, the rest are done while it unwinds.
    pub(crate) fn complete(&mut self, outcome: &Outcome) {
        struct Rest<'a>(Next, &'a Outcome);

        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                complete(self.0.take(), self.1);
            }
        }

        fn complete(first: Next, outcome: &Outcome) {
            if let Some(mut duty) = first {
                let _rest = Rest(duty.next.take(), outcome);
                finish(|| {
                    // Gone with it, whatever it does then.
                    let mut duty = duty;
                    duty.completion.complete(outcome);
                });
            }
        }

        complete(self.first.take(), outcome);
    }

    /// Shows each report that watches to `each`, until one has an answer.
    fn watchers<T>(
        &mut self,
        mut each: impl FnMut(&mut (dyn Report + Send)) -> Option<T>,
    ) -> Option<T> {
        if !self.watched {
            return None;
        }
        let mut next = &mut self.first;
        while let Some(duty) = next {
            if duty.watches
                && let Some(answer) = each(duty.completion.get_mut())
            {
                return Some(answer);
            }
            next = &mut duty.next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    use buttress_core::{Completion, Outcome, Report};

    use super::Duties;

    struct Panics(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Report for Panics {
        fn report(&mut self, _: &Outcome) {
            self.1.lock().unwrap().push(self.0);
            panic!("{}", self.0);
        }
    }

    fn three() -> (Duties, Arc<Mutex<Vec<&'static str>>>) {
        let (mut duties, log) = (Duties::default(), Arc::default());
        for name in ["first", "second", "third"] {
            duties.attach(Completion::new(Panics(name, Arc::clone(&log))));
        }
        (duties, log)
    }

    #[test]
    fn t9_reports_that_panic_one_after_another_do_not_end_the_process() {
        let (mut duties, log) = three();
        let unwound = catch_unwind(AssertUnwindSafe(|| duties.complete(&Outcome::SUCCESS)));
        assert_eq!(
            unwound.unwrap_err().downcast_ref(),
            Some(&String::from("first"))
        );
        assert_eq!(*log.lock().unwrap(), ["first", "second", "third"]);
    }

    #[test]
    fn t9_reports_that_panic_while_another_panic_unwinds_do_not_end_the_process() {
        struct Ends(Duties);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.complete(&Outcome::SUCCESS);
            }
        }
        let (duties, log) = three();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _ends = Ends(duties);
            panic!("on purpose");
        }));
        assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"on purpose"));
        assert_eq!(*log.lock().unwrap(), ["first", "second", "third"]);
    }
}
