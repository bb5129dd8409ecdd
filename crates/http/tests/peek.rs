//! For how long a response is held back.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use buttress_core::{Class, Outcome, Progress};
use buttress_http::{BoxError, ByStatus, Judge, Meter, TrackLayer, Tracked};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Frame;
use http_body_util::Full;
use tokio::{
    task::coop::poll_proceed,
    time::{Instant, advance},
};
use tower::{Layer, Service, ServiceExt, service_fn};

/// Replies never say what they mean. One says what nobody can read.
#[derive(Clone)]
struct Dumb(bool);

/// A body in which nothing comes. One that is busy finds that out for as long as its task may.
struct Nothing {
    busy: bool,
}

impl Judge for Dumb {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::new(Self(false)))
    }
}

impl Meter for Dumb {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.0 = data == "oops";
        assert!(!self.0, "on purpose");
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        assert!(!self.0, "and ever since");
        None
    }
}

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.busy {
            loop {
                ready!(poll_proceed(cx)).made_progress();
            }
        }
        Poll::Pending
    }
}

fn held(
    time: Duration,
    busy: bool,
) -> impl Service<Request<()>, Response: Send, Error = BoxError, Future: Send> {
    let nothing = move |_| async move { Ok::<_, BoxError>(Response::new(Nothing { busy })) };
    TrackLayer::new(Dumb(false))
        .peek_time(time)
        .layer(service_fn(nothing))
}

#[tokio::test(start_paused = true)]
async fn with_no_time_what_is_there_is_looked_at_and_nothing_waited_for() {
    // A timer would wait for the next whole millisecond.
    advance(Duration::from_micros(300)).await;
    let call = held(Duration::ZERO, false).oneshot(Request::new(()));
    let mut call = pin!(call);
    assert!(
        call.as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_uses_up_the_turn_of_its_task_is_held_back_no_longer() {
    let service = held(Duration::from_secs(3), true);
    let call = tokio::spawn(service.oneshot(Request::new(())));
    // Nothing sleeps while it is busy: the clock goes on by hand.
    for _ in 0..290 {
        advance(Duration::from_millis(10)).await;
    }
    assert!(!call.is_finished(), "before its time");
    for _ in 0..100 {
        advance(Duration::from_millis(10)).await;
    }
    assert!(call.is_finished(), "it is held back still");
}

#[tokio::test(start_paused = true)]
async fn a_failed_head_is_not_held_back_for_an_explanation_that_does_not_come() {
    let refuses = service_fn(|_: Request<()>| async {
        let response = Response::builder().status(429).header("retry-after", "7");
        let body = Nothing { busy: false };
        Ok::<_, BoxError>(response.body(body).expect("a response"))
    });
    let began = Instant::now();
    let call = TrackLayer::new(Dumb(false)).layer(refuses);
    let response = call.oneshot(Request::new(())).await.expect("a response");
    assert_eq!(began.elapsed().as_secs(), 2);
    let seen = response.body().seen();
    assert_eq!(seen.class, Class::Throttled);
    assert_eq!(seen.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn t9_a_meter_that_panics_again_as_its_reply_goes_does_not_end_the_process() {
    let oops = service_fn(|_: Request<()>| async {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("oops")))
    });
    let service = TrackLayer::new(Dumb(false)).layer(oops);
    // Dropped by the panic, and not by who catches it.
    let call = tokio::spawn(async { service.oneshot(Request::new(())).await.is_ok() });
    let panic = call.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}
