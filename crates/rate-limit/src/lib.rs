//! A tower layer that limits by requests and tokens, by key: reserved from an estimate, settled to
//! what was used.
mod algorithm;
mod ask;
mod course;
mod event;
mod future;
mod gcra;
mod guard;
mod layer;
mod limited;
mod limiter;
mod queue;
mod quotas;
mod rate;
mod service;
mod state;
mod store;
mod table;
mod window;

pub use governor::Quota;

pub use self::{
    algorithm::Algorithm,
    ask::{AllCalls, CostOf, KeyOf, LimitsOf, NoLimits, OneRequest},
    event::RateLimitEvent,
    future::ResponseFuture,
    gcra::Gcra,
    layer::RateLimitLayer,
    limited::{Limited, LimitedBy},
    limiter::{Hold, Key, Limiter, Reservation, Standing},
    quotas::{Cost, Quotas, Unit},
    rate::{Rate, RateError},
    service::RateLimit,
    store::Store,
    window::{SlidingCounter, SlidingLog},
};
