use tower_layer::Layer;

use crate::{CircuitBreaker, CircuitBreakerService, Policy};

/// Refuses calls to an endpoint that keeps failing, and lets a few through to see whether it is
/// back.
///
/// | | default |
/// |---|---|
/// | [`policy`](CircuitBreakerLayer::policy) | [`Policy::default`] |
/// | [`breaker`](CircuitBreakerLayer::breaker) | one of its own |
///
/// The services that it makes share one circuit, with those of its clones.
///
/// # Examples
///
/// ```
/// use buttress_circuit_breaker::{CircuitBreakerLayer, Policy, Ratio, Window};
/// use buttress_core::Plain;
///
/// let half = Ratio::percent::<50>();
/// let layer = CircuitBreakerLayer::new(Plain)
///     .policy(Policy::failure_rate(half, Window::secs::<30>()));
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<P> {
    protocol: P,
    breaker: CircuitBreaker,
}

// ===== impl CircuitBreakerLayer =====

impl<P> CircuitBreakerLayer<P> {
    /// A circuit of the default policy. `protocol` says what a result means, how a response is
    /// followed to its end, and how a call is refused: `Plain`, `Http`, or what is made of them.
    #[must_use]
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            breaker: CircuitBreaker::default(),
        }
    }

    /// A new circuit of this policy. Default: [`Policy::default`].
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self {
            breaker: CircuitBreaker::new(policy),
            ..self
        }
    }

    /// This circuit, which it shares with whoever else has a handle to it. Default: one of its own.
    ///
    /// For layers side by side. One inside of another of the same circuit counts each call twice, and
    /// refuses the probe that the outer one lets through.
    #[must_use]
    pub fn breaker(self, breaker: &CircuitBreaker) -> Self {
        Self {
            breaker: breaker.clone(),
            ..self
        }
    }

    /// The handle to its circuit.
    #[must_use]
    pub fn handle(&self) -> CircuitBreaker {
        self.breaker.clone()
    }
}

impl<P: Clone, S> Layer<S> for CircuitBreakerLayer<P> {
    type Service = CircuitBreakerService<P, S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService::new(inner, self.protocol.clone(), self.breaker.clone())
    }
}
