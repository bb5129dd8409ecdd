//! Fresh, stale and expired.

use std::time::Duration;

use buttress_cache::{CacheEvent, CacheLayer, CacheStatus, Directives, Freshness, Keyed};
use buttress_core::{Class, Outcome, Reason, Refused};
use tokio::{task::yield_now, time::advance};
use tower::ServiceExt;

use crate::{ask, is_empty, layer, log, over, said, secs, send, told};

fn stale() -> Freshness {
    Freshness::new(secs(10)).stale_while_revalidate(secs(10))
}

#[tokio::test(start_paused = true)]
async fn c9_a_reply_is_fresh_then_stale_and_marked_then_gone_on_tokios_clock() {
    let (service, mut upstream) = over(layer().lifetime(stale()));
    let mut first = send(&service, ask("hi"));
    assert!(first.poll().is_pending());
    upstream.next_call().await.reply(said("old"));
    assert_eq!(told(first.await), "old (miss)");

    advance(secs(10) - Duration::from_nanos(1)).await;
    let hit = service.clone().oneshot(ask("hi")).await.unwrap();
    let cached = hit.cached.unwrap();
    assert_eq!((cached.status, cached.age.as_secs()), (CacheStatus::Hit, 9));
    advance(Duration::from_nanos(1)).await;
    let hit = service.clone().oneshot(ask("hi")).await.unwrap();
    assert_eq!(
        (hit.text.as_str(), hit.cached.unwrap().status),
        ("old", CacheStatus::Stale)
    );
    assert_eq!(hit.cached.unwrap().age, secs(10));
    // The refresh that it began goes nowhere.
    let refresh = upstream.next_call().await;
    advance(secs(10)).await;
    let mut late = send(&service, ask("hi"));
    assert!(late.poll().is_pending(), "past its window");
    refresh.reply(said("new"));
    assert_eq!(told(late.await), "new (coalesced)");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn c9_one_refresh_at_a_time_and_its_reply_serves_from_then_on() {
    let (events, observer) = log();
    let layer = layer().lifetime(stale()).on_event(observer);
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let mut first = send(&service, ask("hi"));
    assert!(first.poll().is_pending());
    upstream.next_call().await.reply(said("old"));
    first.await.unwrap();
    advance(secs(15)).await;
    for _ in 0..5 {
        assert_eq!(
            told(service.clone().oneshot(ask("hi")).await),
            "old (stale)"
        );
        yield_now().await;
    }
    upstream.next_call().await.reply(said("new"));
    assert!(upstream.try_next_call().is_none(), "one refresh");
    yield_now().await;
    assert_eq!(told(service.clone().oneshot(ask("hi")).await), "new (hit)");
    assert!(is_empty(&cache));
    let refreshed = |event: &CacheEvent| match event {
        CacheEvent::Refreshed { outcome, .. } => Some(outcome.class),
        _ => None,
    };
    let told: Vec<_> = events
        .lock()
        .unwrap()
        .iter()
        .filter_map(refreshed)
        .collect();
    assert_eq!(told, [Class::Success]);
    assert_eq!(cache.statistics().refreshes, 1);
}

#[tokio::test(start_paused = true)]
async fn c9_a_refresh_that_fails_leaves_the_old_reply_and_is_begun_again_after_a_pause() {
    let layer = layer().lifetime(stale());
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    for prompt in ["hi", "other"] {
        let mut first = send(&service, ask(prompt));
        assert!(first.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        first.await.unwrap();
    }
    advance(secs(12)).await;
    let stale = async |prompt| {
        let reply = service.clone().oneshot(ask(prompt)).await;
        assert_eq!(told(reply), "old (stale)");
        yield_now().await;
    };
    for failure in ["down", "unavailable", "cancelled"] {
        stale("hi").await;
        let refresh = upstream.next_call().await;
        match failure {
            "down" => refresh.fail("down".into()),
            _ => refresh.reply(said(failure)),
        };
        yield_now().await;
        for _ in 0..9 {
            stale("hi").await;
            advance(Duration::from_millis(111)).await;
        }
        assert_eq!(upstream.in_flight(), 0, "not within a second");
        // It is the pause of this key alone.
        let before = cache.statistics().refreshes;
        stale("other").await;
        assert_eq!(cache.statistics().refreshes, before + 1);
        upstream.next_call().await.fail("down".into());
        yield_now().await;
        advance(Duration::from_millis(1)).await;
    }
    stale("hi").await;
    upstream.next_call().await.reply(said("new"));
    yield_now().await;
    assert_eq!(told(service.clone().oneshot(ask("hi")).await), "new (hit)");
}

#[tokio::test(start_paused = true)]
async fn c9_the_pause_after_a_refresh_is_the_upstreams_if_that_is_longer_and_can_be_set() {
    for (pause, asked, waits) in [(1, 5, 5), (3, 2, 3), (0, 0, 0)] {
        let freshness = Freshness::new(secs(10)).stale_while_revalidate(secs(100));
        let layer = layer().lifetime(freshness).refresh_pause(secs(pause));
        let (service, mut upstream) = over(layer);
        let mut first = send(&service, ask("hi"));
        assert!(first.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        first.await.unwrap();
        advance(secs(10)).await;
        for _ in 0..3 {
            service.clone().oneshot(ask("hi")).await.unwrap();
            let refused = Refused::new(Reason::Limited).with_retry_after(secs(asked));
            upstream.next_call().await.fail(refused.into());
            yield_now().await;
            if waits > 0 {
                advance(secs(waits) - Duration::from_nanos(1)).await;
                service.clone().oneshot(ask("hi")).await.unwrap();
                yield_now().await;
                assert_eq!(upstream.in_flight(), 0, "{pause} s, asked for {asked} s");
                advance(Duration::from_nanos(1)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c9_a_refresh_whose_reply_is_not_kept_is_not_begun_again_at_once_either() {
    let lifetime = |said: &crate::Said, _: &Outcome| match said.text.as_str() {
        "not for keeping" => Freshness::NONE,
        _ => stale(),
    };
    let (service, mut upstream) = over(layer().lifetime(lifetime));
    let mut first = send(&service, ask("hi"));
    assert!(first.poll().is_pending());
    upstream.next_call().await.reply(said("old"));
    first.await.unwrap();
    advance(secs(12)).await;
    service.clone().oneshot(ask("hi")).await.unwrap();
    upstream.next_call().await.reply(said("not for keeping"));
    yield_now().await;
    assert_eq!(
        told(service.clone().oneshot(ask("hi")).await),
        "old (stale)"
    );
    yield_now().await;
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn c9_refreshes_are_bounded_in_number_and_in_time() {
    let layer = layer().lifetime(stale()).refreshes(1, secs(3));
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    for prompt in ["1", "2"] {
        let mut first = send(&service, ask(prompt));
        assert!(first.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        first.await.unwrap();
    }
    advance(secs(12)).await;
    for prompt in ["1", "2"] {
        assert_eq!(
            told(service.clone().oneshot(ask(prompt)).await),
            "old (stale)"
        );
        yield_now().await;
    }
    assert_eq!((upstream.calls(), cache.statistics().refreshes), (3, 1));
    let refresh = upstream.next_call().await;
    advance(secs(3)).await;
    yield_now().await;
    assert_eq!(upstream.in_flight(), 0, "its time is up");
    assert!(!refresh.reply(said("late")));
    assert!(is_empty(&cache));
    assert_eq!(told(service.clone().oneshot(ask("2")).await), "old (stale)");
    yield_now().await;
    assert_eq!(upstream.calls(), 4, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn c9_when_the_upstream_fails_what_is_kept_serves_within_its_window_for_all_who_wait() {
    let freshness = Freshness::new(secs(10)).stale_if_error(secs(10));
    let (service, mut upstream) = over(layer().lifetime(freshness));
    let mut first = send(&service, ask("hi"));
    assert!(first.poll().is_pending());
    upstream.next_call().await.reply(said("old"));
    first.await.unwrap();
    advance(secs(15)).await;
    for failure in ["down", "unavailable", "throttled"] {
        let (mut one, mut other) = (send(&service, ask("hi")), send(&service, ask("hi")));
        assert!(
            one.poll().is_pending() && other.poll().is_pending(),
            "{failure}"
        );
        let call = upstream.next_call().await;
        match failure {
            "down" => call.fail("down".into()),
            _ => call.reply(said(failure)),
        };
        assert_eq!(told(one.await), "old (stale)", "{failure}");
        assert_eq!(told(other.await), "old (stale)", "{failure}");
    }
    // What the request is at fault for is not hidden.
    let mut call = send(&service, ask("hi"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("invalid"));
    assert_eq!(told(call.await), "invalid (miss)");
    // The window is that of the moment of failure.
    let mut call = send(&service, ask("hi"));
    assert!(call.poll().is_pending());
    advance(secs(5)).await;
    upstream.next_call().await.fail("down".into());
    assert_eq!(told(call.await), "error: down");
}

#[tokio::test(start_paused = true)]
async fn c9_what_the_caller_will_not_have_does_not_serve_if_the_upstream_fails() {
    let lasting = Freshness::new(secs(10)).stale_if_error(secs(60));
    for freshness in [Freshness::new(secs(60)), lasting] {
        for words in ["no-cache", "max-age=4"] {
            let heed = move |ask: &crate::Ask| match ask.tenant {
                "picky" => Directives::parse([words]),
                _ => Directives::default(),
            };
            let by = |ask: &crate::Ask| Keyed::of(&ask.prompt);
            let layer = CacheLayer::new(crate::Own, by).lifetime(freshness);
            let (service, mut upstream) = over(layer.heed(heed));
            let mut first = send(&service, ask("hi"));
            assert!(first.poll().is_pending());
            upstream.next_call().await.reply(said("old"));
            first.await.unwrap();
            advance(secs(5)).await;
            let picky = crate::Ask {
                tenant: "picky",
                ..ask("hi")
            };
            let mut call = send(&service, picky);
            assert!(call.poll().is_pending(), "{words}");
            upstream.next_call().await.fail("down".into());
            assert_eq!(told(call.await), "error: down", "{words}");
            assert_eq!(told(service.oneshot(ask("hi")).await), "old (hit)");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn durations_beyond_the_clock_mean_for_ever() {
    let for_ever = Freshness::new(Duration::MAX).stale_while_revalidate(Duration::MAX);
    let (service, mut upstream) = over(layer().lifetime(for_ever));
    let mut first = send(&service, ask("hi"));
    assert!(first.poll().is_pending());
    upstream.next_call().await.reply(said("old"));
    first.await.unwrap();
    advance(secs(1 << 30)).await;
    assert_eq!(told(service.oneshot(ask("hi")).await), "old (hit)");
    let _ = Outcome::SUCCESS;
}
