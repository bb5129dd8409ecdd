//! T9: the inner service panics.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::probe::{
    body::Content,
    core::{Answer, Point},
    drive::{Driven, Reader, settle},
    promise::Promise,
    stage::{Bound, Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

pub(in crate::probe) async fn t9(check: &Check<'_>) {
    let bound = check.bound().await;
    for (point, place) in [
        (Point::Ready, "poll_ready"),
        (Point::Call, "call"),
        (Point::Future, "its future"),
        (Point::Body, "the body of its reply"),
    ] {
        if point == Point::Body && !check.rig.has_bodies() {
            continue;
        }
        let stage = check.stage(&format!("an inner service that panics in {place}"));
        panicked(&stage, point, place).await;
        recovered(&stage, bound, place).await;
        // What else a poisoned service does when it goes was told above.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(stage)));
    }
}

/// One request, during which the inner service panics.
async fn panicked(stage: &Stage<'_, '_>, point: Point, place: &str) {
    stage.core.script([], Some(WHOLE));
    stage.core.panic_at(Some(point));
    let mut seat = stage.seat();
    let (mut flight, mut reader) = (None, None);
    // What it unwinds through is not dropped by that: a second panic there would abort.
    let _ = caught(async {
        if seat.nudge().await != Poll::Ready(Ok(())) {
            return;
        }
        let flight = flight.insert(seat.call());
        if flight.run(stage.patience()).await.is_pending() {
            return;
        }
        if let Some(Ok(response)) = flight.take_result() {
            let reader = reader.insert(Reader::new(response, &stage.core));
            while let Poll::Ready(Some(_)) = reader.nudge().await {}
        }
    })
    .await;
    stage.core.panic_at(None);
    for (what, dropped) in [
        ("body", catch_unwind(AssertUnwindSafe(|| drop(reader)))),
        (
            "response future",
            catch_unwind(AssertUnwindSafe(|| drop(flight))),
        ),
        ("service", catch_unwind(AssertUnwindSafe(|| drop(seat)))),
    ] {
        if let Err(panic) = dropped {
            stage.violate(
                Promise::T9,
                format!(
                    "the inner service panicked in {place}, and dropping the {what} after that \
                     panics too: {}",
                    message(&*panic)
                ),
            );
        }
    }
    settle().await;
}

/// The next request works, and as many are admitted as by a new service.
async fn recovered(stage: &Stage<'_, '_>, bound: Option<Bound>, place: &str) {
    let mut seat = None;
    let next = caught(async {
        let seat = seat.insert(stage.seat());
        match stage.complete(seat).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(fault)) => Err(fault.text),
            None => Err("it never ended".to_owned()),
        }
    });
    let wrong = match next.await {
        Ok(Ok(())) => None,
        Ok(Err(text)) => Some(text),
        Err(panic) => Some(format!("it panicked: {}", message(&*panic))),
    };
    let poisoned = wrong.is_some();
    if let Some(text) = wrong.filter(|_| bound.is_none_or(|bound| bound.count > 0)) {
        stage.violate(
            Promise::T9,
            format!("the inner service panicked in {place}, and the next request failed: {text}"),
        );
    }
    // A poisoned service may well panic in its drop, and did what there is to tell already.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(seat)));
    let Some(bound) = bound.filter(|bound| bound.slots && !poisoned) else {
        return;
    };
    let after = format!("the inner service panicked in {place}");
    stage
        .same_crowd(Promise::T9, Some(bound.count), &after)
        .await;
}

pub(super) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "something that is no text",
    }
}
