//! The words over http bodies, with boxed errors.

mod toys;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::{Class, Completion, Money, Outcome, Reason, Refused, Report, Usage, check};
use buttress_failover::Failover;
use buttress_http::{Body, Http, TrackLayer, Tracked};
use buttress_rate_limit::Cost;
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http_body_util::Full;
use tokio::sync::mpsc;
use tower::{Service, ServiceBuilder, ServiceExt};
use toys::{
    Tokens, breaker, charged, failures,
    metrics::MetricsLayer,
    permit::PermitLayer,
    retry, tokens,
    upstream::{Act, Lines, Req, Stream, Upstream, read, request},
};

/// Every layer, and a handle to each.
struct Handles {
    requests: MetricsLayer<Http>,
    attempts: MetricsLayer<Http>,
    breaker: CircuitBreakerLayer<Http>,
    tokens: Tokens<Http, Req>,
    permits: PermitLayer<Http>,
    judge: Lines,
}

impl Handles {
    fn new() -> Self {
        Self {
            requests: MetricsLayer::request(Http),
            attempts: MetricsLayer::attempt(Http),
            breaker: breaker(Http),
            tokens: tokens(Http, 1000, |_| Cost::tokens(100, 0)),
            permits: PermitLayer::new(Http, 1),
            judge: Lines::default(),
        }
    }

    /// The stack of the design over two endpoints that share their limits, and not their health.
    fn stack(
        &self,
        one: Upstream,
        other: Upstream,
    ) -> impl Service<
        Req,
        Response = http::Response<Body<Stream>>,
        Error = buttress_http::BoxError,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let endpoint = |upstream, breaker| {
            ServiceBuilder::new()
                .layer(retry(Http))
                .layer(breaker)
                .layer(self.tokens.clone())
                .layer(self.permits.clone())
                .layer(self.attempts.clone())
                .layer(TimeoutLayer::new(Http).idle(Duration::from_secs(5)))
                .layer(TrackLayer::new(self.judge.clone()))
                .service(upstream)
        };
        let one = endpoint(one, self.breaker.clone());
        let other = endpoint(other, breaker(Http));
        let model = ServiceBuilder::new()
            .layer(self.requests.clone())
            .service(Failover::new(Http, [one, other]));
        check::<Req, _>(model)
    }
}

const WHOLE: Act = Act::Say(200, &["text", "text", "usage", "end"]);

#[tokio::test]
async fn t5_four_chunks_are_parsed_once_and_their_usage_reaches_every_layer() {
    let handles = Handles::new();
    let stack = handles.stack(Upstream::new([WHOLE]), Upstream::new([]));
    // The whole call can be spawned, boxed errors and all.
    let response = tokio::spawn(stack.oneshot(request()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(handles.permits.free(), 0, "held until the end of the body");
    let (text, end) = read(response.into_body()).await;

    assert_eq!((text.as_str(), end.is_ok()), ("texttextusageend", true));
    assert_eq!(handles.judge.parsed.load(Ordering::Relaxed), 4);
    let outcome = Outcome::SUCCESS
        .with_usage(Usage::new(10, 2))
        .with_cost(Money::from_pico(60));
    for metrics in [&handles.requests, &handles.attempts] {
        let seen = metrics.seen();
        assert_eq!(seen.outcomes, [outcome]);
        assert_eq!((seen.chunks, seen.first_contents), (4, 1));
    }
    assert_eq!((charged(&handles.tokens), handles.permits.free()), (12, 1));
}

#[tokio::test]
async fn a_failed_attempt_that_is_dropped_is_judged_by_its_head() {
    let handles = Handles::new();
    let upstream = Upstream::new([Act::Say(503, &["busy"]), WHOLE]);
    let stack = handles.stack(upstream.clone(), Upstream::new([]));
    let response = stack.oneshot(request()).await.unwrap();

    assert_eq!(handles.attempts.classes(), [Class::Unavailable]);
    assert_eq!(upstream.open(), 1, "the failed response is gone");
    read(response.into_body()).await.1.unwrap();
    assert_eq!(
        handles.attempts.classes(),
        [Class::Unavailable, Class::Success]
    );
    assert_eq!(handles.requests.classes(), [Class::Success]);
}

#[tokio::test]
async fn r10_an_error_inside_a_200_is_retried_before_the_first_content_and_never_after() {
    let handles = Handles::new();
    let upstream = Upstream::new([
        Act::Say(200, &["ping", "usage", "error"]),
        Act::Break(200, &["ping"]),
        Act::Say(200, &["text", "error"]),
    ]);
    let stack = handles.stack(upstream.clone(), Upstream::new([]));
    let response = stack.oneshot(request()).await.unwrap();
    let (text, _) = read(response.into_body()).await;

    assert_eq!((text.as_str(), upstream.calls()), ("texterror", 3));
    let classes = [Class::Unavailable, Class::Unavailable, Class::Interrupted];
    assert_eq!(handles.attempts.classes(), classes);
    // The first attempt told what it used and the others did not.
    let requests = handles.requests.seen().outcomes;
    assert_eq!(requests[0].usage, Some(Usage::new(10, 2).estimated()));
    assert_eq!(requests[0].cost, Some(Money::from_pico(60)));
}

#[tokio::test]
async fn a_stream_without_its_terminator_is_interrupted_though_it_ended_cleanly() {
    let handles = Handles::new();
    let stack = handles.stack(Upstream::new([Act::Say(200, &["text"])]), Upstream::new([]));
    let response = stack.oneshot(request()).await.unwrap();

    assert_eq!(read(response.into_body()).await.0, "text");
    assert_eq!(handles.requests.classes(), [Class::Interrupted]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_gives_what_it_had_and_then_its_error() {
    let handles = Handles::new();
    let stack = handles.stack(
        Upstream::new([Act::Break(200, &["text"])]),
        Upstream::new([]),
    );
    let response = stack.oneshot(request()).await.unwrap();
    let (text, end) = read(response.into_body()).await;

    let error = end.unwrap_err();
    let inner = std::error::Error::source(&error).unwrap();
    assert!(inner.is::<std::io::Error>(), "{inner:?}");
    assert_eq!(text, "text");
    assert_eq!(handles.requests.classes(), [Class::Interrupted]);
    assert_eq!(handles.permits.free(), 1);
}

#[tokio::test]
async fn a_stream_dropped_after_its_terminator_is_a_success_and_before_it_cancelled() {
    for (sent, class) in [
        (&["text", "end"][..], Class::Success),
        (&["text"], Class::Cancelled),
    ] {
        let handles = Handles::new();
        let (feed, follow) = mpsc::unbounded_channel();
        let stack = handles.stack(Upstream::new([Act::Follow(follow)]), Upstream::new([]));
        for line in sent {
            feed.send(line).unwrap();
        }
        let mut body = stack.oneshot(request()).await.unwrap().into_body();
        for _ in sent {
            http_body_util::BodyExt::frame(&mut body)
                .await
                .unwrap()
                .unwrap();
        }
        drop(body);
        assert_eq!(handles.requests.classes(), [class]);
        assert_eq!((handles.permits.free(), failures(&handles.breaker)), (1, 0));
        assert!(feed.is_closed(), "the upstream is told at once");
    }
}

#[tokio::test]
async fn f4_failover_takes_over_before_the_first_content() {
    let handles = Handles::new();
    let one = Upstream::new([
        Act::Fail,
        Act::Say(200, &["ping", "error"]),
        Act::Say(500, &[]),
    ]);
    let stack = handles.stack(one.clone(), Upstream::new([WHOLE]));
    let response = stack.oneshot(request()).await.unwrap();
    let (text, _) = read(response.into_body()).await;

    assert_eq!((text.as_str(), one.calls()), ("texttextusageend", 3));
    assert_eq!(handles.requests.classes(), [Class::Success]);
    assert_eq!(handles.attempts.classes().len(), 4);
}

#[tokio::test]
async fn an_inner_refusal_is_not_retried_and_is_found_in_a_boxed_error() {
    let handles = Handles::new();
    let stack = handles.stack(Upstream::new([]), Upstream::new([]));
    let _held = handles.permits.take();
    let error = stack.oneshot(request()).await.unwrap_err();

    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::QueueFull);
    assert_eq!(handles.requests.classes(), [Class::Refused]);
    assert_eq!(
        charged(&handles.tokens),
        0,
        "what was refused is not charged"
    );
}

#[tokio::test(start_paused = true)]
async fn d2_a_stall_is_cut_and_a_shorter_one_recovers() {
    let handles = Handles::new();
    let (feed, follow) = mpsc::unbounded_channel();
    let stack = handles.stack(Upstream::new([Act::Follow(follow)]), Upstream::new([]));
    let writer = tokio::spawn(async move {
        for line in ["text", "text", "text"] {
            feed.send(line).unwrap();
            tokio::time::advance(Duration::from_secs(4)).await;
        }
        feed.closed().await;
    });
    let response = stack.oneshot(request()).await.unwrap();
    let (text, end) = read(response.into_body()).await;

    let error = end.unwrap_err();
    let refused = Refused::find(&error).unwrap();
    assert_eq!(
        (refused.reason(), refused.class()),
        (Reason::IdleTimeout, Class::Interrupted)
    );
    assert_eq!(text, "texttexttext");
    assert_eq!(handles.requests.classes(), [Class::Interrupted]);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn d3_a_slow_consumer_is_not_a_stall() {
    let handles = Handles::new();
    let stack = handles.stack(Upstream::new([WHOLE]), Upstream::new([]));
    let mut body = stack.oneshot(request()).await.unwrap().into_body();
    let mut chunks = 0;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        frame.unwrap();
        chunks += 1;
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    assert_eq!(
        (chunks, handles.requests.classes()),
        (4, vec![Class::Success])
    );
}

#[tokio::test(start_paused = true)]
async fn peek_gives_way_after_its_time_and_a_later_failure_is_still_no_interruption() {
    let judge = Lines::default();
    let (feed, follow) = mpsc::unbounded_channel();
    feed.send("ping").unwrap();
    let metrics = MetricsLayer::attempt(Http);
    let started = tokio::time::Instant::now();
    let stack = ServiceBuilder::new()
        .layer(metrics.clone())
        .layer(TrackLayer::new(judge).peek_time(Duration::from_secs(7)))
        .service(Upstream::new([Act::Follow(follow)]));
    let response = stack.oneshot(request()).await.unwrap();

    assert_eq!(started.elapsed(), Duration::from_secs(7));
    feed.send("error").unwrap();
    drop(feed);
    assert_eq!(read(response.into_body()).await.0, "pingerror");
    assert_eq!(metrics.classes(), [Class::Unavailable]);
}

#[tokio::test]
async fn peek_gives_way_after_its_bytes() {
    let (feed, follow) = mpsc::unbounded_channel();
    for _ in 0..3 {
        feed.send("ping").unwrap();
    }
    let stack = ServiceBuilder::new()
        .layer(TrackLayer::new(Lines::default()).peek_bytes(9))
        .service(Upstream::new([Act::Follow(follow)]));
    let response = stack.oneshot(request()).await.unwrap();

    assert_eq!(response.body().seen(), Outcome::SUCCESS, "well so far");
    drop(feed);
    assert_eq!(read(response.into_body()).await.0, "pingpingping");
}

#[test]
fn duties_end_inner_first_after_the_body_and_though_one_panics() {
    struct Says(&'static str, Arc<Mutex<Vec<String>>>);

    impl Report for Says {
        fn report(&mut self, outcome: &Outcome) {
            self.1
                .lock()
                .unwrap()
                .push(format!("{} {}", self.0, outcome.class));
            assert_ne!(self.0, "second", "on purpose");
        }
    }

    struct Inside(Says);

    impl http_body::Body for Inside {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            self.0.report(&Outcome::new(Class::Cancelled));
        }
    }

    let log = Arc::default();
    let mut body = Body::new(Inside(Says("body", Arc::clone(&log))));
    for name in ["first", "second", "third"] {
        body.attach(Completion::new(Says(name, log.clone())));
    }
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(body)));

    assert!(panic.is_err());
    let said = log
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .join(", ");
    assert_eq!(
        said,
        "body cancelled, first cancelled, second cancelled, third cancelled"
    );
}

#[tokio::test]
async fn cloned_extensions_hold_nothing_alive() {
    let handles = Handles::new();
    let stack = handles.stack(Upstream::new([WHOLE]), Upstream::new([]));
    let response = stack.oneshot(request()).await.unwrap();
    let extensions = response.extensions().clone();
    drop(response);

    assert_eq!(handles.permits.free(), 1);
    drop(extensions);
}

#[tokio::test]
async fn a_body_that_is_over_before_it_is_polled_ends_its_duties_at_once() {
    let metrics = MetricsLayer::attempt(Http);
    let stack = |answer: &'static str| {
        ServiceBuilder::new()
            .layer(metrics.clone())
            .layer(TrackLayer::default())
            .service_fn(move |_: Req| async move {
                Ok::<_, buttress_http::BoxError>(http::Response::new(Full::<Bytes>::from(answer)))
            })
    };
    let empty = stack("").oneshot(request()).await.unwrap();
    assert_eq!(metrics.classes(), [Class::Success]);
    drop(empty);

    // A reader that counts bytes stops at the last one, and never polls for the end.
    let mut known = stack("four").oneshot(request()).await.unwrap().into_body();
    assert_eq!(metrics.classes().len(), 1);
    http_body_util::BodyExt::frame(&mut known)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(metrics.classes(), [Class::Success; 2]);
}
