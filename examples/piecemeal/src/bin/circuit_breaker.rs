//! What is down is left alone.

use std::{num::NonZeroU32, time::Duration};

use buttress_circuit_breaker::{CircuitBreakerLayer, Policy, Wait};
use buttress_core::Plain;
use tower::{BoxError, Layer, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let three = const { NonZeroU32::new(3).unwrap() };
    let policy = Policy::consecutive_failures(three).wait(Wait::fixed(Duration::from_secs(10)));
    let layer = CircuitBreakerLayer::new(Plain).policy(policy);
    let down = service_fn(|(): ()| async { Err::<(), BoxError>("down".into()) });
    let (breaker, service) = (layer.handle(), layer.layer(down));
    for _ in 0..5 {
        let answer = service.clone().oneshot(()).await;
        println!("{answer:?}, and the circuit is {}", breaker.state());
    }
}
