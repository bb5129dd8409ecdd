//! Three attempts, at once after each other.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{CallInfo, Carry, Classify, Replay, Sent};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

const ATTEMPTS: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub struct RetryLayer<P> {
    protocol: P,
}

#[derive(Clone, Debug)]
pub struct Retry<P, S> {
    protocol: P,
    inner: S,
}

pin_project! {
    pub struct ResponseFuture<P, S: Service<Req>, Req> {
        #[pin]
        state: State<S::Future>,
        service: S,
        protocol: P,
        kept: Option<Req>,
        info: CallInfo,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] call: F },
        Readying,
    }
}

impl<P> RetryLayer<P> {
    pub const fn new(protocol: P) -> Self {
        Self { protocol }
    }
}

impl<P: Clone, S> Layer<S> for RetryLayer<P> {
    type Service = Retry<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry {
            protocol: self.protocol.clone(),
            inner,
        }
    }
}

impl<P, S, Req> Service<Req> for Retry<P, S>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error> + Replay<Req> + Carry<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        let mut info = protocol.info(&request).clone();
        let nested = info.retried || Scope::entered();
        info.retried = true;
        protocol.set_info(&mut request, info.clone());
        // An inner retry stands down: it sends what it was given, once.
        let (kept, first) = match (!nested).then(|| protocol.copy(&request)).flatten() {
            Some(copy) => (Some(request), copy),
            None => (None, request),
        };
        // The instance that was readied makes the first call.
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let call = Scope::during(|| service.call(first));
        ResponseFuture {
            state: State::Called { call },
            service,
            protocol,
            kept,
            info,
        }
    }
}

impl<P, S, Req> Future for ResponseFuture<P, S, Req>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Replay<Req> + Carry<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Called { call } => {
                    let result = ready!(call.poll(cx));
                    let outcome = this.protocol.classify(result.as_ref());
                    let again = outcome.again() && this.info.attempt < ATTEMPTS;
                    let possible = this.kept.as_ref().is_some_and(|kept| {
                        this.protocol.whole(kept)
                            && (this.protocol.safe(kept) || outcome.sent == Sent::No)
                    });
                    if !(again && possible) {
                        return Poll::Ready(result);
                    }
                    // Dropped before anything else happens; its duties report what was seen.
                    drop(result);
                    if let Some(ledger) = &this.info.ledger {
                        ledger.add(&outcome);
                    }
                    this.info.attempt += 1;
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    ready!(this.service.poll_ready(cx))?;
                    let kept = this
                        .kept
                        .as_mut()
                        .expect("kept, or there is no second attempt");
                    this.protocol.set_info(kept, this.info.clone());
                    let last = this.info.attempt == ATTEMPTS;
                    let copy = if last {
                        this.kept.take()
                    } else {
                        this.protocol.copy(kept)
                    };
                    let copy = copy.expect("what was copied once is copied again");
                    let call = Scope::during(|| this.service.call(copy));
                    this.state.set(State::Called { call });
                }
            }
        }
    }
}

/// Finds a retry around this one where requests carry nothing: while the one outside calls in, on
/// this thread. A stack that is called later, from inside a future, is another matter.
struct Scope;

impl Scope {
    fn entered() -> bool {
        DEPTH.get() > 0
    }

    fn during<T>(call: impl FnOnce() -> T) -> T {
        struct Leave(u32);

        impl Drop for Leave {
            fn drop(&mut self) {
                DEPTH.set(self.0);
            }
        }

        let _leave = Leave(DEPTH.replace(DEPTH.get() + 1));
        call()
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}
