//! A tower layer that pays once.

mod cache;
mod call;
mod direct;
mod directives;
mod entry;
mod event;
mod flavours;
mod flight;
mod future;
mod key;
mod layer;
mod lifetime;
mod parts;
mod refresh;
mod seat;
mod service;
mod stats;
mod table;
mod waiters;

pub use buttress_core::{CacheStatus, Cached};

pub use self::{
    cache::Cache,
    directives::Directives,
    event::CacheEvent,
    flavours::{AsIs, Flavours},
    future::ResponseFuture,
    key::{CacheKey, Keyed, Tag},
    layer::{CacheLayer, Heeding, Only},
    lifetime::{Freshness, Lifetime, Negative},
    service::CacheService,
    stats::Statistics,
};
