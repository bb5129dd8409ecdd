//! An axum service that gains limits, a cache and metrics on one of its routes.

use std::{
    env,
    error::Error,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, Request},
    routing::get,
};
use buttress_cache::{CacheLayer, Freshness, Keyed};
use buttress_http::{
    HttpServer, TrackLayer,
    standing::{Standing, StandingLayer},
};
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .build_recorder();
    let scrape = recorder.handle();
    metrics::set_global_recorder(recorder)?;

    let five = const { NonZeroU32::new(5).unwrap() };
    let limit =
        RateLimitLayer::new(HttpServer, Quotas::requests(Quota::per_minute(five))).key(caller);
    let limits = limit.store().clone();
    let slow = ServiceBuilder::new()
        .layer(MetricsLayer::request(HttpServer).operation("translate"))
        // A hit costs nothing: the cache stands outside of the limit.
        .layer(CacheLayer::new(HttpServer, question).lifetime(Freshness::new(HOUR)))
        .layer(StandingLayer::new(move |request: &Request| {
            let (limits, caller) = (limits.clone(), caller(request));
            move || limits.standing(&caller).iter().map(told).collect()
        }))
        .layer(limit)
        .layer(TrackLayer::default());
    let app = Router::new()
        .route("/translate/{word}", get(translate).layer(slow))
        .route("/", get(|| async { "hello\n" }))
        .route("/metrics", get(move || async move { scrape.render() }));

    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

const HOUR: Duration = Duration::from_secs(3600);

/// What the service did before.
async fn translate(Path(word): Path<String>) -> String {
    sleep(Duration::from_secs(1)).await;
    format!("{}\n", word.chars().rev().collect::<String>())
}

/// Whose limit it is.
fn caller(request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

/// All that the reply depends on: it is a GET, without cookies, and nobody's in particular.
fn question(request: &http::Request<Body>) -> Keyed {
    Keyed::of(&(request.method(), request.uri()))
}

fn told(standing: &buttress_rate_limit::Standing) -> Standing {
    Standing {
        name: "requests",
        quota: standing.rate.units(),
        window: standing.rate.window(),
        remaining: standing.remaining,
        full_in: standing.full_in,
    }
}
