//! What HTTP means to the layers.

mod body;
#[cfg(feature = "client")]
pub mod client;
mod error;
mod hints;
mod judge;
mod peek;
mod protocol;
mod replay;
pub mod retry_after;
pub mod sse;
mod tail;
mod track;

pub use self::{
    body::{Body, BodyError, Tracked},
    error::{BoxError, outcome_of_error},
    judge::{ByStatus, Judge, Meter, class_of_status},
    protocol::{Http, HttpServer, IdempotentHttp},
    replay::Replayable,
    tail::Link,
    track::{ResponseFuture, TrackLayer, TrackService},
};
