//! Layers that do the same twice, with another between them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_retry::RetryLayer;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn r13_a_retry_inside_of_a_cache_stands_down_for_the_one_outside() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let down = service_fn(move |_: Request<Bytes>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Full::<Bytes>::from("down"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        async { Ok::<_, BoxError>(response) }
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Http))
        .layer(CacheLayer::new(Http, |ask: &Request<Bytes>| {
            Keyed::of(ask.body())
        }))
        .layer(RetryLayer::new(Http))
        .layer(TrackLayer::default())
        .service(down);
    let response = service.oneshot(Request::new(Bytes::from("hi"))).await;
    assert_eq!(response.unwrap().status(), 503);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}
