//! What it costs to be measured, with the Prometheus exporter installed.

use std::{
    future::{Ready, ready},
    hint::black_box,
    sync::Once,
    thread,
    time::Duration,
};

use buttress_core::{Carry, Classify, Money, Outcome, Plain, ProtocolExt, Track, Usage};
use buttress_http::{Http, TrackLayer};
use buttress_metrics::{Describe, Labels, METRICS, MetricsLayer};
use http::{Request, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::time::Instant;
use tower::{Layer, service_fn};
use tower_service::Service;

use super::{
    body::{self, CHUNK, Endless},
    call,
    plain::{Echo, Failed},
};
use crate::row::{Group, Row};

type Ask = Request<()>;

/// A call that is answered at once.
pub(crate) fn plain() -> Group {
    let rows = vec![
        row("bare", || Echo),
        Row::new("clock read", || {
            || {
                black_box(Instant::now());
            }
        }),
        Row::new("histogram of the exporter", || {
            install();
            let histogram = metrics::histogram!("bench");
            move || histogram.record(black_box(1.5))
        }),
        Row::new("exporter alone: the handles of a call", || {
            install();
            let mut record = handles();
            move || record(black_box(1.5))
        }),
        row("duration, class and in flight", || {
            MetricsLayer::attempt(Plain).layer(Echo)
        }),
        row("attempt, all", || {
            all(MetricsLayer::attempt(used())).layer(Echo)
        }),
        row("request, all", || {
            all(MetricsLayer::request(used())).layer(Echo)
        }),
    ];
    Group {
        name: "metrics",
        rows,
    }
}

/// A call over http, up to its response, which is then dropped.
pub(crate) fn http() -> Group {
    let rows = vec![
        Row::new("track", || {
            let mut service = TrackLayer::default().layer(service_fn(client));
            move || {
                black_box(call(&mut service, black_box(Request::new(()))));
            }
        }),
        head("attempt", || MetricsLayer::attempt(Http)),
        head("request", || MetricsLayer::request(Http)),
    ];
    Group {
        name: "metrics, http",
        rows,
    }
}

/// A chunk that is there, on its way through a body.
pub(crate) fn chunk() -> Group {
    let rows = vec![
        body::row("tracked", || buttress_http::Body::new(Endless(CHUNK))),
        body::row("measured", || measured(&MetricsLayer::attempt(Http))),
        body::row("measured, per chunk", || {
            measured(&MetricsLayer::attempt(Http).per_chunk())
        })
        .unbounded(),
    ];
    Group {
        name: "metrics, one chunk",
        rows,
    }
}

/// With its model, its usage and its price.
fn all<P>(layer: MetricsLayer<P>) -> MetricsLayer<P, impl Describe<u32, u32> + Clone> {
    layer
        .provider("openai")
        .describe(|_: &u32| Labels::new().model("gpt-4.1-mini"))
        .price(|_, usage| Some(Money::from_pico(400_000).times(usage.total())))
}

fn used() -> impl Classify<u32, Failed> + Track<u32> + Carry<u32> + Clone {
    Plain.classify_with(|result: Result<&u32, &Failed>| {
        result.ok()?;
        Some(Outcome::SUCCESS.with_usage(Usage::new(1200, 340)))
    })
}

fn client(_: Ask) -> Ready<Result<Response<Endless>, buttress_http::BoxError>> {
    ready(Ok(Response::new(Endless(CHUNK))))
}

fn head(name: &str, layer: impl Fn() -> MetricsLayer<Http> + 'static) -> Row {
    Row::new(name, move || {
        install();
        let mut service = layer().layer(TrackLayer::default().layer(service_fn(client)));
        move || {
            black_box(call(&mut service, black_box(Request::new(()))));
        }
    })
}

/// The body of a response that is measured.
fn measured(layer: &MetricsLayer<Http>) -> buttress_http::Body<Endless> {
    install();
    let mut service = layer.layer(TrackLayer::default().layer(service_fn(client)));
    call(&mut service, Request::new(())).into_body()
}

fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: std::fmt::Debug,
{
    Row::new(name, move || {
        install();
        let mut service = make();
        move || {
            black_box(call(&mut service, black_box(1)));
        }
    })
}

/// Everything that the exporter does for one call with model, usage and price, by the handles alone:
/// what is beyond it and two clock reads is ours.
fn handles() -> impl FnMut(f64) {
    let labels = [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4.1-mini"),
    ];
    // With buckets, as those of a call have them.
    let histogram = |name| metrics::histogram!(name, &labels);
    let histograms = [
        histogram("gen_ai.client.operation.duration"),
        histogram("gen_ai.client.token.usage"),
        histogram("buttress.request.tokens"),
    ];
    let counters = ["bench.calls", "bench.cost"].map(|name| metrics::counter!(name, &labels));
    let in_flight = metrics::gauge!("bench.in_flight", &labels);
    move |value| {
        in_flight.increment(1.0);
        in_flight.decrement(1.0);
        for histogram in &histograms {
            histogram.record(value);
        }
        for counter in &counters {
            counter.increment(3);
        }
    }
}

/// The exporter, as its users install it, and somebody who takes from it what was recorded: else it
/// keeps every value, and what is measured is the growth of memory.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let histograms = METRICS.iter().filter(|metric| !metric.buckets.is_empty());
        let builder = histograms.fold(PrometheusBuilder::new(), |builder, metric| {
            let name = Matcher::Full(metric.name.to_owned());
            builder
                .set_buckets_for_metric(name, metric.buckets)
                .expect("there are some")
        });
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("the first one");
        // It ends with the process.
        thread::spawn(move || {
            loop {
                handle.run_upkeep();
                thread::park_timeout(Duration::from_millis(5));
            }
        });
    });
}
