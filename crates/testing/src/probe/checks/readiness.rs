//! T1 to T3: who is readied, what its errors are, and what it holds.

use std::{task::Poll, time::Duration};

use crate::probe::{
    body::Content,
    core::Answer,
    crowd::{From, Hold},
    drive::{Driven, Seat, settle},
    outer::{Fault, Held},
    promise::Promise,
    stage::{Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

/// T1. The inner service itself tells when an instance is called that was not readied; here are the
/// situations in which layers do that.
pub(in crate::probe) async fn t1(check: &Check<'_>) {
    let stage = check.stage("three calls, one after another, on one instance");
    stage.core.script([], Some(WHOLE));
    let mut seat = stage.seat();
    for _ in 0..3 {
        stage.complete(&mut seat).await;
    }
    drop(seat);
    drop(stage);

    let stage = check.stage("two instances, readied in one order and called in the other");
    stage.core.script([], Some(WHOLE));
    let (mut a, mut b) = (stage.seat(), stage.seat());
    if is_ready(&stage, &mut a).await && is_ready(&stage, &mut b).await {
        let (second, first) = (b.call(), a.call());
        stage.land(first).await;
        stage.land(second).await;
    }
    drop((a, b));
    drop(stage);

    let stage = check.stage("a clone of an instance that was readied");
    stage.core.script([], Some(WHOLE));
    let mut a = stage.seat();
    if is_ready(&stage, &mut a).await {
        let mut b = a.fork();
        let ready = is_ready(&stage, &mut b).await;
        let first = a.call();
        if ready {
            let second = b.call();
            stage.land(second).await;
        }
        stage.land(first).await;
        stage.complete(&mut b).await;
    }
    drop(a);
    drop(stage);

    let stage = check.stage("three calls in flight from one instance, answered last first");
    let mut seat = stage.seat();
    let mut flights = Vec::new();
    for _ in 0..3 {
        if seat.nudge().await != Poll::Ready(Ok(())) {
            break;
        }
        let mut flight = seat.call();
        let _ = flight.nudge().await;
        flights.push(flight);
    }
    stage.core.script([], Some(WHOLE));
    // All are polled before one of them is waited for: some may wait for another's slot.
    for flight in flights.iter_mut().rev() {
        stage.core.answer_all(WHOLE);
        let _ = flight.nudge().await;
    }
    for flight in flights {
        stage.land(flight).await;
    }
    drop(seat);
    drop(stage);

    for failure in check.failures() {
        let stage = check.stage("calls whose first three attempts fail");
        let mut seat = stage.seat();
        for _ in 0..2 {
            stage.core.script([failure; 3], Some(WHOLE));
            stage.complete(&mut seat).await;
        }
        drop(seat);
        drop(stage);

        let stage = check.stage("a first attempt that fails, and an inner service busy after it");
        let mut seat = stage.seat();
        if is_ready(&stage, &mut seat).await {
            stage.core.script([failure], Some(WHOLE));
            let mut flight = seat.call();
            stage.core.set_ready(false);
            let _ = flight.run(Duration::from_secs(60)).await;
            stage.core.set_ready(true);
            stage.land(flight).await;
        }
    }

    ready_is_kept(check).await;
}

/// T1. Once it is ready, an instance stays so until it is called.
async fn ready_is_kept(check: &Check<'_>) {
    let stage = check.stage("an instance that is ready, and asked again");
    stage.core.script([], Some(WHOLE));
    let mut seat = stage.seat();
    if !is_ready(&stage, &mut seat).await {
        return;
    }
    // What the inner service gave away it does not take back: others wait, this instance does not.
    stage.core.set_ready(false);
    for _ in 0..3 {
        if seat.poll().is_pending() {
            stage.violate(
                Promise::T1,
                format!(
                    "{} was ready, was asked again, and was not ready any more",
                    seat.name()
                ),
            );
        }
    }
    stage.core.set_ready(true);
    stage.complete(&mut seat).await;
}

async fn is_ready(stage: &Stage<'_, '_>, seat: &mut Seat) -> bool {
    match seat.nudge().await {
        Poll::Ready(Ok(())) => true,
        Poll::Ready(Err(fault)) => {
            stage.dead(seat, &fault);
            false
        }
        Poll::Pending => false,
    }
}

/// T2. At the first attempt, in `poll_ready` or in the future, and at one after it.
pub(in crate::probe) async fn t2(check: &Check<'_>) {
    if !check.rig.can_fail() {
        check.skip(Promise::T2, "the inner service has no errors");
        return;
    }
    let stage = check.stage("an inner service whose readiness fails");
    stage.core.script([], Some(WHOLE));
    stage.core.fail_ready();
    let mut seat = stage.seat();
    let outcome = match seat.nudge().await {
        Poll::Ready(Err(fault)) => Some(Err(fault)),
        Poll::Ready(Ok(())) => {
            let flight = seat.call();
            stage.land(flight).await
        }
        Poll::Pending => None,
    };
    if stage.core.fails_ready() {
        check.skip(
            Promise::T2,
            "the layer never asked whether the inner service is ready",
        );
    } else {
        unchanged(&stage, outcome);
    }
    drop(seat);
    drop(stage);

    for failure in check.failures() {
        let stage = check.stage("a first attempt that fails, and readiness that fails after it");
        let mut seat = stage.seat();
        if !is_ready(&stage, &mut seat).await {
            continue;
        }
        let mut flight = seat.call();
        let _ = flight.nudge().await;
        let calls = stage.core.calls();
        stage.core.script([], Some(WHOLE));
        stage.core.fail_ready();
        stage.core.answer_all(failure);
        let outcome = stage.land(flight).await;
        if !stage.core.fails_ready() {
            unchanged(&stage, outcome);
            if stage.core.calls() > calls {
                stage.violate(
                    Promise::T2,
                    "the inner service was called again after its readiness had failed",
                );
            }
        }
    }
}

fn unchanged(stage: &Stage<'_, '_>, outcome: Option<Result<Box<dyn Held>, Fault>>) {
    let expected = stage.core.last_failure();
    let found = match outcome {
        Some(Err(fault)) if fault.failure == Some(expected) => return,
        Some(Err(fault)) => format!("the error {}", fault.text),
        Some(Ok(_)) => "a reply".to_owned(),
        None => "nothing".to_owned(),
    };
    stage.violate(
        Promise::T2,
        format!("the inner readiness failed with {expected:?}, and what came back was {found}"),
    );
}

/// T3. The bound is found by trying; what is reserved must come back with the instance.
pub(in crate::probe) async fn t3(check: &Check<'_>) {
    let bound = check.bound().await;

    let stage = check.stage("instances that are readied, asked again and dropped");
    for _ in 0..64 {
        let mut seat = stage.seat();
        for _ in 0..3 {
            let _ = seat.nudge().await;
        }
        drop(seat);
        settle().await;
        if stage.core.reserved() > 0 {
            stage.violate(
                Promise::T3,
                "an instance was readied and dropped, and the inner service is still reserved",
            );
            return;
        }
    }
    let count = bound.map(|bound| bound.count);
    let after = "instances had been readied and dropped";
    stage.same_crowd(Promise::T3, count, after).await;
    drop(stage);

    waiting(check).await;
    held_while_ready(check).await;

    let Some(bound) = bound else {
        return;
    };
    let stage = check.stage("clones of instances that are readied, each then called");
    let crowd = stage.crowd(From::Readied, Hold::Call).await;
    if crowd.flights.len() > bound.count || crowd.next.is_none() {
        stage.violate(
            Promise::T3,
            format!(
                "{} calls at once are admitted, but {} or more if each is on a clone of an \
                 instance that was ready: the clone has a copy of what was reserved",
                bound.count,
                crowd.flights.len()
            ),
        );
    }
}

/// T3. Instances that are ready and not called, as many as go: what they hold comes back.
async fn held_while_ready(check: &Check<'_>) {
    let stage = check.stage("as many instances readied as go, and one that waits");
    let mut seats = Vec::new();
    let mut waiter = loop {
        let mut seat = stage.seat();
        if seats.len() > check.many() {
            return;
        }
        if seat.nudge().await.is_pending() {
            break seat;
        }
        seats.push(seat);
    };
    let readied = seats.len();
    if waiter.poll().is_ready() {
        return;
    }
    if stage.core.reserved() > readied {
        stage.violate(
            Promise::T3,
            format!(
                "{} waits, and has the inner service reserved meanwhile",
                waiter.name()
            ),
        );
    }
    for seat in &mut seats {
        if seat.poll().is_pending() {
            stage.violate(
                Promise::T1,
                format!(
                    "{} was ready, was asked again, and was not ready any more",
                    seat.name()
                ),
            );
        }
    }
    // One goes, and the one that waits is next.
    seats.pop();
    settle().await;
    let woken = waiter.watch().is_woken();
    if waiter.nudge().await.is_pending() {
        stage.violate(
            Promise::T3,
            format!(
                "{readied} instances were ready and {} waited; one of them was dropped, and it \
                 still waits",
                waiter.name()
            ),
        );
    } else if !woken {
        waiter.watch().lost("when a ready instance was dropped");
    }
    drop(waiter);
    seats.clear();
    settle().await;
    for _ in 0..readied {
        let mut seat = stage.seat();
        // Asked again, it has what it has.
        let ready = (0..3).all(|_| seat.poll().is_ready());
        seats.push(seat);
        if !ready {
            stage.violate(
                Promise::T3,
                format!(
                    "{readied} instances are ready at once, and {} if each is asked again: asking \
                     again takes another place",
                    seats.len() - 1
                ),
            );
            break;
        }
    }
    seats.clear();
    settle().await;
    for _ in 0..readied {
        let mut seat = stage.seat();
        let ready = seat.nudge().await.is_ready();
        seats.push(seat);
        if !ready {
            stage.violate(
                Promise::T3,
                format!(
                    "{readied} instances were ready at once; they were dropped, and now only {} are",
                    seats.len() - 1
                ),
            );
            return;
        }
    }
}

/// T3. Who waits for the layer does not hold the inner service meanwhile.
async fn waiting(check: &Check<'_>) {
    let stage = check.stage("a call that waits for the layer");
    let crowd = stage.crowd(From::Clones, Hold::Call).await;
    if crowd.next.is_some() && stage.core.reserved() > 0 {
        stage.violate(
            Promise::T3,
            "a call waits for the layer with the inner service reserved: its own permit comes \
             first, the inner service last",
        );
    }
    drop(crowd);
    drop(stage);

    for failure in check.failures() {
        let stage = check.stage("an attempt that failed");
        let mut seat = stage.seat();
        if !is_ready(&stage, &mut seat).await {
            continue;
        }
        stage.core.script([failure], None);
        let mut flight = seat.call();
        drop(seat);
        let waits = flight.nudge().await.is_pending() && stage.core.in_flight() == 0;
        if waits && stage.core.reserved() > 0 {
            stage.violate(
                Promise::T3,
                "a call waits for its next attempt with the inner service reserved",
            );
        }
    }
}
