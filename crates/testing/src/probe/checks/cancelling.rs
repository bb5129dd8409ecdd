//! T4: the caller goes away.

use std::task::Poll;

use crate::probe::{
    core::Answer,
    crowd::{From, Hold},
    drive::{Driven, Flight, settle},
    promise::Promise,
    stage::{Bound, Check, Stage},
};

pub(in crate::probe) async fn t4(check: &Check<'_>) {
    let bound = check.bound().await;

    let stage = check.stage("a call in flight, dropped");
    if let Some(flight) = in_flight(&stage, &[]).await {
        dropped(&stage, flight).await;
    }
    drop(stage);

    let stage = check.stage("a call dropped while the inner service is busy");
    stage.core.set_ready(false);
    if let Some(flight) = in_flight(&stage, &[]).await {
        dropped(&stage, flight).await;
    }
    drop(stage);

    for failure in check.failures() {
        let stage = check.stage("a call dropped after its first attempt failed");
        if let Some(flight) = in_flight(&stage, &[failure]).await {
            dropped(&stage, flight).await;
        }
        drop(stage);

        let stage = check.stage("a call dropped at its second attempt, the inner service busy");
        if let Some(mut flight) = in_flight(&stage, &[]).await {
            stage.core.set_ready(false);
            stage.core.answer_all(failure);
            let _ = flight.run(std::time::Duration::from_secs(60)).await;
            dropped(&stage, flight).await;
        }
    }

    let Some(bound) = bound.filter(|bound| bound.slots) else {
        return;
    };
    unpolled(check, bound).await;
    crowded(check, bound).await;
}

/// A call whose first attempts are answered so, polled until it waits for something.
async fn in_flight(stage: &Stage<'_, '_>, answers: &[Answer]) -> Option<Flight> {
    stage.core.script(answers.iter().copied(), None);
    let mut seat = stage.seat();
    match seat.nudge().await {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(fault)) => {
            stage.dead(&seat, &fault);
            return None;
        }
        Poll::Pending => return None,
    }
    let mut flight = seat.call();
    let _ = flight.nudge().await;
    Some(flight)
}

/// Drops a call, and looks at what is left of it.
async fn dropped(stage: &Stage<'_, '_>, flight: Flight) {
    drop(flight);
    // Before anything else gets a turn.
    if stage.core.in_flight() > 0 {
        stage.violate(
            Promise::T4,
            "the response future was dropped, and the inner future lives on",
        );
    }
    if stage.core.reserved() > 0 {
        stage.violate(
            Promise::T4,
            "the response future was dropped, and the inner service is still reserved",
        );
    }
    let calls = stage.core.calls();
    stage.core.set_ready(true);
    stage.pass(stage.patience()).await;
    if stage.core.calls() > calls {
        stage.violate(
            Promise::T4,
            "the response future was dropped, and the inner service was called after that",
        );
    }
}

/// Futures that nobody ever polled hold nothing once they are dropped.
async fn unpolled(check: &Check<'_>, bound: Bound) {
    let stage = check.stage("futures dropped before their first poll");
    for _ in 0..=bound.count {
        let mut seat = stage.seat();
        if seat.nudge().await == Poll::Ready(Ok(())) {
            drop(seat.call());
        }
        drop(seat);
        settle().await;
    }
    let after = "futures had been dropped before their first poll";
    stage
        .same_crowd(Promise::T4, Some(bound.count), after)
        .await;
}

/// Every slot taken; each way to leave gives it back.
async fn crowded(check: &Check<'_>, bound: Bound) {
    let stage = check.stage("a call dropped while another waits");
    let mut crowd = stage.crowd(From::Clones, Hold::Call).await;
    drop(crowd.flights.pop());
    if !stage.one_more(&mut crowd, Promise::T4).await {
        stage.violate(
            Promise::T4,
            "a response future was dropped, and its slot was not given to the next",
        );
    }
    drop(crowd);
    let after = "all calls had been dropped";
    stage
        .same_crowd(Promise::T4, Some(bound.count), after)
        .await;
}
