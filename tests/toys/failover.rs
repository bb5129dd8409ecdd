//! Two endpoints: the second is asked where the first one does not serve.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{CallInfo, Carry, Classify, Elsewhere, Replay};
use pin_project_lite::pin_project;
use tower_service::Service;

#[derive(Clone, Debug)]
pub struct Failover<P, S> {
    protocol: P,
    endpoints: [S; 2],
}

pin_project! {
    pub struct ResponseFuture<P, S: Service<Req>, Req> {
        #[pin]
        state: State<S::Future>,
        protocol: P,
        endpoints: std::array::IntoIter<S, 2>,
        service: Option<S>,
        // The request, until the last endpoint takes it.
        kept: Option<Req>,
        info: CallInfo,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Choosing,
        Called { #[pin] call: F },
    }
}

impl<P, S> Failover<P, S> {
    pub const fn new(protocol: P, endpoints: [S; 2]) -> Self {
        Self {
            protocol,
            endpoints,
        }
    }
}

impl<P, S, Req> Service<Req> for Failover<P, S>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error> + Replay<Req> + Carry<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S, Req>;

    // It chooses, and so it is always ready itself and readies a clone in its future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        let info = protocol.info(&request).clone();
        let mut endpoints = self.endpoints.clone().into_iter();
        let service = endpoints.next();
        ResponseFuture {
            state: State::Choosing,
            protocol,
            endpoints,
            service,
            kept: Some(request),
            info,
        }
    }
}

impl<P, S, Req> Future for ResponseFuture<P, S, Req>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Replay<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Choosing => {
                    let service = this.service.as_mut().expect("an endpoint was chosen");
                    ready!(service.poll_ready(cx))?;
                    let more = this.endpoints.len() > 0;
                    let copy = this
                        .kept
                        .as_ref()
                        .filter(|_| more)
                        .and_then(|kept| this.protocol.copy(kept));
                    let request = copy
                        .or_else(|| this.kept.take())
                        .expect("kept until the last");
                    let call = service.call(request);
                    this.state.set(State::Called { call });
                }
                StateProj::Called { call } => {
                    let result = ready!(call.poll(cx));
                    let outcome = this.protocol.classify(result.as_ref());
                    let whole = this
                        .kept
                        .as_ref()
                        .is_some_and(|kept| this.protocol.whole(kept));
                    if !whole || outcome.class.elsewhere() != Elsewhere::Yes {
                        return Poll::Ready(result);
                    }
                    let Some(next) = this.endpoints.next() else {
                        return Poll::Ready(result);
                    };
                    drop(result);
                    if let Some(ledger) = &this.info.ledger {
                        ledger.add(&outcome);
                    }
                    *this.service = Some(next);
                    this.state.set(State::Choosing);
                }
            }
        }
    }
}
