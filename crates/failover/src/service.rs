use std::{
    any::type_name,
    fmt,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Carry, Classify, Outcome, Refuse, Replay, RetryBudget, Track, Trail};
use tower_service::Service;

use crate::{
    ByClass, Decide, Endpoint, EndpointsError, FailoverEvent, Fallback, Handle, Info,
    MAX_ENDPOINTS, Next, NoFallback, Ordered, ResponseFuture, Strategy,
    health::{Check, Probe},
    set::{Set, Shared},
    settings::Settings,
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
/// | [`on_unfit`](Failover::on_unfit) | [`Next::Nowhere`]: it is the answer |
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
    snapshot: Arc<Snapshot<P, S, C, D, F>>,
}

/// All that a call needs, in one pointer.
pub(crate) struct Snapshot<P, S, C, D, F> {
    pub(crate) set: Arc<Set<S>>,
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) config: Arc<Config<P, S, C, D, F>>,
}

pub(crate) struct Config<P, S, C, D, F> {
    pub(crate) protocol: P,
    pub(crate) strategy: C,
    pub(crate) decide: D,
    pub(crate) fallback: F,
    pub(crate) settings: Arc<Settings>,
    pub(crate) check: Option<Arc<dyn Check<S>>>,
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
        let set = Set::new(endpoints).expect("not too many, with names of their own");
        Self::with(protocol, set)
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
        Ok(Self::with(protocol, Set::new(endpoints)?))
    }

    fn with(protocol: P, set: Set<S>) -> Self {
        let set = Arc::new(set);
        let config = Config {
            protocol,
            strategy: Ordered,
            decide: ByClass,
            fallback: NoFallback,
            settings: Arc::default(),
            check: None,
        };
        let snapshot = Snapshot {
            shared: Arc::new(Shared::new(&set)),
            set,
            config: Arc::new(config),
        };
        Self {
            snapshot: Arc::new(snapshot),
        }
    }
}

impl<P: Clone, S, C: Clone, D: Clone, F: Clone> Failover<P, S, C, D, F> {
    /// How the next endpoint is chosen. Default: [`Ordered`].
    #[must_use]
    pub fn strategy<T>(self, strategy: T) -> Failover<P, S, T, D, F> {
        self.map(|config| Config {
            protocol: config.protocol,
            strategy,
            decide: config.decide,
            fallback: config.fallback,
            settings: config.settings,
            check: config.check,
        })
    }

    /// Asks `decide` where a call goes after an attempt that failed, with its outcome and its
    /// endpoint; where it answers `None`, the class of the outcome decides. Default: that alone.
    ///
    /// It runs after each failed attempt, as long as the request is kept. It cannot exceed the number
    /// of attempts, the budget or the deadline, nor repeat what must not be repeated.
    ///
    /// ```
    /// use buttress_core::{Class, Plain, Sent};
    /// use buttress_failover::{Failover, Next};
    /// # let (one, other) = ((), ());
    ///
    /// // A certificate that is not to be trusted, a name that is not known: nothing was sent.
    /// let service = Failover::new(Plain, [one, other]).decide_with(|_: &String, outcome, _| {
    ///     (outcome.class == Class::Unfit && outcome.sent == Sent::No).then_some(Next::Any)
    /// });
    /// ```
    #[must_use]
    pub fn decide_with<Req, T>(self, decide: T) -> Failover<P, S, C, T, F>
    where
        T: Fn(&Req, &Outcome, &Info) -> Option<Next> + Decide<Req>,
    {
        self.map(|config| Config {
            protocol: config.protocol,
            strategy: config.strategy,
            decide,
            fallback: config.fallback,
            settings: config.settings,
            check: config.check,
        })
    }

    /// What answers when every endpoint is spent, or as many were tried as are allowed: a static
    /// reply, an old one, the promise to call back. It gets the request, and the trail of what failed.
    /// Default: none, and the first real failure is the answer.
    ///
    /// It is not asked about what no endpoint would serve, such as an invalid request. Its response is
    /// marked: [`Trail::is_fallback`], where the protocol has a place for it, and [`Stop::Fallback`]
    /// in the event. If it fails, the first real failure is the answer still.
    ///
    /// A service is one too: `move |request, _| service.clone().oneshot(request)`. With a fallback,
    /// the request is copied for the last endpoint as well.
    ///
    /// Where errors are a `Box<dyn Error>`, a call with a fallback cannot be awaited in a task that is
    /// spawned, for the compiler loses its way ([rust-lang/rust#110338]). Of an
    /// [`AnyService`](crate::AnyService) of the failover it can.
    ///
    /// ```
    /// use buttress_core::{Plain, Trail};
    /// use buttress_failover::Failover;
    /// use tower::{BoxError, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let down = service_fn(|_: u32| async { Err::<String, _>(BoxError::from("down")) });
    /// let service = Failover::new(Plain, [down, down]).fallback(|number: u32, trail: Trail| async move {
    ///     Ok(format!("we will look into {number}: {} failed", trail.tried().len()))
    /// });
    /// assert_eq!(service.oneshot(7).await.unwrap(), "we will look into 7: 2 failed");
    /// # }
    /// ```
    ///
    /// [`Stop::Fallback`]: crate::Stop::Fallback
    /// [rust-lang/rust#110338]: https://github.com/rust-lang/rust/issues/110338
    #[must_use]
    pub fn fallback<Req, A, T>(self, fallback: T) -> Failover<P, S, C, D, T>
    where
        T: Fn(Req, Trail) -> A,
        A: Future,
    {
        self.map(|config| Config {
            protocol: config.protocol,
            strategy: config.strategy,
            decide: config.decide,
            fallback,
            settings: config.settings,
            check: config.check,
        })
    }

    /// How many endpoints are tried for one call at most. Default: 5. Those that are passed over do
    /// not count.
    #[must_use]
    pub fn max_attempts(self, attempts: NonZeroU32) -> Self {
        self.set(|settings| settings.max_attempts = attempts)
    }

    /// For how long the chosen endpoint is waited for to become ready; then it is passed over, and
    /// another one is chosen. Default: 50 ms. With zero, one that is not ready at once is passed over;
    /// with `Duration::MAX`, none is. The deadline that a request carries ends the wait too.
    #[must_use]
    pub fn ready_within(self, time: Duration) -> Self {
        self.set(|settings| settings.ready_within = time)
    }

    /// For how long an endpoint is left alone after n failures in a row: `base` × n, at most `cap`.
    /// Default: 5 s and 2 min. With zero, only what the servers ask for counts.
    ///
    /// A failure is what says that it does not work ([`Health::Bad`](buttress_core::Health)), a rate
    /// limit without a hint, and a refused credential, if the endpoint [says](Endpoint::credential)
    /// which it uses. Failures of calls that were under way when it began to cool down are one with the
    /// failure that began it. A success ends the row: that of a streamed reply is its first content.
    /// What breaks off after it is a failure to a strategy that [follows](Strategy::follows) replies, and
    /// is not seen with another one.
    #[must_use]
    pub fn cool_down(self, base: Duration, cap: Duration) -> Self {
        self.set(|settings| {
            settings.cool.base = base;
            settings.cool.cap = cap;
        })
    }

    /// For how long an endpoint is left alone at most because its server asked for it. Default: 10
    /// min. Of a server's word and [`cool_down`](Failover::cool_down) the later end counts.
    #[must_use]
    pub fn longest_hint(self, time: Duration) -> Self {
        self.set(|settings| settings.cool.longest_hint = time)
    }

    /// For how long an endpoint that has cooled down gets only a part of its calls, from a sixteenth to
    /// all of them. Default: 10 s. With zero, it gets all of them at once.
    #[must_use]
    pub fn ramp(self, time: Duration) -> Self {
        self.set(|settings| settings.cool.ramp = time)
    }

    /// Whether endpoints that are cooling down after failures are tried when no other is left, the
    /// one that is due first before the others. Default: yes, so that an outage that is over is not
    /// prolonged. What its server asked to be left alone is never tried.
    #[must_use]
    pub fn last_resort(self, tried: bool) -> Self {
        self.set(|settings| settings.last_resort = tried)
    }

    /// Where a call goes that an endpoint cannot serve ([`Unfit`](buttress_core::Class::Unfit)): too
    /// long, a model that it does not have, but also a certificate that is not to be trusted. Default:
    /// [`Next::Nowhere`]. What a content filter refused
    /// ([`Finish::Filtered`](buttress_core::Finish::Filtered)) is the answer, whatever stands here.
    ///
    /// To tell these apart, or to ask another endpoint's filter, say [`decide_with`](Failover::decide_with) here, or `classify_with` on the
    /// protocol, which sees the reply.
    #[must_use]
    pub fn on_unfit(self, next: Next) -> Self {
        self.set(|settings| settings.on_unfit = next)
    }

    /// What pays for every attempt after the first of a call, unless nothing was sent before: give
    /// clones of one budget to several, and they stay within it together. Each call earns its share
    /// here once; a retry inside that has the same budget earns for the calls that reach it. Default:
    /// none, any number of calls may go elsewhere.
    #[must_use]
    pub fn budget<B>(self, budget: B) -> Self
    where
        B: RetryBudget + Send + Sync + 'static,
    {
        self.set(|settings| settings.budget = Some(Arc::new(budget)))
    }

    /// Asks an endpoint that is cooling down every so often, give or take a half, whether it works
    /// again: `request` makes the request, and the outcome of its reply is as good as a call's. A
    /// success ends the cool-down, and the endpoint comes back little by little; a failure makes it
    /// longer. An outcome that says nothing of the endpoint's health changes nothing. One that asked to
    /// be left alone is not asked before that time is over. Default: no, since probes may cost money.
    ///
    /// The probe is the one thing here that goes on beside the calls: a task of the runtime in which the
    /// failure was seen, one at a time for each endpoint. It ends when the endpoint no longer cools
    /// down, has no weight or was removed, or the last clone of this service is gone. A probe is given up
    /// after `every`, or a second if that is longer. With zero, there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_core::Plain;
    /// use buttress_failover::Failover;
    /// use tower::service_fn;
    ///
    /// let model = service_fn(|prompt: String| async move { Ok::<_, std::io::Error>(prompt) });
    /// let service = Failover::new(Plain, [model, model])
    ///     .health_check(Duration::from_secs(5), |_| String::from("ping"));
    /// ```
    #[must_use]
    pub fn health_check<Req, T>(self, every: Duration, request: T) -> Self
    where
        T: Fn(&Info) -> Req + Send + Sync + 'static,
        P: Classify<S::Response, S::Error> + Send + Sync + 'static,
        S: Service<Req> + Clone + Send + Sync + 'static,
        S::Future: Send,
        Req: Send + 'static,
    {
        let protocol = self.snapshot.config.protocol.clone();
        self.map(|mut config| {
            let probe = Probe::new(protocol, every, request);
            config.check = (!every.is_zero()).then(|| Arc::new(probe) as Arc<dyn Check<S>>);
            config
        })
    }

    /// Says on every response which endpoint it is of, and not only where one before it failed: see
    /// [`Trail`]. Over http, that is an allocation a call. Default: no.
    #[must_use]
    pub fn always_tell(self) -> Self {
        self.set(|settings| settings.always_tell = true)
    }

    /// Draws from this seed: the same calls, one after another, go to the same endpoints. Default:
    /// another one for each failover.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.snapshot.shared.draws.seed(seed);
        self
    }

    /// Calls `observer` with every [`FailoverEvent`], in the task in which it happens. A second
    /// observer takes the place of the first. Default: none.
    #[must_use]
    pub fn on_event<T>(self, observer: T) -> Self
    where
        T: Fn(&FailoverEvent<'_>) + Send + Sync + 'static,
    {
        self.set(|settings| settings.observer = Some(Arc::new(observer)))
    }

    fn set(self, set: impl FnOnce(&mut Settings)) -> Self {
        self.map(|mut config| {
            set(Arc::make_mut(&mut config.settings));
            config
        })
    }

    pub(crate) fn map<D2, C2, F2>(
        self,
        map: impl FnOnce(Config<P, S, C, D, F>) -> Config<P, S, C2, D2, F2>,
    ) -> Failover<P, S, C2, D2, F2> {
        let Snapshot {
            set,
            shared,
            config,
        } = Arc::unwrap_or_clone(self.snapshot);
        let config = Arc::new(map(Arc::unwrap_or_clone(config)));
        Failover {
            snapshot: Arc::new(Snapshot {
                set,
                shared,
                config,
            }),
        }
    }
}

impl<P, S, C, D, F> Failover<P, S, C, D, F> {
    /// A handle to see the endpoints, and to change them while calls are under way.
    #[must_use]
    pub fn handle(&self) -> Handle<S> {
        let settings = Arc::clone(&self.snapshot.config.settings);
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
        ResponseFuture::new(Arc::clone(&self.snapshot), request)
    }
}

impl<P, S, C, D, F> Failover<P, S, C, D, F> {
    #[cold]
    fn refresh(&mut self) {
        let mut snapshot = Snapshot::clone(&self.snapshot);
        snapshot.set = snapshot.shared.set();
        self.snapshot = Arc::new(snapshot);
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

// ===== impl Snapshot =====

impl<P, S, C, D, F> Clone for Snapshot<P, S, C, D, F> {
    fn clone(&self) -> Self {
        Self {
            set: Arc::clone(&self.set),
            shared: Arc::clone(&self.shared),
            config: Arc::clone(&self.config),
        }
    }
}

// ===== impl Config =====

impl<P: Clone, S, C: Clone, D: Clone, F: Clone> Clone for Config<P, S, C, D, F> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            strategy: self.strategy.clone(),
            decide: self.decide.clone(),
            fallback: self.fallback.clone(),
            settings: Arc::clone(&self.settings),
            check: self.check.clone(),
        }
    }
}
