//! Asks two endpoints at once, and takes the first useful reply.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{
    CallInfo, Carry, Classify, Completion, Ledger, Outcome, Replay, Report, Track,
};
use tower_service::Service;

#[derive(Clone, Debug)]
pub struct Hedge<P, S> {
    protocol: P,
    endpoints: [S; 2],
}

pub struct ResponseFuture<P, F> {
    protocol: P,
    racers: [Option<Pin<Box<F>>>; 2],
    ledger: Option<Ledger>,
}

/// Writes down what a loser has used by the time that it is dropped.
struct Lost(Option<Ledger>);

impl<P, S> Hedge<P, S> {
    pub const fn new(protocol: P, endpoints: [S; 2]) -> Self {
        Self {
            protocol,
            endpoints,
        }
    }
}

impl<P, S, Req> Service<Req> for Hedge<P, S>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Replay<Req> + Carry<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let [one, other] = &mut self.endpoints;
        match (one.poll_ready(cx)?, other.poll_ready(cx)?) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        let ledger = CallInfo::clone(protocol.info(&request)).ledger;
        let [one, other] = &mut self.endpoints;
        let hedge = protocol
            .copy(&request)
            .map(|copy| Box::pin(other.call(copy)));
        let racers = [Some(Box::pin(one.call(request))), hedge];
        ResponseFuture {
            protocol,
            racers,
            ledger,
        }
    }
}

impl<P, F> Unpin for ResponseFuture<P, F> {}

impl<P, F, Res, E> Future for ResponseFuture<P, F>
where
    F: Future<Output = Result<Res, E>>,
    P: Classify<Res, E> + Track<Res>,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        for racer in 0..2 {
            let Some(call) = &mut this.racers[racer] else {
                continue;
            };
            let Poll::Ready(result) = call.as_mut().poll(cx) else {
                continue;
            };
            this.racers[racer] = None;
            // A fast failure never beats a slower success.
            if this.protocol.classify(result.as_ref()).failed() && this.racers[1 - racer].is_some()
            {
                this.lose(Some(result));
                continue;
            }
            if this.racers[1 - racer].take().is_some() {
                this.lose(None::<Result<Res, E>>);
            }
            return Poll::Ready(result);
        }
        Poll::Pending
    }
}

impl<P, F> ResponseFuture<P, F> {
    /// Gives one racer up: its reply, if there was one already.
    fn lose<Res, E>(&mut self, result: Option<Result<Res, E>>)
    where
        P: Classify<Res, E> + Track<Res>,
    {
        let mut lost = Completion::new(Lost(self.ledger.clone()));
        match result {
            Some(Ok(mut response)) => {
                let seen = self.protocol.classify(Ok(&response));
                self.protocol.track(&mut response, &seen, lost);
            }
            Some(Err(error)) => lost.complete(&self.protocol.classify(Err(&error))),
            None => drop(lost),
        }
    }
}

impl Report for Lost {
    fn report(&mut self, outcome: &Outcome) {
        if let Some(ledger) = &self.0 {
            ledger.add(outcome);
        }
    }
}
