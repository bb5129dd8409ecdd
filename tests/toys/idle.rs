//! Cuts a stream that stalls between two chunks of content.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Classify, Outcome, Progress, Reason, Refused, Report, Track};
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::Follow;

#[derive(Clone, Copy, Debug)]
pub struct IdleLayer<P> {
    protocol: P,
    limit: Duration,
}

#[derive(Clone, Debug)]
pub struct Idle<P, S> {
    layer: IdleLayer<P>,
    inner: S,
}

#[derive(Debug)]
pub struct Watch {
    limit: Duration,
    // One timer a period: a chunk only notes that it came.
    timer: Option<Pin<Box<Sleep>>>,
    came: bool,
}

impl<P> IdleLayer<P> {
    pub const fn new(protocol: P, limit: Duration) -> Self {
        Self { protocol, limit }
    }
}

impl<P: Clone, S> Layer<S> for IdleLayer<P> {
    type Service = Idle<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Idle {
            layer: self.clone(),
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Idle<P, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Follow<S::Future, P, Watch, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let IdleLayer { protocol, limit } = self.layer.clone();
        Follow::call(
            self.inner.call(request),
            protocol,
            Watch {
                limit,
                timer: None,
                came: false,
            },
        )
    }
}

impl Report for Watch {
    fn report(&mut self, _: &Outcome) {
        self.timer = None;
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.came |= progress.is_content();
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        loop {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep(self.limit)));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if !std::mem::take(&mut self.came) {
                return Poll::Ready(Refused::new(Reason::IdleTimeout));
            }
        }
    }
}
