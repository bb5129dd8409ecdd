//! The limits of a call whose work ends with its future.

mod support;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buttress_core::{Class, Fault, Plain, Reason, Refused, check};
use buttress_http::{HttpServer, TrackLayer};
use buttress_testing::probe::{self, Call, Handle};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::{
    ask::{Ask, BoxError, Carried, Pair, carried, hung, within},
    millis, secs,
};
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service, ServiceExt, service_fn};

#[derive(Debug, PartialEq)]
enum ApiError {
    Refused(Refused),
}

#[tokio::test(start_paused = true)]
async fn d2_each_limit_of_a_plain_call_has_its_name() {
    let new = || TimeoutLayer::new(Plain);
    for (layer, reason) in [
        (new().total(secs(3)), Reason::TotalTimeout),
        (new().attempt(secs(3)), Reason::AttemptTimeout),
        (new().headers(secs(3)), Reason::HeadersTimeout),
        (new().first_content(secs(3)), Reason::FirstContentTimeout),
        (
            new().total(secs(4)).attempt(secs(3)),
            Reason::AttemptTimeout,
        ),
        (new().total(secs(3)).attempt(secs(4)), Reason::TotalTimeout),
        // Of two at once, the wider one.
        (new().total(secs(3)).attempt(secs(3)), Reason::TotalTimeout),
    ] {
        let (refused, after) = hung(layer, Ask::default()).await;
        assert_eq!(refused, Refused::new(reason));
        assert_eq!(refused.class(), Class::Unavailable);
        assert_eq!(after, secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn limits_between_content_are_not_for_a_plain_call() {
    let layer = TimeoutLayer::new(Plain).idle(secs(1)).silence(secs(1));
    let service = layer.layer(service_fn(|()| async {
        sleep(secs(3600)).await;
        Ok::<_, BoxError>("hello")
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_as_time_runs_out_is_delivered() {
    let layer = TimeoutLayer::new(Plain).total(secs(3));
    let service = layer.layer(service_fn(|()| async {
        sleep(secs(3)).await;
        Ok::<_, BoxError>("hello")
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn d1_the_total_covers_a_queue_every_attempt_and_the_waits_between_them() {
    // What a stack does inside: one second each in a queue, for an attempt, and before the next.
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = attempts.clone();
    let busy = service_fn(move |()| {
        let attempts = counted.clone();
        async move {
            loop {
                sleep(secs(1)).await;
                attempts.fetch_add(1, Ordering::Relaxed);
                sleep(secs(1)).await;
                sleep(secs(1)).await;
                if attempts.load(Ordering::Relaxed) > 100 {
                    return Ok::<_, BoxError>(());
                }
            }
        }
    });
    let start = Instant::now();
    let service = TimeoutLayer::new(Plain).total(millis(7500)).layer(busy);
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(
        Refused::find(&*error).unwrap().reason(),
        Reason::TotalTimeout
    );
    assert_eq!(start.elapsed(), millis(7500));
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

/// One call of a caller with this `patience`, at which nobody looks until so long after its `limit`.
async fn late(
    layer: TimeoutLayer<Carried>,
    patience: Option<Duration>,
    limit: Duration,
    late: Duration,
) -> (
    Spawn<impl Future<Output = Result<&'static str, BoxError>>>,
    Call<Ask, &'static str, BoxError>,
    Handle<Ask, &'static str, BoxError>,
) {
    let ask = patience.map_or_else(Ask::default, within);
    let (inner, mut upstream): Pair = probe::pair();
    let mut service = layer.layer(inner);
    let mut reply = task::spawn(service.ready().await.unwrap().call(ask));
    assert!(reply.poll().is_pending());
    let call = upstream.next_call().await;
    advance(limit + late).await;
    assert!(reply.is_woken());
    (reply, call, upstream)
}

#[tokio::test(start_paused = true)]
async fn d3_a_reply_that_arrived_while_nothing_ran_is_delivered() {
    let new = || TimeoutLayer::new(carried());
    for (layer, time) in [
        (new().total(secs(3)), None),
        (new().attempt(secs(3)), None),
        (new().headers(secs(3)), None),
        (new().first_content(secs(3)), None),
        (new(), Some(secs(3) + millis(5))),
        // That of the caller was over meanwhile, too.
        (new().attempt(secs(3)), Some(secs(9))),
        (new().headers(secs(3)), Some(secs(99))),
    ] {
        let (mut reply, call, _upstream) = late(layer, time, secs(3), secs(60)).await;
        assert!(reply.poll().is_pending());
        advance(millis(44)).await;
        assert!(reply.poll().is_pending());
        assert!(call.reply("hello"));
        assert!(reply.is_woken());
        assert!(matches!(reply.poll(), Poll::Ready(Ok("hello"))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_looked_at_late_ends_an_eighth_of_its_limit_later_and_soon() {
    let new = || TimeoutLayer::new(carried());
    for (layer, time, limit, more) in [
        (new().total(secs(3)), None, secs(3), 50),
        (new().headers(millis(400)), None, millis(400), 50),
        (new().attempt(millis(80)), None, millis(80), 10),
        (new().total(millis(1)), None, millis(1), 1),
        // A moment before whoever set the deadline.
        (new(), Some(millis(3005)), millis(3000), 45),
        (new(), Some(millis(85)), millis(80), 5),
        (new().attempt(millis(1)), Some(secs(1)), millis(1), 1),
    ] {
        let (mut reply, call, _upstream) = late(layer, time, limit, secs(60)).await;
        assert!(reply.poll().is_pending());
        advance(millis(more - 1)).await;
        assert!(reply.poll().is_pending(), "{limit:?}");
        // Once, however late it is looked at again.
        advance(secs(60)).await;
        assert!(reply.is_woken());
        assert!(matches!(reply.poll(), Poll::Ready(Err(_))), "{limit:?}");
        assert!(call.is_cancelled());
    }
    // It is woken for it.
    let (mut reply, _call, _upstream) = late(new().total(secs(3)), None, secs(3), secs(1)).await;
    assert!(reply.poll().is_pending());
    advance(millis(50)).await;
    assert!(reply.is_woken());
    assert!(reply.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_as_late_as_timers_are_ends_its_call() {
    let new = || TimeoutLayer::new(carried());
    for (layer, time, late_by, ended) in [
        (new().total(secs(3)), None, 5, true),
        (new().total(secs(3)), None, 6, false),
        // Whoever set the deadline is as late a moment after that.
        (new(), Some(millis(3005)), 10, true),
        (new(), Some(millis(3005)), 11, false),
    ] {
        let (mut reply, _call, _upstream) = late(layer, time, secs(3), millis(late_by)).await;
        assert_eq!(reply.poll().is_ready(), ended, "{late_by} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn d7_zero_waits_for_nothing_however_late_it_is_looked_at() {
    let layer = TimeoutLayer::new(Plain).attempt(secs(0));
    let never = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
    let mut reply = task::spawn(layer.layer(never).call(()));
    advance(secs(60)).await;
    assert!(matches!(reply.poll(), Poll::Ready(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn d6_the_inner_call_is_gone_when_time_is_up() {
    let (inner, mut upstream): Pair = probe::pair();
    let mut service = TimeoutLayer::new(Plain).attempt(secs(3)).layer(inner);
    let mut reply = task::spawn(service.ready().await.unwrap().call(Ask::default()));
    assert!(reply.poll().is_pending());
    let call = upstream.next_call().await;
    advance(secs(3)).await;
    assert!(reply.poll().is_ready());
    // Though the future is still held.
    assert!(call.is_cancelled());
    assert_eq!(upstream.in_flight(), 0);
    drop(reply);
}

#[tokio::test(start_paused = true)]
async fn d7_zero_delivers_a_reply_that_is_there_and_waits_for_none() {
    let new = || TimeoutLayer::new(Plain);
    for layer in [
        new().total(secs(0)),
        new().attempt(secs(0)),
        new().headers(secs(0)),
    ] {
        let at_once = service_fn(|()| async { Ok::<_, BoxError>("hello") });
        assert_eq!(layer.layer(at_once).oneshot(()).await.unwrap(), "hello");
        let (refused, after) = hung(layer, Ask::default()).await;
        assert_eq!((refused.class(), after), (Class::Unavailable, secs(0)));
    }
}

#[tokio::test]
async fn d7_zero_does_not_even_wait_for_a_timer() {
    let layer = TimeoutLayer::new(Plain).attempt(secs(0));
    for _ in 0..10 {
        let never = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
        assert!(task::spawn(layer.layer(never).call(())).poll().is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn d7_the_longest_durations_are_no_limit() {
    let decade = secs(10 * 365 * 86_400);
    for never in [Duration::MAX, decade * 3, secs(u64::MAX >> 1)] {
        let service = TimeoutLayer::new(carried())
            .total(never)
            .attempt(never)
            .headers(never)
            .first_content(never)
            .layer(service_fn(move |ask: Ask| async move {
                sleep(decade / 10).await;
                Ok::<_, BoxError>(ask.info.deadline)
            }));
        assert_eq!(service.oneshot(Ask::default()).await.unwrap(), None);
    }
    // Neither is a deadline at the end of time.
    let mut end = Instant::now().into_std();
    for k in (0..64).rev() {
        end = end.checked_add(secs(1 << k)).unwrap_or(end);
    }
    let mut ask = Ask::default();
    ask.info.deadline = Some(end);
    let service = TimeoutLayer::new(carried()).layer(service_fn(move |ask: Ask| async move {
        sleep(decade / 10).await;
        Ok::<_, BoxError>(ask.info.deadline)
    }));
    assert_eq!(service.oneshot(ask).await.unwrap(), Some(end));
}

#[test]
fn without_limits_no_runtime_is_needed() {
    let service =
        TimeoutLayer::new(Plain).layer(service_fn(|()| async { Ok::<_, BoxError>("hello") }));
    let mut reply = task::spawn(service.oneshot(()));
    assert!(matches!(reply.poll(), Poll::Ready(Ok("hello"))));
}

#[tokio::test]
#[should_panic(expected = "polled after completion")]
async fn a_future_is_not_polled_after_its_end() {
    let mut service =
        TimeoutLayer::new(Plain).layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let mut reply = task::spawn(service.call(()));
    assert!(reply.poll().is_ready());
    let _ = reply.poll();
}

#[tokio::test(start_paused = true)]
async fn an_error_of_ones_own_needs_no_box() {
    let service = TimeoutLayer::new(Plain)
        .headers(secs(1))
        .layer(service_fn(|()| async {
            std::future::pending::<()>().await;
            Ok::<(), _>(())
        }));
    let error: ApiError = check::<(), _>(service).oneshot(()).await.unwrap_err();
    assert_eq!(
        error,
        ApiError::Refused(Refused::new(Reason::HeadersTimeout))
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_with_a_response() {
    let handler = service_fn(|_: Request<Full<Bytes>>| async {
        sleep(secs(60)).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = TimeoutLayer::new(HttpServer)
        .total(secs(2))
        .layer(TrackLayer::default().layer(handler));
    let response = service
        .oneshot(Request::<Full<Bytes>>::default())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[test]
fn nothing_is_shown_of_requests() {
    let layer = TimeoutLayer::new(carried()).total(secs(2));
    let (inner, _handle): Pair = probe::pair();
    let mut service = layer.layer(inner);
    let mut reply = task::spawn(service.ready());
    assert!(reply.poll().is_ready());
    drop(reply);
    let future = service.call(within(secs(60)));
    for shown in [format!("{layer:?}"), format!("{future:?}")] {
        assert!(!shown.contains("Ask"), "{shown}");
    }
    assert!(format!("{layer:?}").contains("total: 2s"));
}

// ===== impl ApiError =====

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for ApiError {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let Self::Refused(refused) = self;
        Some(refused)
    }
}

/// As a future does that goes on as long as its task may: it has had its turn before the timer's.
#[tokio::test(start_paused = true)]
async fn d1_a_call_that_uses_up_the_turn_of_its_task_is_ended_in_time() {
    let busy = service_fn(|()| async {
        loop {
            tokio::task::coop::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "says of what type it is")]
        Ok::<_, BoxError>("hello")
    });
    let service = TimeoutLayer::new(Plain).total(secs(3)).layer(busy);
    let call = tokio::spawn(service.oneshot(()));
    // Nothing sleeps while it is busy: the clock goes on by hand. A look that late has its grace.
    for _ in 0..500 {
        advance(millis(10)).await;
    }
    assert!(call.is_finished(), "it has not been ended");
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        Refused::find(&*error).unwrap().reason(),
        Reason::TotalTimeout
    );
}
