use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Class, Classify, Completion, Outcome, Report, Track};
use buttress_http::{Http, Tracked};
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    Event, ResponseFuture,
    ring::{Chosen, Ring, Rules},
};
use crate::{Dialect, strip_credentials, strip_query_credentials};

/// The service that [`CredentialsLayer`](super::CredentialsLayer) makes.
#[derive(Clone)]
pub struct CredentialsService<S, P = Http> {
    inner: S,
    // Shared with the calls that are followed, so that each clones one handle.
    shared: Arc<Shared>,
    protocol: P,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dialect: Dialect,
    pub(super) ring: Arc<Ring>,
    pub(super) rules: Rules,
    pub(super) observer: Option<Observer>,
}

#[derive(Clone)]
pub(super) struct Observer {
    pub(super) observe: Arc<dyn Fn(&Event<'_>) + Send + Sync>,
    pub(super) name: &'static str,
}

/// The interest in what one call says of its key.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    chosen: Chosen,
}

// ===== impl CredentialsService =====

impl<S, P> CredentialsService<S, P> {
    pub(super) fn new(inner: S, shared: Shared, protocol: P) -> Self {
        Self {
            inner,
            shared: Arc::new(shared),
            protocol,
        }
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, A, B> Service<Request<A>> for CredentialsService<S, P>
where
    S: Service<Request<A>, Response = Response<B>>,
    P: Classify<Response<B>, S::Error> + Track<Response<B>> + Clone,
    B: Tracked,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let uri = mem::take(request.uri_mut());
        *request.uri_mut() = strip_query_credentials(uri);
        if self.shared.ring.is_empty() {
            strip_credentials(request.headers_mut());
            let call = self.inner.call(request);
            return ResponseFuture::new(call, self.protocol.clone(), None);
        }
        let watch = Watch::new(&self.shared);
        watch.authorize(request.headers_mut());
        // From here on the key is given back whatever panics.
        let completion = Completion::new(watch);
        completion.get_ref().sent();
        let call = self.inner.call(request);
        ResponseFuture::new(call, self.protocol.clone(), Some(completion))
    }
}

impl<S: fmt::Debug, P: fmt::Debug> fmt::Debug for CredentialsService<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.shared.ring.keys().map(|key| key.id()).collect();
        f.debug_struct("CredentialsService")
            .field("inner", &self.inner)
            .field("dialect", &self.shared.dialect)
            .field("keys", &keys)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

// ===== impl Watch =====

impl Watch {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            chosen: shared.ring.choose(&shared.rules, now),
            shared: shared.clone(),
        }
    }

    fn authorize(&self, headers: &mut HeaderMap) {
        let secret = self.shared.ring.key(self.chosen).secret();
        self.shared.dialect.authorize(headers, secret);
    }

    fn sent(&self) {
        self.tell(&Event::Sent {
            key: self.key(),
            benched: self.chosen.is_forced(),
        });
    }

    /// The response goes well so far: whatever comes, the key is good.
    pub(super) fn accepted(&mut self) {
        if self.shared.ring.accept(&mut self.chosen) {
            self.tell(&Event::Accepted { key: self.key() });
        }
    }

    fn denied(&self, outcome: &Outcome) {
        let Shared { ring, rules, .. } = &*self.shared;
        if let Some(benched) = ring.deny(self.chosen, outcome.retry_after, rules, now()) {
            self.tell(&Event::Benched {
                key: self.key(),
                time: benched.time,
                denials: benched.denials,
            });
        }
    }

    /// Whether the next attempt could have another key.
    pub(super) fn has_another(&self) -> bool {
        self.shared.ring.has_another(self.chosen, now())
    }

    fn key(&self) -> &str {
        self.shared.ring.key(self.chosen).id()
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.shared.observer {
            (observer.observe)(event);
        }
    }
}

impl Report for Watch {
    fn report(&mut self, outcome: &Outcome) {
        match outcome.class {
            Class::Denied => self.denied(outcome),
            Class::Success => self.accepted(),
            _ => self.shared.ring.give_back(self.chosen),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

// ===== impl Observer =====

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
