//! What HTTP means to the layers.

mod body;
#[cfg(feature = "client")]
pub mod client;
mod error;
mod hints;
mod judge;
mod protocol;
mod replay;
pub mod retry_after;
mod share;
mod shelf;
pub mod sse;
mod tail;
mod tape;
mod track;
mod waiting;

pub use self::{
    body::{Body, BodyError, Tracked},
    error::{BoxError, outcome_of_error},
    judge::{ByStatus, Judge, Meter, class_of_status},
    protocol::{Http, HttpServer, IdempotentHttp},
    replay::{ReplayBody, ReplayError, ReplayLayer, ReplayService, Replayable},
    share::Shared,
    track::{ResponseFuture, TrackLayer, TrackService},
};
