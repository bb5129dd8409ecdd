use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

/// A service whose type is forgotten, so that stacks of different types are endpoints of one
/// [`Failover`](crate::Failover).
///
/// It costs one allocation a call: the instance that is readied and the future of its call are in one
/// box. A clone allocates nothing.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{AnyService, Failover};
/// use tower::{BoxError, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let one = AnyService::new(service_fn(|_: u32| async { Err::<u32, _>(BoxError::from("down")) }));
/// let other = AnyService::new(service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 1) }));
/// let service = Failover::new(Plain, [one, other]);
/// assert_eq!(service.oneshot(1).await.unwrap(), 2);
/// # }
/// ```
pub struct AnyService<Req, Res, E> {
    service: Arc<dyn Start<Req, Res, E> + Send + Sync>,
    /// Once it was asked whether it is ready. Nobody ever locks it: it is a lock to be `Sync`.
    readied: Mutex<Option<Running<Req, Res, E>>>,
}

/// The future of an [`AnyService`].
pub struct AnyFuture<Req, Res, E> {
    running: Running<Req, Res, E>,
}

type Running<Req, Res, E> = Pin<Box<dyn Run<Req, Res, E> + Send>>;

trait Start<Req, Res, E> {
    fn start(&self) -> Running<Req, Res, E>;
}

/// One instance, for one call.
trait Run<Req, Res, E> {
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>>;

    fn call(self: Pin<&mut Self>, request: Req);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Res, E>>;
}

struct Whole<S>(S);

pin_project! {
    #[project = OneProj]
    enum One<S, F> {
        Readying { service: S },
        Called { #[pin] call: F },
        Done,
    }
}

// ===== impl AnyService =====

impl<Req, Res, E> AnyService<Req, Res, E> {
    /// `service`, whatever its type is.
    #[must_use]
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Req, Response = Res, Error = E> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self {
            service: Arc::new(Whole(service)),
            readied: Mutex::new(None),
        }
    }
}

impl<Req, Res, E> Service<Req> for AnyService<Req, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = AnyFuture<Req, Res, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let readied = self.readied.get_mut();
        let readied = readied.unwrap_or_else(PoisonError::into_inner);
        let running = readied.get_or_insert_with(|| self.service.start());
        let ready = ready!(running.as_mut().poll_ready(cx));
        if ready.is_err() {
            // It is of no use any more.
            *readied = None;
        }
        Poll::Ready(ready)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let readied = self.readied.get_mut();
        let readied = readied.unwrap_or_else(PoisonError::into_inner);
        // If it was not readied, the service inside says what it has to say to that.
        let mut running = readied.take().unwrap_or_else(|| self.service.start());
        running.as_mut().call(request);
        AnyFuture { running }
    }
}

impl<Req, Res, E> Clone for AnyService<Req, Res, E> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            readied: Mutex::new(None),
        }
    }
}

impl<Req, Res, E> fmt::Debug for AnyService<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyService").finish_non_exhaustive()
    }
}

// ===== impl AnyFuture =====

impl<Req, Res, E> Future for AnyFuture<Req, Res, E> {
    type Output = Result<Res, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.running.as_mut().poll(cx)
    }
}

impl<Req, Res, E> fmt::Debug for AnyFuture<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyFuture").finish_non_exhaustive()
    }
}

// ===== impl Whole =====

impl<S, Req, Res, E> Start<Req, Res, E> for Whole<S>
where
    S: Service<Req, Response = Res, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    fn start(&self) -> Running<Req, Res, E> {
        let service = self.0.clone();
        Box::pin(One::<S, S::Future>::Readying { service })
    }
}

// ===== impl One =====

impl<S, Req, Res, E> Run<Req, Res, E> for One<S, S::Future>
where
    S: Service<Req, Response = Res, Error = E>,
{
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        match self.project() {
            OneProj::Readying { service } => service.poll_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(mut self: Pin<&mut Self>, request: Req) {
        let called = match self.as_mut().project() {
            OneProj::Readying { service } => service.call(request),
            _ => return,
        };
        self.set(Self::Called { call: called });
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Res, E>> {
        match self.as_mut().project() {
            OneProj::Called { call } => {
                let result = ready!(call.poll(cx));
                // What it holds is free before anybody hears of its result.
                self.set(Self::Done);
                Poll::Ready(result)
            }
            _ => panic!("polled after completion"),
        }
    }
}
