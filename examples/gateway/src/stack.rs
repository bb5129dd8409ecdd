//! The layers that every attempt at an endpoint passes, and the client at their bottom.

use std::{sync::Arc, time::Duration};

use buttress_circuit_breaker::{
    CircuitBreaker, CircuitBreakerLayer, CircuitBreakerService as Circuit, Policy, Wait,
};
use buttress_core::{Carry, Replay};
use buttress_http::{
    BoxErrorLayer, BoxErrorService, Http, Judge, TrackLayer, TrackService, client::Client,
};
use buttress_llm::{
    Dialect,
    keys::{self, CredentialsLayer, CredentialsService, Keys},
};
use buttress_metrics::{MetricsLayer, MetricsService};
use buttress_rate_limit::Limiter;
use buttress_retry::{Retry, RetryEvent, RetryLayer, Stop};
use buttress_timeout::{Timeout, TimeoutEvent, TimeoutLayer};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::Instant;
use tower::ServiceBuilder;

use crate::{
    config,
    journal::Journal,
    quota::{self, OfEndpoint},
    stats::Counters,
    story::{Story, Waiting},
    telemetry::{Costs, Described, Telemetry},
};

/// The stack of one endpoint: it retries as `P` says, and its replies are read by `J`.
pub(crate) type Stack<J, P> =
    Retry<P, Circuit<P, OfEndpoint<P, Measured<P, Timeout<Http, CredentialsService<Tracked<J>>>>>>>;

type Measured<P, S> = MetricsService<P, Described, S>;

type Tracked<J> = TrackService<BoxErrorService<Client>, J, Costs>;

/// What a stack is made of, but for how it reads replies.
pub(crate) struct Parts {
    pub(crate) credentials: CredentialsLayer,
    pub(crate) retry: config::Retry,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) limiter: Limiter,
    pub(crate) limited: bool,
    /// How long a call waits for its turn at most.
    pub(crate) wait: Option<Duration>,
    pub(crate) dialect: Dialect,
    pub(crate) client: Client,
    pub(crate) provider: Arc<str>,
    /// Host and port of its base URL.
    pub(crate) server: (String, u16),
    pub(crate) costs: Costs,
    pub(crate) telemetry: Telemetry,
    pub(crate) observer: Observer,
}

/// Tells what happens in the layers of an endpoint to whoever shows it.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) endpoint: Arc<str>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Journal,
    pub(crate) events: buttress_metrics::Observer,
}

// ===== impl Parts =====

impl Parts {
    /// Puts a stack together, outermost layer first.
    ///
    /// Concurrency will stand below the rate limit: every attempt passes it anew.
    pub(crate) fn stack<J, P>(
        &self,
        protocol: P,
        attempt: TimeoutLayer<Http>,
        track: TrackLayer<J>,
    ) -> Stack<J, P>
    where
        J: Judge + Clone,
        P: Replay<Request<Full<Bytes>>> + Carry<Request<Full<Bytes>>> + Clone,
    {
        let config::Retry {
            attempts,
            backoff,
            budget,
        } = self.retry.clone();
        let [retries, limits, timeouts] = [(); 3].map(|()| self.observer.clone());
        // Without a quota, nobody waits.
        let limited = self.limited;
        let limit = quota::of_endpoint(protocol.clone(), &self.limiter, self.dialect, self.wait)
            .on_event(move |event| {
                if limited {
                    limits.events.see(event);
                }
                quota::note(event, &limits.endpoint, &limits.journal);
            });
        ServiceBuilder::new()
            .layer(
                RetryLayer::new(protocol.clone())
                    .max_attempts(attempts)
                    .backoff(backoff)
                    .budget(budget)
                    .on_event(move |event| retries.retry(event)),
            )
            .layer(CircuitBreakerLayer::new(protocol.clone()).breaker(&self.breaker))
            .layer(limit)
            .layer(self.measured(protocol))
            .layer(attempt.on_event(move |event| timeouts.timeout(event)))
            .layer(self.credentials.clone())
            .layer(track.price(self.costs.clone()))
            .layer(BoxErrorLayer)
            .service(self.client.clone())
    }
}

impl Parts {
    /// Measures each attempt.
    fn measured<P>(&self, protocol: P) -> MetricsLayer<P, Described> {
        let (host, port) = &self.server;
        self.telemetry
            .attempts(protocol)
            .provider(&self.provider)
            .server(host, *port)
            .endpoint(&self.observer.endpoint)
    }
}

// ===== impl Observer =====

impl Observer {
    /// The keys of the endpoint, which its stacks share.
    pub(crate) fn credentials(&self, dialect: Dialect, keys: Option<Keys>) -> CredentialsLayer {
        let observer = self.clone();
        match keys {
            Some(keys) => CredentialsLayer::new(dialect, keys),
            None => CredentialsLayer::without_keys(dialect),
        }
        .on_event(move |event| observer.key(event))
    }

    /// The circuit of the endpoint, which its stacks share.
    pub(crate) fn breaker(&self, breaker: Option<&config::Breaker>) -> CircuitBreaker {
        let Some(breaker) = breaker else {
            let unused = CircuitBreaker::new(Policy::default());
            unused.force_closed();
            return unused;
        };
        let observer = self.clone();
        let policy = Policy::failure_rate(breaker.failure_rate, breaker.window)
            .minimum_calls(breaker.minimum_calls)
            .wait(Wait::exponential(breaker.wait, breaker.longest_wait))
            .probes(breaker.probes)
            .name(&self.endpoint)
            .on_event(move |event| {
                observer.events.see(event);
                observer.journal.note(&observer.endpoint, event);
            });
        // Those who watch it know that it is there before it changes.
        self.events.circuit(&self.endpoint);
        CircuitBreaker::new(policy)
    }

    fn retry(&self, event: &RetryEvent<'_>) {
        self.events.see(event);
        match event {
            RetryEvent::Again {
                attempt,
                outcome,
                delay,
                ..
            } => {
                self.made(*attempt);
                Story::of_this_call(|steps| {
                    steps.waiting = Some(Waiting {
                        attempt: *attempt,
                        class: outcome.class,
                        delay: *delay,
                        since: Instant::now(),
                    });
                });
            }
            RetryEvent::Done { attempts, stop, .. } => {
                self.made(*attempts);
                // What is settled at once is nothing to tell.
                let settled = [Stop::Settled, Stop::Attempts, Stop::Dropped, Stop::Unsafe];
                if *attempts == 1 && settled.contains(stop) {
                    return;
                }
            }
            _ => {}
        }
        self.journal.note(&self.endpoint, event);
    }

    /// As many attempts were made: an attempt that waits when its caller leaves is none.
    fn made(&self, attempts: u32) {
        Story::of_this_call(|steps| {
            if let Some((class, delay)) = steps.made(attempts) {
                self.counters.retry(class, delay);
            }
        });
    }

    pub(crate) fn timeout(&self, event: &TimeoutEvent<'_>) {
        self.events.see(event);
        let (TimeoutEvent::Elapsed { refused, .. } | TimeoutEvent::Expired { refused, .. }) = event
        else {
            return;
        };
        let reason = refused.reason();
        self.counters.timeout(reason);
        Story::of_this_call(|steps| steps.timed_out = Some(reason));
        self.journal.note(&self.endpoint, event);
    }

    fn key(&self, event: &keys::Event<'_>) {
        self.events.see(event);
        if let keys::Event::Benched { .. } | keys::Event::Accepted { .. } = event {
            self.journal.note(&self.endpoint, event);
        }
    }
}
