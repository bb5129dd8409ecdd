// Without `TrackLayer`, nobody can tell when the body ends.
//! put `TrackLayer` innermost
//! nobody can tell when this body ends
#[path = "../toys/mod.rs"]
mod toys;

use buttress_core::check;
use buttress_http::{BoxError, Http};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use toys::permit::PermitLayer;
use tower::ServiceBuilder;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(PermitLayer::new(Http, 1))
        .service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
    check::<Request<Full<Bytes>>, _>(stack);
}
