//! A bare hyper server under two layers: no request takes longer than a second, and there are at
//! most five a second.

use std::{convert::Infallible, env, error::Error, num::NonZeroU32, time::Duration};

use buttress_http::{HttpServer, TrackLayer};
use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::sleep};
use tower::{ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let five = const { NonZeroU32::new(5).unwrap() };
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(
            HttpServer,
            Quotas::requests(Quota::per_second(five)),
        ))
        .layer(TimeoutLayer::new(HttpServer).total(Duration::from_secs(1)))
        // Innermost: a call lasts until its body has ended.
        .layer(TrackLayer::default())
        .service(service_fn(hello));
    let service = TowerToHyperService::new(service);

    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(60)).await;
    }
    Ok(Response::new(Full::from("hello\n")))
}
