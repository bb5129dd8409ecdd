use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_http::Body;
use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use super::{ConvertError, Converted, Responding};

pin_project! {
    /// The future of a [`ConvertService`](super::ConvertService).
    pub struct ResponseFuture<F, B: http_body::Body> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B: http_body::Body> {
        Refused { error: Option<ConvertError> },
        // What its reply needs; `None`: it goes back as it comes.
        Called { #[pin] call: F, converted: Option<Converted> },
        Replied { reply: Responding<B> },
        Done,
    }
}

// ===== impl ResponseFuture =====

impl<F, B: http_body::Body> ResponseFuture<F, B> {
    pub(super) const fn refused(error: ConvertError) -> Self {
        let state = State::Refused { error: Some(error) };
        Self { state }
    }

    pub(super) const fn called(call: F, converted: Option<Converted>) -> Self {
        let state = State::Called { call, converted };
        Self { state }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<Body<B>>, E>>,
    E: From<ConvertError>,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Refused { error } => {
                    let error = error.take();
                    this.state.set(State::Done);
                    let error = error.expect("put there once, taken once");
                    return Poll::Ready(Err(error.into()));
                }
                StateProj::Called { call, converted } => {
                    let result = ready!(call.poll(cx));
                    let converted = converted.take();
                    // The inner future is gone before anybody hears of its result.
                    this.state.set(State::Done);
                    let (response, converted) = match (result, converted) {
                        (Ok(response), Some(converted)) => (response, converted),
                        (result, _) => return Poll::Ready(result),
                    };
                    let reply = converted.response(response);
                    this.state.set(State::Replied { reply });
                }
                StateProj::Replied { reply } => {
                    let response = ready!(Pin::new(reply).poll(cx));
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(response));
                }
                StateProj::Done => panic!("polled after completion"),
            }
        }
    }
}

impl<F, B: http_body::Body> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused { .. } => "refused",
            State::Called { .. } => "called",
            State::Replied { .. } => "replied",
            State::Done => "done",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
