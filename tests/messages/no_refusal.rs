// An error of the user's own that has no room for a refusal.
//! the service's error `Broken` is not made from a `Refused`
//! for an error type of your own crate: `impl From<Refused> for Broken`
//! put `BoxErrorLayer` of `buttress-http` innermost, under the layers
#[path = "../toys/mod.rs"]
mod toys;

use std::error::Error;

use buttress_core::{Fault, Plain, check};
use toys::permit::PermitLayer;
use tower::ServiceBuilder;

struct Broken;

impl Fault for Broken {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

fn main() {
    let stack = ServiceBuilder::new()
        .layer(PermitLayer::new(Plain, 1))
        .service_fn(|_: ()| async { Err::<(), _>(Broken) });
    check::<(), _>(stack);
}
