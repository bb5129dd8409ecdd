//! T7: clones, repeated `layer()` calls, and locks.

use std::{
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;

use crate::probe::{
    body::Content,
    core::{Answer, Point},
    crowd::{From, Hold, calls},
    drive::{Driven, Seat},
    outer::Outer,
    promise::Promise,
    stage::{Admission, Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

/// How many calls it takes to bring a layer into another state, if failures do.
const MANY: usize = 32;

/// How long, in real time, another thread may take for a poll before it is taken to be locked out.
/// A layer that holds no lock never comes near it.
const LOCKED_OUT: Duration = Duration::from_secs(5);

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Unready,
    Waits,
    Refused,
    /// It made so many calls of the inner service.
    Called(u64),
}

pub(in crate::probe) async fn t7(check: &Check<'_>) {
    same_slots(check).await;
    let mut answers = check.failures();
    answers.push(WHOLE);
    for answer in answers {
        same_behaviour(check, answer).await;
    }
    for (point, place) in [
        (Point::Ready, "poll_ready"),
        (Point::Call, "call"),
        (Point::Future, "future"),
        (Point::Drop, "future's drop"),
    ] {
        unlocked(check, point, place).await;
    }
}

/// However the instances come about, they share their slots.
async fn same_slots(check: &Check<'_>) {
    let mut first = None;
    for (from, whose) in [
        (From::Same, "one instance"),
        (From::Clones, "clones of one service"),
        (
            From::Layers,
            "services of one layer, each from a `layer()` call of its own,",
        ),
    ] {
        let stage = check.stage(&format!("as many calls at once as go, by {whose}"));
        let crowd = stage.crowd(from, Hold::Call).await;
        let count = crowd.count();
        let expected = *first.get_or_insert(count);
        if count != expected {
            let (count, expected) = (calls(count), calls(expected));
            stage.violate(
                Promise::T7,
                format!("one instance admits {expected}, and {whose} {count}"),
            );
        }
    }
}

/// Many calls through one service change what all services of the layer do.
async fn same_behaviour(check: &Check<'_>, answer: Answer) {
    let first = conditioned(check, answer, From::Same).await;
    if conditioned(check, answer, From::Same).await != first {
        // Chance is in it, and says nothing of what is shared.
        return;
    }
    for (from, whose) in [
        (From::Clones, "a clone of it"),
        (From::Layers, "another service of the same layer"),
    ] {
        let found = conditioned(check, answer, from).await;
        if found != first {
            let stage = check.stage(&format!("one call more, by {whose}"));
            stage.violate(
                Promise::T7,
                format!(
                    "after {MANY} calls through one service, all answered with {answer:?}, the \
                     next came to {first:?} there, and to {found:?} through {whose}"
                ),
            );
        }
    }
}

async fn conditioned(check: &Check<'_>, answer: Answer, from: From) -> Behaviour {
    let stage = check.stage("many calls through one service");
    let mut seat = stage.seat();
    stage.core.script([], Some(answer));
    for _ in 0..MANY {
        if let Poll::Ready(Ok(())) = seat.run(stage.patience()).await {
            let mut flight = seat.call();
            let _ = flight.run(stage.patience()).await;
        }
    }
    let mut seat = match from {
        From::Clones => seat.fork(),
        From::Layers => stage.layered(),
        From::Same | From::Readied => seat,
    };
    behaviour(&stage, &mut seat).await
}

async fn behaviour(stage: &Stage<'_, '_>, seat: &mut Seat) -> Behaviour {
    let before = stage.core.calls();
    match stage.admit(seat).await {
        Admission::Unready => Behaviour::Unready,
        Admission::Waits(_) => Behaviour::Waits,
        Admission::Refused => Behaviour::Refused,
        Admission::In(mut flight) => {
            let _ = flight.run(stage.patience()).await;
            Behaviour::Called(stage.core.calls() - before)
        }
    }
}

/// While one thread is inside the inner service, another can use the layer.
async fn unlocked(check: &Check<'_>, point: Point, place: &str) {
    let stage = check.stage(&format!(
        "another thread, while this one is in the inner {place}"
    ));
    let other = stage.seat().outer();
    let runtime = Handle::current();
    let (locked, was_locked) = mpsc::channel();
    stage.core.hook(
        point,
        Box::new(move || {
            let (done, is_done) = mpsc::channel();
            thread::spawn(move || {
                let _runtime = runtime.enter();
                use_once(other);
                // Nobody listens any more if it took too long.
                let _ = done.send(());
            });
            if is_done.recv_timeout(LOCKED_OUT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = locked.send(());
            }
        }),
    );
    stage
        .core
        .script([], (point != Point::Drop).then_some(WHOLE));
    let mut seat = stage.seat();
    if seat.nudge().await == Poll::Ready(Ok(())) {
        let mut flight = seat.call();
        let _ = flight.nudge().await;
        drop(flight);
    }
    stage.core.unhook();
    if was_locked.try_recv().is_ok() {
        stage.violate(
            Promise::T7,
            format!(
                "the layer holds a lock while the inner {place} runs: another thread could not use \
                 it meanwhile"
            ),
        );
    }
}

fn use_once(mut outer: Box<dyn Outer>) {
    let cx = &mut Context::from_waker(Waker::noop());
    if outer.poll_ready(cx).is_ready() {
        let mut future = outer.call(0);
        let _ = future.as_mut().poll(cx);
    }
}
