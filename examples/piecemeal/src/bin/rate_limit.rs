//! So many a minute, for each tenant.

use std::num::NonZeroU32;

use buttress_core::Plain;
use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let two = const { NonZeroU32::new(2).unwrap() };
    let limit = RateLimitLayer::new(Plain, Quotas::requests(Quota::per_minute(two)))
        .key(|(tenant, _): &(&'static str, u32)| *tenant);
    let service =
        ServiceBuilder::new()
            .layer(limit)
            .service(service_fn(|(_, number)| async move {
                Ok::<u32, BoxError>(number)
            }));
    for call in [("a", 1), ("a", 2), ("a", 3), ("b", 1)] {
        println!("{call:?}: {:?}", service.clone().oneshot(call).await);
    }
}
