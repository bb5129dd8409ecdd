//! The contract of a service.

mod support;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Class, Completion, Outcome, Plain, Refused, Report, settle};
use buttress_http::{Http, TrackLayer};
use buttress_testing::probe::{self, Probe};
use buttress_timeout::TimeoutLayer;
use http::Request;
use support::{
    ask::{Ask, BoxError, Pair, carried, within},
    line, secs,
};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};

#[derive(Clone)]
struct CountLayer(Arc<AtomicU64>);

#[derive(Clone)]
struct Count<S>(S, Arc<AtomicU64>);

struct Counts(Arc<AtomicU64>);

/// Every limit, none of which runs out where a reply comes.
fn all<P>(protocol: P) -> TimeoutLayer<P> {
    TimeoutLayer::new(protocol)
        .total(secs(60))
        .attempt(secs(50))
        .headers(secs(40))
        .first_content(secs(45))
        .idle(secs(30))
        .silence(secs(30))
}

fn plain() -> Probe {
    Probe::new(|| all(Plain), |n| n).patience(secs(600))
}

fn http() -> Probe {
    let layers = || (all(Http), TrackLayer::default());
    Probe::http(layers, Request::new).patience(secs(600))
}

/// Requests whose time is over.
fn refusing() -> Probe {
    let request = |_| within(Duration::ZERO);
    Probe::new(|| TimeoutLayer::new(carried()), request)
        .patience(secs(600))
        .decides_in_call()
}

#[tokio::test(start_paused = true)]
async fn the_contract_is_kept() {
    plain().contract().await;
    http().contract().await;
    refusing().contract().await;
}

#[tokio::test(start_paused = true)]
async fn t1_calls_the_instance_that_was_readied() {
    plain().t1().await;
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_as_it_was() {
    plain().t2().await;
}

#[tokio::test(start_paused = true)]
async fn t3_an_instance_that_is_dropped_uncalled_holds_nothing() {
    plain().t3().await;
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_drops_the_inner_one() {
    plain().t4().await;
    http().t4().await;
}

#[tokio::test(start_paused = true)]
async fn t5_a_body_passes_whole_and_ends_once() {
    http().t5().await;
}

#[tokio::test(start_paused = true)]
async fn t6_no_wake_up_is_lost() {
    plain().t6().await;
    http().t6().await;
}

#[tokio::test(start_paused = true)]
async fn t7_clones_behave_alike_and_nothing_is_locked() {
    plain().t7().await;
    http().t7().await;
}

#[tokio::test(start_paused = true)]
async fn t8_a_call_without_time_leaves_the_inner_service_alone() {
    refusing().t8().await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_poisons_nothing() {
    plain().t9().await;
    http().t9().await;
}

#[tokio::test(start_paused = true)]
async fn t9_an_observer_that_panics_loses_its_call_alone() {
    let service = TimeoutLayer::new(Plain)
        .attempt(secs(1))
        .on_event(|_| panic!("on purpose"))
        .layer(service_fn(|wait: Duration| async move {
            sleep(wait).await;
            Ok::<_, BoxError>("hello")
        }));
    let lost = tokio::spawn(service.clone().oneshot(secs(2)));
    assert!(lost.await.unwrap_err().is_panic());
    assert_eq!(service.oneshot(secs(0)).await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_clock_gives_the_same_result() {
    plain().t10().await;
    http().t10().await;
}

#[tokio::test(start_paused = true)]
async fn t11_a_call_is_counted_once_by_whoever_is_outside() {
    let count = Arc::new(AtomicU64::new(0));
    let counting = count.clone();
    let layers = move || {
        (
            CountLayer(counting.clone()),
            all(Http),
            TrackLayer::default(),
        )
    };
    Probe::http(layers, Request::new)
        .patience(secs(600))
        .counts(move || count.load(Ordering::Relaxed))
        .t11()
        .await;
}

#[tokio::test(start_paused = true)]
async fn t11_of_nested_timeouts_one_tells_of_a_call() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = |name: &'static str| {
        let events = events.clone();
        TimeoutLayer::new(carried()).on_event(move |event| {
            events
                .lock()
                .unwrap()
                .push(format!("{name}: {}", line(event)))
        })
    };
    let outer = layer("outer").total(secs(10));
    let inner = layer("inner").attempt(secs(60));
    let (upstream, _handle): Pair = probe::pair();
    let error = outer.layer(inner.layer(upstream)).oneshot(Ask::default());
    let error = error.await.unwrap_err();
    assert_eq!(Refused::find(&*error).unwrap().class(), Class::Unavailable);
    assert_eq!(
        *events.lock().unwrap(),
        [
            "inner: timeout.elapsed phase=deadline limit=9.995s reason=call timed out class=unavailable"
        ]
    );
}

#[test]
fn a_layer_asks_for_nothing_that_it_does_not_need() {
    probe::lean::<BoxError, _>(&TimeoutLayer::new(Plain).total(secs(1)));
}

// ===== impl Count =====

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count(inner, self.0.clone())
    }
}

impl<S, B, T> Service<Request<T>> for Count<S>
where
    S: Service<Request<T>, Response = http::Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: buttress_http::Tracked + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<T>) -> Self::Future {
        let completion = Completion::new(Counts(self.1.clone()));
        let reply = self.0.call(request);
        Box::pin(async move {
            let mut result = reply.await;
            settle(&Http, &mut result, completion);
            result
        })
    }
}

impl Report for Counts {
    fn report(&mut self, _: &Outcome) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
