//! The probe, proven: layers that keep the contract pass, and each mistake that layers make is
//! caught under the number of the promise that it breaks.

#[path = "probe/by_hand.rs"]
mod by_hand;
#[path = "probe/limit.rs"]
mod limit;
#[path = "probe/mutants.rs"]
mod mutants;
#[path = "probe/refuse.rs"]
mod refuse;
#[path = "probe/retry.rs"]
mod retry;
#[path = "probe/timed.rs"]
mod timed;
#[path = "probe/tower.rs"]
mod tower_layers;
#[path = "probe/toys.rs"]
mod toys;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_testing::probe::{Probe, Promise, Verdict};
use tower_layer::Identity;

use self::{
    limit::LimitLayer,
    refuse::{QueueLayer, RefuseLayer},
    retry::RetryLayer,
    timed::{BreakerLayer, QuotaLayer},
    toys::CountLayer,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn kept(verdict: &Verdict) {
    assert!(verdict.is_kept(), "{verdict}");
}

fn skipped(verdict: &Verdict) -> Vec<Promise> {
    verdict
        .skipped()
        .iter()
        .map(|(promise, _)| *promise)
        .collect()
}

// ===== layers that keep the contract =====

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing_keeps_the_contract() {
    let verdict = Probe::http(Identity::new, http::Request::new)
        .verdict()
        .await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T8]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_holds_its_permit_to_the_end_of_the_body_keeps_the_contract() {
    for slots in [1, 3] {
        let probe = Probe::http(move || LimitLayer::new(slots), http::Request::new).slots(slots);
        let verdict = probe.verdict().await;
        kept(&verdict);
        assert_eq!(skipped(&verdict), [Promise::T8]);
        probe.t10().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_queues_in_its_future_keeps_the_contract() {
    let probe = Probe::http(|| QueueLayer::new(2), http::Request::new).slots(2);
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T8]);
    probe.t10().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_refuses_keeps_the_contract_with_nothing_left_untested() {
    let probe = Probe::http(|| RefuseLayer::new(2), http::Request::new).slots(2);
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), []);
    probe.t8().await;
    probe.t10().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_refuses_everything_keeps_its_promises() {
    let probe = Probe::new(|| RefuseLayer::new(0), |n| n).slots(0);
    probe.t8().await;
    probe.t1().await;
    probe.t3().await;
    probe.t4().await;
    probe.t6().await;
    probe.t7().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_contract() {
    let probe = Probe::new(RetryLayer::new, |n| n);
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T5, Promise::T8]);
    probe.t10().await;
    let probe = Probe::http(RetryLayer::new, http::Request::new);
    probe.contract().await;
}

#[tokio::test(start_paused = true)]
async fn a_counter_of_calls_keeps_the_contract_and_its_count() {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let probe = Probe::new(move || CountLayer::new(&counter), |n| n)
        .counts(move || count.load(Ordering::Relaxed));
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T5, Promise::T8]);
    probe.t11().await;
}

#[tokio::test(start_paused = true)]
async fn quotas_keep_the_contract_though_no_call_that_ends_makes_place_for_another() {
    let probe = Probe::new(|| QuotaLayer::new(3, true), |n| n);
    kept(&probe.verdict().await);
    probe.t10().await;
    let probe = Probe::new(|| QuotaLayer::new(3, false), |n| n);
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T5]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_keeps_the_contract_closed_and_open() {
    kept(
        &Probe::new(|| BreakerLayer::new(false), |n| n)
            .verdict()
            .await,
    );
    let probe = Probe::new(BreakerLayer::open, |n| n);
    let verdict = probe.verdict().await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T2, Promise::T5]);
    probe.t8().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_under_a_timeout_keeps_the_contract() {
    let timeout = || tower::timeout::TimeoutLayer::new(std::time::Duration::from_secs(9));
    let probe = Probe::new(move || (timeout(), RefuseLayer::new(2)), |n| n).slots(2);
    kept(&probe.verdict().await);
    let probe = Probe::new(move || (timeout(), QueueLayer::new(2)), |n| n).slots(2);
    kept(&probe.verdict().await);
}

#[tokio::test(start_paused = true)]
async fn a_stack_keeps_the_contract_as_its_layers_do() {
    let layer = || (RetryLayer::new(), RefuseLayer::new(3), LimitLayer::new(2));
    let verdict = Probe::http(layer, http::Request::new)
        .slots(2)
        .verdict()
        .await;
    kept(&verdict);
}
