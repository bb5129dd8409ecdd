//! What fails at first is asked again.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use buttress_core::Plain;
use buttress_retry::RetryLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let flaky = service_fn(|name: &'static str| async move {
        match CALLS.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::Error::other("not now")),
            _ => Ok(format!("hello {name}")),
        }
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Plain))
        .service(flaky);
    println!("{:?}, after {CALLS:?} calls", service.oneshot("you").await);
}
