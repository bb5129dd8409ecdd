//! A tower layer that leaves a failing endpoint alone.

mod breaker;
mod event;
mod future;
mod gauge;
mod judgement;
mod keyed;
mod layer;
mod machine;
mod policy;
#[cfg(test)]
mod races;
mod ratio;
mod service;
mod sync;
mod wait;
mod window;

pub use self::{
    breaker::{CircuitBreaker, Counts, Probes, Snapshot},
    event::{Cause, CircuitEvent, State},
    future::ResponseFuture,
    keyed::{CircuitBreakers, KeyedCircuitBreakerLayer, KeyedCircuitBreakerService},
    layer::CircuitBreakerLayer,
    policy::Policy,
    ratio::{Ratio, RatioError},
    service::CircuitBreakerService,
    wait::Wait,
    window::{Window, WindowError},
};
