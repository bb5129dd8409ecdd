//! What takes too long is given up.

use std::time::Duration;

use buttress_core::Plain;
use buttress_timeout::TimeoutLayer;
use tokio::time::sleep;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let slow = service_fn(|millis: u64| async move {
        sleep(Duration::from_millis(millis)).await;
        Ok::<_, BoxError>(millis)
    });
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Plain).total(Duration::from_millis(100)))
        .service(slow);
    for millis in [10, 10_000] {
        println!("{:?}", service.clone().oneshot(millis).await);
    }
}
