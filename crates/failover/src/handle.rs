use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Endpoint, EndpointsError,
    cool::Standing,
    set::{Shared, now},
    settings::Settings,
};

/// Sees the endpoints of a [`Failover`](crate::Failover), and changes them while calls are under way.
///
/// From then on nothing is sent to an endpoint that was removed, or whose weight became zero. A call
/// that is under way goes on with the endpoints that it began with, as far as they are there still, and
/// with those that were added when no other is left.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Endpoint, Failover, Weighted};
/// # let (old, new) = (1, 2);
///
/// let service = Failover::over(Plain, [Endpoint::new("old", old)])?.strategy(Weighted);
/// let handle = service.handle();
/// handle.add(Endpoint::new("new", new).weight(0))?;
/// handle.set_weight("new", 1)?; // half of the calls
/// handle.remove("old")?;
/// assert_eq!(handle.states()[0].name(), "new");
/// # Ok::<_, buttress_failover::EndpointsError>(())
/// ```
pub struct Handle<S> {
    shared: Arc<Shared<S>>,
    settings: Arc<Settings>,
}

/// How an endpoint stands at one time.
///
/// ```
/// use buttress_failover::Failover;
///
/// let handle = Failover::new(buttress_core::Plain, [(), ()]).handle();
/// let states = handle.states();
/// assert!(states.iter().all(|state| state.weight() == 1 && state.cooling().is_none()));
/// ```
#[derive(Clone, Debug)]
pub struct State {
    name: Arc<str>,
    weight: u32,
    cooling: Option<Duration>,
    recovering: Option<f64>,
    in_flight: u32,
    latency: Option<Duration>,
}

// ===== impl Handle =====

impl<S> Handle<S> {
    pub(crate) const fn new(shared: Arc<Shared<S>>, settings: Arc<Settings>) -> Self {
        Self { shared, settings }
    }

    /// Gives an endpoint another weight, at once. Zero: it gets no calls.
    ///
    /// # Errors
    ///
    /// If no endpoint has this name.
    pub fn set_weight(&self, name: &str, weight: u32) -> Result<(), EndpointsError> {
        self.shared.set_weight(name, weight)
    }

    /// How each endpoint stands, in their order.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let (set, now) = (self.shared.set(), now());
        let stamp = self.shared.draws.stamp(now);
        let states = set.members.iter().map(|member| {
            let standing = match member.cool.is_troubled() {
                true => member.cool.standing(now, self.settings.cool.ramp),
                false => Standing::Open,
            };
            let (cooling, recovering) = match standing {
                Standing::Open => (None, None),
                Standing::Recovering(share) => (None, Some(share as f64 / 2_f64.powi(64))),
                Standing::Cooling { until, .. } => (Some(until.duration_since(now)), None),
            };
            State {
                name: Arc::clone(&member.info.name),
                weight: member.weight(),
                cooling,
                recovering,
                in_flight: member.load.in_flight(),
                latency: member
                    .load
                    .estimate(stamp)
                    .map(|micros| Duration::from_secs_f64(micros / 1e6)),
            }
        });
        states.collect()
    }
}

impl<S: Clone> Handle<S> {
    /// Adds an endpoint, as the last one.
    ///
    /// # Errors
    ///
    /// If there would be too many, or one has this name already, or it cannot be a name.
    pub fn add(&self, endpoint: Endpoint<S>) -> Result<(), EndpointsError> {
        self.shared.add(endpoint)
    }

    /// Removes an endpoint. Calls that it serves by then go on.
    ///
    /// # Errors
    ///
    /// If no endpoint has this name, or it is the only one.
    pub fn remove(&self, name: &str) -> Result<(), EndpointsError> {
        self.shared.remove(name)
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("states", &self.states())
            .finish()
    }
}

// ===== impl State =====

impl State {
    /// The name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its weight.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// For how long it is left alone from now, if it is.
    #[must_use]
    pub const fn cooling(&self) -> Option<Duration> {
        self.cooling
    }

    /// Which part of its calls it gets, from 0 to 1, if it is coming back.
    #[must_use]
    pub const fn recovering(&self) -> Option<f64> {
        self.recovering
    }

    /// How many calls it has in flight. Zero unless the strategy [follows](crate::Strategy::follows).
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The estimated time to its first content, if the strategy follows and it has answered.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.latency
    }
}
