//! The layers that every attempt at an endpoint passes, and the client at their bottom.

use std::sync::Arc;

use buttress_core::{Carry, Replay};
use buttress_http::{
    BoxErrorLayer, BoxErrorService, Http, Judge, TrackLayer, TrackService, client::Client,
};
use buttress_llm::{
    Dialect,
    keys::{self, CredentialsLayer, CredentialsService, Keys},
};
use buttress_retry::{Retry, RetryEvent, RetryLayer, Stop};
use buttress_timeout::{Timeout, TimeoutEvent, TimeoutLayer};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::ServiceBuilder;

use crate::{config, journal::Journal, stats::Counters, story::Story};

/// The stack of one endpoint: it retries as `P` says, and its replies are read by `J`.
pub(crate) type Stack<J, P> = Retry<P, Timeout<Http, CredentialsService<Tracked<J>>>>;

type Tracked<J> = TrackService<BoxErrorService<Client>, J>;

/// What a stack is made of, but for how it reads replies.
pub(crate) struct Parts {
    pub(crate) credentials: CredentialsLayer,
    pub(crate) retry: config::Retry,
    pub(crate) client: Client,
    pub(crate) observer: Observer,
}

/// Tells what happens in the layers of an endpoint to whoever shows it.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub(crate) endpoint: Arc<str>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Journal,
}

// ===== impl Parts =====

impl Parts {
    /// Puts a stack together, outermost layer first.
    ///
    /// Circuit breaker, rate limit, concurrency and attempt metrics will stand below the retry, in
    /// this order: every attempt passes them anew.
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
        let (retries, timeouts) = (self.observer.clone(), self.observer.clone());
        ServiceBuilder::new()
            .layer(
                RetryLayer::new(protocol)
                    .max_attempts(attempts)
                    .backoff(backoff)
                    .budget(budget)
                    .on_event(move |event| retries.retry(event)),
            )
            .layer(attempt.on_event(move |event| timeouts.timeout(event)))
            .layer(self.credentials.clone())
            .layer(track)
            .layer(BoxErrorLayer)
            .service(self.client.clone())
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

    fn retry(&self, event: &RetryEvent<'_>) {
        match event {
            RetryEvent::Again { outcome, delay, .. } => {
                self.counters.retry(outcome.class, *delay);
                Story::of_this_call(|steps| {
                    steps.failed.push(outcome.class);
                    steps.waited += *delay;
                });
            }
            // What is settled at once is nothing to tell.
            RetryEvent::Done {
                attempts: 1,
                stop: Stop::Settled | Stop::Attempts | Stop::Dropped | Stop::Unsafe,
                ..
            } => return,
            _ => {}
        }
        self.journal.note(&self.endpoint, event);
    }

    pub(crate) fn timeout(&self, event: &TimeoutEvent<'_>) {
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
        if let keys::Event::Benched { .. } | keys::Event::Accepted { .. } = event {
            self.journal.note(&self.endpoint, event);
        }
    }
}
