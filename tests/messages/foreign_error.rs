// Somebody else's error cannot be looked into.
//! a layer cannot look inside the error `ParseIntError`
//! put `BoxErrorLayer` of `buttress-http` innermost, under the layers
#[path = "../toys/mod.rs"]
mod toys;

use std::num::ParseIntError;

use buttress_core::{Plain, check};
use toys::metrics::MetricsLayer;
use tower::ServiceBuilder;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(MetricsLayer::attempt(Plain))
        .service_fn(|text: &'static str| async { text.parse::<u8>() as Result<u8, ParseIntError> });
    check::<&'static str, _>(stack);
}
