use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Carry, Classify, Replay, RetryBudget, Track};
use tower_service::Service;

use crate::{
    Backoff, Budget, ByClass, Decide, Exponential, ResponseFuture, RetryLayer, Stop,
    account::Account, scope::Scope,
};

/// The service that [`RetryLayer`] makes.
///
/// It is ready when the inner service is. The instance that was readied makes the first attempt,
/// and is readied again for each further one, inside the future.
pub struct Retry<P, S, B = Exponential, U = Budget, D = ByClass> {
    inner: S,
    config: Arc<RetryLayer<P, B, U, D>>,
}

// ===== impl Retry =====

impl<P, S, B, U, D> Retry<P, S, B, U, D> {
    pub(crate) const fn new(inner: S, config: Arc<RetryLayer<P, B, U, D>>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, without the retry.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, S, B, U, D, Req> Service<Req> for Retry<P, S, B, U, D>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Replay<Req> + Carry<Req>,
    B: Backoff,
    U: RetryBudget,
    D: Decide<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<P, S, Req, B, U, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // The instance that was readied makes the first call.
        let clone = self.inner.clone();
        let mut service = mem::replace(&mut self.inner, clone);
        let (kept, first) = first(&self.config, request);
        let mut account = Account::open(&self.config, kept.as_ref().err().copied());
        // A retry inside is looked for only where this one retries.
        let scope = kept.is_ok().then(Scope::enter::<Req>);
        account.attempt();
        let call = service.call(first);
        drop(scope);
        ResponseFuture::new(call, service, kept, account)
    }
}

/// What is kept of a request, or why nothing is, and what is sent first.
fn first<P, B, U, D, Req>(config: &RetryLayer<P, B, U, D>, request: Req) -> (Result<Req, Stop>, Req)
where
    P: Replay<Req> + Carry<Req>,
{
    let protocol = &config.protocol;
    let info = protocol.info(&request);
    if info.retried {
        return (Err(Stop::Nested), request);
    }
    if config.settings.max_attempts.get() == 1 {
        return (Err(Stop::Attempts), request);
    }
    let Some(mut copy) = protocol.copy(&request) else {
        return (Err(Stop::NotCopied), request);
    };
    let mut info = info.clone();
    info.retried = true;
    protocol.set_info(&mut copy, info);
    // Where requests cannot say it, the thread can.
    if Scope::entered::<Req>() && !protocol.info(&copy).retried {
        return (Err(Stop::Nested), request);
    }
    (Ok(request), copy)
}

impl<P, S: Clone, B, U, D> Clone for Retry<P, S, B, U, D> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<P, S: fmt::Debug, B, U, D> fmt::Debug for Retry<P, S, B, U, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
