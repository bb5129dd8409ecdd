// A streaming request body, and a retry that was not told.
//! cannot be sent more than once
//! `Http.once()` sends every request once
#[path = "../toys/mod.rs"]
mod toys;

use buttress_core::check;
use buttress_http::{BoxError, Http, TrackLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Full, combinators::BoxBody};
use toys::retry;
use tower::ServiceBuilder;

type Stream = BoxBody<Bytes, BoxError>;

fn main() {
    let service =
        tower::service_fn(|_: Request<Stream>| async { Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())) });
    let stack =
        ServiceBuilder::new().layer(retry(Http)).layer(TrackLayer::default()).service(service);
    check::<Request<Stream>, _>(stack);
}
