//! What one call went through: its attempts, what it waited, what took too long, how it ended.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{CacheStatus, Class, Outcome, Reason, Report};
use http::Request;
use tokio::{task::futures::TaskLocalFuture, time::Instant};
use tower::Service;

tokio::task_local! {
    // The layers' observers run in the task that makes the call, and find it there.
    static STORY: Story;
}

/// The story of one call.
///
/// It is a [`Report`]: attached to the reply's body, it is told when that has ended, failed, or been
/// dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story(Arc<Mutex<Steps>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    /// Which endpoints were asked, in order.
    pub(crate) endpoints: Vec<Arc<str>>,
    /// Whose reply is delivered, or whose failure.
    pub(crate) answered: Option<Arc<str>>,
    /// The attempts that were given up for another one at the same endpoint, in order.
    pub(crate) failed: Vec<Class>,
    /// An attempt failed, and another one waits for its time.
    pub(crate) waiting: Option<Waiting>,
    /// What was waited between attempts, all together.
    pub(crate) waited: Duration,
    /// What took too long, the last time that something did.
    pub(crate) timed_out: Option<Reason>,
    /// How the cache was used, if there is one.
    pub(crate) cached: Option<CacheStatus>,
    /// How it ended. Who hears nothing was dropped before there was anything to hear.
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Which attempt failed; the first is 1.
    pub(crate) attempt: u32,
    pub(crate) class: Class,
    pub(crate) delay: Duration,
    pub(crate) since: Instant,
}

/// Stands below the cache: a call that several wait for is in the story of the one who made it, who
/// is named by the request, and not of whoever drives it.
#[derive(Clone, Debug)]
pub(crate) struct Told<S>(pub(crate) S);

// ===== impl Story =====

impl Story {
    /// Makes a call whose observers find this story.
    pub(crate) fn follow<F: Future>(&self, call: F) -> impl Future<Output = F::Output> + use<F> {
        STORY.scope(self.clone(), call)
    }

    /// Adds to the story of the call that is being made, if one is.
    pub(crate) fn of_this_call(add: impl FnOnce(&mut Steps)) {
        // No call: what a body meets after its head is told by its error.
        let _ = STORY.try_with(|story| add(&mut story.steps()));
    }

    pub(crate) fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Story {
    fn report(&mut self, outcome: &Outcome) {
        self.steps().outcome = Some(*outcome);
    }
}

// ===== impl Told =====

impl<S, B> Service<Request<B>> for Told<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Story, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let named = request.extensions().get::<Story>().cloned();
        // What is refreshed is nobody's: who asked was answered without it.
        let is_a_call = STORY.try_with(|_| ()).is_ok();
        let story = named.filter(|_| is_a_call).unwrap_or_default();
        let call = STORY.sync_scope(story.clone(), || self.0.call(request));
        STORY.scope(story, call)
    }
}

// ===== impl Steps =====

impl Steps {
    /// As many attempts were made: the one that waited, if one did, or not. If it was, the class of
    /// the one before, and the wait.
    pub(crate) fn made(&mut self, attempts: u32) -> Option<(Class, Duration)> {
        let Waiting {
            attempt,
            class,
            delay,
            since,
        } = self.waiting.take()?;
        if attempts <= attempt {
            self.waited += delay.min(since.elapsed());
            return None;
        }
        self.waited += delay;
        self.failed.push(class);
        Some((class, delay))
    }

    pub(crate) fn attempts(&self) -> usize {
        self.failed.len() + self.endpoints.len().max(1)
    }
}
