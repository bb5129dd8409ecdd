//! What is kept, for whom, and how much of it.

use std::time::Duration;

use buttress_cache::{CacheLayer, Directives, Freshness, Tag, Terms};
use buttress_core::{Finish, Outcome, Share};
use tower::ServiceExt;

use crate::{Ask, Kept, Said, Upstream, ask, is_empty, key, layer, over, said, secs, send, told};

/// Asks, answers what comes down, and says what became of it.
async fn get<S>(service: &S, upstream: &mut Upstream, ask: Ask, answer: &str) -> String
where
    S: tower::Service<Ask, Response = Said, Error = crate::BoxError> + Clone,
{
    let mut call = send(service, ask);
    if call.poll().is_pending() {
        upstream.next_call().await.reply(said(answer));
        return told(call.await);
    }
    panic!("it was kept")
}

#[tokio::test(start_paused = true)]
async fn c4_neither_errors_nor_failed_responses_are_kept() {
    let (service, mut upstream) = over(layer());
    for class in buttress_core::Class::ALL {
        if class != buttress_core::Class::Success {
            let prompt = class.as_str();
            for _ in 0..2 {
                let found = get(&service, &mut upstream, ask(prompt), prompt).await;
                assert_eq!(found, format!("{prompt} (miss)"));
            }
        }
    }
    for _ in 0..2 {
        let mut call = send(&service, ask("hi"));
        assert!(call.poll().is_pending());
        upstream.next_call().await.fail("down".into());
        assert_eq!(told(call.await), "error: down");
    }
}

#[tokio::test(start_paused = true)]
async fn c4_only_what_is_the_requests_own_fault_is_kept_if_that_is_asked_for() {
    let (service, mut upstream) = over(layer().negative(secs(5)));
    for class in buttress_core::Class::ALL {
        let text = class.as_str();
        get(&service, &mut upstream, ask(text), text).await;
        let again = send(&service, ask(text)).poll().is_ready();
        if !again {
            drop(upstream.next_call().await);
        }
        let kept = matches!(text, "success" | "invalid" | "unfit");
        assert_eq!(again, kept, "{text}");
    }
    tokio::time::advance(secs(5)).await;
    assert_eq!(
        get(&service, &mut upstream, ask("invalid"), "better").await,
        "better (miss)"
    );
}

#[tokio::test(start_paused = true)]
async fn c8_the_cache_is_bounded_by_bytes() {
    let layer = layer()
        .max_bytes(100_000)
        .weigh(|(said, _): &Kept| said.text.len());
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let large = "x".repeat(1000);
    for n in 0..1000 {
        get(&service, &mut upstream, ask(&n.to_string()), &large).await;
        let statistics = cache.statistics();
        assert!(statistics.bytes <= 100_000, "found {}", statistics.bytes);
    }
    let statistics = cache.statistics();
    assert!(statistics.entries > 40, "found {}", statistics.entries);
    assert!(
        statistics.entries < 100,
        "what the cache needs itself counts too"
    );
    // One that is larger than all of it.
    get(&service, &mut upstream, ask("huge"), &"x".repeat(100_000)).await;
    assert_eq!(
        get(&service, &mut upstream, ask("huge"), "small").await,
        "small (miss)"
    );
}

#[tokio::test(start_paused = true)]
async fn s3_many_keys_take_bounded_memory() {
    let layer = layer()
        .max_bytes(1 << 20)
        .weigh(|(said, _): &Kept| said.text.len());
    let cache = layer.handle();
    let service = tower::Layer::layer(
        &layer,
        tower::service_fn(|ask: Ask| async move { Ok::<_, crate::BoxError>(said(&ask.prompt)) }),
    );
    for n in 0..100_000 {
        service.clone().oneshot(ask(&n.to_string())).await.unwrap();
    }
    assert!(cache.statistics().bytes <= 1 << 20);
    assert!(is_empty(&cache));
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_zero_keeps_nothing_and_still_makes_one_call_for_all() {
    let (service, mut upstream) = over(layer().max_bytes(0));
    let (mut one, mut other) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(one.poll().is_pending() && other.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(one.await), "hello (miss)");
    assert_eq!(told(other.await), "hello (coalesced)");
    assert_eq!(
        get(&service, &mut upstream, ask("hi"), "again").await,
        "again (miss)"
    );
}

#[tokio::test(start_paused = true)]
async fn c10_a_hit_takes_no_readiness_of_the_inner_service() {
    let (service, mut upstream) = over(layer());
    get(&service, &mut upstream, ask("hi"), "hello").await;
    upstream.set_ready(false);
    let (polls, instances) = (upstream.ready_polls(), upstream.instances());
    let mut call = send(&service, ask("hi"));
    assert_eq!(upstream.instances(), instances, "none is cloned for it");
    let found = match call.poll() {
        std::task::Poll::Ready(found) => told(found),
        std::task::Poll::Pending => panic!("it waits for a busy service"),
    };
    assert_eq!(found, "hello (hit)");
    assert_eq!(upstream.ready_polls(), polls);
}

#[tokio::test(start_paused = true)]
async fn c11_what_was_invalidated_in_flight_is_not_kept_nor_joined() {
    for by_tag in [false, true] {
        let layer = layer();
        let cache = layer.handle();
        let (service, mut upstream) = over(layer);
        let mut old = send(&service, ask("hi"));
        assert!(old.poll().is_pending());
        match by_tag {
            true => cache.invalidate_tag(Tag::tenant("a")),
            false => cache.invalidate(&key(&ask("hi"))),
        }
        let mut new = send(&service, ask("hi"));
        assert!(new.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        upstream.next_call().await.reply(said("new"));
        assert_eq!(told(new.await), "new (miss)");
        assert_eq!(told(old.await), "old (miss)");
        assert_eq!(told(service.oneshot(ask("hi")).await), "new (hit)");
        assert!(is_empty(&cache));
    }
}

#[tokio::test(start_paused = true)]
async fn c11_one_key_or_one_tag_is_forgotten_and_nothing_else() {
    let layer = layer();
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    let other = |prompt: &str| Ask {
        tenant: "b",
        ..ask(prompt)
    };
    for ask in [ask("1"), ask("2"), other("1")] {
        get(&service, &mut upstream, ask, "kept").await;
    }
    cache.invalidate(&key(&ask("1")));
    assert_eq!(told(service.clone().oneshot(ask("2")).await), "kept (hit)");
    assert_eq!(
        get(&service, &mut upstream, ask("1"), "new").await,
        "new (miss)"
    );
    cache.invalidate_tag(Tag::tenant("a"));
    assert_eq!(
        told(service.clone().oneshot(other("1")).await),
        "kept (hit)"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("1"), "newer").await,
        "newer (miss)"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("2"), "newer").await,
        "newer (miss)"
    );
    cache.clear();
    assert_eq!(cache.statistics().entries, 0);
    assert_eq!(
        get(&service, &mut upstream, other("1"), "newer").await,
        "newer (miss)"
    );
}

#[tokio::test(start_paused = true)]
async fn c7_what_the_caller_asks_of_caches_is_heeded_if_you_say_so() {
    let heed = |ask: &Ask| Directives::parse(ask.prompt.split_once(';').map(|(_, word)| word));
    let by = |ask: &Ask| {
        let prompt = ask.prompt.split(';').next().unwrap();
        buttress_cache::Keyed::of(prompt)
    };
    let layer = buttress_cache::CacheLayer::new(crate::Own, by).heed(heed);
    let cache = layer.handle();
    let (service, mut upstream) = over(layer);
    assert_eq!(
        get(&service, &mut upstream, ask("hi;no-store"), "1").await,
        "1 (bypass)"
    );
    assert_eq!(
        told(service.clone().oneshot(ask("hi;only-if-cached")).await),
        "refused: not cached, refused"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("hi"), "2").await,
        "2 (miss)"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("hi;no-store"), "3").await,
        "3 (bypass)"
    );
    assert_eq!(
        told(service.clone().oneshot(ask("hi;only-if-cached")).await),
        "2 (hit)"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("hi;no-cache"), "4").await,
        "4 (miss)"
    );
    assert_eq!(told(service.clone().oneshot(ask("hi")).await), "4 (hit)");
    tokio::time::advance(secs(10)).await;
    assert_eq!(
        told(service.clone().oneshot(ask("hi;max-age=10")).await),
        "4 (hit)"
    );
    assert_eq!(
        get(&service, &mut upstream, ask("hi;max-age=9"), "5").await,
        "5 (miss)"
    );
    assert_eq!(cache.statistics().not_cached, 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_lets_caches_do_is_heeded_if_you_say_so() {
    let ours = Freshness::new(secs(100)).stale_if_error(secs(100));
    let terms = |said: &Said| Terms::parse([said.text.as_str()]);
    // What it said, after how long, and whether that still serves, unheeded and heeded.
    let cases = [
        ("private", 99, [true, true]),
        ("no-store", 0, [true, false]),
        ("no-cache, must-revalidate", 0, [true, false]),
        ("max-age=10", 9, [true, true]),
        ("max-age=10", 10, [true, false]),
    ];
    for (words, after, serves) in cases {
        let (plain, mut below) = over(layer().lifetime(ours));
        get(&plain, &mut below, ask("hi"), words).await;
        let (heeds, mut below) = over(layer().lifetime(ours).heed_reply(terms));
        get(&heeds, &mut below, ask("hi"), words).await;
        tokio::time::advance(secs(after)).await;
        let hits = [
            send(&plain, ask("hi")).poll().is_ready(),
            send(&heeds, ask("hi")).poll().is_ready(),
        ];
        assert_eq!(hits, serves, "{words} after {after} s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lifetime_is_a_function_of_the_reply() {
    let by_text =
        |said: &Said, _: &Outcome| Freshness::new(Duration::from_secs(said.text.len() as u64));
    let (service, mut upstream) = over(layer().lifetime(by_text));
    get(&service, &mut upstream, ask("hi"), "two").await;
    get(&service, &mut upstream, ask("ho"), "").await;
    tokio::time::advance(Duration::from_millis(2999)).await;
    assert_eq!(told(service.clone().oneshot(ask("hi")).await), "two (hit)");
    assert_eq!(get(&service, &mut upstream, ask("ho"), "").await, " (miss)");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(
        get(&service, &mut upstream, ask("hi"), "x").await,
        "x (miss)"
    );
}

#[tokio::test(start_paused = true)]
async fn c4_no_lifetime_keeps_what_fails_for_reasons_that_pass() {
    let for_all = |_: &Said, _: &Outcome| Freshness::new(secs(60));
    let (service, mut upstream) = over(layer().lifetime(for_all));
    for class in buttress_core::Class::ALL {
        let text = class.as_str();
        get(&service, &mut upstream, ask(text), text).await;
        let again = send(&service, ask(text)).poll().is_ready();
        assert_eq!(
            again,
            matches!(text, "success" | "invalid" | "unfit"),
            "{text}"
        );
        if !again {
            drop(upstream.next_call().await);
        }
    }
}

/// Of its replies those that say so were cut by a filter.
struct Filters;

impl Share<Said> for Filters {
    type Shared = Kept;

    fn share(&self, response: Said, seen: &Outcome) -> Kept {
        (response, *seen)
    }

    fn open(&self, shared: &Kept) -> Said {
        shared.0.clone()
    }

    fn ended(&self, (said, seen): &Kept) -> Option<Outcome> {
        let finish = match said.text.as_str() {
            "cut" => Finish::Filtered,
            _ => Finish::Stop,
        };
        Some(seen.with_finish(finish))
    }
}

#[tokio::test(start_paused = true)]
async fn c4_what_a_filter_cut_is_not_warmed_either() {
    let layer = CacheLayer::<_, _, Kept>::new(Filters, key);
    let known = ["cut", "whole"].map(|text| (key(&ask(text)), said(text)));
    assert_eq!(layer.warm(known).await, 1);
    assert_eq!(layer.handle().statistics().entries, 1);
}
