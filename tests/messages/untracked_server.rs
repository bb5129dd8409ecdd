// In axum, `Router::layer` called twice boxes the body that `TrackLayer` has made.
//! `HttpServer` cannot refuse
//! nobody can tell when this body ends
//! put both into one: `.layer((this, TrackLayer::default()))`
#[path = "../toys/mod.rs"]
mod toys;

use std::convert::Infallible;

use buttress_core::check;
use buttress_http::{BoxError, HttpServer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use toys::permit::PermitLayer;
use tower::ServiceBuilder;

type Boxed = BoxBody<Bytes, BoxError>;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(PermitLayer::new(HttpServer, 1))
        .service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Boxed::default())) });
    check::<Request<()>, _>(stack);
}
