//! The Service contract, by the probe.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buttress_http::{Body, ByStatus, TrackLayer};
use buttress_llm::keys::Event;
use buttress_testing::probe::{Lean, Probe};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Answer, DENIED, PEEK, Provider, Reply, call, layer, outcome};

fn probe() -> Probe {
    let layer = || (layer(&["a", "b"]), TrackLayer::new(ByStatus));
    Probe::http(layer, Request::new)
}

macro_rules! contract {
    ($($name:ident: $check:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            probe().$check().await;
        }
    )*};
}

contract! {
    t1_the_instance_that_was_readied_is_called: t1;
    t2_the_inner_readiness_error_comes_back: t2;
    t3_nothing_stays_reserved: t3;
    t4_a_dropped_future_leaves_nothing_behind: t4;
    t6_nobody_sleeps_through_a_wake: t6;
    t7_clones_are_alike: t7;
    t9_a_panic_poisons_nothing: t9;
    t10_the_same_calls_give_the_same_result: t10;
    the_contract_is_kept: contract;
}

#[tokio::test(start_paused = true)]
async fn t11_each_call_is_told_once() {
    let count = Arc::new(AtomicU64::new(0));
    let told = count.clone();
    let layer = move || {
        let told = told.clone();
        let layer = layer(&["a"]).on_event(move |event| {
            let sent = matches!(event, Event::Sent { .. });
            told.fetch_add(sent.into(), Ordering::Relaxed);
        });
        (layer, TrackLayer::new(ByStatus))
    };
    let probe = Probe::http(layer, Request::new);
    probe
        .counts(move || count.load(Ordering::Relaxed))
        .t11()
        .await;
}

#[tokio::test(start_paused = true)]
async fn t5_a_trial_lasts_until_the_body_is_over_or_dropped() {
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a", "b"]), PEEK().peek_bytes(0));
    provider.answer("a", DENIED);
    outcome(&mut endpoint).await;
    advance(Duration::from_secs(60)).await;
    provider.keys();

    // It failed, and its body may still say that the key is denied.
    provider.answer(
        "a",
        Answer {
            status: 503,
            ..DENIED
        },
    );
    let trial = call(&mut endpoint).await;
    outcome(&mut endpoint).await;
    drop(trial);
    let trial = call(&mut endpoint).await;
    outcome(&mut endpoint).await;
    trial.into_body().collect().await.unwrap();
    outcome(&mut endpoint).await;
    assert_eq!(provider.keys(), ["a", "b", "a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_takes_no_key_with_it() {
    let provider = Provider::default();
    let panics = Arc::new(AtomicU64::new(0));
    let left = panics.clone();
    let layer = layer(&["a", "b"]).on_event(move |event| {
        if left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
            panic!("on purpose: {event:?}");
        }
    });
    let mut endpoint = provider.behind(layer, PEEK());
    provider.answer("a", DENIED);
    outcome(&mut endpoint).await;
    advance(Duration::from_secs(60)).await;
    provider.keys();
    // The call that would try the key panics before it is sent.
    panics.store(1, Ordering::Relaxed);
    let ready = endpoint.ready().await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(ready.call(Request::default())))).is_err());
    outcome(&mut endpoint).await;
    assert_eq!(provider.keys(), ["a"], "and the next one tries it");
}

/// Compiles if requests and responses need be nothing but what the inner service takes and gives.
fn asks_for_nothing<'a, S>(inner: S) -> impl Service<Request<Lean<'a>>>
where
    S: Service<Request<Lean<'a>>, Response = Reply, Error = Infallible>,
{
    layer(&["a"]).layer(inner)
}

#[test]
fn the_layer_asks_nothing_of_requests_and_its_parts_pass_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let client = service_fn(|_: Request<Lean<'_>>| async { Ok(Response::new(Body::ready(""))) });
    let _ = asks_for_nothing(client);
    let layer = layer(&["a"]);
    shared(&layer);
    shared(&layer.layer(client));
}
