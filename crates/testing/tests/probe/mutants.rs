//! The mistakes, each caught under the promise that it breaks. The first fifteen are those that
//! every layer here must have a test against.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_testing::probe::{Probe, Promise};

use crate::{
    limit::{self, LimitLayer},
    refuse::{self, QueueLayer, RefuseLayer},
    retry::{self, RetryLayer},
    timed::BreakerLayer,
    toys,
};

/// Asserts that the check of `promise` finds it broken, by something that says `seen`.
async fn caught(probe: &Probe, promise: Promise, seen: &str) {
    caught_by(probe, promise, promise, seen).await;
}

async fn caught_by(probe: &Probe, check: Promise, promise: Promise, seen: &str) {
    let verdict = probe.examine(check).await;
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

fn limit(flaw: limit::Flaw) -> Probe {
    Probe::http(move || LimitLayer::flawed(2, flaw), http::Request::new)
}

fn refuse(flaw: refuse::Flaw) -> Probe {
    Probe::http(move || RefuseLayer::flawed(2, flaw), http::Request::new)
}

fn retry(flaw: retry::Flaw) -> Probe {
    Probe::http(move || RetryLayer::flawed(flaw), http::Request::new)
}

// ===== the fifteen =====

#[tokio::test(start_paused = true)]
async fn mistake_1_a_clone_goes_into_the_future_and_the_readied_instance_stays() {
    let probe = retry(retry::Flaw::ClonesIntoFuture);
    caught(
        &probe,
        Promise::T1,
        "a clone of inner 2, which was readied and keeps",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_2_a_retry_on_spent_readiness() {
    let probe = retry(retry::Flaw::SpentReadiness);
    caught(
        &probe,
        Promise::T1,
        "called again on readiness that its previous call had spent",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_3_a_place_taken_in_poll_ready_is_lost_with_a_dropped_clone() {
    let probe = refuse(refuse::Flaw::CountsPlaces);
    caught(
        &probe,
        Promise::T3,
        "0 calls at once after instances had been readied and dropped",
    )
    .await;
    let probe = limit(limit::Flaw::LeaksReserved);
    caught(&probe, Promise::T3, "they were dropped, and now only 0 are").await;
    caught(
        &probe,
        Promise::T3,
        "0 calls at once after instances had been readied and dropped",
    )
    .await;
    caught(
        &probe,
        Promise::T3,
        "one of them was dropped, and it still waits",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn readied_instances_that_are_kept_for_others() {
    let probe = Probe::new(|| toys::ParkLayer::new(false), |n| n);
    caught(
        &probe,
        Promise::T3,
        "and the inner service is still reserved",
    )
    .await;
    let probe = Probe::new(|| toys::ParkLayer::new(true), |n| n);
    caught(
        &probe,
        Promise::T4,
        "and the inner service is still reserved",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_4_a_clone_copies_the_permit() {
    let probe = limit(limit::Flaw::CopiedPermit);
    caught(
        &probe,
        Promise::T3,
        "the clone has a copy of what was reserved",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_5_a_second_poll_acquires_twice_or_is_pending_after_ready() {
    let probe = limit(limit::Flaw::AcquiresTwice);
    caught(&probe, Promise::T3, "asking again takes another place").await;
    let probe = limit(limit::Flaw::ForgetsReady);
    caught(
        &probe,
        Promise::T1,
        "was asked again, and was not ready any more",
    )
    .await;
    caught_by(
        &probe,
        Promise::T3,
        Promise::T1,
        "was asked again, and was not",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_6_it_waits_while_it_holds_the_inner_reservation() {
    let probe = limit(limit::Flaw::InnerFirst);
    caught(
        &probe,
        Promise::T3,
        "waits, and has the inner service reserved meanwhile",
    )
    .await;
    caught(
        &probe,
        Promise::T3,
        "a call waits for the layer with the inner service reserved",
    )
    .await;
    let probe = retry(retry::Flaw::ReadiesBeforePause);
    caught(
        &probe,
        Promise::T3,
        "waits for its next attempt with the inner service reserved",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_7_a_transient_refusal_is_an_error_of_poll_ready() {
    let probe = refuse(refuse::Flaw::ReadyErr);
    caught(&probe, Promise::T8, "Ready(Err(\"too many\"))").await;
}

#[tokio::test(start_paused = true)]
async fn mistake_8_the_permit_goes_at_the_head_of_the_reply() {
    let probe = limit(limit::Flaw::AtTheHead);
    caught(&probe, Promise::T5, "a slot came free at the head").await;
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_goes_at_the_first_chunk_or_stays_beyond_the_end() {
    for (flaw, seen) in [
        (limit::Flaw::AtFirstChunk, "a body was still open"),
        (
            limit::Flaw::KeepsAtEnd,
            "a body was read to its end, and its slot was not",
        ),
        (
            limit::Flaw::KeepsOnError,
            "a body broke, and its slot was not",
        ),
    ] {
        caught(&limit(flaw), Promise::T5, seen).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mistake_9_the_failed_reply_and_its_permit_are_held_through_the_backoff() {
    let probe = retry(retry::Flaw::KeepsTheReply);
    caught(&probe, Promise::T5, "still holds the reply of the last").await;
}

#[tokio::test(start_paused = true)]
async fn mistake_10_half_a_body_wrapper() {
    let probe = limit(limit::Flaw::HalfABody);
    caught(&probe, Promise::T5, "lost its length").await;
    caught(&probe, Promise::T5, "the outer one's did not").await;
    let probe = limit(limit::Flaw::LateEnd);
    caught(
        &probe,
        Promise::T5,
        "is_end_stream was not asked after the frame",
    )
    .await;
    let probe = limit(limit::Flaw::LosesTrailers);
    caught(&probe, Promise::T5, "the trailers of a body were lost").await;
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
        let probe = Probe::new(move || toys::CountLayer::flawed(&counter, flaw), |n| n)
            .counts(move || count.load(Ordering::Relaxed));
        caught(&probe, Promise::T11, seen).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mistake_12_an_error_is_wrapped() {
    let probe = retry(retry::Flaw::Wraps);
    caught(
        &probe,
        Promise::T2,
        "what came back was the error \"not ready: failure 1",
    )
    .await;
}

// Mistake 13 does not compile: see the documentation of `probe::lean`.

#[tokio::test(start_paused = true)]
async fn mistake_14_a_lock_guard_lives_on_in_a_match() {
    let probe = Probe::new(toys::LockLayer::new, |n| n);
    caught(
        &probe,
        Promise::T7,
        "holds a lock while the inner call runs",
    )
    .await;
    caught(
        &probe,
        Promise::T9,
        "panicked in call, and the next request failed",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn mistake_15_a_new_sleep_at_every_poll() {
    let probe = retry(retry::Flaw::NewSleep);
    caught(&probe, Promise::T6, "each poll starts its timer anew").await;
}

// ===== and others =====

#[tokio::test(start_paused = true)]
async fn a_waker_that_is_not_kept() {
    let probe = limit(limit::Flaw::NoWaker);
    caught(
        &probe,
        Promise::T6,
        "its waker was not woken when a slot came free",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_does_not_reach_what_is_waited_for() {
    caught_by(
        &limit(limit::Flaw::NoWaker),
        Promise::T3,
        Promise::T6,
        "its waker was not woken when a ready instance was dropped",
    )
    .await;
    for (flaw, check, seen) in [
        (
            limit::Flaw::BlindInner,
            Promise::T6,
            "when the inner service became ready",
        ),
        (
            limit::Flaw::BlindFuture,
            Promise::T6,
            "when its call was answered",
        ),
        (limit::Flaw::BlindBody, Promise::T5, "when its body went on"),
    ] {
        caught_by(&limit(flaw), check, Promise::T6, seen).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_wakes_nobody() {
    let probe = Probe::http(|| QueueLayer::blind(2), http::Request::new);
    caught(
        &probe,
        Promise::T6,
        "its waker was not woken when a slot came free",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_given_back_twice() {
    let probe = refuse(refuse::Flaw::GivesTwice);
    caught(
        &probe,
        Promise::T5,
        "one slot came free, and two calls were admitted",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_goes_on() {
    let probe = limit(limit::Flaw::Stalls);
    caught_by(
        &probe,
        Promise::T5,
        Promise::T6,
        "the body was still pending after",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_every_other_time() {
    let probe = limit(limit::Flaw::LosesEveryOther);
    caught(
        &probe,
        Promise::T6,
        "who waited for its slot waits for ever",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_is_kept_from_the_first_poll() {
    let probe = limit(limit::Flaw::FirstWaker);
    caught(
        &probe,
        Promise::T6,
        "only the waker of an earlier poll was woken",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_wakes_itself_instead_of_waiting() {
    let probe = limit(limit::Flaw::Spins);
    caught(&probe, Promise::T6, "it wakes itself").await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_with_a_dropped_future() {
    let probe = limit(limit::Flaw::LeaksOnDrop);
    caught(&probe, Promise::T4, "its slot was not given to the next").await;
    caught(
        &probe,
        Promise::T4,
        "0 calls at once after futures had been dropped before their first poll",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_a_task_of_its_own() {
    let probe = Probe::new(|| toys::SpawnLayer { readies: false }, |n| n);
    caught(&probe, Promise::T4, "the inner future lives on").await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_made_after_its_caller_went_away() {
    let probe = Probe::new(|| toys::SpawnLayer { readies: true }, |n| n);
    caught(
        &probe,
        Promise::T4,
        "the inner service was called after that",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_panics_after_a_panic() {
    let probe = Probe::new(toys::LockLayer::new, |n| n);
    caught(
        &probe,
        Promise::T9,
        "dropping the service after that panics too",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_lost_with_who_had_it() {
    let probe = Probe::new(|| toys::BatonLayer::new(1), |n| n);
    caught(
        &probe,
        Promise::T6,
        "its slot was lost: the next in line still waits",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_that_is_retried() {
    let probe = retry(retry::Flaw::RetriesReadiness);
    caught(
        &probe,
        Promise::T2,
        "polled again after its poll_ready had failed",
    )
    .await;
    let probe = retry(retry::Flaw::ReplacesFailed);
    caught(
        &probe,
        Promise::T2,
        "called again after its readiness had failed",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn slots_that_each_service_of_the_layer_has_for_itself() {
    let probe = limit(limit::Flaw::OwnPermits);
    caught(
        &probe,
        Promise::T7,
        "one instance admits 2 calls at once, and services of one layer",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_each_service_of_the_layer_has_for_itself() {
    let probe = retry(retry::Flaw::OwnBudget);
    caught(
        &probe,
        Promise::T7,
        "through another service of the same layer",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_each_service_of_the_layer_has_for_itself() {
    let probe = Probe::new(|| BreakerLayer::new(true), |n| n);
    caught(
        &probe,
        Promise::T7,
        "came to Refused there, and to Called(1) through another",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_waits_for_the_inner_service() {
    let probe = refuse(refuse::Flaw::AsksInner);
    caught(
        &probe,
        Promise::T8,
        "its poll_ready waits for the inner service first",
    )
    .await;
    let probe = Probe::new(|| toys::AllowanceLayer::new(2, true), |n| n);
    caught(
        &probe,
        Promise::T8,
        "but the refusal waits for the inner service",
    )
    .await;
    let probe = refuse(refuse::Flaw::PeeksInner);
    caught(
        &probe,
        Promise::T8,
        "was asked whether it is ready, for a call that is refused",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_calls_the_inner_service() {
    let probe = refuse(refuse::Flaw::CallsInner);
    caught(
        &probe,
        Promise::T8,
        "after the inner service was called for it",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_decision_of_poll_ready_that_call_does_not_keep() {
    let probe = refuse(refuse::Flaw::DecidesAgain);
    caught_by(
        &probe,
        Promise::T8,
        Promise::T1,
        "was called but never readied",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_lost_with_a_panic() {
    let probe = refuse(refuse::Flaw::GuardsLate);
    caught(
        &probe,
        Promise::T9,
        "1 call at once after the inner service panicked in call",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn chance_without_a_seed() {
    let probe = retry(retry::Flaw::Unseeded);
    caught(&probe, Promise::T10, "first\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_polled_after_its_end() {
    let probe = Probe::new(|| toys::AgainLayer, |n| n);
    caught(&probe, Promise::T1, "polled again after its end").await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_limits_nothing() {
    let probe = Probe::new(tower_layer::Identity::new, |n: u64| n).slots(2);
    caught(&probe, Promise::T5, "and admits calls without end").await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_never_given_back() {
    let probe = Probe::new(|| toys::AllowanceLayer::new(2, false), |n| n);
    // It may be meant so; and it is not if it says that it has slots.
    assert!(probe.verdict().await.is_kept());
    let probe = probe.slots(2);
    caught(&probe, Promise::T5, "its slot was not given to the next").await;
}
