//! A gRPC service that admits three calls a second, and a client that retries and counts.

mod greeter;

use std::{
    error::Error,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_http::{BoxErrorLayer, Grpc, GrpcServer, Http, ReplayBody, ReplayLayer, TrackLayer};
use buttress_metrics::MetricsLayer;
use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
use buttress_retry::{RetryEvent, RetryLayer};
use greeter::{GreeterClient, GreeterServer, Greeting, Name};
use http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use tonic::{
    Response, Status,
    body::Body,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, service_fn};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let recorder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .build_recorder();
    let scrape = recorder.handle();
    metrics::set_global_recorder(recorder)?;

    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    tokio::spawn(serve(incoming));

    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
    let stack = ServiceBuilder::new()
        .layer(MetricsLayer::request(Http).operation("greet"))
        // What a retry may have to send again is kept.
        .layer(ReplayLayer::new())
        .layer(RetryLayer::new(Http).on_event(say))
        .layer(CircuitBreakerLayer::new(Http))
        .layer(MetricsLayer::attempt(Http).operation("greet"))
        // The status in the trailers is what became of a call.
        .layer(TrackLayer::new(Grpc))
        .layer(BoxErrorLayer)
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(channel);
    let mut client = GreeterClient::new(stack);
    for name in ["Ada", "Charles", "Grace"] {
        println!("{}", client.greet(name).await?);
    }
    let counted = scrape.render();
    for line in counted.lines().filter(|line| line.contains("_total{")) {
        println!("{line}");
    }
    Ok(())
}

async fn serve(incoming: TcpIncoming) -> Result<(), tonic::transport::Error> {
    let three = const { NonZeroU32::new(3).unwrap() };
    let limit = Quotas::requests(Quota::per_second(three));
    let layers = ServiceBuilder::new()
        .layer(RateLimitLayer::new(GrpcServer, limit))
        .layer(TrackLayer::new(Grpc))
        .into_inner();
    let greeter = GreeterServer::new(service_fn(greet));
    let server = Server::builder().layer(layers);
    server.serve_with_incoming(greeter, incoming).await
}

/// Not at home for the first caller.
async fn greet(name: tonic::Request<Name>) -> Result<Response<Greeting>, Status> {
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Status::unavailable("not up yet")),
        _ => Ok(Response::new(Greeting {
            text: format!("Hello, {}!", name.into_inner().name),
        })),
    }
}

fn say(event: &RetryEvent<'_>) {
    if let RetryEvent::Again { outcome, delay, .. } = event {
        println!("{}, again in {} ms", outcome.class, delay.as_millis());
    }
}
