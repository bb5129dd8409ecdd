//! One call for all who ask the same.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use buttress_cache::{CacheLayer, Keyed};
use buttress_core::Plain;
use tower::{BoxError, Layer, ServiceExt, service_fn};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let slow = service_fn(|word: &'static str| async move {
        CALLS.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, BoxError>(word.to_uppercase())
    });
    let layer = CacheLayer::new(Plain, |word: &&'static str| Keyed::of(word));
    let (cache, service) = (layer.handle(), layer.layer(slow));
    let ask = || service.clone().oneshot("hello");
    let (one, other) = tokio::try_join!(ask(), ask())?;
    println!("{one}, {other}, {}, after {CALLS:?} call", ask().await?);
    println!(
        "{:?} of the calls were saved",
        cache.statistics().hit_rate()
    );
    Ok(())
}
