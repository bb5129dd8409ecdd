//! The words in axum, whose error is `Infallible`: refusals are responses.

mod toys;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use buttress_core::{Class, Reason, Refused};
use buttress_http::{
    Http, HttpServer, TrackLayer,
    caller::Proxies,
    client::Client,
    standing::{Standing, StandingLayer},
};
use buttress_rate_limit::{Cost, Limiter, Quotas, Rate, RateLimitLayer, Unit};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
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

/// The limits of each caller, as its responses say.
fn standing<B>(limiter: Limiter<IpAddr>) -> StandingLayer<impl Fn(&Request<B>) -> Tell + Clone> {
    StandingLayer::new(move |request: &Request<B>| {
        let (limiter, caller) = (limiter.clone(), caller(request));
        let tell: Tell = Box::new(move || {
            let standing = limiter.standing(&caller).into_iter();
            standing
                .map(|limit| Standing {
                    name: limit.unit.as_str(),
                    quota: limit.rate.burst(),
                    window: limit.rate.window(),
                    remaining: limit.remaining,
                    full_in: limit.full_in,
                })
                .collect()
        });
        tell
    })
}

type Tell = Box<dyn FnOnce() -> Vec<Standing> + Send>;

/// Who asks, as far as a proxy on this machine says.
fn caller<B>(request: &Request<B>) -> IpAddr {
    let proxies = Proxies::trust(["127.0.0.0/8".parse().unwrap()]);
    let peer: &ConnectInfo<SocketAddr> = request.extensions().get().unwrap();
    proxies.caller(peer.0.ip(), request.headers())
}

#[tokio::test]
async fn a_server_says_to_each_caller_how_its_limits_stand_and_when_to_come_back() {
    // Two at once, and one in half an hour: nothing comes back while this runs.
    let quotas = Quotas::requests(Rate::per_hour(const { NonZeroU32::new(2).unwrap() }));
    let limiter = Limiter::keyed(quotas);
    let limit = RateLimitLayer::new(HttpServer, Quotas::none())
        .limiter(limiter.clone(), |request: &Request<Body>| caller(request));
    let stack = ServiceBuilder::new()
        .layer(standing(limiter))
        .layer(limit)
        .layer(TrackLayer::default());
    let router: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(stack);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });

    let client = Client::direct(&url).unwrap();
    for (from, path, status, left) in [
        ("192.0.2.1", "/", 200, 1),
        // It is known before anything is limited, and also where there is nothing.
        ("192.0.2.1", "/nowhere", 404, 0),
        ("192.0.2.1", "/", 429, 0),
        // What a caller makes up about itself is not believed.
        ("192.0.2.9, 192.0.2.1", "/", 429, 0),
        ("192.0.2.2", "/", 200, 1),
    ] {
        let request = Request::get(path)
            .header("x-forwarded-for", from)
            .body(Full::<Bytes>::default())
            .unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        assert_eq!(head.status, status, "{from} {path}");
        assert_eq!(head.headers["ratelimit-policy"], r#""requests";q=2;w=3600"#);
        let said = head.headers["ratelimit"].to_str().unwrap();
        let (remaining, full_in) = said.split_once(";t=").unwrap();
        assert_eq!(remaining, format!(r#""requests";r={left}"#));
        // From the seconds that pass meanwhile.
        let (full_in, full): (u64, u64) = (full_in.parse().unwrap(), 1_800 * (2 - left));
        assert!(full_in <= full && full - full_in < 120, "{full_in} s");
        let retry_after = head.headers.get(header::RETRY_AFTER);
        match retry_after.map(|after| after.to_str().unwrap().parse::<u64>().unwrap()) {
            None => assert_ne!(status, 429),
            Some(after) => {
                assert_eq!(status, 429);
                assert!(after <= 1_800 && 1_800 - after < 120, "{after} s");
            }
        }
        assert_eq!(
            body.collect().await.unwrap().to_bytes().is_empty(),
            status == 404
        );
    }
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
}

/// A server at a port of its own, and the client of one who asks six times.
async fn six_answers(router: Router) -> Vec<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::direct(&url).unwrap();
    let mut answers = Vec::new();
    for _ in 0..6 {
        let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
        let (head, body) = client.clone().oneshot(request).await.unwrap().into_parts();
        answers.push(head.status.as_u16());
        assert!(body.collect().await.is_ok());
    }
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    answers
}

/// Three requests, of a thousand tokens each, and then one in twenty minutes.
fn three() -> (Limiter, RateLimitLayer<HttpServer>) {
    let rate = |units| Rate::per_hour(NonZeroU32::new(units).unwrap());
    let limiter = Limiter::new(Quotas::requests(rate(3)).and_tokens(rate(9_000)));
    let layer = RateLimitLayer::new(HttpServer, limiter.clone());
    (limiter, layer)
}

#[tokio::test]
async fn l6_what_ones_own_handler_turned_away_was_a_request() {
    for status in [200, 400, 401, 403, 404, 422, 429, 500] {
        let (limiter, layer) = three();
        let layer = layer.cost(|_: &Request<Body>| Cost::tokens(900, 100));
        let handler = get(move || async move { StatusCode::from_u16(status).unwrap() });
        let router = Router::new()
            .route("/", handler)
            .layer((layer, TrackLayer::default()));
        let answers = six_answers(router).await;
        assert_eq!(answers, [status, status, status, 429, 429, 429]);
        // Of the tokens, what was certainly not used comes back.
        let turned_away = [400, 401, 403, 422, 429].contains(&status);
        let left = limiter.remaining(&(), Unit::Tokens).unwrap();
        assert_eq!(left >= 9_000, turned_away, "{status}: {left}");
    }
}

#[tokio::test]
async fn l6_what_a_layer_inside_refused_was_no_request() {
    let (outer, inner) = (three(), three());
    let refusing = PermitLayer::new(HttpServer, 0);
    let router = Router::new().route("/", get(|| async { "never" })).layer((
        outer.1,
        refusing,
        TrackLayer::default(),
    ));
    assert_eq!(six_answers(router).await, [429; 6]);
    assert_eq!(outer.0.remaining(&(), Unit::Requests), Some(3));

    // Also where axum has erased the body in between.
    let (outer, breaker) = (three(), breaker(HttpServer));
    let router = Router::new()
        .route("/", get(|| async { StatusCode::UNAUTHORIZED }))
        .layer((breaker.clone(), inner.1, TrackLayer::default()))
        .layer((outer.1, TrackLayer::default()));
    assert_eq!(
        six_answers(router).await,
        [401, 401, 401, 429, 429, 429],
        "three were the handler's, the rest the inner limit's"
    );
    assert_eq!(outer.0.remaining(&(), Unit::Requests), Some(0));
    assert_eq!(inner.0.remaining(&(), Unit::Requests), Some(0));
}
