//! What a provider says of its own limits.

use std::time::Duration;

use buttress_core::{Class, Limit, Limits, Outcome, Reason};
use buttress_rate_limit::{Cost, LimitedBy, Limiter, RateLimitLayer, Unit};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

use crate::{Ask, SECOND, Said, Upstream, ask, minute, protocol, requests, tokens};

fn tells(limit: Option<u64>, remaining: u64, reset: Duration) -> Limits {
    let mut limits = Limits::default();
    limits.tokens = Some(Limit {
        limit,
        remaining,
        reset,
    });
    limits
}

fn left(limiter: &Limiter) -> u64 {
    limiter.remaining(&(), Unit::Tokens).unwrap()
}

#[tokio::test(start_paused = true)]
async fn l9_less_that_remains_there_is_less_here_until_the_reset() {
    let limiter = Limiter::new(tokens(1_000).and_requests(minute(10)));
    let layer = RateLimitLayer::new(protocol(), limiter.clone())
        .cost(|ask: &Ask| ask.cost)
        .limits(|said: &Said| said.limits);
    let service = layer.layer(Upstream::default());
    let told = ask(100).telling(tells(None, 30, 20 * SECOND));
    service.clone().oneshot(told).await.unwrap();
    assert_eq!(left(&limiter), 30);
    assert_eq!(
        limiter.remaining(&(), Unit::Requests),
        Some(9),
        "another dimension"
    );
    service.clone().oneshot(ask(20)).await.unwrap();
    let refused = service.clone().oneshot(ask(11)).await.unwrap_err().0;
    assert_eq!(refused.retry_after(), Some(20 * SECOND));
    assert_eq!(refused.reason(), Reason::Limited);
    service.clone().oneshot(ask(10)).await.unwrap();
    advance(20 * SECOND - Duration::from_nanos(1)).await;
    assert_eq!(left(&limiter), 0);
    advance(Duration::from_nanos(1)).await;
    assert_eq!(left(&limiter), 1_000);
}

#[tokio::test(start_paused = true)]
async fn l9_what_a_provider_refills_comes_back_evenly() {
    let limiter = Limiter::new(tokens(1_000));
    // Nothing of 600 is left, which come within a minute: ten a second.
    limiter.tighten(&(), &tells(Some(600), 0, 60 * SECOND));
    let limited = limiter.check(&(), Cost::tokens(50, 0)).unwrap_err();
    assert_eq!(limited.by(), LimitedBy::Provider(Unit::Tokens));
    assert_eq!(limited.wait(), Some(5 * SECOND));
    advance(5 * SECOND).await;
    limiter
        .reserve(&(), Cost::tokens(50, 0))
        .map(|taken| taken.keep())
        .unwrap();
    assert_eq!(left(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn l9_a_settlement_gives_back_to_what_remains_there_too() {
    let limiter = Limiter::new(tokens(1_000));
    limiter.tighten(&(), &tells(None, 100, 60 * SECOND));
    let call = limiter.reserve(&(), Cost::tokens(100, 0)).unwrap();
    assert_eq!(left(&limiter), 0);
    call.settle(Cost::tokens(30, 10));
    assert_eq!(left(&limiter), 60);
}

#[tokio::test(start_paused = true)]
async fn l9_who_takes_nothing_waits_while_more_was_used_than_remains_there() {
    let limiter = Limiter::new(tokens(10_000));
    limiter.tighten(&(), &tells(None, 100, 60 * SECOND));
    let call = limiter.reserve(&(), Cost::tokens(100, 0)).unwrap();
    assert!(limiter.check(&(), Cost::REQUEST).is_ok());
    call.settle(Cost::tokens(100, 1));
    let limited = limiter.check(&(), Cost::REQUEST).unwrap_err();
    assert_eq!(limited.by(), LimitedBy::Provider(Unit::Tokens));
    assert_eq!(limited.wait(), Some(60 * SECOND));
    advance(60 * SECOND).await;
    assert!(limiter.check(&(), Cost::REQUEST).is_ok());
}

#[tokio::test(start_paused = true)]
async fn l9_what_is_said_never_loosens() {
    let limiter = Limiter::new(tokens(100));
    limiter
        .reserve(&(), Cost::tokens(80, 0))
        .map(|taken| taken.keep())
        .unwrap();
    for limits in [
        tells(Some(1_000_000), 900_000, 60 * SECOND),
        tells(None, 900_000, 60 * SECOND),
        tells(Some(1), 1, Duration::ZERO),
    ] {
        limiter.tighten(&(), &limits);
        assert_eq!(left(&limiter), 20);
    }
    // Nor does a later word than an earlier one.
    limiter.tighten(&(), &tells(None, 5, 60 * SECOND));
    limiter.tighten(&(), &tells(None, 10, 60 * SECOND));
    assert_eq!(left(&limiter), 5);
}

#[tokio::test(start_paused = true)]
async fn l9_a_tighter_word_of_now_does_not_outlast_its_own_reset() {
    let limiter = Limiter::new(tokens(100));
    limiter.tighten(&(), &tells(None, 50, 60 * SECOND));
    limiter.tighten(&(), &tells(None, 0, SECOND));
    assert_eq!(left(&limiter), 0);
    advance(SECOND).await;
    assert_eq!(left(&limiter), 50);
    advance(58 * SECOND).await;
    assert_eq!(left(&limiter), 50);
}

#[tokio::test(start_paused = true)]
async fn l9_more_words_than_are_kept_never_loosen() {
    let limiter = Limiter::new(tokens(1_000));
    // The later they end, the more is left: none says what another says already.
    for n in (1_u32..=8).rev() {
        limiter.tighten(&(), &tells(None, u64::from(n) * 10, n * 10 * SECOND));
    }
    for n in 1_u64..=8 {
        assert!(left(&limiter) <= n * 10, "{n}");
        advance(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l9_of_several_words_each_holds_until_its_own_reset() {
    let limiter = Limiter::new(tokens(1_000));
    for (remaining, reset) in [(0, 1), (0, 2), (20, 10), (50, 60), (70, 30), (80, 90)] {
        limiter.tighten(&(), &tells(None, remaining, reset * SECOND));
    }
    for (time, expected) in [
        (1, 0),
        (1, 20),
        (7, 20),
        (1, 50),
        (49, 50),
        (1, 80),
        (30, 1_000),
    ] {
        advance(time * SECOND).await;
        assert_eq!(left(&limiter), expected);
    }
    // However many, the tightest of them holds.
    for n in 1..100 {
        let reset = u32::try_from(n).unwrap() * SECOND;
        limiter.tighten(&(), &tells(None, n, reset));
        assert_eq!(left(&limiter), 1);
    }
    for expected in [2, 3, 4] {
        advance(SECOND).await;
        assert_eq!(left(&limiter), expected);
    }
    advance(96 * SECOND).await;
    assert_eq!(left(&limiter), 1_000);
}

#[tokio::test(start_paused = true)]
async fn l9_what_a_call_from_before_gives_back_is_not_added_to_what_remains() {
    let limiter = Limiter::new(tokens(1_000));
    let before = limiter.reserve(&(), Cost::tokens(10, 0)).unwrap();
    limiter.tighten(&(), &tells(None, 5, 60 * SECOND));
    let after = limiter.reserve(&(), Cost::tokens(5, 0)).unwrap();
    drop(before);
    assert_eq!(left(&limiter), 0);
    drop(after);
    assert_eq!(left(&limiter), 5);
}

#[tokio::test(start_paused = true)]
async fn l9_resets_that_are_past_or_far_off_neither_unblock_nor_block() {
    let limiter = Limiter::new(tokens(100)).longest_hold(30 * SECOND);
    limiter.tighten(&(), &tells(None, 0, Duration::ZERO));
    assert_eq!(left(&limiter), 100);
    limiter.tighten(&(), &tells(None, 0, Duration::MAX));
    limiter.tighten(&(), &tells(None, 0, Duration::ZERO));
    assert_eq!(left(&limiter), 0);
    let limited = limiter.check(&(), Cost::tokens(1, 0)).unwrap_err();
    assert_eq!(limited.wait(), Some(30 * SECOND));
    advance(30 * SECOND).await;
    assert_eq!(left(&limiter), 100);
    limiter.pause(&(), Duration::MAX);
    assert_eq!(
        limiter.check(&(), Cost::NONE).unwrap_err().wait(),
        Some(30 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn l9_a_throttled_call_with_a_hint_pauses_its_key_until_then() {
    let upstream = Upstream::default();
    let layer = RateLimitLayer::new(protocol(), requests(1_000)).key(|ask: &Ask| ask.key);
    let service = layer.layer(upstream.clone());
    let throttled = Outcome::new(Class::Throttled);
    service
        .clone()
        .oneshot(ask(0).ending(throttled))
        .await
        .unwrap();
    service.clone().oneshot(ask(0)).await.unwrap();
    let hinted = throttled.with_retry_after(7 * SECOND);
    service
        .clone()
        .oneshot(ask(0).ending(hinted))
        .await
        .unwrap();
    let refused = service.clone().oneshot(ask(0)).await.unwrap_err().0;
    assert_eq!(refused.retry_after(), Some(7 * SECOND));
    assert!(
        service.clone().oneshot(ask(0).of(1)).await.is_ok(),
        "another key"
    );
    advance(7 * SECOND).await;
    service.clone().oneshot(ask(0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn l10_what_ones_own_handler_tells_one_caller_pauses_nobody_else() {
    let layer = RateLimitLayer::new(protocol(), requests(1_000));
    let service = layer.layer(Upstream::default());
    let told = Outcome::new(Class::Throttled).worked_on();
    let told = told.with_retry_after(7 * SECOND);
    let first = service.clone().oneshot(ask(0).ending(told)).await;
    assert!(first.is_ok() && service.oneshot(ask(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn l9_what_a_provider_said_outlives_a_change_of_quotas() {
    let limiter = Limiter::new(tokens(1_000));
    limiter.tighten(&(), &tells(None, 30, 20 * SECOND));
    limiter.pause(&(), 10 * SECOND);
    limiter.set_quotas(tokens(2_000));
    assert_eq!(left(&limiter), 0);
    advance(10 * SECOND).await;
    assert_eq!(left(&limiter), 30);
    advance(10 * SECOND).await;
    assert_eq!(left(&limiter), 2_000);
}

#[tokio::test(start_paused = true)]
async fn l9_what_a_call_gives_back_after_a_change_of_quotas_is_left_at_the_provider() {
    let limiter = Limiter::new(tokens(1_000));
    limiter.tighten(&(), &tells(None, 100, 60 * SECOND));
    let held = limiter.reserve(&(), Cost::tokens(80, 0)).unwrap();
    limiter.set_quotas(tokens(1_200));
    assert_eq!(left(&limiter), 20);
    held.settle(Cost::tokens(10, 0));
    assert_eq!(left(&limiter), 90);
}

#[tokio::test(start_paused = true)]
async fn l9_a_pause_holds_up_those_who_wait_and_no_longer() {
    let layer = RateLimitLayer::new(protocol(), requests(1_000)).wait(60 * SECOND);
    let service = layer.layer(Upstream::default());
    layer.store().pause(&(), 7 * SECOND);
    let start = Instant::now();
    service.clone().oneshot(ask(0)).await.unwrap();
    assert_eq!(start.elapsed(), 7 * SECOND);
}

proptest! {
    #[test]
    fn l9_with_headers_never_more_is_admitted_than_without(
        steps in prop::collection::vec((0_u8..3, 0_u64..200, 0_u64..90), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (told, untold) = (Limiter::new(tokens(100)), Limiter::new(tokens(100)));
            // Everything that was said: until when, and how much of it is left.
            let mut said: Vec<(Instant, u64)> = Vec::new();
            for (what, amount, time) in steps {
                match what {
                    0 => advance(Duration::from_millis(time * 100)).await,
                    1 => {
                        told.tighten(&(), &tells(None, amount, Duration::from_secs(time)));
                        said.push((Instant::now() + Duration::from_secs(time), amount));
                    }
                    _ => {
                        let cost = Cost::tokens(amount % 40 + 1, 0);
                        if told.reserve(&(), cost).map(|taken| taken.keep()).is_err() {
                            continue;
                        }
                        // Whatever is admitted with headers would be without.
                        assert!(untold.reserve(&(), cost).map(|taken| taken.keep()).is_ok());
                        for (until, left) in &mut said {
                            if Instant::now() < *until {
                                assert!(cost.input <= *left, "{cost:?} of {left}");
                                *left -= cost.input;
                            }
                        }
                    }
                }
            }
        });
    }
}
