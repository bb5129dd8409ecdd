//! T8: the layer says no.

use std::task::Poll;

use crate::probe::{
    body::Content,
    core::Answer,
    crowd::{Crowd, From, Hold, Next},
    drive::{Driven, Seat},
    promise::Promise,
    stage::{Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

/// T8. The layer is brought to refuse by as many calls as it takes, none if it refuses from the
/// start; only then is the inner service made busy. A layer that refuses *because* the inner
/// service is busy is none of this.
pub(in crate::probe) async fn t8(check: &Check<'_>) {
    let stage = check.stage("a refusal while the inner service is busy");
    let Some(crowd) = refusing(&stage).await else {
        check.skip(Promise::T8, "the layer refused nothing");
        return;
    };
    stage.core.set_ready(false);
    let mut seat = stage.seat();
    refused_untouched(check, &stage, &mut seat).await;
    drop((seat, crowd));
    drop(stage);

    bound_decision(check).await;
    reserved_before(check).await;
}

/// As many calls as the layer admits, if it refuses the next.
async fn refusing(stage: &Stage<'_, '_>) -> Option<Crowd> {
    let crowd = stage.crowd(From::Clones, Hold::Call).await;
    matches!(crowd.next, Some(Next::Refused)).then_some(crowd)
}

async fn refused_untouched(check: &Check<'_>, stage: &Stage<'_, '_>, seat: &mut Seat) {
    let mut polls = stage.core.ready_polls();
    match seat.nudge().await {
        Poll::Ready(Ok(())) => {
            if check.decides_in_call {
                polls = stage.core.ready_polls();
            }
            let mut flight = seat.call();
            if flight.nudge().await.is_pending() {
                stage.violate(
                    Promise::T8,
                    "the layer refuses, but the refusal waits for the inner service",
                );
            }
        }
        Poll::Ready(Err(fault)) => stage.dead(seat, &fault),
        Poll::Pending if check.decides_in_call => return,
        Poll::Pending => stage.violate(
            Promise::T8,
            "the layer refuses, but its poll_ready waits for the inner service first (if it cannot \
             know before it has the request, say so: `Probe::decides_in_call`)",
        ),
    }
    if stage.core.ready_polls() > polls {
        stage.violate(
            Promise::T8,
            "the inner service was asked whether it is ready, for a call that is refused",
        );
    }
}

/// What `poll_ready` decided without the inner service binds the call, whatever happens between.
async fn bound_decision(check: &Check<'_>) {
    let stage = check.stage("an instance that is ready to refuse, and a slot that comes free");
    let Some(mut crowd) = refusing(&stage).await else {
        return;
    };
    let mut seat = stage.seat();
    if seat.nudge().await != Poll::Ready(Ok(())) {
        return;
    }
    if let Some(mut flight) = crowd.flights.pop() {
        stage.answer(&flight, WHOLE);
        let _ = flight.nudge().await;
    }
    stage.core.script([], Some(WHOLE));
    // Refused or admitted; the inner service tells if it was not readied for that.
    let flight = seat.call();
    stage.land(flight).await;
    stage.complete(&mut seat).await;
}

/// An instance that was ready before the layer began to refuse.
async fn reserved_before(check: &Check<'_>) {
    let stage = check.stage("an instance that was ready before others took every slot");
    let mut early = stage.seat();
    if early.nudge().await != Poll::Ready(Ok(())) {
        return;
    }
    let Some(crowd) = refusing(&stage).await else {
        return;
    };
    // Refused or admitted, with what it reserved; and it is as good as new after that.
    let mut flight = early.call();
    let _ = flight.nudge().await;
    drop((flight, crowd));
    stage.core.script([], Some(WHOLE));
    stage.complete(&mut early).await;
}
