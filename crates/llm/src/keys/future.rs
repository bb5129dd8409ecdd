use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Class, Classify, Completion, Track};
use buttress_http::Tracked;
use http::Response;
use pin_project_lite::pin_project;

use super::service::Watch;

pin_project! {
    /// The future of a [`CredentialsService`](super::CredentialsService).
    pub struct ResponseFuture<F, P> {
        // Declared before the completion: field order is drop order.
        #[pin]
        call: F,
        protocol: P,
        completion: Option<Completion<Watch>>,
    }
}

// ===== impl ResponseFuture =====

impl<F, P> ResponseFuture<F, P> {
    pub(super) const fn new(call: F, protocol: P, completion: Option<Completion<Watch>>) -> Self {
        Self {
            call,
            protocol,
            completion,
        }
    }
}

impl<F, P, B, E> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    P: Classify<Response<B>, E> + Track<Response<B>>,
    B: Tracked,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.call.poll(cx));
        if let Some(mut completion) = this.completion.take() {
            let outcome = this.protocol.classify(result.as_ref());
            match &mut result {
                Ok(response) if outcome.class == Class::Denied => {
                    // Now, and not at the end of the body, so that the next attempt has another key.
                    completion.complete(&outcome);
                    if completion.get_ref().has_another() {
                        response.body_mut().retry_at_once();
                    }
                }
                Ok(response) => {
                    if outcome.class == Class::Success {
                        completion.get_mut().accepted();
                    }
                    this.protocol.track(response, &outcome, completion);
                }
                Err(_) => completion.complete(&outcome),
            }
        }
        Poll::Ready(result)
    }
}

impl<F, P> fmt::Debug for ResponseFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
