//! Streams: recorded while they pass, and replayed.

use std::time::Duration;

use buttress_core::{CacheStatus, Class, Money, Usage};
use bytes::Bytes;
use tower::Service;

use crate::http::{feed, get, next, note, rest, stack, stack_of, status};

#[tokio::test]
async fn c1_c5_a_follower_that_joins_late_gets_what_has_passed_and_then_the_rest() {
    let (service, cache, upstream) = stack();
    let mut leader = get(&service, "/1").await;
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "one");
    assert_eq!(next(leader.body_mut()).as_deref(), Some("one"));
    let mut late = get(&service, "/1").await;
    assert_eq!(
        (status(&leader), status(&late)),
        (CacheStatus::Miss, CacheStatus::Coalesced)
    );
    assert_eq!(next(late.body_mut()).as_deref(), Some("one"));
    assert_eq!(next(late.body_mut()), None);
    feed(&feed_it, "two");
    feed(&feed_it, "end");
    drop(feed_it);
    assert_eq!(rest(late.body_mut()), ["two", "end", "<end>"]);
    assert_eq!(rest(leader.body_mut()), ["two", "end", "<end>"]);

    assert_eq!(cache.flights(), 0);
    let mut hit = get(&service, "/1").await;
    assert_eq!(status(&hit), CacheStatus::Hit);
    assert_eq!(
        rest(hit.body_mut()),
        ["one", "two", "end", "<end>"],
        "event for event"
    );
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn the_tokens_of_a_reply_are_billed_to_one_and_of_a_hit_to_nobody() {
    let (service, cache, upstream) = stack();
    let (mut leader, mut follower) = (get(&service, "/1").await, get(&service, "/1").await);
    let outcomes = [note(&mut leader), note(&mut follower)];
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "end");
    drop(feed_it);
    rest(leader.body_mut());
    rest(follower.body_mut());
    let mut hit = get(&service, "/1").await;
    let hits = note(&mut hit);
    rest(hit.body_mut());
    let [leader, follower] = outcomes.map(|log| log.lock().unwrap()[0]);
    let hit = hits.lock().unwrap()[0];
    let used = Usage::new(10, 2);
    assert_eq!(
        (leader.usage, leader.cost),
        (Some(used), Some(Money::from_pico(60)))
    );
    assert_eq!(
        (follower.usage, follower.cost),
        (Some(used.unbilled()), Some(Money::ZERO))
    );
    assert_eq!(
        (hit.usage, hit.cost),
        (Some(used.unbilled()), Some(Money::ZERO))
    );
    assert_eq!(hit.class, Class::Success);
    let statistics = cache.statistics();
    assert_eq!(statistics.tokens_saved, 24);
    assert_eq!(
        statistics.money_saved,
        Money::from_pico(120),
        "as if both had called"
    );
}

#[tokio::test]
async fn c2_when_all_readers_have_left_the_stream_is_cancelled_and_nothing_kept() {
    let (service, cache, upstream) = stack();
    let (mut leader, follower) = (get(&service, "/1").await, get(&service, "/1").await);
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "one");
    next(leader.body_mut());
    drop(leader);
    assert!(!feed_it.is_closed(), "the follower reads");
    assert_eq!(cache.flights(), 1);
    drop(follower);
    assert!(feed_it.is_closed());
    assert_eq!(cache.flights(), 0);
    get(&service, "/1").await;
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn c4_streams_that_are_cut_or_carry_an_error_are_not_kept() {
    for end in ["cut", "broken", "error"] {
        let (service, cache, upstream) = stack();
        let mut leader = get(&service, "/1").await;
        let (feed_it, _) = upstream.take();
        feed(&feed_it, "one");
        match end {
            "broken" => {
                feed_it
                    .send(Err(std::io::ErrorKind::ConnectionReset.into()))
                    .unwrap();
            }
            "error" => feed(&feed_it, "error"),
            _ => {}
        }
        drop(feed_it);
        rest(leader.body_mut());
        drop(leader);
        assert_eq!(
            (cache.flights(), cache.statistics().stored),
            (0, 0),
            "{end}"
        );
        let again = get(&service, "/1").await;
        assert_eq!(
            (status(&again), upstream.calls()),
            (CacheStatus::Miss, 2),
            "{end}"
        );
    }
}

#[tokio::test]
async fn c4_a_reader_that_leaves_half_way_keeps_nobody_from_keeping_the_whole() {
    let (service, cache, upstream) = stack();
    let (mut leader, mut follower) = (get(&service, "/1").await, get(&service, "/1").await);
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "one");
    next(leader.body_mut());
    drop(leader);
    feed(&feed_it, "end");
    drop(feed_it);
    assert_eq!(rest(follower.body_mut()), ["one", "end", "<end>"]);
    assert_eq!(cache.statistics().stored, 1);
    assert_eq!(
        rest(get(&service, "/1").await.body_mut()),
        ["one", "end", "<end>"]
    );
}

#[tokio::test]
async fn c2_a_failed_response_is_shared_while_it_passes_and_not_kept() {
    let (service, cache, upstream) = stack();
    let (mut leader, mut follower) = (get(&service, "/down").await, get(&service, "/down").await);
    assert_eq!(
        (leader.status(), follower.status()),
        (leader.status(), leader.status())
    );
    assert_eq!(leader.status(), 503);
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "why");
    drop(feed_it);
    assert_eq!(rest(leader.body_mut()), ["why", "<end>"]);
    assert_eq!(rest(follower.body_mut()), ["why", "<end>"]);
    assert_eq!((cache.flights(), cache.statistics().stored), (0, 0));
    get(&service, "/down").await;
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn c5_c7_a_reader_too_slow_for_the_cap_is_interrupted_and_holds_nobody_up() {
    let (service, cache, upstream) = stack();
    let (mut leader, mut slow) = (get(&service, "/1").await, get(&service, "/1").await);
    let (feed_it, _) = upstream.take();
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    feed(&feed_it, "one");
    assert_eq!(next(slow.body_mut()).as_deref(), Some("one"));
    for _ in 0..17 {
        feed_it.send(Ok(chunk.clone())).unwrap();
    }
    for _ in 0..18 {
        assert!(next(leader.body_mut()).is_some_and(|text| !text.starts_with('<')));
    }
    assert_eq!(
        next(slow.body_mut()).as_deref(),
        Some("<refused: interrupted>")
    );
    // One that comes now cannot have the beginning: it waits for the end, and calls itself.
    let mut late = tokio_test::task::spawn(get(&service, "/1"));
    assert!(late.poll().is_pending());
    feed(&feed_it, "end");
    drop(feed_it);
    assert_eq!(rest(leader.body_mut()), ["end", "<end>"]);
    assert_eq!(cache.statistics().stored, 0, "larger than the cap");
    assert!(late.is_woken());
    assert_eq!(upstream.calls(), 1);
    let late = late.await;
    assert_eq!((status(&late), upstream.calls()), (CacheStatus::Miss, 2));
}

#[tokio::test]
async fn c5_a_follower_that_looks_late_reads_all_of_it_or_a_refusal_and_never_a_part() {
    for (chunks, grows) in [(7, false), (9, true)] {
        let (service, cache, upstream) = stack();
        let mut leader = get(&service, "/1").await;
        // They have their seats, and do not look.
        let call = || service.clone().call(crate::http::request("/1"));
        let (before, between, answered) = (call(), call(), get(&service, "/1").await);
        let (feed_it, _) = upstream.take();
        for _ in 0..chunks {
            feed_it.send(Ok(Bytes::from(vec![b'x'; 1 << 20]))).unwrap();
            assert!(next(leader.body_mut()).is_some());
        }
        let while_it_passes = before.await;
        feed(&feed_it, "end");
        drop(feed_it);
        assert_eq!(rest(leader.body_mut()), ["end", "<end>"]);
        drop(leader);
        let answers = [while_it_passes.unwrap(), between.await.unwrap(), answered];
        for mut reply in answers {
            assert!(!http_body::Body::is_end_stream(reply.body()));
            let read = rest(reply.body_mut());
            match grows {
                true => assert_eq!(read, ["<refused: unavailable>"]),
                false => assert_eq!((read.len(), &*read[chunks + 1]), (chunks + 2, "<end>")),
            }
        }
        assert_eq!((cache.flights(), upstream.calls()), (0, 1));
    }
}

#[tokio::test]
async fn c11_a_stream_that_was_invalidated_while_it_passed_is_not_kept() {
    let (service, cache, upstream) = stack();
    let mut leader = get(&service, "/1").await;
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "one");
    next(leader.body_mut());
    cache.clear();
    feed(&feed_it, "end");
    drop(feed_it);
    assert_eq!(rest(leader.body_mut()), ["end", "<end>"]);
    assert_eq!((cache.flights(), cache.statistics().stored), (0, 0));
}

#[tokio::test]
async fn c7_a_shared_call_carries_no_trace_of_anybody() {
    let (service, _, upstream) = stack();
    let mut ask = crate::http::request("/1");
    for name in ["traceparent", "tracestate", "baggage", "x-kept"] {
        ask.headers_mut().insert(name, "mine".parse().unwrap());
    }
    let reply = tower::ServiceExt::oneshot(service, ask).await.unwrap();
    assert_eq!(status(&reply), CacheStatus::Miss);
    let (_, below) = upstream.take();
    let names: Vec<_> = below.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-kept"]);
}

/// Hits chunk by chunk, as if they were being written.
#[derive(Clone)]
struct Slowly;

impl buttress_cache::Flavours<crate::http::Ask, crate::http::Reply> for Slowly {
    type Wanted = ();

    fn wanted(&self, _: &crate::http::Ask) {}

    fn deliver(
        &self,
        reply: crate::http::Reply,
        (): (),
        cached: buttress_core::Cached,
    ) -> crate::http::Reply {
        match cached.status {
            CacheStatus::Hit => buttress_http::paced(reply, Duration::from_secs(1)),
            _ => reply,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c5_a_hit_is_replayed_at_the_pace_that_is_wanted() {
    let (service, _, upstream) = stack_of(Slowly);
    let mut leader = get(&service, "/1").await;
    let (feed_it, _) = upstream.take();
    for text in ["one", "two", "end"] {
        feed(&feed_it, text);
    }
    drop(feed_it);
    assert_eq!(rest(leader.body_mut()), ["one", "two", "end", "<end>"]);

    let mut hit = get(&service, "/1").await;
    let ends = note(&mut hit);
    assert_eq!(rest(hit.body_mut()), ["one"]);
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(next(hit.body_mut()), None);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(rest(hit.body_mut()), ["two"]);
    assert!(ends.lock().unwrap().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(rest(hit.body_mut()), ["end", "<end>"]);
    let ends = ends.lock().unwrap()[0];
    assert_eq!((ends.class, ends.cost), (Class::Success, Some(Money::ZERO)));
}

#[tokio::test]
async fn c11_who_waits_for_a_stream_to_end_calls_at_once_when_that_is_invalidated() {
    let (service, cache, upstream) = stack();
    let mut leader = get(&service, "/1").await;
    let (feed_it, _) = upstream.take();
    for _ in 0..9 {
        feed_it.send(Ok(Bytes::from(vec![b'x'; 1 << 20]))).unwrap();
        next(leader.body_mut());
    }
    let mut late = tokio_test::task::spawn(get(&service, "/1"));
    assert!(late.poll().is_pending());
    cache.clear();
    assert!(late.is_woken());
    let late = late.await;
    assert_eq!((status(&late), upstream.calls()), (CacheStatus::Miss, 2));
}

#[tokio::test]
async fn c4_a_stream_that_ends_otherwise_than_it_began_is_not_kept() {
    let (service, cache, upstream) = stack();
    let mut leader = get(&service, "/1").await;
    let (feed_it, _) = upstream.take();
    feed(&feed_it, "invalid");
    drop(feed_it);
    rest(leader.body_mut());
    drop(leader);
    assert_eq!((cache.flights(), cache.statistics().stored), (0, 0));
}
