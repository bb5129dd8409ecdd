//! A future that is polled no more often than it asks to be.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pin_project_lite::pin_project;

pin_project! {
    /// Polls what is inside only if that was woken, however often its task is: for what nearly never
    /// happens, beside what happens all the time.
    pub(crate) struct Seldom<F> {
        #[pin]
        inner: F,
        call: Option<Arc<Call>>,
    }
}

/// The waker of the one inside: it wakes the task, and leaves word that it was this one.
struct Call {
    called: AtomicBool,
    task: Waker,
}

// ===== impl Seldom =====

impl<F> Seldom<F> {
    pub(crate) const fn new(inner: F) -> Self {
        Self { inner, call: None }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let call = match this.call {
            Some(call) if call.task.will_wake(cx.waker()) => {
                if !call.called.swap(false, Ordering::AcqRel) {
                    return Poll::Pending;
                }
                call
            }
            // At first, and for another task.
            call => call.insert(Arc::new(Call {
                called: AtomicBool::new(false),
                task: cx.waker().clone(),
            })),
        };
        let waker = Waker::from(call.clone());
        this.inner.poll(&mut Context::from_waker(&waker))
    }
}

// ===== impl Call =====

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::poll_fn,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::{Context, Poll, Wake, Waker},
    };

    use super::Seldom;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn it_is_polled_at_first_when_it_was_woken_and_for_another_task() {
        let (polls, waker) = (Cell::new(0), Cell::new(None::<Waker>));
        let inner = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            waker.set(Some(cx.waker().clone()));
            if polls.get() == 4 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let mut seldom = pin!(Seldom::new(inner));
        let tasks = [(); 2].map(|()| Arc::new(Task::default()));
        let mut poll = |task: usize| {
            let waker = Waker::from(tasks[task].clone());
            seldom
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        };
        for expected in [1, 1, 1] {
            assert!(!poll(0));
            assert_eq!(polls.get(), expected);
        }
        waker.take().unwrap().wake();
        assert_eq!(tasks[0].0.load(SeqCst), 1);
        for expected in [2, 2] {
            assert!(!poll(0));
            assert_eq!(polls.get(), expected);
        }
        for expected in [3, 3] {
            assert!(!poll(1));
            assert_eq!(polls.get(), expected);
        }
        waker.take().unwrap().wake_by_ref();
        assert_eq!(tasks.each_ref().map(|task| task.0.load(SeqCst)), [1, 1]);
        assert!(poll(1));
    }
}
