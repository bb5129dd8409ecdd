//! A tower service that goes to another endpoint.
mod account;
mod cool;
mod decide;
mod endpoint;
mod erased;
mod event;
mod fallback;
mod future;
mod handle;
mod hash;
mod health;
mod load;
mod service;
mod set;
mod settings;
mod strategy;
mod watch;

pub use self::{
    decide::{ByClass, Decide, Next},
    endpoint::{Endpoint, Info},
    erased::{AnyFuture, AnyService},
    event::{FailoverEvent, Stop},
    fallback::{Fallback, NoFallback},
    future::ResponseFuture,
    handle::{Handle, State},
    hash::hash,
    service::Failover,
    set::{EndpointsError, MAX_ENDPOINTS, MAX_NAME},
    strategy::{
        Among, ByKey, Candidate, Candidates, Choice, LeastLoaded, Ordered, Strategy, StrategyExt,
        Variant, Variants, VariantsError, Weighted,
    },
};
