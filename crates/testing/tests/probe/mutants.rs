//! The mistakes, each caught under the promise that it breaks. The first fifteen are those that
//! every layer here must have a test against.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_testing::probe::{Inner, Probe, Promise, Reply, Verdict};
use tower_layer::layer_fn;
use tower_service::Service;

use crate::{
    BoxError,
    limit::{self, LimitLayer},
    refuse::{self, RefuseLayer},
    retry::{self, RetryLayer},
    toys,
};

/// Asserts that `promise` was seen to be broken, by something that says `seen`.
#[track_caller]
fn caught(verdict: &Verdict, promise: Promise, seen: &str) {
    println!("{verdict}");
    let hit = verdict
        .violations()
        .iter()
        .find(|violation| violation.promise() == promise && violation.seen().contains(seen));
    assert!(
        hit.is_some(),
        "{promise} and {seen:?} expected, and found:\n{verdict}"
    );
}

async fn limit(flaw: limit::Flaw) -> Verdict {
    Probe::http(move || LimitLayer::flawed(2, flaw), http::Request::new)
        .verdict()
        .await
}

async fn refuse(flaw: refuse::Flaw) -> Verdict {
    Probe::http(move || RefuseLayer::flawed(2, flaw), http::Request::new)
        .verdict()
        .await
}

async fn retry(flaw: retry::Flaw) -> Verdict {
    Probe::http(move || RetryLayer::flawed(flaw), http::Request::new)
        .verdict()
        .await
}

// ===== the fifteen =====

#[tokio::test(start_paused = true)]
async fn mistake_1_a_clone_goes_into_the_future_and_the_readied_instance_stays() {
    let verdict = retry(retry::Flaw::ClonesIntoFuture).await;
    caught(
        &verdict,
        Promise::T1,
        "a clone of inner 2, which was readied and keeps",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_2_a_retry_on_spent_readiness() {
    let verdict = retry(retry::Flaw::SpentReadiness).await;
    caught(
        &verdict,
        Promise::T1,
        "called again on readiness that its previous call had spent",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_3_a_place_taken_in_poll_ready_is_lost_with_a_dropped_clone() {
    let verdict = refuse(refuse::Flaw::CountsPlaces).await;
    caught(
        &verdict,
        Promise::T3,
        "0 after instances had been readied and dropped",
    );
    let verdict = limit(limit::Flaw::LeaksReserved).await;
    caught(
        &verdict,
        Promise::T3,
        "0 after instances had been readied and dropped",
    );
    caught(
        &verdict,
        Promise::T3,
        "one of them was dropped, and it still waits",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_4_a_clone_copies_the_permit() {
    let verdict = limit(limit::Flaw::CopiedPermit).await;
    caught(
        &verdict,
        Promise::T3,
        "the clone has a copy of what was reserved",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_5_a_second_poll_acquires_twice_or_is_pending_after_ready() {
    let verdict = limit(limit::Flaw::AcquiresTwice).await;
    caught(
        &verdict,
        Promise::T3,
        "was asked again, which took a second place",
    );
    let verdict = limit(limit::Flaw::ForgetsReady).await;
    caught(
        &verdict,
        Promise::T1,
        "was asked again, and was not ready any more",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_6_it_waits_while_it_holds_the_inner_reservation() {
    let verdict = limit(limit::Flaw::InnerFirst).await;
    caught(
        &verdict,
        Promise::T3,
        "a call waits for the layer with the inner service reserved",
    );
    let verdict = retry(retry::Flaw::ReadiesBeforePause).await;
    caught(
        &verdict,
        Promise::T3,
        "waits for its next attempt with the inner service reserved",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_7_a_transient_refusal_is_an_error_of_poll_ready() {
    let verdict = refuse(refuse::Flaw::ReadyErr).await;
    caught(&verdict, Promise::T8, "Ready(Err(\"too many\"))");
}

#[tokio::test(start_paused = true)]
async fn mistake_8_the_permit_goes_at_the_head_of_the_reply() {
    let verdict = limit(limit::Flaw::AtTheHead).await;
    caught(&verdict, Promise::T5, "a slot came free at the head");
}

#[tokio::test(start_paused = true)]
async fn mistake_9_the_failed_reply_and_its_permit_are_held_through_the_backoff() {
    let verdict = retry(retry::Flaw::KeepsTheReply).await;
    caught(&verdict, Promise::T5, "still holds the reply of the last");
}

#[tokio::test(start_paused = true)]
async fn mistake_10_half_a_body_wrapper() {
    let verdict = limit(limit::Flaw::HalfABody).await;
    caught(&verdict, Promise::T5, "lost its length");
    caught(&verdict, Promise::T5, "the outer one's did not");
    let verdict = limit(limit::Flaw::LateEnd).await;
    caught(
        &verdict,
        Promise::T5,
        "is_end_stream was not asked after the frame",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_11_a_dropped_call_is_not_counted_or_counted_with_another() {
    for (flaw, seen) in [
        (
            toys::Miscount::Never,
            "dropped in flight was counted 0 times",
        ),
        (
            toys::Miscount::Twice,
            "dropped in flight was counted 2 times",
        ),
    ] {
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let probe = Probe::new(move || toys::CountLayer::flawed(&counter, flaw), |n| n);
        let verdict = probe.examine_t11(|| count.load(Ordering::Relaxed)).await;
        caught(&verdict, Promise::T11, seen);
    }
}

#[tokio::test(start_paused = true)]
async fn mistake_12_an_error_is_wrapped() {
    let verdict = retry(retry::Flaw::Wraps).await;
    caught(
        &verdict,
        Promise::T2,
        "what came back was the error \"not ready: failure 1",
    );
}

// Mistake 13 does not compile: see the documentation of `probe::lean`.

#[tokio::test(start_paused = true)]
async fn mistake_14_a_lock_guard_lives_on_in_a_match() {
    let verdict = Probe::new(toys::LockLayer::new, |n| n).verdict().await;
    caught(
        &verdict,
        Promise::T7,
        "holds a lock while the inner call runs",
    );
    caught(
        &verdict,
        Promise::T9,
        "panicked in call, and the next request failed",
    );
}

#[tokio::test(start_paused = true)]
async fn mistake_15_a_new_sleep_at_every_poll() {
    let verdict = retry(retry::Flaw::NewSleep).await;
    caught(&verdict, Promise::T6, "each poll starts its timer anew");
}

// ===== and others =====

#[tokio::test(start_paused = true)]
async fn a_waker_that_is_not_kept() {
    let verdict = limit(limit::Flaw::NoWaker).await;
    caught(
        &verdict,
        Promise::T6,
        "its waker was not woken when a slot came free",
    );
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_is_kept_from_the_first_poll() {
    let verdict = limit(limit::Flaw::FirstWaker).await;
    caught(
        &verdict,
        Promise::T6,
        "only the waker of an earlier poll was woken",
    );
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_wakes_itself_instead_of_waiting() {
    let verdict = limit(limit::Flaw::Spins).await;
    caught(&verdict, Promise::T6, "it wakes itself");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_with_a_dropped_future() {
    let verdict = limit(limit::Flaw::LeaksOnDrop).await;
    caught(&verdict, Promise::T4, "its slot was not given to the next");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_a_task_of_its_own() {
    let verdict = Probe::new(|| toys::SpawnLayer, |n| n).verdict().await;
    caught(&verdict, Promise::T4, "the inner future lives on");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_lost_with_who_had_it() {
    let verdict = Probe::new(|| toys::BatonLayer::new(1), |n| n)
        .verdict()
        .await;
    caught(
        &verdict,
        Promise::T4,
        "its slot was lost: the next in line still waits",
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_that_is_retried() {
    let verdict = retry(retry::Flaw::RetriesReadiness).await;
    caught(
        &verdict,
        Promise::T2,
        "polled again after its poll_ready had failed",
    );
}

#[tokio::test(start_paused = true)]
async fn slots_that_each_service_of_the_layer_has_for_itself() {
    let verdict = limit(limit::Flaw::OwnPermits).await;
    caught(
        &verdict,
        Promise::T7,
        "2 calls at once are admitted by one instance, any number",
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_each_service_of_the_layer_has_for_itself() {
    let verdict = retry(retry::Flaw::OwnBudget).await;
    caught(
        &verdict,
        Promise::T7,
        "through another service of the same layer",
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_waits_for_the_inner_service() {
    let verdict = refuse(refuse::Flaw::AsksInner).await;
    caught(
        &verdict,
        Promise::T8,
        "its poll_ready waits for the inner service first",
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_calls_the_inner_service() {
    let verdict = refuse(refuse::Flaw::CallsInner).await;
    caught(
        &verdict,
        Promise::T8,
        "after the inner service was called for it",
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_loses_the_reservation() {
    let verdict = refuse(refuse::Flaw::DropsReserved).await;
    caught(&verdict, Promise::T8, "lost that when it refused a call");
}

#[tokio::test(start_paused = true)]
async fn a_decision_of_poll_ready_that_call_does_not_keep() {
    let verdict = refuse(refuse::Flaw::DecidesAgain).await;
    caught(&verdict, Promise::T1, "was called but never readied");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_with_a_panic() {
    let verdict = refuse(refuse::Flaw::GuardsLate).await;
    caught(
        &verdict,
        Promise::T9,
        "1 after the inner service panicked in call",
    );
}

#[tokio::test(start_paused = true)]
async fn chance_without_a_seed() {
    let verdict = Probe::new(|| RetryLayer::flawed(retry::Flaw::Unseeded), |n| n)
        .examine(Promise::T10)
        .await;
    caught(&verdict, Promise::T10, "first\n");
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_polled_after_its_end() {
    let verdict = Probe::new(|| toys::AgainLayer, |n| n).verdict().await;
    caught(&verdict, Promise::T1, "polled again after its end");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_limits_nothing() {
    let probe = Probe::new(tower_layer::Identity::new, |n| n).slots(2);
    caught(
        &probe.verdict().await,
        Promise::T5,
        "the next was still admitted",
    );
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_never_given_back() {
    let probe = Probe::new(|| toys::AllowanceLayer::new(2), |n| n);
    // It may be meant so; and it is not if it says that it has slots.
    assert!(probe.verdict().await.is_kept());
    let verdict = probe.slots(2).verdict().await;
    caught(&verdict, Promise::T5, "its slot was not given to the next");
}
