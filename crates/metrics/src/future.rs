use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Class, Classify, Completion, Outcome, Reason, Track};
use pin_project_lite::pin_project;
use tracing::Span;

use crate::{Describe, call::Call};

pin_project! {
    /// The future of [`MetricsService`](crate::MetricsService).
    ///
    /// # Panics
    ///
    /// When it is polled after its end.
    pub struct ResponseFuture<F, P, D, Req> {
        // The call is declared before what it is held to: field order is drop order.
        #[pin]
        response: Option<F>,
        completion: Option<Completion<Call>>,
        protocol: P,
        describe: D,
        request: PhantomData<fn(Req)>,
    }
}

// ===== impl ResponseFuture =====

impl<F, P, D, Req> ResponseFuture<F, P, D, Req> {
    #[inline]
    pub(crate) const fn new(
        response: F,
        completion: Completion<Call>,
        protocol: P,
        describe: D,
    ) -> Self {
        Self {
            response: Some(response),
            completion: Some(completion),
            protocol,
            describe,
            request: PhantomData,
        }
    }
}

impl<F, P, D, Req, Res, E> Future for ResponseFuture<F, P, D, Req>
where
    F: Future<Output = Result<Res, E>>,
    P: Classify<Res, E> + Track<Res>,
    D: Describe<Req, Res>,
{
    type Output = Result<Res, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(response) = this.response.as_mut().as_pin_mut() else {
            panic!("polled after completion")
        };
        let held = this.completion.as_ref();
        let entered = held.and_then(|held| held.get_ref().span()).map(Span::enter);
        let mut result = ready!(response.poll(cx));
        drop(entered);
        // The inner future is gone before its result is measured.
        this.response.set(None);
        let mut completion = this.completion.take().expect("held until the response");
        let call = completion.get_mut();
        let outcome = this.protocol.classify(result.as_ref());
        if outcome.failed() {
            call.reason = reason(&*this.protocol, &result, &outcome);
        }
        match &mut result {
            Ok(response) => {
                answered(&*this.describe, response, call);
                this.protocol.track(response, &outcome, completion);
            }
            Err(_) => completion.complete(&outcome),
        }
        Poll::Ready(result)
    }
}

/// What a response says of the model, before its end is waited for.
#[inline]
fn answered<D, Req, Res>(describe: &D, response: &Res, call: &mut Call)
where
    D: Describe<Req, Res>,
{
    if let Some(model) = describe.response_model(response) {
        call.answered_by(model);
    }
    if let Some(span) = call.span()
        && !span.is_disabled()
        && let Some(reply) = describe.reply(response)
    {
        span.record("gen_ai.output.messages", &*reply);
    }
}

/// Why a layer inside refused, if one did: the protocol says it in the words of the reason.
#[cold]
fn reason<P, Res, E>(protocol: &P, result: &Result<Res, E>, outcome: &Outcome) -> Option<Reason>
where
    P: Classify<Res, E>,
{
    // A coalesced call that failed has the class of what it waited for, whatever that was.
    if result.is_ok() && !matches!(outcome.class, Class::Refused | Class::Unavailable) {
        return None;
    }
    let said = protocol.describe(result.as_ref())?;
    Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == said)
}

impl<F, P, D, Req> fmt::Debug for ResponseFuture<F, P, D, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("call", &self.completion)
            .finish_non_exhaustive()
    }
}
