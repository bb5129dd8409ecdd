//! The probe, proven: layers that keep the contract pass, and each mistake that layers make is
//! caught under the number of the promise that it breaks.

#[path = "probe/limit.rs"]
mod limit;
#[path = "probe/mutants.rs"]
mod mutants;
#[path = "probe/refuse.rs"]
mod refuse;
#[path = "probe/retry.rs"]
mod retry;

use buttress_testing::probe::{Probe, Promise, Verdict};
use tower_layer::Identity;

use self::{
    limit::LimitLayer,
    refuse::{QueueLayer, RefuseLayer},
    retry::RetryLayer,
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
async fn a_stack_keeps_the_contract_as_its_layers_do() {
    let layer = || (RetryLayer::new(), RefuseLayer::new(3), LimitLayer::new(2));
    let verdict = Probe::http(layer, http::Request::new)
        .slots(2)
        .verdict()
        .await;
    kept(&verdict);
}
