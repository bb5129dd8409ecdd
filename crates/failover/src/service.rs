use std::{
    any::type_name,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Carry, Classify, Refuse, Replay, Track};
use tower_service::Service;

use crate::{
    ByClass, Decide, Endpoint, EndpointsError, Fallback, Handle, MAX_ENDPOINTS, NoFallback,
    Ordered, ResponseFuture, Strategy,
    set::Set,
    snapshot::{Config, Snapshot},
};

/// Sends each request to one of several endpoints, and to another one where that fails.
///
/// | | default |
/// |---|---|
/// | [`strategy`](Failover::strategy) | [`Ordered`]: the first that may be tried |
/// | [`max_attempts`](Failover::max_attempts) | 5 endpoints |
/// | [`ready_within`](Failover::ready_within) | 50 ms |
/// | [`cool_down`](Failover::cool_down) | 5 s for each failure in a row, at most 2 min |
/// | [`longest_hint`](Failover::longest_hint) | 10 min |
/// | [`ramp`](Failover::ramp) | 10 s |
/// | [`last_resort`](Failover::last_resort) | yes |
/// | [`on_unfit`](Failover::on_unfit) | [`Next::Nowhere`](crate::Next::Nowhere): it is the answer |
/// | [`decide_with`](Failover::decide_with) | as the class of the outcome says |
/// | [`budget`](Failover::budget) | none |
/// | [`health_check`](Failover::health_check) | none |
/// | [`fallback`](Failover::fallback) | none |
/// | [`always_tell`](Failover::always_tell) | no |
/// | [`seed`](Failover::seed) | chance |
/// | [`on_event`](Failover::on_event) | nobody listens |
///
/// It is ready itself: it chooses inside of its future, and readies a clone of the chosen endpoint
/// there. Clones share the endpoints with all that is known of them, and are cheap, whatever the
/// endpoints are. The settings are those of the service that they are called on, and of its later
/// clones.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Plain;
/// use buttress_failover::{Endpoint, Failover, Weighted};
/// # let (east, west) = ((), ());
///
/// let service = Failover::over(Plain, [Endpoint::new("east", east).weight(3), Endpoint::new("west", west)])?
///     .strategy(Weighted)
///     .cool_down(Duration::from_secs(10), Duration::from_secs(60));
/// # Ok::<_, buttress_failover::EndpointsError>(())
/// ```
pub struct Failover<P, S, C = Ordered, D = ByClass, F = NoFallback> {
    pub(crate) snapshot: Arc<Snapshot<P, S, C, D, F>>,
}

// ===== impl Failover =====

impl<P, S> Failover<P, S> {
    /// Over services of one type, in order of preference, named `1`, `2` and so on. `protocol` says
    /// what a result means and how a request is copied: `Plain`, `Http`, or what is made of them.
    ///
    /// None, or more than [`MAX_ENDPOINTS`], do not compile. For services of several types, see
    /// [`AnyService`](crate::AnyService).
    ///
    /// ```compile_fail
    /// use buttress_failover::Failover;
    ///
    /// let none: [(); 0] = [];
    /// let service = Failover::new(buttress_core::Plain, none);
    /// ```
    #[must_use]
    pub fn new<const N: usize>(protocol: P, services: [S; N]) -> Self {
        const {
            assert!(N > 0, "a failover needs an endpoint");
            assert!(N <= MAX_ENDPOINTS, "a failover has at most 128 endpoints");
        }
        let mut number = 0_u32;
        let endpoints = services.map(|service| {
            number += 1;
            Endpoint::new(number.to_string(), service)
        });
        Self::over(protocol, endpoints).expect("not too many, with names of their own")
    }

    /// Over endpoints, in order of preference.
    ///
    /// # Errors
    ///
    /// If there is none, or more than [`MAX_ENDPOINTS`], or two have one name, or one has a name that
    /// [cannot be one](Endpoint::new).
    pub fn over(
        protocol: P,
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
    ) -> Result<Self, EndpointsError> {
        let uneasy = Arc::default();
        let set = Set::new(endpoints, &uneasy)?;
        let config = Config {
            protocol,
            strategy: Ordered,
            decide: ByClass,
            fallback: NoFallback,
        };
        let snapshot = Snapshot::new(set, uneasy, config);
        Ok(Self {
            snapshot: Arc::new(snapshot),
        })
    }
}

impl<P, S, C, D, F> Failover<P, S, C, D, F> {
    /// A handle to see the endpoints, and to change them while calls are under way.
    #[must_use]
    pub fn handle(&self) -> Handle<S> {
        let settings = Arc::clone(self.snapshot.settings());
        Handle::new(Arc::clone(&self.snapshot.shared), settings)
    }
}

impl<P, S, C, D, F, Req> Service<Req> for Failover<P, S, C, D, F>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Replay<Req>
        + Carry<Req>,
    C: Strategy<Req>,
    D: Decide<Req>,
    F: Fallback<Req, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S, Req, C, D, F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if self.snapshot.shared.version() != self.snapshot.set.version {
            self.refresh();
        }
        if let Some(budget) = &self.snapshot.settings().budget {
            budget.deposit();
        }
        ResponseFuture::new(Arc::clone(&self.snapshot), request)
    }
}

impl<P, S, C, D, F> Failover<P, S, C, D, F> {
    #[cold]
    fn refresh(&mut self) {
        self.snapshot = Arc::new(self.snapshot.refreshed());
    }
}

impl<P, S, C, D, F> Clone for Failover<P, S, C, D, F> {
    fn clone(&self) -> Self {
        Self {
            snapshot: Arc::clone(&self.snapshot),
        }
    }
}

impl<P, S, C, D, F> fmt::Debug for Failover<P, S, C, D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.snapshot.shared.set();
        let names: Vec<_> = set.members.iter().map(|m| &m.info.name).collect();
        f.debug_struct("Failover")
            .field("protocol", &format_args!("{}", type_name::<P>()))
            .field("strategy", &format_args!("{}", type_name::<C>()))
            .field("endpoints", &names)
            .finish_non_exhaustive()
    }
}
