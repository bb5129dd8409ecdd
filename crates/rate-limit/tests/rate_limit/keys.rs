//! Many keys, and what is kept of them.

use buttress_rate_limit::{Cost, LimitedBy, Limiter, Quotas, Rate, Unit};
use tokio::time::advance;
use tower::{Layer, ServiceExt};

use crate::{Ask, SECOND, Upstream, ask, count, protocol, requests, size, tokens};

#[tokio::test(start_paused = true)]
async fn l10_keys_are_independent() {
    let upstream = Upstream::default();
    let layer = buttress_rate_limit::RateLimitLayer::new(protocol(), requests(2));
    let service = layer.key(|ask: &Ask| ask.key).layer(upstream.clone());
    for key in 0..100 {
        for admitted in [true, true, false] {
            let reply = service.clone().oneshot(ask(0).of(key)).await;
            assert_eq!(reply.is_ok(), admitted);
        }
    }
    assert_eq!(upstream.calls(), 200);
}

#[tokio::test(start_paused = true)]
async fn l10_a_key_is_forgotten_only_when_it_is_full_again() {
    let limiter = Limiter::keyed(requests(60)).max_keys(size(2));
    let take = |key: u32| {
        limiter
            .reserve(&key, Cost::REQUEST)
            .map(|taken| taken.keep())
    };
    take(1).unwrap();
    take(2).unwrap();
    take(2).unwrap();
    // Both are in use: who is new is told when the first of them is full again.
    let limited = take(3).unwrap_err();
    assert_eq!(limited.by(), LimitedBy::Keys);
    assert_eq!(limited.wait(), Some(SECOND));
    assert_eq!(limiter.keys(), 2);
    advance(SECOND).await;
    take(3).unwrap();
    assert_eq!(limiter.keys(), 2);
    // 2 was kept, with what it has used; 1 has its burst, and no more.
    assert_eq!(limiter.remaining(&2, Unit::Requests), Some(59));
    assert_eq!(limiter.remaining(&1, Unit::Requests), Some(60));
}

#[tokio::test(start_paused = true)]
async fn l10_a_key_with_a_call_under_way_is_not_forgotten() {
    let limiter = Limiter::keyed(tokens(60)).max_keys(size(1));
    let call = limiter.reserve(&1_u32, Cost::tokens(30, 0)).unwrap();
    advance(60 * SECOND).await;
    // All has come back, but nobody knows what the call will have used.
    assert_eq!(
        limiter.reserve(&2, Cost::REQUEST).unwrap_err().by(),
        LimitedBy::Keys
    );
    call.settle(Cost::tokens(30, 60));
    assert_eq!(limiter.remaining(&1, Unit::Tokens), Some(0));
    assert_eq!(
        limiter.reserve(&2, Cost::REQUEST).unwrap_err().by(),
        LimitedBy::Keys
    );
    advance(61 * SECOND).await;
    assert!(limiter.reserve(&2, Cost::REQUEST).is_ok());
}

#[tokio::test(start_paused = true)]
async fn l10_there_is_room_soon_after_calls_have_given_everything_back() {
    let daily = Quotas::requests(Rate::per_day(count(1)));
    let limiter = Limiter::keyed(daily).max_keys(size(2));
    let calls = [1, 2].map(|key| limiter.reserve(&key, Cost::REQUEST).unwrap());
    let limited = limiter.reserve(&3, Cost::REQUEST).unwrap_err();
    assert_eq!(limited.wait(), Some(24 * 3600 * SECOND));
    drop(calls);
    advance(SECOND).await;
    limiter.reserve(&3, Cost::REQUEST).unwrap().keep();
}

#[tokio::test(start_paused = true)]
async fn l10_a_paused_key_is_not_forgotten() {
    let limiter = Limiter::keyed(requests(60)).max_keys(size(1));
    limiter.pause(&1, 10 * SECOND);
    assert_eq!(
        limiter.reserve(&2, Cost::REQUEST).unwrap_err().by(),
        LimitedBy::Keys
    );
    assert_eq!(
        limiter.reserve(&1, Cost::REQUEST).unwrap_err().by(),
        LimitedBy::Pause
    );
    advance(10 * SECOND).await;
    assert!(limiter.reserve(&2, Cost::REQUEST).is_ok());
}

#[tokio::test(start_paused = true)]
async fn different_keys_can_have_different_quotas() {
    let limiter = Limiter::keyed(requests(1)).quotas_for(|key: &&str| match *key {
        "large" => Some(requests(100)),
        "none" => Some(buttress_rate_limit::Quotas::none()),
        _ => None,
    });
    let left = |key| limiter.remaining(&key, Unit::Requests);
    assert_eq!(
        [left("large"), left("other"), left("none")],
        [Some(100), Some(1), None]
    );
    assert!((0..200).all(|_| limiter.reserve(&"none", Cost::REQUEST).is_ok()));
    // To look at a key does not make it.
    assert_eq!(limiter.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn clones_share_levels_and_settings_begin_anew() {
    let limiter = Limiter::keyed(requests(2));
    let clone = limiter.clone();
    limiter
        .reserve(&1, Cost::REQUEST)
        .map(|taken| taken.keep())
        .unwrap();
    assert_eq!(clone.remaining(&1, Unit::Requests), Some(1));
    let anew = clone.max_keys(size(7));
    assert_eq!(anew.remaining(&1, Unit::Requests), Some(2));
    assert!(!format!("{anew:?}").contains("Instant"));
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_key_or_resuming_it_makes_none() {
    let limiter = Limiter::keyed(tokens(100));
    limiter.resume(&1);
    assert_eq!(limiter.remaining(&1, Unit::Tokens), Some(100));
    limiter.check(&1, Cost::tokens(1, 0)).unwrap();
    assert_eq!(limiter.keys(), 0);
}
