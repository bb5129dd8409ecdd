//! The words in axum, whose error is `Infallible`: refusals are responses.

mod toys;

use std::convert::Infallible;

use axum::{Router, body::Body, routing::get};
use buttress_core::{Class, Reason, Refused};
use buttress_http::{Http, HttpServer, TrackLayer};
use http::{Request, StatusCode};
use tower::{Service, ServiceBuilder, ServiceExt};
use toys::{breaker, failures, metrics::MetricsLayer, permit::PermitLayer};

fn request() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn layers_go_on_a_router_without_an_error_handler() {
    let (permits, metrics) = (
        PermitLayer::new(HttpServer, 1),
        MetricsLayer::attempt(HttpServer),
    );
    let stack = ServiceBuilder::new()
        .layer(metrics.clone())
        .layer(permits.clone())
        .layer(TrackLayer::default());
    let router: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(stack);

    let first = router.clone().oneshot(request()).await.unwrap();
    assert_eq!((first.status(), permits.free()), (StatusCode::OK, 0));
    let second = router.clone().oneshot(request()).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = axum::body::to_bytes(first.into_body(), 100).await.unwrap();
    assert_eq!((body.as_ref(), permits.free()), (&b"hello"[..], 1));
    assert_eq!(metrics.classes(), [Class::Refused, Class::Success]);
}

#[tokio::test]
async fn a_refusal_is_known_outside_though_axum_erased_its_body() {
    let (breaker, metrics) = (breaker(HttpServer), MetricsLayer::attempt(HttpServer));
    let inner = ServiceBuilder::new()
        .layer(PermitLayer::new(HttpServer, 0))
        .layer(TrackLayer::default());
    let outer = ServiceBuilder::new()
        .layer(metrics.clone())
        .layer(breaker.clone())
        .layer(TrackLayer::default());
    // Two calls of `layer`: between them, axum boxes service and body.
    let router: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(inner)
        .layer(outer);

    for _ in 0..5 {
        let response = router.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let refused: &Refused = response.extensions().get().unwrap();
        assert_eq!(refused.reason(), Reason::QueueFull);
    }
    assert_eq!(metrics.classes(), [Class::Refused; 5]);
    assert_eq!(
        failures(&breaker),
        0,
        "a 429 of our own says nothing about the handler's health"
    );
}

#[tokio::test]
async fn state_is_shared_among_the_routes_that_axum_applies_a_layer_to() {
    let permits = PermitLayer::new(HttpServer, 1);
    let stack = ServiceBuilder::new()
        .layer(permits.clone())
        .layer(TrackLayer::default());
    let router: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/other", get(|| async { "hello" }))
        .layer(stack);

    let held = router.clone().oneshot(request()).await.unwrap();
    let other = Request::get("/other").body(Body::empty()).unwrap();
    let refused = router.clone().oneshot(other).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(held);
    assert_eq!(permits.free(), 1);
}

#[tokio::test]
async fn a_service_that_cannot_fail_takes_http_server_and_never_http() {
    fn answers<S: Service<Request<Body>, Error = Infallible>>(_: &S) {}

    let service = ServiceBuilder::new()
        .layer(PermitLayer::new(HttpServer, 1))
        .layer(TrackLayer::default())
        .service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
    answers(&service);
    // `Http` reads results of `Infallible` as well; only to refuse, it asks for an error.
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::attempt(Http))
        .layer(TrackLayer::default())
        .service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
    answers(&service);
}
