//! What HTTP means to the layers.

#[cfg(feature = "client")]
pub mod client;
pub mod retry_after;
pub mod sse;
