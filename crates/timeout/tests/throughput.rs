//! How fast a streamed reply must come.

mod support;

use std::task::Poll;

use buttress_core::{Class, Reason};
use http_body_util::BodyExt;
use support::{
    millis, secs,
    wire::{Seen, Upstream, call, drip, per_second, read, stream, timeout},
};
use tokio::time::sleep;

/// What a future comes to, if it has come to it.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match tokio_test::task::spawn(future).poll() {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_drip_above_the_floor_is_delivered() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(2));
    let mut script = drip("a", 400, 120_000);
    script.push((120_001, "."));
    let read = stream(layer, script, &seen).await;
    assert_eq!((read.cut, read.text().len()), (None, 300));
}

#[tokio::test(start_paused = true)]
async fn a_drip_below_the_floor_is_cut_after_its_grace() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(2).grace(secs(8)));
    // The floor is not for what comes before the first content.
    let mut script = drip(":", 1000, 30_000);
    script.extend(
        drip("a", 700, 120_000)
            .iter()
            .map(|(at, a)| (30_000 + at, *a)),
    );
    let read = stream(layer, script, &seen).await;
    assert_eq!(read.cut(), Some((Reason::TooSlow, Class::Interrupted)));
    let took = read.ended - millis(30_700);
    assert!(took >= secs(8) && took <= secs(9), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_slows_down_is_cut_a_grace_later() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(2).grace(secs(8)));
    let mut script = drip("a", 100, 60_000);
    script.extend(
        drip("a", 1000, 60_000)
            .iter()
            .map(|(at, a)| (60_000 + at, *a)),
    );
    let read = stream(layer, script, &seen).await;
    assert_eq!(read.cut(), Some((Reason::TooSlow, Class::Interrupted)));
    assert!(
        read.ended >= secs(66) && read.ended <= secs(69),
        "{:?}",
        read.ended
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_within_the_grace_is_made_up_for() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(2).grace(secs(8)));
    let mut script = drip("a", 100, 10_000);
    script.extend(
        drip("a", 100, 10_000)
            .iter()
            .map(|(at, a)| (16_000 + at, *a)),
    );
    script.push((26_001, "."));
    let read = stream(layer, script, &seen).await;
    assert_eq!((read.cut, read.text().len()), (None, 200));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_not_too_slow_a_stream() {
    let seen = Seen::default();
    // Fifty a second arrive. Whoever reads takes what is there, and then his time: one chunk.
    let mut script = drip("a", 20, 20_000);
    script.push((20_001, "."));
    let upstream = Upstream {
        merges: true,
        ..seen.upstream(script)
    };
    let layer = timeout().throughput(per_second(10).grace(secs(2)));
    let response = call(layer, upstream, &seen).await.unwrap();
    let (mut body, mut text) = (response.into_body(), Vec::new());
    loop {
        match at_once(body.frame()) {
            Some(Some(frame)) => text.extend(frame.unwrap().into_data().unwrap()),
            Some(None) => break,
            None => sleep(millis(400)).await,
        }
    }
    assert_eq!(text.len(), 1000);
    assert_eq!(seen.classes(), [Class::Success]);
}

#[tokio::test(start_paused = true)]
async fn the_shortest_grace_is_a_second() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(3).grace(secs(0)));
    let mut script = drip("a", 250, 10_000);
    script.extend(
        drip("a", 500, 10_000)
            .iter()
            .map(|(at, a)| (10_000 + at, *a)),
    );
    let read = stream(layer, script, &seen).await;
    assert_eq!(read.cut(), Some((Reason::TooSlow, Class::Interrupted)));
    assert!(read.ended > secs(10) && read.ended <= millis(11_250));
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_comes_late_to_a_stream_that_was_too_slow_is_told_so() {
    let seen = Seen::default();
    let layer = timeout().throughput(per_second(10).grace(secs(8)));
    let response = call(layer, seen.upstream(vec![(0, "a")]), &seen).await;
    let mut body = response.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let waited = tokio::time::timeout(millis(1500), body.frame()).await;
    assert!(waited.is_err(), "nothing has come by then");
    sleep(secs(60)).await;
    let late = read(body).await;
    let cut = (Reason::TooSlow, Class::Interrupted);
    // A slot later, if nothing comes in it.
    assert_eq!((late.cut(), late.ended), (Some(cut), secs(1)));
}
