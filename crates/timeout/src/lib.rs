//! A tower layer that ends what takes too long.
mod event;
mod follow;
mod future;
mod layer;
mod limits;
mod pace;
mod plan;
mod service;
mod watch;

pub use self::{
    event::{Phase, TimeoutEvent},
    future::ResponseFuture,
    layer::TimeoutLayer,
    limits::{Limits, PerRequest, Same, Throughput},
    service::Timeout,
};
