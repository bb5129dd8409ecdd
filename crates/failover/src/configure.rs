//! How a failover is configured.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use buttress_core::{Classify, Outcome, RetryBudget, Trail};
use tower_service::Service;

use crate::{
    Decide, Failover, FailoverEvent, Info, Next,
    health::{Check, Probe},
    settings::Settings,
    snapshot::{Config, Snapshot},
};

impl<P: Clone, S, C: Clone, D: Clone, F: Clone> Failover<P, S, C, D, F> {
    /// How the next endpoint is chosen. Default: [`Ordered`](crate::Ordered).
    #[must_use]
    pub fn strategy<T>(self, strategy: T) -> Failover<P, S, T, D, F> {
        self.map(|config| Config {
            protocol: config.protocol,
            strategy,
            decide: config.decide,
            fallback: config.fallback,
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
    /// limit without a hint, and a refused credential, if the endpoint [says](crate::Endpoint::credential)
    /// which it uses. Failures of calls that were under way when it began to cool down are one with the
    /// failure that began it. A success ends the row: that of a streamed reply is its first content.
    /// Should it break off after that, whatever chose its endpoint, that is a failure too.
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
    /// To tell these apart, or to ask another endpoint's filter, say
    /// [`decide_with`](Failover::decide_with) here, or `classify_with` on the protocol, which sees the
    /// reply.
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
        let Snapshot { config, shared, .. } = &*self.snapshot;
        let probe = Probe::new(config.protocol.clone(), every, request, shared);
        let check = (!every.is_zero()).then(|| Arc::new(probe) as Arc<dyn Check>);
        self.set(|settings| settings.check = check)
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
        Self {
            snapshot: Arc::new(self.snapshot.with_settings(set)),
        }
    }

    fn map<D2, C2, F2>(
        self,
        map: impl FnOnce(Config<P, C, D, F>) -> Config<P, C2, D2, F2>,
    ) -> Failover<P, S, C2, D2, F2> {
        Failover {
            snapshot: Arc::new(self.snapshot.with_config(map)),
        }
    }
}
