//! T5: a reply is not over at its head.

use std::task::Poll;

use crate::probe::{
    body::{CHUNK, Content},
    core::Answer,
    crowd::{Crowd, From, Hold, calls},
    drive::{Driven, Reader, settle},
    outer::Piece,
    promise::Promise,
    stage::{Bound, Check, Stage},
};

/// How a body comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The reader polls until there is nothing more.
    Polled,
    /// The reader stops where the body says that it is over, as many do.
    Told,
    /// The body breaks.
    Broken,
    /// The reader goes away.
    Dropped,
}

pub(in crate::probe) async fn t5(check: &Check<'_>) {
    let bound = check.bound().await;
    if !check.rig.has_bodies() {
        if check.slots.is_some() {
            // Its slots go with the futures, which is what was just tried.
            return;
        }
        check.skip(Promise::T5, "the replies have no bodies; `Probe::http` has");
        return;
    }
    for content in [Content::Whole, Content::Empty, Content::Trailers] {
        forwarded(check, content).await;
    }
    failed_reply_is_let_go(check).await;

    let Some(bound) = bound.filter(|bound| bound.slots) else {
        return;
    };
    let stage = check.stage("as many replies with open bodies as go");
    let crowd = stage.crowd(From::Clones, Hold::Reply).await;
    if crowd.count().is_none_or(|count| count > bound.count) {
        let (bound, count) = (calls(Some(bound.count)), calls(crowd.count()));
        stage.violate(
            Promise::T5,
            format!(
                "the layer admits {bound} while none is answered, but {count} that have their \
                 heads and are still reading: a slot came free at the head"
            ),
        );
        return;
    }
    drop(crowd);
    drop(stage);

    for end in [End::Polled, End::Told, End::Broken, End::Dropped] {
        freed_at(check, bound, end).await;
    }
}

/// A whole body comes through, with its length and its end.
async fn forwarded(check: &Check<'_>, content: Content) {
    let stage = check.stage(&format!("a reply with a body: {content:?}"));
    stage.core.script([], Some(Answer::Reply(content)));
    let mut seat = stage.seat();
    let Some(Ok(response)) = stage.complete(&mut seat).await else {
        return;
    };
    let expected: &[Piece] = match content {
        Content::Whole => &[Piece::Data(Vec::new()), Piece::Data(Vec::new())],
        Content::Trailers => &[Piece::Data(Vec::new()), Piece::Trailers],
        Content::Empty | Content::Open => &[],
    };
    let length = expected
        .iter()
        .filter(|piece| **piece != Piece::Trailers)
        .count()
        * CHUNK.len();
    let known = content == Content::Whole || content == Content::Empty;
    let (hint, told_empty) = (response.size_hint(), response.is_end_stream());

    let mut reader = Reader::new(response, &stage.core);
    let (mut data, mut trailers, mut told) = (Vec::new(), false, told_empty);
    loop {
        match reader.run(stage.patience()).await {
            Poll::Ready(Some(Piece::Data(more))) => data.extend(more),
            Poll::Ready(Some(Piece::Trailers)) => trailers = true,
            Poll::Ready(None) => break,
            // A layer may have reasons not to like it.
            Poll::Ready(Some(Piece::Error)) => return,
            Poll::Pending => return stage.stuck("the body"),
        }
        told = reader.response.is_end_stream();
    }
    if data.len() != length {
        // A layer that changes bodies; what it says of them is its own.
        return;
    }
    if known && hint.exact() != Some(length as u64) {
        stage.violate(
            Promise::T5,
            format!("a body of {length} known bytes lost its length: size_hint says {hint:?}"),
        );
    }
    if !told {
        stage.violate(
            Promise::T5,
            "the inner body's is_end_stream said that it was over after the last frame, and the \
             outer one's did not: many readers stop there",
        );
    }
    if content == Content::Trailers && !trailers {
        stage.violate(Promise::T5, "the trailers of a body were lost");
    }
}

/// Whoever tries again has let go of the reply that failed.
async fn failed_reply_is_let_go(check: &Check<'_>) {
    let stage = check.stage("a reply that says that the upstream failed");
    stage.core.script([Answer::Fault(Content::Whole)], None);
    let mut seat = stage.seat();
    if seat.nudge().await != Poll::Ready(Ok(())) {
        return;
    }
    let mut flight = seat.call();
    let waits = flight.nudge().await.is_pending() && stage.core.in_flight() == 0;
    if waits && stage.core.bodies(|bodies| bodies.alive()) > 0 {
        stage.violate(
            Promise::T5,
            "a call waits for its next attempt and still holds the reply of the last: its slots \
             and its connection are held through the backoff",
        );
    }
}

async fn freed_at(check: &Check<'_>, bound: Bound, end: End) {
    let stage = check.stage(&format!("an open body that ends: {end:?}"));
    let mut crowd = stage.crowd(From::Clones, Hold::Reply).await;
    if crowd.flights.len() != bound.count || crowd.next.is_none() {
        return;
    }
    let reading = crowd
        .flights
        .pop()
        .and_then(|mut flight| flight.take_result());
    let Some(Ok(response)) = reading else {
        // A layer that replies when it has all of a body holds no slot beyond that.
        return;
    };
    let body = stage.core.bodies(|bodies| bodies.last());

    // Its first chunk does not end it, and neither does waiting for the second.
    let mut reader = Reader::new(response, &stage.core);
    let _ = read(&mut reader, End::Polled).await;
    let _ = reader.poll();
    if freed_early(&stage, &mut crowd, end).await {
        return;
    }
    match end {
        End::Polled => stage
            .core
            .change_body(body, "ends", |bodies| bodies.end(body)),
        End::Told => stage
            .core
            .change_body(body, "gets its last chunk", |bodies| {
                bodies.push(body);
                bodies.end(body);
            }),
        End::Broken => {
            let failure = stage.core.next_failure();
            stage
                .core
                .change_body(body, "breaks", |bodies| bodies.fail(body, failure));
        }
        End::Dropped => {}
    }
    if end != End::Dropped {
        settle().await;
        let woken = reader.watch().is_woken();
        if read(&mut reader, end).await.is_pending() {
            return stage.stuck("the body");
        }
        if !woken {
            reader.watch().lost("when its body went on");
        }
    }
    // The reader still holds a body that is over, unless to drop it is the end.
    let held = (end != End::Dropped).then_some(reader);
    if !stage.one_more(&mut crowd, Promise::T5).await {
        let seen = match end {
            End::Polled => "a body was read to its end, and its slot was not given to the next",
            End::Told => {
                "a body gave its last chunk and knows that it is over, and its slot was not given \
                 to the next: is_end_stream was not asked after the frame"
            }
            End::Broken => "a body broke, and its slot was not given to the next",
            End::Dropped => "a body was dropped, and its slot was not given to the next",
        };
        stage.violate(Promise::T5, seen);
    }
    drop(held);
}

async fn freed_early(stage: &Stage<'_, '_>, crowd: &mut Crowd, end: End) -> bool {
    let early = stage.one_early(crowd).await;
    if early {
        stage.violate(
            Promise::T5,
            format!(
                "a body was still open (before it {}), and its slot was given away",
                match end {
                    End::Polled | End::Told => "ended",
                    End::Broken => "broke",
                    End::Dropped => "was dropped",
                }
            ),
        );
    }
    early
}

/// Reads what is there: pending if more may come, ready if this is the end.
async fn read(reader: &mut Reader, end: End) -> Poll<()> {
    loop {
        match reader.nudge().await {
            Poll::Ready(Some(Piece::Data(_) | Piece::Trailers)) => {
                if end == End::Told && reader.response.is_end_stream() {
                    return Poll::Ready(());
                }
            }
            Poll::Ready(None | Some(Piece::Error)) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}
