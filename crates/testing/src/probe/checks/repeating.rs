//! T10 and T11: the same again, and each once.

use std::task::Poll;

use super::panicking::caught;
use crate::probe::{
    body::Content,
    core::{Answer, Point},
    crowd::{From, Hold},
    drive::{Driven, Reader},
    promise::Promise,
    stage::{Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

/// T10. The same calls twice, each time on a fresh layer; then every line of what was done, with its
/// time, is the same.
pub(in crate::probe) async fn t10(check: &Check<'_>) {
    let first = performance(check).await;
    let second = performance(check).await;
    let differs = first
        .iter()
        .zip(&second)
        .find(|(first, second)| first != second);
    let seen = match differs {
        Some((first, second)) => {
            format!("the same calls on the same layer: first\n{first}\nand then\n{second}")
        }
        None if first.len() != second.len() => format!(
            "the same calls on the same layer: first {} events, and then {}",
            first.len(),
            second.len()
        ),
        None => return,
    };
    let stage = check.stage("the same calls, twice");
    stage.violate(Promise::T10, seen);
}

/// Calls of every kind; what the inner service and the probe saw.
async fn performance(check: &Check<'_>) -> Vec<String> {
    let stage = check.stage("calls of every kind");
    let mut seat = stage.seat();
    for failure in check.failures() {
        for count in 0..8 {
            stage.core.script(vec![failure; count], Some(WHOLE));
            stage.complete(&mut seat).await;
        }
    }
    stage.core.script([], None);
    if let Poll::Ready(Ok(())) = seat.run(stage.patience()).await {
        // Never answered: whatever ends it, ends it at the same time.
        let mut flight = seat.call();
        let _ = flight.run(stage.patience()).await;
    }
    drop(stage.crowd(From::Clones, Hold::Call).await);
    stage.core.transcript()
}

/// T11. One call of each kind; the count goes up by one.
pub(in crate::probe) async fn t11(check: &Check<'_>) {
    let Some(count) = check.count else {
        check.skip(Promise::T11, "nobody counts: `Probe::counts`");
        return;
    };
    let before = count();
    let stage = check.stage("a service that is readied, and not called");
    let mut seat = stage.seat();
    let _ = seat.nudge().await;
    drop(seat);
    counted(
        &stage,
        count() - before,
        0,
        "a service that was readied and not called",
    );
    drop(stage);

    let mut answers: Vec<_> = check.failures().into_iter().map(Some).collect();
    answers.extend([
        Some(WHOLE),
        Some(Answer::Reply(Content::Empty)),
        Some(Answer::Reply(Content::Open)),
        None,
    ]);
    for answer in answers {
        let before = count();
        let what = match answer {
            Some(Answer::Reply(Content::Open)) => "a call whose reply was dropped half read",
            Some(Answer::Reply(_)) => "a call with a reply",
            Some(Answer::Fault(_)) => "a call with a reply that says that the upstream failed",
            Some(_) => "a call that failed",
            None => "a call that was dropped in flight",
        };
        let stage = check.stage(what);
        once(&stage, answer).await;
        counted(&stage, count() - before, 1, what);
    }

    let before = count();
    let what = "a call during which the inner service panicked";
    let stage = check.stage(what);
    stage.core.panic_at(Some(Point::Future));
    let mut seat = stage.seat();
    if seat.nudge().await == Poll::Ready(Ok(())) {
        let mut flight = seat.call();
        let _ = caught(flight.nudge()).await;
    }
    counted(&stage, count() - before, 1, what);
}

async fn once(stage: &Stage<'_, '_>, answer: Option<Answer>) {
    stage.core.script([], answer);
    let mut seat = stage.seat();
    if answer.is_none() {
        if seat.nudge().await == Poll::Ready(Ok(())) {
            let mut flight = seat.call();
            let _ = flight.nudge().await;
        }
    } else if let Some(Ok(response)) = stage.complete(&mut seat).await {
        let mut reader = Reader::new(response, &stage.core);
        while let Poll::Ready(Some(_)) = reader.nudge().await {}
    }
}

fn counted(stage: &Stage<'_, '_>, found: u64, expected: u64, what: &str) {
    if found != expected {
        stage.violate(
            Promise::T11,
            format!("{what} was counted {found} times, and should be {expected} times"),
        );
    }
}
