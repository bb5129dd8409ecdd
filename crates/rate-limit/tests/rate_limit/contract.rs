//! T1 to T11, by the probe.

use std::time::Duration;

use buttress_core::{Carry, Class, Classify, Outcome, Plain, ProtocolExt, Refuse, Track};
use buttress_http::{Http, TrackLayer};
use buttress_rate_limit::{Cost, Limiter, Quotas, Rate, RateLimitLayer, SlidingLog};
use buttress_testing::probe::{Probe, Reply};
use bytes::Bytes;

use crate::{SECOND, count, minute, requests, size};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn protocol() -> impl Classify<Reply, BoxError>
+ Track<Reply>
+ Refuse<Reply, BoxError>
+ Carry<u64>
+ Clone
+ Send
+ Sync
+ 'static {
    Plain.classify_with(|result: Result<&Reply, &BoxError>| {
        let fault = result.is_ok_and(Reply::is_fault);
        fault.then(|| Outcome::new(Class::Throttled))
    })
}

/// Refuses the fourth call.
fn refusing() -> Probe {
    Probe::new(|| RateLimitLayer::new(protocol(), requests(3)), |n: u64| n)
}

/// Lets the third wait.
fn waiting() -> Probe {
    let layer = || RateLimitLayer::new(protocol(), requests(2)).wait(Duration::from_secs(3600));
    Probe::new(layer, |n: u64| n)
}

/// With every setting there is.
fn full() -> Probe {
    let layer = || {
        let quotas = requests(2)
            .and_tokens(Rate::per_hour(count(100_000)))
            .and_output_tokens(minute(1_000));
        let limiter = Limiter::keyed(quotas)
            .counting::<SlidingLog>()
            .max_keys(size(3))
            .quotas_for(|key: &u64| (*key == 9).then(|| requests(1)))
            .longest_hold(SECOND)
            .longest_debt(SECOND);
        RateLimitLayer::new(protocol(), Quotas::none())
            .limiter(limiter, |_: &u64| 1)
            .cost(|n: &u64| Cost::tokens(1 + n % 5, 2))
            .limits(|_: &Reply| None)
            .wait(Duration::from_secs(3600))
            .queue(size(1_000))
            .charge_delivered()
            .on_event(|_| {})
    };
    Probe::new(layer, |n: u64| n)
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || {
        let limit = RateLimitLayer::new(Http, requests(40));
        (limit, TrackLayer::default())
    };
    Probe::http(layer, request)
}

#[tokio::test(start_paused = true)]
async fn t1_the_instance_that_was_readied_is_called() {
    refusing().t1().await;
    full().t1().await;
    waiting().t1().await;
    http().t1().await;
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_unchanged() {
    refusing().t2().await;
    full().t2().await;
    waiting().t2().await;
    http().t2().await;
}

#[tokio::test(start_paused = true)]
async fn t3_nothing_is_reserved_by_being_ready() {
    refusing().t3().await;
    full().t3().await;
    waiting().t3().await;
    http().t3().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind() {
    refusing().t4().await;
    full().t4().await;
    waiting().t4().await;
    http().t4().await;
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    refusing().t6().await;
    full().t6().await;
    waiting().t6().await;
    http().t6().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_and_services_of_one_layer_share_their_levels() {
    refusing().t7().await;
    full().t7().await;
    waiting().t7().await;
    http().t7().await;
}

#[tokio::test(start_paused = true)]
async fn t8_a_refusal_leaves_the_inner_service_alone() {
    refusing().t8().await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_below_poisons_nothing() {
    refusing().t9().await;
    full().t9().await;
    waiting().t9().await;
    http().t9().await;
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_calls_give_the_same_result() {
    refusing().t10().await;
    full().t10().await;
    waiting().t10().await;
    http().t10().await;
}
