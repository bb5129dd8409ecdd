//! Many callers on real threads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_cache::{CacheLayer, Freshness, Keyed};
use buttress_core::Plain;
use tokio::task::{JoinSet, yield_now};
use tower::{Layer, ServiceExt, service_fn};

use crate::BoxError;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_c3_callers_that_come_and_go_on_several_threads_share_one_call_and_leave_no_flight() {
    let layer = CacheLayer::new(Plain, |n: &u64| Keyed::of(&(n % 7))).lifetime(Freshness::NONE);
    let (cache, under_way) = (layer.handle(), Arc::new([const { AtomicU64::new(0) }; 7]));
    let counts = Arc::clone(&under_way);
    let service = layer.layer(service_fn(move |n: u64| {
        let counts = Arc::clone(&counts);
        async move {
            struct Leaves(Arc<[AtomicU64; 7]>, usize);
            impl Drop for Leaves {
                fn drop(&mut self) {
                    self.0[self.1].fetch_sub(1, Ordering::SeqCst);
                }
            }
            let key = (n % 7) as usize;
            let before = counts[key].fetch_add(1, Ordering::SeqCst);
            let _leaves = Leaves(counts, key);
            assert_eq!(before, 0, "one call for each key at a time");
            for _ in 0..n % 5 {
                yield_now().await;
            }
            Ok::<_, BoxError>(n % 7)
        }
    }));
    let mut callers = JoinSet::new();
    for n in 0..8_000_u64 {
        let service = service.clone();
        callers.spawn(async move {
            let call = service.oneshot(n);
            if n % 3 == 0 {
                // This one goes away at some point.
                tokio::select! {
                    biased;
                    reply = call => assert_eq!(reply.unwrap(), n % 7),
                    () = async { for _ in 0..n % 4 { yield_now().await } } => {}
                }
            } else {
                assert_eq!(call.await.unwrap(), n % 7);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(cache.flights(), 0);
    assert_eq!(cache.statistics().calls(), 8_000);
    assert!(
        under_way
            .iter()
            .all(|count| count.load(Ordering::SeqCst) == 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c1_what_was_kept_is_never_called_for_again_however_the_threads_run() {
    for round in 0..300 {
        let layer = CacheLayer::new(Plain, |n: &u64| Keyed::of(n));
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let service = layer.layer(service_fn(move |n: u64| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, BoxError>(n) }
        }));
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let service = service.clone();
            callers.spawn(async move { service.oneshot(round).await.unwrap() });
        }
        while let Some(reply) = callers.join_next().await {
            assert_eq!(reply.unwrap(), round);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1, "in round {round}");
    }
}
