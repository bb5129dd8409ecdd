//! T6: who waits is woken.

use std::{task::Poll, time::Duration};

use tokio::time::Instant;

use crate::probe::{
    body::Content,
    core::Answer,
    crowd::{From, Hold, Next},
    drive::{Driven, Flight, settle},
    promise::Promise,
    stage::{Check, Stage},
};

const WHOLE: Answer = Answer::Reply(Content::Whole);

/// T6. Every scene polls twice before anything happens, with two wakers, and wants the second woken.
pub(in crate::probe) async fn t6(check: &Check<'_>) {
    let stage = check.stage("an inner service that is busy, and becomes ready");
    stage.core.set_ready(false);
    stage.core.script([], Some(WHOLE));
    let mut seat = stage.seat();
    if seat.nudge().await.is_pending() && seat.poll().is_pending() {
        stage.core.set_ready(true);
        settle().await;
        let woken = seat.watch().is_woken();
        if seat.nudge().await.is_ready() && !woken {
            seat.watch().lost("when the inner service became ready");
        }
        stage.complete(&mut seat).await;
    } else if seat.nudge().await == Poll::Ready(Ok(())) {
        let mut flight = seat.call();
        if flight.nudge().await.is_pending() && flight.poll().is_pending() {
            stage.core.set_ready(true);
            woken(&stage, &mut flight, "when the inner service became ready").await;
            stage.land(flight).await;
        }
    }
    drop(seat);
    drop(stage);

    let mut answers = check.failures();
    answers.push(WHOLE);
    for answer in answers {
        let stage = check.stage("a call that is answered after a while");
        let mut seat = stage.seat();
        if seat.nudge().await != Poll::Ready(Ok(())) {
            continue;
        }
        let mut flight = seat.call();
        if flight.nudge().await.is_pending() && flight.poll().is_pending() {
            stage.core.script([], Some(WHOLE));
            stage.core.answer_all(answer);
            woken(&stage, &mut flight, "when its call was answered").await;
            stage.land(flight).await;
        }
    }

    in_line(check).await;
    timers(check, &[], "an inner service that never answers").await;
    for failure in check.failures() {
        timers(
            check,
            &[failure; 3],
            "an inner service that fails three times",
        )
        .await;
    }
}

/// Whether a future that can go on was woken.
async fn woken(stage: &Stage<'_, '_>, flight: &mut Flight, when: &str) {
    settle().await;
    let woken = flight.watch().is_woken();
    let before = stage.core.events();
    let ended = flight.nudge().await.is_ready();
    if (ended || stage.core.events() > before) && !woken {
        flight.watch().lost(when);
    }
}

/// Who waits for a slot gets it when a call ends, one after another.
async fn in_line(check: &Check<'_>) {
    let Some(bound) = check.bound().await.filter(|bound| bound.slots) else {
        return;
    };
    let stage = check.stage("calls that wait for slots, which come free one by one");
    let mut crowd = stage.crowd(From::Clones, Hold::Call).await;
    for _ in 0..=bound.count {
        if crowd.flights.is_empty() {
            return;
        }
        let mut first = crowd.flights.remove(0);
        stage.answer(&first, WHOLE);
        let _ = first.run(stage.patience()).await;
        drop(first);
        if !stage.one_more(&mut crowd, Promise::T6).await {
            stage.violate(
                Promise::T6,
                "a call ended, and who waited for its slot waits for ever",
            );
            return;
        }
    }
    drop(crowd);
    drop(stage);
    passed_on(check).await;
}

/// Who was next in line and went away passes the slot on.
async fn passed_on(check: &Check<'_>) {
    let stage = check.stage("two calls wait, and the first of them goes as its turn comes");
    let mut crowd = stage.crowd(From::Clones, Hold::Call).await;
    let Some(first) = crowd.next.take() else {
        return;
    };
    if matches!(first, Next::Refused) {
        return;
    }
    let mut seat = stage.seat();
    let second = stage.admit(&mut seat).await;
    crowd.next = Next::new(second, seat, &mut crowd.flights);
    if matches!(crowd.next, None | Some(Next::Refused)) {
        return;
    }
    drop(crowd.flights.pop());
    settle().await;
    drop(first);
    if !stage.one_more(&mut crowd, Promise::T6).await {
        stage.violate(
            Promise::T6,
            "a call that waited was dropped when its turn came, and its slot was lost: the next \
             in line still waits",
        );
    }
}

/// Polling at other times than when it was woken changes nothing: no timer starts anew.
async fn timers(check: &Check<'_>, answers: &[Answer], scene: &str) {
    let quiet = timed(check, answers, scene, None).await;
    let again = timed(check, answers, scene, None).await;
    // Without an end there is no timer, and with two ends there is chance in it.
    let Some(time) = quiet.filter(|time| !time.is_zero() && quiet == again) else {
        return;
    };
    let step = Duration::from_millis(1 + time.as_millis() as u64 / 16);
    let scene = format!("{scene}, polled every {step:?}");
    if let Some(polled) = timed(check, answers, &scene, Some((step, time))).await
        && polled > time + step
    {
        let stage = check.stage(&scene);
        stage.violate(
            Promise::T6,
            format!(
                "a call that ends after {time:?} if it is polled when it was woken does not if it \
                 is polled every {step:?}: each poll starts its timer anew"
            ),
        );
    }
}

/// How long a call took, if it ended.
async fn timed(
    check: &Check<'_>,
    answers: &[Answer],
    scene: &str,
    polls: Option<(Duration, Duration)>,
) -> Option<Duration> {
    let stage = check.stage(scene);
    let rest = (!answers.is_empty()).then_some(WHOLE);
    stage.core.script(answers.iter().copied(), rest);
    let mut seat = stage.seat();
    if seat.nudge().await != Poll::Ready(Ok(())) {
        return None;
    }
    let started = Instant::now();
    let mut flight = seat.call();
    let Some((step, time)) = polls else {
        return flight
            .run(stage.patience())
            .await
            .is_ready()
            .then(|| started.elapsed());
    };
    while started.elapsed() <= time + 2 * step {
        if flight.nudge().await.is_ready() {
            return Some(started.elapsed());
        }
        // When it is woken as well, and not only later: then it has no excuse.
        flight.watch().woken_within(step).await;
    }
    Some(started.elapsed())
}
