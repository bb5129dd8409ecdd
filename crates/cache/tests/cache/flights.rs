//! One call for all who ask the same at once.

use std::task::Poll;

use buttress_cache::{CacheEvent, CacheStatus, Keyed};
use buttress_core::{Cached, CallInfo, Ledger, Outcome, Reason, Refused, Usage};
use futures_util::{FutureExt, future::join_all};
use tower::{Layer, ServiceExt};

use crate::{Ask, ask, is_empty, layer, log, over, pair, said, secs, send, status, told};

#[tokio::test(start_paused = true)]
async fn c1_one_call_serves_all_who_ask_the_same_at_once_and_later() {
    let layer = layer();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let calls = join_all((0..100).map(|_| service.clone().oneshot(ask("hi"))));
    let (replies, ()) = tokio::join!(calls, async {
        upstream.next_call().await.reply(said("hello"));
    });
    let statuses: Vec<_> = replies.iter().map(status).collect();
    assert_eq!(statuses[0], CacheStatus::Miss);
    assert!(
        statuses[1..]
            .iter()
            .all(|status| *status == CacheStatus::Coalesced)
    );
    assert!(
        replies
            .iter()
            .all(|reply| reply.as_ref().unwrap().text == "hello")
    );
    assert_eq!(status(&service.oneshot(ask("hi")).await), CacheStatus::Hit);
    assert_eq!(upstream.calls(), 1);
    assert!(is_empty(&cache));
    let statistics = cache.statistics();
    assert_eq!(
        (
            statistics.misses,
            statistics.coalesced,
            statistics.hits,
            statistics.stored
        ),
        (1, 99, 1, 1)
    );
    assert_eq!(statistics.hit_rate(), Some(100.0 / 101.0));
}

#[tokio::test(start_paused = true)]
async fn c1_services_of_one_layer_share_what_is_under_way() {
    let layer = layer();
    let (inner, mut upstream) = pair();
    let (one, other) = (layer.layer(inner.clone()), layer.clone().layer(inner));
    let (mut first, mut second) = (send(&one, ask("hi")), send(&other, ask("hi")));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(first.await), "hello (miss)");
    assert_eq!(told(second.await), "hello (coalesced)");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn s2_other_tenants_and_other_questions_make_calls_of_their_own_at_the_same_time() {
    let (service, mut upstream) = over(layer());
    let other = || Ask {
        tenant: "b",
        ..ask("hi")
    };
    let mut calls = [
        send(&service, ask("hi")),
        send(&service, other()),
        send(&service, ask("ho")),
    ];
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    for _ in 0..3 {
        let call = upstream.next_call().await;
        let answer = format!("{} {}", call.request().tenant, call.request().prompt);
        call.reply(said(&answer));
    }
    let [first, second, third] = calls;
    assert_eq!(told(first.await), "a hi (miss)");
    assert_eq!(told(second.await), "b hi (miss)");
    assert_eq!(told(third.await), "a ho (miss)");
    assert_eq!(told(service.oneshot(other()).await), "b hi (hit)");
}

#[tokio::test(start_paused = true)]
async fn c2_when_the_leader_leaves_the_others_neither_fail_nor_call_again() {
    let (service, mut upstream) = over(layer());
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    drop(leader);
    assert_eq!(upstream.in_flight(), 1);
    assert!(!follower.is_woken());
    upstream.next_call().await.reply(said("hello"));
    assert!(follower.is_woken(), "whoever drove before");
    assert_eq!(told(follower.await), "hello (coalesced)");
    assert_eq!(told(service.oneshot(ask("hi")).await), "hello (hit)");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn c2_a_leader_that_leaves_before_it_was_ever_polled_leaves_the_call_to_the_others() {
    let (service, mut upstream) = over(layer());
    let leader = send(&service, ask("hi"));
    let mut follower = send(&service, ask("hi"));
    drop(leader);
    assert!(follower.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(follower.await), "hello (coalesced)");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn c2_a_follower_that_polled_last_and_sleeps_does_not_keep_the_others_from_hearing() {
    let (service, mut upstream) = over(layer());
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert!(leader.is_woken() && follower.is_woken());
    assert_eq!(told(leader.await), "hello (miss)");
    assert_eq!(told(follower.await), "hello (coalesced)");
}

#[tokio::test(start_paused = true)]
async fn c2_when_all_have_left_the_call_is_cancelled_and_the_next_one_is_another() {
    let layer = layer();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let mut calls = [send(&service, ask("hi")), send(&service, ask("hi"))];
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    let [leader, follower] = calls;
    drop(follower);
    assert_eq!(upstream.in_flight(), 1);
    drop(leader);
    assert_eq!(upstream.in_flight(), 0);
    assert!(is_empty(&cache));
    assert_eq!(cache.statistics().dropped, 2);
    assert!(!upstream.next_call().await.reply(said("too late")));
    let mut call = send(&service, ask("hi"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(call.await), "hello (miss)");
}

#[tokio::test(start_paused = true)]
async fn c2_a_failed_response_is_shared_and_not_kept() {
    let layer = layer();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    upstream.next_call().await.reply(said("unavailable"));
    assert_eq!(told(leader.await), "unavailable (miss)");
    assert_eq!(told(follower.await), "unavailable (coalesced)");
    assert!(is_empty(&cache));
    assert_eq!(cache.statistics().stored, 0);
    assert!(
        send(&service, ask("hi")).poll().is_pending(),
        "it calls again"
    );
}

#[tokio::test(start_paused = true)]
async fn c2_an_error_is_the_leaders_and_a_refusal_of_its_class_and_hint_for_the_others() {
    let (events, observer) = log();
    let layer = layer().on_event(observer);
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let mut calls: Vec<_> = (0..3).map(|_| send(&service, ask("hi"))).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    let error = Refused::new(Reason::Limited).with_retry_after(secs(7));
    upstream.next_call().await.fail(error.into());
    // A follower hears of it first; the error is the leader's still.
    let follower = calls.pop().unwrap().await.unwrap_err();
    let refused = Refused::find(&*follower).unwrap();
    assert_eq!(
        (refused.reason(), refused.class(), refused.retry_after()),
        (Reason::Coalesced, error.class(), Some(secs(7)))
    );
    assert!(is_empty(&cache));
    let leader = calls.remove(0).await.unwrap_err();
    assert_eq!(leader.downcast_ref(), Some(&error), "unchanged");
    assert_eq!(
        told(calls.remove(0).await),
        "refused: shared call failed, refused"
    );
    let leads: Vec<_> = events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            CacheEvent::Failed { leads, .. } => *leads,
            other => panic!("found {other:?}"),
        })
        .collect();
    assert_eq!(leads, [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn c2_the_next_waiter_tries_if_that_is_wanted() {
    let layer = layer().next_waiter_tries();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let mut calls: Vec<_> = (0..3).map(|_| send(&service, ask("hi"))).collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    upstream.next_call().await.fail("down".into());
    for call in &mut calls[1..] {
        assert!(call.is_woken() && call.poll().is_pending());
    }
    assert_eq!(told(calls.remove(0).await), "error: down");
    assert_eq!(upstream.calls(), 2, "one of the two leads");
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(calls.remove(0).await), "hello (miss)");
    assert_eq!(told(calls.remove(0).await), "hello (coalesced)");
    assert!(is_empty(&cache));
}

#[tokio::test(start_paused = true)]
async fn c3_a_call_that_panics_hangs_nobody_and_leaves_nothing_in_the_table() {
    let layer = layer();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending() && follower.poll().is_pending());
    upstream.next_call().await.panic();
    let leader = std::panic::AssertUnwindSafe(leader).catch_unwind().await;
    assert!(leader.is_err(), "it drove");
    assert!(follower.is_woken());
    assert_eq!(
        told(follower.await),
        "refused: shared call failed, unavailable"
    );
    assert!(is_empty(&cache));
    let mut again = send(&service, ask("hi"));
    assert!(again.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(again.await), "hello (miss)");
}

#[tokio::test(start_paused = true)]
async fn c7_a_shared_call_carries_no_deadline_priority_or_attempt_of_anybody() {
    let (service, mut upstream) = over(layer());
    let mut mine = ask("hi");
    mine.info.attempt = 3;
    mine.info.deadline = Some((tokio::time::Instant::now() + secs(1)).into_std());
    mine.info.priority = 5;
    mine.info.retried = true;
    mine.info.ledger = Some(Ledger::new());
    let mut call = send(&service, mine);
    assert!(call.poll().is_pending());
    let below = upstream.next_call().await;
    let CallInfo {
        attempt,
        deadline,
        priority,
        retried,
        ..
    } = &below.request().info;
    assert_eq!(
        (*attempt, *deadline, *priority, *retried),
        (1, None, 0, true),
        "but who asks the same comes by the same retry"
    );
    below.reply(said("hello"));
    assert_eq!(told(call.await), "hello (miss)");
}

#[tokio::test(start_paused = true)]
async fn c7_a_waiters_time_out_ends_only_its_wait() {
    let (service, mut upstream) = over(layer());
    let patient = tokio::spawn(service.clone().oneshot(ask("hi")));
    let hasty = tokio::time::timeout(secs(1), service.oneshot(ask("hi")));
    assert!(hasty.await.is_err());
    assert_eq!(upstream.in_flight(), 1);
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(patient.await.unwrap()), "hello (coalesced)");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_attempts_of_a_shared_call_are_paid_for_once_by_one_who_got_its_reply_or_left_last() {
    let lost = Outcome::new(buttress_core::Class::Unavailable).with_usage(Usage::new(10, 0));
    for leaves in [false, true] {
        let (service, mut upstream) = over(layer());
        let ledgers = [Ledger::new(), Ledger::new()];
        let mut calls = ledgers.clone().map(|ledger| {
            let mut mine = ask("hi");
            mine.info.ledger = Some(ledger);
            send(&service, mine)
        });
        for call in &mut calls {
            assert!(call.poll().is_pending());
        }
        let below = upstream.next_call().await;
        below.request().info.ledger.as_ref().unwrap().add(&lost);
        if leaves {
            let [leader, follower] = calls;
            drop(leader);
            drop(follower);
        } else {
            below.reply(said("hello"));
            for call in calls {
                call.await.unwrap();
            }
        }
        let total = ledgers.map(|ledger| {
            ledger
                .total(&Outcome::SUCCESS)
                .usage
                .map_or(0, |usage| usage.total())
        });
        assert_eq!(total.iter().sum::<u64>(), 10, "leaves: {leaves}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_key_leaves_the_cache_out() {
    let layer = layer().cacheable(|ask: &Ask| ask.prompt != "sampled");
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    for _ in 0..2 {
        let mut call = send(&service, ask("sampled"));
        assert!(call.poll().is_pending());
        upstream.next_call().await.reply(said("hello"));
        assert_eq!(told(call.await), "hello (bypass)");
    }
    assert_eq!((upstream.calls(), cache.statistics().bypassed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn flights_of_one_key_after_another_never_mix() {
    let (service, mut upstream) = over(layer().lifetime(buttress_cache::Freshness::NONE));
    for n in 0..10 {
        let mut call = send(&service, ask("hi"));
        assert!(matches!(call.poll(), Poll::Pending));
        upstream.next_call().await.reply(said(&n.to_string()));
        assert_eq!(told(call.await), format!("{n} (miss)"));
    }
}

#[test]
fn a_key_can_be_a_function_or_a_closure_with_its_argument_named() {
    let _ = buttress_cache::CacheLayer::<_, _, crate::Kept>::new(crate::Own, crate::key);
    let (inner, _upstream) = pair();
    let service =
        buttress_cache::CacheLayer::new(crate::Own, |ask: &Ask| Some(Keyed::of(&ask.prompt)))
            .layer(inner);
    let _ = buttress_core::check::<Ask, _>(service);
}

/// Some want it loud.
#[derive(Clone)]
struct Loudness;

impl buttress_cache::Flavours<Ask, crate::Said> for Loudness {
    type Wanted = bool;

    fn wanted(&self, ask: &Ask) -> bool {
        ask.tenant == "loud"
    }

    fn deliver(&self, mut said: crate::Said, loud: bool, cached: Cached) -> crate::Said {
        assert_eq!(said.cached, Some(cached), "it is said already");
        if loud {
            said.text.make_ascii_uppercase();
        }
        said
    }
}

#[tokio::test(start_paused = true)]
async fn c1_callers_who_want_it_delivered_differently_share_one_call_and_one_entry() {
    let by = |ask: &Ask| Keyed::of(&ask.prompt);
    let layer = buttress_cache::CacheLayer::new(crate::Own, by).flavours(Loudness);
    let (service, mut upstream) = over(layer);
    let loud = || Ask {
        tenant: "loud",
        ..ask("hi")
    };
    let (mut one, mut other) = (send(&service, ask("hi")), send(&service, loud()));
    assert!(one.poll().is_pending() && other.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(other.await), "HELLO (coalesced)");
    assert_eq!(told(one.await), "hello (miss)");
    assert_eq!(told(service.clone().oneshot(loud()).await), "HELLO (hit)");
    assert_eq!(told(service.oneshot(ask("hi")).await), "hello (hit)");
    assert_eq!(upstream.calls(), 1);
}
