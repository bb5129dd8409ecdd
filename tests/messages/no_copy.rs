// A request that cannot be copied, and a retry that was not told.
//! cannot copy a `Unique` to send it again
//! say `.once()` on the protocol
#[path = "../toys/mod.rs"]
mod toys;

use buttress_core::{Plain, Refused, check};
use toys::retry;
use tower::ServiceBuilder;

struct Unique;

fn main() {
    let service = tower::service_fn(|_: Unique| async { Ok::<(), Refused>(()) });
    let stack = ServiceBuilder::new().layer(retry(Plain)).service(service);
    check::<Unique, _>(stack);
}
