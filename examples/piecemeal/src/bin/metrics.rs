//! What happened, how long it took, what it used; here as a line for each call.

use buttress_core::Plain;
use buttress_metrics::{Labels, MetricsLayer};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let metrics = MetricsLayer::attempt(Plain)
        .describe(|model: &&'static str| Labels::new().model(model))
        .on_call(|call| println!("{call}"));
    let service = ServiceBuilder::new()
        .layer(metrics)
        .service(service_fn(|model| async move {
            match model {
                "small" => Ok("hello"),
                _ => Err(BoxError::from("no such model")),
            }
        }));
    for model in ["small", "large"] {
        // The line says how it went.
        let _ = service.clone().oneshot(model).await;
    }
}
