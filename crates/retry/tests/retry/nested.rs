//! Retries around retries.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use buttress_core::{Plain, ProtocolExt};
use buttress_retry::{Budget, Stop};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{Ask, DOWN, Failed, OK, Upstream, ask, log, protocol, retry, stop};

#[tokio::test(start_paused = true)]
async fn r13_three_in_three_attempts_are_three_and_the_inner_one_says_that_it_stood_down() {
    let upstream = Upstream::new([DOWN]);
    let budget = Budget::default().reserve(9);
    let (told, observer) = log();
    let inner = retry(protocol()).budget(budget.clone()).on_event(observer);
    let stack = ServiceBuilder::new()
        .layer(retry(protocol()).budget(budget.clone()))
        .layer(inner)
        .service(upstream.clone());
    assert!(stack.oneshot(ask()).await.is_err());
    assert_eq!((upstream.calls(), stop(&told)), (3, Stop::Nested));
    assert_eq!(budget.balance(), 7, "one of the two keeps the budget");
}

#[tokio::test(start_paused = true)]
async fn r13_it_is_detected_without_a_mark_on_the_request_and_between_clones_too() {
    let errors = Plain.classify_with(|_: Result<&u32, &Failed>| None);
    for depth in [2, 3] {
        let upstream = Upstream::new([DOWN]);
        let mut stack = tower::util::BoxCloneService::new(upstream.clone());
        for _ in 0..depth {
            stack = tower::util::BoxCloneService::new(retry(errors).layer(stack));
        }
        assert!(stack.clone().oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), 3);
        // Afterwards nothing is left of it.
        assert!(stack.oneshot(ask()).await.is_err());
        assert_eq!(upstream.calls(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn r13_a_marked_request_is_known_also_where_it_is_called_later() {
    let upstream = Upstream::new([DOWN]);
    let inner = retry(protocol()).layer(upstream.clone());
    let later = service_fn(move |ask: Ask| {
        let inner = inner.clone();
        async move {
            tokio::task::yield_now().await;
            inner.oneshot(ask).await
        }
    });
    assert!(retry(protocol()).layer(later).oneshot(ask()).await.is_err());
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn r13_another_stack_called_inside_with_a_request_of_its_own_still_retries() {
    // In the future of a call, whether requests are marked or not; and in the call itself, where
    // they are, or have a type of their own.
    let upstream = Upstream::new([DOWN, DOWN, OK]);
    let inner = retry(protocol()).layer(upstream.clone());
    let outer = retry(protocol()).layer(service_fn(move |_: Ask| inner.clone().oneshot(ask())));
    assert!(outer.oneshot(ask()).await.is_ok());
    assert_eq!(upstream.calls(), 3);

    let upstream = Upstream::new([DOWN, DOWN, OK]);
    let inner = retry(Plain).layer(upstream.clone());
    let outer = retry(Plain).layer(service_fn(move |_: Ask| inner.clone().oneshot(ask())));
    assert!(outer.oneshot(ask()).await.is_ok());
    assert_eq!(upstream.calls(), 3);

    let upstream = Upstream::new([DOWN, DOWN, OK]);
    let inner = retry(protocol()).layer(upstream.clone());
    let outer = retry(protocol()).layer(service_fn(move |_: Ask| inner.clone().call(ask())));
    assert!(outer.oneshot(ask()).await.is_ok());
    assert_eq!(upstream.calls(), 3);

    let upstream = Upstream::new([DOWN, DOWN, OK]);
    let inner = retry(Plain).layer(upstream.clone());
    let outer = retry(Plain).layer(service_fn(move |(): ()| inner.clone().call(ask())));
    assert!(outer.oneshot(()).await.is_ok());
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn r13_one_that_sends_only_once_leaves_the_retrying_to_another_inside() {
    let upstream = Upstream::new([DOWN, OK]);
    let inner = retry(protocol()).layer(upstream.clone());
    let outer = retry(protocol().once()).layer(inner.clone());
    assert!(outer.oneshot(ask()).await.is_ok());
    let one = retry(protocol())
        .max_attempts(crate::attempts(1))
        .layer(inner);
    assert!(one.oneshot(ask()).await.is_ok());
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn r13_every_attempt_passes_the_layers_below_anew() {
    let passed = Arc::new(AtomicUsize::new(0));
    let count = passed.clone();
    let upstream = Upstream::new([DOWN, DOWN, OK]);
    let service = ServiceBuilder::new()
        .layer(retry(protocol()))
        .map_request(move |ask: Ask| {
            count.fetch_add(1, Ordering::Relaxed);
            ask
        })
        .service(upstream);
    assert_eq!(service.oneshot(ask()).await, Ok(3));
    assert_eq!(passed.load(Ordering::Relaxed), 3);
}
