//! What the probe says of tower's own layers.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use buttress_testing::probe::{Probe, Promise, Reply, Verdict};
use tokio::sync::Semaphore;
use tower::{
    buffer::BufferLayer,
    filter::FilterLayer,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    load_shed::LoadShedLayer,
    retry::{Policy, RetryLayer},
    timeout::TimeoutLayer,
};

use crate::{BoxError, kept, skipped};

#[derive(Clone)]
struct Attempts(u32);

impl Policy<u64, Reply, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<Reply, BoxError>) -> Option<Self::Future> {
        let failed = result.as_ref().map_or(true, Reply::is_fault);
        self.0 = self.0.checked_sub(1)?;
        failed.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn broken(verdict: &Verdict) -> Vec<Promise> {
    println!("{verdict}");
    let mut broken: Vec<_> = verdict.violations().iter().map(|v| v.promise()).collect();
    broken.dedup();
    broken
}

#[tokio::test(start_paused = true)]
async fn timeout_keeps_the_contract() {
    let verdict = Probe::new(|| TimeoutLayer::new(Duration::from_secs(3)), |n| n)
        .verdict()
        .await;
    kept(&verdict);
    assert_eq!(skipped(&verdict), [Promise::T5, Promise::T8]);
}

#[tokio::test(start_paused = true)]
async fn retry_keeps_the_contract() {
    let verdict = Probe::new(|| RetryLayer::new(Attempts(3)), |n| n)
        .verdict()
        .await;
    kept(&verdict);
}

#[tokio::test(start_paused = true)]
async fn load_shed_keeps_the_contract() {
    let verdict = Probe::new(LoadShedLayer::new, |n| n).verdict().await;
    kept(&verdict);
}

#[tokio::test(start_paused = true)]
async fn a_global_concurrency_limit_keeps_the_contract() {
    let layer = || GlobalConcurrencyLimitLayer::with_semaphore(Arc::new(Semaphore::new(2)));
    let probe = Probe::new(layer, |n| n).slots(2);
    kept(&probe.verdict().await);
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_counts_anew_for_each_service_of_the_layer() {
    let probe = Probe::new(|| ConcurrencyLimitLayer::new(2), |n| n).slots(2);
    assert_eq!(broken(&probe.verdict().await), [Promise::T7]);
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_lets_go_at_the_head_of_the_reply() {
    let layer = || GlobalConcurrencyLimitLayer::with_semaphore(Arc::new(Semaphore::new(2)));
    let probe = Probe::http(layer, http::Request::new).slots(2);
    assert_eq!(broken(&probe.verdict().await), [Promise::T5]);
}

/// It says so itself: its worker dies with the service, and tells everybody a copy of why.
#[tokio::test(start_paused = true)]
async fn a_buffer_wraps_errors_of_readiness_and_dies_of_a_panic() {
    let probe = Probe::new(|| BufferLayer::new(4), |n| n);
    assert_eq!(broken(&probe.verdict().await), [Promise::T2, Promise::T9]);
}

/// It looks at a request that it has once the inner service is ready, and that has to be said.
#[tokio::test(start_paused = true)]
async fn a_filter_waits_for_the_inner_service_before_it_refuses() {
    let layer = || {
        FilterLayer::new(|n: u64| {
            if n < 4 {
                Ok(n)
            } else {
                Err(BoxError::from("no"))
            }
        })
    };
    let probe = Probe::new(layer, |n| n);
    assert_eq!(broken(&probe.verdict().await), [Promise::T8]);
    let probe = probe.decides_in_call();
    kept(&probe.verdict().await);
    probe.t8().await;
}
