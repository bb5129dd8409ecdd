//! T1 to T11, by the probe.

use std::{
    future::{Ready, ready},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Plain, Reason, Refused};
use buttress_http::{Http, TrackLayer};
use buttress_metrics::{Labels, MetricsLayer, Place};
use buttress_testing::probe::{Probe, Reply};
use bytes::Bytes;
use futures_util::FutureExt;
use tower::{Layer, Service, ServiceExt};

use crate::Prometheus;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn of(place: Place) -> MetricsLayer<Plain> {
    match place {
        Place::Request => MetricsLayer::request(Plain),
        Place::Attempt => MetricsLayer::attempt(Plain),
    }
}

/// Two without bodies, and two with.
fn probes() -> Vec<Probe> {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    vec![
        Probe::new(|| of(Place::Request), |n: u64| n),
        Probe::new(|| of(Place::Attempt).on_call(|_| {}), |n: u64| n),
        Probe::http(
            || (MetricsLayer::request(Http), TrackLayer::default()),
            request,
        ),
        Probe::http(
            || {
                let layer = MetricsLayer::attempt(Http).per_chunk();
                (layer, TrackLayer::default())
            },
            request,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn t1_a_call_is_made_by_the_instance_that_was_readied() {
    for probe in probes() {
        probe.t1().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_comes_back_unchanged() {
    for probe in probes() {
        probe.t2().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t3_a_readied_clone_that_is_dropped_is_in_flight_nowhere() {
    let prometheus = Prometheus::install();
    for probe in probes() {
        probe.t3().await;
    }
    in_flight_is_zero(&prometheus);
}

#[tokio::test(start_paused = true)]
async fn t4_a_dropped_call_leaves_nothing_behind() {
    let prometheus = Prometheus::install();
    for probe in probes() {
        probe.t4().await;
    }
    in_flight_is_zero(&prometheus);
}

#[tokio::test(start_paused = true)]
async fn t5_a_call_is_in_flight_until_the_end_of_its_body() {
    let prometheus = Prometheus::install();
    for probe in probes().split_off(2) {
        probe.t5().await;
    }
    in_flight_is_zero(&prometheus);
}

#[tokio::test(start_paused = true)]
async fn t6_every_pending_has_a_waker() {
    for probe in probes() {
        probe.t6().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t7_clones_and_services_of_one_layer_count_together_and_hold_no_lock() {
    for probe in probes() {
        probe.t7().await;
    }
}

/// Refuses every call, and leaves what is below alone.
#[derive(Clone)]
struct Closed;

impl<S> Layer<S> for Closed {
    type Service = Self;

    fn layer(&self, _: S) -> Self {
        Self
    }
}

impl Service<u64> for Closed {
    type Response = Reply;
    type Error = BoxError;
    type Future = Ready<Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        ready(Err(Refused::new(Reason::CircuitOpen).into()))
    }
}

#[tokio::test(start_paused = true)]
async fn t8_what_a_layer_inside_refuses_is_passed_on_at_once_and_counted() {
    let prometheus = Prometheus::install();
    for place in [Place::Request, Place::Attempt] {
        Probe::new(move || (of(place), Closed), |n: u64| n)
            .t8()
            .await;
    }
    for name in ["buttress_requests_total", "buttress_attempts_total"] {
        let refused = [("class", "refused"), ("reason", "circuit open")];
        assert!(prometheus.sum(name, &refused) > 0.0);
        assert_eq!(prometheus.sum(name, &refused), prometheus.sum(name, &[]));
    }
}

#[tokio::test(start_paused = true)]
async fn t9_a_panic_below_poisons_nothing_and_is_in_flight_nowhere() {
    let prometheus = Prometheus::install();
    for probe in probes() {
        probe.t9().await;
    }
    in_flight_is_zero(&prometheus);
}

#[tokio::test(start_paused = true)]
async fn t10_the_same_calls_give_the_same_result() {
    for probe in probes() {
        probe.t10().await;
    }
}

#[tokio::test(start_paused = true)]
async fn t11_every_outcome_is_counted_once_by_each_place() {
    for place in [Place::Request, Place::Attempt] {
        let seen = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&seen);
        let layer = move || {
            let seen = Arc::clone(&seen);
            of(place).on_call(move |_| {
                seen.fetch_add(1, Ordering::Relaxed);
            })
        };
        let probe = Probe::new(layer, |n: u64| n);
        probe
            .counts(move || count.load(Ordering::Relaxed))
            .t11()
            .await;
    }
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let layer = move || {
        let seen = Arc::clone(&seen);
        let layer = MetricsLayer::request(Http).on_call(move |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        (layer, TrackLayer::default())
    };
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let probe = Probe::http(layer, request);
    probe
        .counts(move || count.load(Ordering::Relaxed))
        .t11()
        .await;
}

#[tokio::test(start_paused = true)]
async fn t9_a_callback_that_panics_spoils_its_own_call_and_no_other() {
    let prometheus = Prometheus::install();
    let fuse = Arc::new(AtomicU64::new(0));
    let blow = move || assert!(fuse.fetch_add(1, Ordering::Relaxed) % 7 != 5, "on purpose");
    let (describe, price, on_call) = (blow.clone(), blow.clone(), blow);
    let layer = MetricsLayer::attempt(crate::protocol())
        .describe(move |_: &crate::Ask| {
            describe();
            Labels::new()
        })
        .price(move |_, _| {
            price();
            None
        })
        .on_call(move |_| on_call());
    let service = layer.layer(tower::service_fn(crate::serve));
    let used = buttress_core::Outcome::SUCCESS.with_usage(buttress_core::Usage::new(1, 1));
    let mut panics = 0;
    for _ in 0..20 {
        let ask = crate::ask("m", crate::Does::Fail(used));
        let call = AssertUnwindSafe(async { service.clone().oneshot(ask).await }).catch_unwind();
        panics += u32::from(call.await.is_err());
    }
    assert!((1..20).contains(&panics), "{panics}");
    in_flight_is_zero(&prometheus);
    let counted = prometheus.sum("buttress_attempts_total", &[("class", "success")]);
    assert!(counted >= f64::from(20 - panics), "{counted}");
}

#[test]
fn t7_futures_are_send_when_their_parts_are_and_services_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let mut service = MetricsLayer::attempt(Plain).layer(tower::service_fn(|n: u64| async move {
        Ok::<_, BoxError>(n)
    }));
    is_sync(&service);
    is_send(&service.call(1));
}

#[tokio::test(start_paused = true)]
async fn t7_a_call_by_reference_is_awaited_in_a_task_that_is_spawned() {
    type Ask = http::Request<Bytes>;
    let service = tower::ServiceBuilder::new()
        .layer(
            MetricsLayer::request(Http).describe(|ask: &Ask| Labels::new().model(ask.uri().path())),
        )
        .layer(MetricsLayer::attempt(Http))
        .layer(TrackLayer::default())
        .service_fn(|ask: Ask| async {
            Ok::<_, BoxError>(http::Response::new(http_body_util::Full::new(
                ask.into_body(),
            )))
        });
    let task = tokio::spawn(async move {
        let (service, ask) = (&service, &Ask::default());
        let reply = service.clone().oneshot(ask.clone()).await;
        reply.map(|reply| reply.status())
    });
    assert_eq!(task.await.unwrap().unwrap(), 200);
}

fn in_flight_is_zero(prometheus: &Prometheus) {
    for name in ["buttress_requests_in_flight", "buttress_attempts_in_flight"] {
        for value in prometheus.each(name, &[]) {
            assert_eq!(value, 0.0, "{name}");
        }
    }
}
