//! A total outside and the limits of an attempt inside, with what waits and retries between them.

mod toys;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Class, Event, Reason, Refused, check};
use buttress_http::{Body, BoxError, Http, TrackLayer};
use buttress_retry::{Constant, RetryLayer, Unlimited};
use buttress_timeout::TimeoutLayer;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn, service_fn};
use toys::{
    metrics::MetricsLayer,
    upstream::{Act, Lines, Req, Stream, Upstream, read, request},
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the layers of a stack say of its calls.
#[derive(Clone)]
struct Seen {
    attempts: MetricsLayer<Http>,
    requests: MetricsLayer<Http>,
    timeouts: Arc<Mutex<Vec<String>>>,
    start: Instant,
}

impl Seen {
    fn new() -> Self {
        Self {
            attempts: MetricsLayer::attempt(Http),
            requests: MetricsLayer::request(Http),
            timeouts: Arc::default(),
            start: Instant::now(),
        }
    }

    /// Total over retries, a second apart, over one place in a queue, over the limits of an attempt.
    fn stack(
        &self,
        places: &Arc<Semaphore>,
        attempt: TimeoutLayer<Http>,
        upstream: Upstream,
    ) -> impl Service<Req, Response = http::Response<Body<Stream>>, Error = BoxError, Future: Send>
    + Clone
    + use<> {
        let places = places.clone();
        let queue = layer_fn(move |inner| queued(places.clone(), inner));
        let stack = ServiceBuilder::new()
            .layer(self.requests.clone())
            .layer(self.told("total", TimeoutLayer::new(Http).total(secs(10))))
            .layer(
                RetryLayer::new(Http)
                    .max_attempts(NonZeroU32::MAX)
                    .backoff(Constant::new(secs(1)))
                    .budget(Unlimited),
            )
            .layer(queue)
            .layer(self.attempts.clone())
            .layer(self.told("attempt", attempt))
            .layer(TrackLayer::new(Lines::default()))
            .service(upstream);
        check::<Req, _>(stack)
    }

    fn told(&self, name: &'static str, layer: TimeoutLayer<Http>) -> TimeoutLayer<Http> {
        let Self {
            timeouts, start, ..
        } = self.clone();
        layer.on_event(move |event| {
            let mut line = format!("{:?} {name}", start.elapsed());
            event.facts(&mut |fact, value| {
                if fact == "phase" {
                    line += &format!(": {value}");
                }
            });
            timeouts.lock().unwrap().push(line);
        })
    }

    fn timeouts(&self) -> Vec<String> {
        self.timeouts.lock().unwrap().clone()
    }
}

fn places(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count))
}

/// Waits for a place, in its future.
fn queued<S>(
    places: Arc<Semaphore>,
    inner: S,
) -> impl Service<Req, Response = S::Response, Error = BoxError, Future: Send> + Clone
where
    S: Service<Req, Error = BoxError, Future: Send> + Clone + Send,
{
    service_fn(move |request: Req| {
        let (places, inner) = (places.clone(), inner.clone());
        async move {
            let _place = places.acquire_owned().await.expect("nobody closes it");
            inner.oneshot(request).await
        }
    })
}

/// Replies whose contents the test sends.
fn replies<const N: usize>() -> (Upstream, [mpsc::UnboundedSender<&'static str>; N]) {
    let mut follows = Vec::new();
    let feeds = std::array::from_fn(|_| {
        let (feed, follow) = mpsc::unbounded_channel();
        follows.push(Act::Follow(follow));
        feed
    });
    (Upstream::new(follows), feeds)
}

#[tokio::test(start_paused = true)]
async fn d1_the_total_covers_every_attempt_and_the_waits_between_them() {
    let seen = Seen::new();
    let (upstream, _feeds) = replies::<3>();
    let attempt = TimeoutLayer::new(Http).attempt(secs(3));
    let stack = seen.stack(&places(1), attempt, upstream.clone());
    let error = stack.oneshot(request()).await.unwrap_err();

    let refused = Refused::find(&*error).unwrap();
    assert_eq!(refused.reason(), Reason::TotalTimeout);
    // The last attempt hears of its end a moment before the caller would: it is judged.
    assert_eq!(
        seen.timeouts(),
        [
            "3s attempt: attempt",
            "7s attempt: attempt",
            "9.995s attempt: deadline"
        ]
    );
    assert_eq!(seen.attempts.classes(), [Class::Unavailable; 3]);
    assert_eq!(seen.requests.classes(), [Class::Unavailable]);
    assert_eq!((upstream.calls(), upstream.open()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn d1_the_total_covers_a_queue() {
    let seen = Seen::new();
    let (upstream, places) = (Upstream::new([]), places(1));
    let held = places.clone().acquire_owned().await.unwrap();
    let attempt = TimeoutLayer::new(Http).attempt(secs(3));
    let stack = seen.stack(&places, attempt, upstream.clone());
    let error = stack.oneshot(request()).await.unwrap_err();

    let refused = Refused::find(&*error).unwrap();
    assert_eq!(refused.reason(), Reason::TotalTimeout);
    assert_eq!(seen.timeouts(), ["10s total: total"]);
    assert_eq!((upstream.calls(), seen.attempts.classes()), (0, vec![]));
    assert_eq!(seen.requests.classes(), [Class::Unavailable]);
    drop(held);
    assert_eq!(places.available_permits(), 1, "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn d1_the_total_covers_the_body() {
    let seen = Seen::new();
    let (upstream, [feed]) = replies();
    let writer = tokio::spawn(async move {
        while feed.send("text").is_ok() {
            sleep(secs(4)).await;
        }
    });
    let attempt = TimeoutLayer::new(Http).idle(secs(5));
    let stack = seen.stack(&places(1), attempt, upstream.clone());
    let response = stack.oneshot(request()).await.unwrap();
    let (text, end) = read(response.into_body()).await;

    let refused = Refused::find(&end.unwrap_err()).unwrap();
    assert_eq!(
        (refused.reason(), refused.class()),
        (Reason::TotalTimeout, Class::Interrupted)
    );
    assert_eq!(text, "texttexttext");
    assert_eq!(seen.timeouts(), ["9.995s attempt: deadline"]);
    assert_eq!(seen.attempts.classes(), [Class::Interrupted]);
    assert_eq!(seen.requests.classes(), [Class::Interrupted]);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r10_an_attempt_without_content_in_time_is_followed_by_another_and_a_stall_is_not() {
    let seen = Seen::new();
    let (upstream, [silent, stalls]) = replies();
    silent.send("ping").unwrap();
    stalls.send("text").unwrap();
    let attempt = TimeoutLayer::new(Http).first_content(secs(2)).idle(secs(4));
    let stack = seen.stack(&places(1), attempt, upstream.clone());
    let response = stack.oneshot(request()).await.unwrap();
    assert!(silent.is_closed(), "the first attempt is gone");
    let (text, end) = read(response.into_body()).await;

    let refused = Refused::find(&end.unwrap_err()).unwrap();
    assert_eq!(
        (refused.reason(), refused.class()),
        (Reason::IdleTimeout, Class::Interrupted)
    );
    assert_eq!((text.as_str(), upstream.calls()), ("text", 2));
    assert_eq!(
        seen.timeouts(),
        ["2s attempt: first content", "7s attempt: idle"]
    );
    assert_eq!(
        seen.attempts.classes(),
        [Class::Unavailable, Class::Interrupted]
    );
    assert_eq!(seen.requests.classes(), [Class::Interrupted]);
}
