//! T1 to T11, by the probe.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_cache::{CacheEvent, CacheLayer, Keyed};
use buttress_core::{Plain, Reason, Refused};
use buttress_http::{Http, TrackLayer};
use buttress_testing::probe::{self, Probe, Promise, Reply, Traffic};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::{BoxError, layer, over, pair, said};

/// Over replies that are whole at once.
fn plain() -> Probe {
    let traffic = Traffic::plain(|n: u64| n).replies(|reply: Reply| reply.number());
    Probe::with(|| CacheLayer::new(Plain, |n: &u64| Keyed::of(n)), traffic)
}

/// Past the cache.
fn bypass() -> Probe {
    let traffic = Traffic::plain(|n: u64| n).replies(|reply: Reply| reply.number());
    Probe::with(|| CacheLayer::new(Plain, |_: &u64| None::<Keyed>), traffic)
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let key = |ask: &http::Request<Bytes>| Keyed::of(ask.body());
    Probe::http(
        move || (CacheLayer::new(Http, key), TrackLayer::default()),
        request,
    )
}

#[tokio::test(start_paused = true)]
async fn t1_the_instance_that_is_called_was_readied() {
    plain().t1().await;
    bypass().t1().await;
    http().t1().await;
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_unchanged() {
    plain().t2().await;
    bypass().t2().await;
    http().t2().await;
}

#[tokio::test(start_paused = true)]
async fn t3_nothing_is_reserved_before_the_call() {
    plain().t3().await;
    bypass().t3().await;
    http().t3().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind() {
    plain().t4().await;
    bypass().t4().await;
    http().t4().await;
}

#[tokio::test(start_paused = true)]
async fn t5_a_reply_keeps_its_slot_to_its_end() {
    http().t5().await;
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    plain().t6().await;
    bypass().t6().await;
    http().t6().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_behave_alike_and_hold_no_lock() {
    plain().t7().await;
    bypass().t7().await;
    http().t7().await;
}

/// It refuses only where a kept reply alone is wanted; what is below refuses through it.
#[tokio::test(start_paused = true)]
async fn t8_a_refusal_from_below_is_passed_on_without_another_call_or_wait() {
    let verdict = plain().verdict().await;
    let skipped = verdict.skipped().iter().map(|(promise, _)| *promise);
    assert!(verdict.is_kept(), "{verdict}");
    assert_eq!(skipped.collect::<Vec<_>>(), [Promise::T5, Promise::T8]);

    let (inner, mut upstream) = probe::pair::<u64, u64, BoxError>();
    let service = CacheLayer::new(Plain, |n: &u64| Keyed::of(n)).layer(inner);
    let mut call = spawn(service.clone().oneshot(1));
    assert!(call.poll().is_pending());
    let polls = upstream.ready_polls();
    upstream.set_ready(false);
    assert!(
        upstream
            .next_call()
            .await
            .fail(Refused::new(Reason::Limited).into())
    );
    let error = call.await.unwrap_err();
    assert!(error.is::<Refused>(), "it is unchanged");
    assert_eq!((upstream.calls(), upstream.ready_polls()), (1, polls));
}

#[tokio::test(start_paused = true)]
async fn t8_its_own_refusal_neither_asks_nor_waits_for_the_inner_service() {
    let only = |_: &crate::Ask| buttress_cache::Directives::parse(["only-if-cached"]);
    let (service, upstream) = over(layer().heed(only));
    let error = service
        .oneshot(crate::ask("hi"))
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::NotCached);
    assert_eq!((upstream.calls(), upstream.ready_polls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_below_poisons_nothing() {
    plain().t9().await;
    bypass().t9().await;
    http().t9().await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_of_a_callback_ends_that_call_alone() {
    for place in ["key", "lifetime", "weigh", "served", "stored"] {
        let fuse = Arc::new(AtomicU64::new(0));
        let blow = move |here: &str| {
            let first = here == place && fuse.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(!first, "on purpose");
        };
        let (by_key, lifetime, weigh, event) = (blow.clone(), blow.clone(), blow.clone(), blow);
        let layer = CacheLayer::new(crate::Own, move |ask: &crate::Ask| {
            by_key("key");
            crate::key(ask)
        })
        .lifetime(move |_: &crate::Said, _: &buttress_core::Outcome| {
            lifetime("lifetime");
            buttress_cache::Freshness::default()
        })
        .weigh(move |_: &crate::Kept| {
            weigh("weigh");
            1
        })
        .on_event(move |told| match told {
            CacheEvent::Served { .. } => event("served"),
            CacheEvent::Stored { .. } => event("stored"),
            _ => {}
        });
        let cache = layer.handle();
        let service = layer.layer(tower::service_fn(|_| async {
            Ok::<_, BoxError>(said("yes"))
        }));
        let first = async { service.clone().oneshot(crate::ask("hi")).await };
        let first = std::panic::AssertUnwindSafe(first).catch_unwind().await;
        assert!(first.is_err(), "{place}");
        assert!(crate::is_empty(&cache), "{place}");
        let again = service.clone().oneshot(crate::ask("hi")).await.unwrap();
        assert_eq!(again.text, "yes", "{place}");
        assert!(
            service.oneshot(crate::ask("hi")).now_or_never().is_some(),
            "{place}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_calls_give_the_same_transcript() {
    plain().t10().await;
    http().t10().await;
}

#[tokio::test(start_paused = true)]
async fn t11_every_call_is_told_once() {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let layer = move || {
        let count = Arc::clone(&counter);
        CacheLayer::new(Plain, |n: &u64| Keyed::of(n)).on_event(move |event| {
            if let CacheEvent::Served { .. }
            | CacheEvent::Failed { .. }
            | CacheEvent::Dropped { .. } = event
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let traffic = Traffic::plain(|n: u64| n).replies(|reply: Reply| reply.number());
    let read = move || count.load(Ordering::Relaxed);
    Probe::with(layer, traffic).counts(read).t11().await;
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let mut service = layer().layer(pair().0);
    is_sync(&service);
    is_send(&service.call(crate::ask("hi")));
}

#[tokio::test(start_paused = true)]
async fn t7_a_call_by_reference_is_awaited_in_a_task_that_is_spawned() {
    type Ask = http::Request<Bytes>;
    let service = tower::ServiceBuilder::new()
        .layer(CacheLayer::new(Http, |ask: &Ask| {
            Keyed::of(ask.uri().path())
        }))
        .layer(TrackLayer::default())
        .service_fn(|ask: Ask| async {
            Ok::<_, BoxError>(http::Response::new(http_body_util::Full::new(
                ask.into_body(),
            )))
        });
    let task = tokio::spawn(async move {
        let (service, ask) = (&service, &Ask::default());
        let reply = service.clone().oneshot(ask.clone()).await;
        reply.map(|reply| reply.status())
    });
    assert_eq!(task.await.unwrap().unwrap(), 200);
}
