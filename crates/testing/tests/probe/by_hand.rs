//! The inner service driven by hand, traffic of one's own, and what the probe wants of its runtime.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_testing::probe::{self, Failure, Probe, Promise, Reply, Traffic};
use tower_layer::Identity;
use tower_service::Service;

use crate::{BoxError, kept};

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<S: Service<Req>, Req>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn panic_of(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn it_answers_what_the_test_says_and_needs_no_runtime() {
    let (mut inner, mut handle) = probe::pair::<u8, &str, &str>();
    assert_eq!(ready(&mut inner), Poll::Ready(Ok(())));
    let mut reply = pin!(inner.call(7));
    assert!(now(reply.as_mut()).is_pending());
    let call = handle.try_next_call().unwrap();
    assert_eq!(
        (call.number(), *call.request(), handle.in_flight()),
        (1, 7, 1)
    );
    assert!(call.reply("yes"));
    assert_eq!(now(reply), Poll::Ready(Ok("yes")));

    assert_eq!(ready(&mut inner), Poll::Ready(Ok(())));
    let failed = inner.call(8);
    assert!(handle.try_next_call().unwrap().fail("no"));
    assert_eq!(now(failed), Poll::Ready(Err("no")));
    assert_eq!((handle.in_flight(), handle.calls()), (0, 2));
}

#[test]
fn requests_replies_and_errors_may_borrow() {
    let text = String::from("from the stack");
    let (mut inner, mut handle) = probe::pair::<&str, &str, &str>();
    assert_eq!(ready(&mut inner), Poll::Ready(Ok(())));
    let reply = inner.call(&text);
    assert!(handle.try_next_call().unwrap().reply(&text[5..]));
    assert_eq!(now(reply), Poll::Ready(Ok("the stack")));
}

#[test]
fn a_call_without_readiness_fails_the_test_even_if_nobody_looks() {
    let (mut inner, handle) = probe::pair::<(), (), ()>();
    drop(inner.call(()));
    let text = panic_of(|| drop(handle));
    assert!(
        text.contains("T1 is broken: inner 1 was called but never readied"),
        "{text}"
    );
}

#[test]
fn a_clone_starts_unready_and_readiness_is_spent_by_a_call() {
    let (mut inner, mut handle) = probe::pair::<(), (), ()>();
    assert!(ready(&mut inner).is_ready());
    assert!(ready(&mut inner).is_ready());
    let mut clone = inner.clone();
    assert_eq!((handle.reserved(), handle.instances()), (1, 2));
    drop((inner.call(()), inner.call(()), clone.call(())));
    let seen: Vec<_> = handle
        .violations()
        .iter()
        .map(|v| v.seen().to_owned())
        .collect();
    assert_eq!(
        seen,
        [
            "inner 1 was called again on readiness that its previous call had spent",
            "inner 2 was called but never readied",
        ]
    );
    assert!(handle.violations().is_empty(), "they are taken");
}

#[test]
fn readiness_is_given_kept_and_released_with_its_instance() {
    let (mut inner, mut handle) = probe::pair::<(), (), ()>();
    assert!(ready(&mut inner).is_ready());
    handle.set_ready(false);
    let mut clone = inner.clone();
    assert!(ready(&mut inner).is_ready(), "what was reserved stays so");
    assert!(ready(&mut clone).is_pending());
    drop(clone.call(()));
    assert!(
        handle.violations()[0]
            .seen()
            .contains("its poll_ready had said Pending")
    );
    drop(inner);
    assert_eq!((handle.reserved(), handle.instances()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_readiness_for_a_call_or_for_its_end_is_woken() {
    let (mut inner, mut handle) = probe::pair::<u8, u8, ()>();
    handle.set_ready(false);
    let caller = tokio::spawn(async move {
        poll_fn(|cx| inner.poll_ready(cx)).await.unwrap();
        inner.call(1).await
    });
    tokio::task::yield_now().await;
    handle.set_ready(true);
    let call = handle.next_call().await;
    assert!(call.reply(2));
    assert_eq!(caller.await.unwrap(), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_says_so_and_takes_no_answer() {
    let (mut inner, mut handle) = probe::pair::<(), (), ()>();
    assert!(ready(&mut inner).is_ready());
    let caller = tokio::spawn(inner.call(()));
    let mut call = handle.next_call().await;
    assert!(!call.is_cancelled());
    caller.abort();
    call.cancelled().await;
    assert!(call.is_cancelled());
    assert!(!call.reply(()));
    assert_eq!(handle.in_flight(), 0);
}

#[test]
fn readiness_fails_with_the_error_of_the_test_and_is_final() {
    let (mut inner, mut handle) = probe::pair::<(), (), &str>();
    handle.set_ready(false);
    handle.fail_ready("gone");
    assert_eq!(ready(&mut inner), Poll::Ready(Err("gone")));
    assert!(ready(&mut inner).is_pending());
    drop(inner.call(()));
    let promises: Vec<_> = handle.violations().iter().map(|v| v.promise()).collect();
    assert_eq!(promises, [Promise::T2, Promise::T2]);
}

#[test]
fn it_panics_where_the_test_says() {
    let (mut inner, mut handle) = probe::pair::<(), (), ()>();
    handle.panic_in_ready();
    assert!(catch_unwind(AssertUnwindSafe(|| ready(&mut inner))).is_err());
    assert!(ready(&mut inner).is_ready(), "once");
    handle.panic_in_call();
    assert!(catch_unwind(AssertUnwindSafe(|| inner.call(()))).is_err());
    assert!(ready(&mut inner).is_ready());
    let future = inner.call(());
    // The call that panicked was never offered.
    assert!(handle.try_next_call().unwrap().panic());
    assert!(catch_unwind(AssertUnwindSafe(|| now(future))).is_err());
    assert_eq!((handle.in_flight(), handle.reserved()), (0, 0));
}

#[test]
fn a_future_polled_after_its_end_is_told() {
    let (mut inner, mut handle) = probe::pair::<(), (), ()>();
    assert!(ready(&mut inner).is_ready());
    let mut future = Box::pin(inner.call(()));
    assert!(handle.try_next_call().unwrap().reply(()));
    assert!(now(future.as_mut()).is_ready());
    assert!(now(future.as_mut()).is_pending());
    assert!(
        handle.violations()[0]
            .seen()
            .contains("polled again after its end")
    );
}

// ===== traffic =====

#[derive(Debug)]
enum MyError {
    Upstream(Failure),
}

#[tokio::test(start_paused = true)]
async fn requests_replies_and_errors_of_ones_own_pass_through() {
    let traffic = Traffic::plain(|n| format!("request {n}"))
        .replies(|reply| reply.number())
        .errors(MyError::Upstream, |MyError::Upstream(failure)| {
            Some(*failure)
        });
    let probe = Probe::with(Identity::new, traffic);
    kept(&probe.verdict().await);
    probe.t2().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_has_no_errors_and_is_probed_for_the_rest() {
    let traffic: Traffic<_, _, Infallible> = Traffic::http(http::Request::new).infallible();
    let verdict = Probe::http_with(Identity::new, traffic).verdict().await;
    kept(&verdict);
    assert_eq!(crate::skipped(&verdict), [Promise::T2, Promise::T8]);
}

// ===== how it fails =====

#[tokio::test(start_paused = true)]
#[should_panic(expected = "T8 could not be tested: the layer refused nothing")]
async fn a_check_that_has_nothing_to_test_fails() {
    Probe::new(Identity::new, |n: u64| n).t8().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "T11 could not be tested: nobody counts")]
async fn the_check_of_counts_wants_a_count() {
    Probe::new(Identity::new, |n: u64| n).t11().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "T5 could not be tested: the replies have no bodies")]
async fn the_check_of_bodies_wants_bodies() {
    Probe::new(Identity::new, |n: u64| n).t5().await;
}

#[tokio::test]
#[should_panic(expected = "the probe needs paused time")]
async fn a_clock_that_runs_is_told_at_once() {
    Probe::new(Identity::new, |n: u64| n).t1().await;
}

#[test]
fn a_runtime_that_is_missing_is_told_at_once() {
    let probe = Probe::new(Identity::new, |n: u64| n);
    let text = panic_of(|| {
        let _ = now(probe.t1());
    });
    assert!(
        text.contains("#[tokio::test(start_paused = true)]"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_violation_says_the_promise_the_law_where_to_look_and_what_was_done() {
    let layer = tower_layer::layer_fn(|inner| Unready { inner });
    let verdict = Probe::new(move || layer, |n: u64| n)
        .examine(Promise::T1)
        .await;
    let text = verdict.violations()[0].to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "T1 is broken: inner 2 was called but never readied"
    );
    assert!(lines[1].starts_with("    law    `call` uses the instance that was readied."));
    assert!(lines[2].starts_with("    look   `call`: the readied instance"));
    assert!(lines[3].ends_with("-- three calls, one after another, on one instance --"));
    assert!(
        lines
            .last()
            .unwrap()
            .ends_with("0 ms  inner 2 call: call 1"),
        "{text}"
    );
}

#[derive(Clone)]
struct Unready<S> {
    inner: S,
}

impl<S: Service<u64, Response = Reply, Error = BoxError>> Service<u64> for Unready<S> {
    type Response = Reply;
    type Error = BoxError;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> S::Future {
        self.inner.call(request)
    }
}
