use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Policy, Snapshot, State,
    machine::Phase,
    shared::{Shared, now},
};

/// One circuit, and the handle to it: to share it among layers, to look at it, and to steer it.
///
/// Clones are the same circuit.
///
/// # Examples
///
/// ```
/// use buttress_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Policy, State};
/// use buttress_core::Plain;
///
/// let breaker = CircuitBreaker::new(Policy::default());
/// let (chat, embeddings) = (
///     CircuitBreakerLayer::new(Plain).breaker(&breaker),
///     CircuitBreakerLayer::new(Plain).breaker(&breaker),
/// );
/// assert_eq!(breaker.state(), State::Closed);
///
/// // Maintenance:
/// breaker.force_open();
/// assert_eq!(chat.handle().state(), State::ForcedOpen);
/// breaker.reset();
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

// ===== impl CircuitBreaker =====

impl CircuitBreaker {
    /// A circuit that is closed.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let Policy {
            rules,
            name,
            observer,
        } = policy;
        Self {
            shared: Arc::new(Shared::new(rules, name, observer, now())),
        }
    }

    /// Where it stands. A circuit is open until the call that becomes its probe, also when its time
    /// is up.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.read(|machine| machine.phase().state())
    }

    /// The name of its [policy](Policy::name).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// When it lets a call through: zero, if it is due with the next one. `None`: it is not open, or
    /// nobody knows.
    #[must_use]
    pub fn next_probe(&self) -> Option<Duration> {
        let now = now();
        self.shared.read(|machine| machine.next_probe(now))
    }

    /// All that there is to see of it, at one moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = now();
        self.shared.read(|machine| Snapshot::of(machine, now))
    }

    /// Refuses every call, until it is steered otherwise.
    pub fn force_open(&self) {
        self.shared.steer(Phase::ForcedOpen);
    }

    /// Lets every call pass and counts none, until it is steered otherwise.
    pub fn force_closed(&self) {
        self.shared.steer(Phase::ForcedClosed);
    }

    /// Lets every call pass and counts them, and only [says](crate::CircuitEvent::WouldOpen) when it would
    /// have opened, until it is steered otherwise.
    pub fn observe_only(&self) {
        self.shared.steer(Phase::ObserveOnly);
    }

    /// Closes it, with nothing counted and nothing forced.
    pub fn reset(&self) {
        self.shared.steer(Phase::Closed);
    }

    /// Whether it can be forgotten: nobody else holds it, and nobody would miss it.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        // Whoever wants another handle while there is but one gets it from who asks here.
        Arc::strong_count(&self.shared) == 1 && self.shared.read(|machine| machine.is_idle(now))
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
