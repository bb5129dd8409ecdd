//! What passes through the layer: requests, replies, errors.

use std::{convert::Infallible, error::Error, fmt, sync::Arc};

use super::{
    body::Body,
    core::Core,
    inner::{Inner, MakeError, Makers, Shared, Slot},
    reply::{Failure, Reply},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The requests, replies and errors that a [`Probe`](super::Probe) sends through a layer.
///
/// [`plain`](Self::plain) and [`http`](Self::http) are where to start; the setters change one of
/// the three for layers that ask for a type, or a value, of their own.
///
/// ```
/// use buttress_testing::probe::{Failure, Traffic};
///
/// #[derive(Debug)]
/// enum MyError {
///     Upstream(Failure),
///     Limited,
/// }
///
/// let traffic = Traffic::plain(|n| format!("request {n}"))
///     .replies(|reply| format!("reply {}", reply.number()))
///     .errors(MyError::Upstream, |error| match error {
///         MyError::Upstream(failure) => Some(*failure),
///         MyError::Limited => None,
///     });
/// ```
pub struct Traffic<Req, Res, E> {
    request: Arc<dyn Fn(u64) -> Req + Send + Sync>,
    reply: Arc<dyn Fn(Reply) -> Res + Send + Sync>,
    errors: Option<Errors<E>>,
}

struct Errors<E> {
    make: MakeError<E>,
    find: FindFailure<E>,
}

type FindFailure<E> = Arc<dyn Fn(&E) -> Option<Failure> + Send + Sync>;

// ===== impl Traffic =====

impl<Req: 'static> Traffic<Req, Reply, BoxError> {
    /// Requests of any type, [`Reply`]s, and boxed errors that hold a [`Failure`].
    ///
    /// `request` makes the request of a number, from 1; they are counted anew for each check. A
    /// layer that knows equal requests again (a cache) wants them different.
    #[must_use]
    pub fn plain(request: impl Fn(u64) -> Req + Send + Sync + 'static) -> Self {
        Self {
            request: Arc::new(request),
            reply: Arc::new(|reply| reply),
            errors: Some(Errors::boxed()),
        }
    }
}

impl<B: 'static> Traffic<http::Request<B>, http::Response<Body>, BoxError> {
    /// Http requests, and responses whose status is 200, or 503 for a [fault](Reply::is_fault).
    ///
    /// `request` makes the request of a number, as for [`plain`](Self::plain).
    #[must_use]
    pub fn http(request: impl Fn(u64) -> http::Request<B> + Send + Sync + 'static) -> Self {
        Self {
            request: Arc::new(request),
            reply: Arc::new(|reply: Reply| {
                let status = match reply.is_fault() {
                    true => http::StatusCode::SERVICE_UNAVAILABLE,
                    false => http::StatusCode::OK,
                };
                let mut response = http::Response::new(reply.into_body());
                *response.status_mut() = status;
                response
            }),
            errors: Some(Errors::boxed()),
        }
    }
}

impl<Req, Res, E> Traffic<Req, Res, E> {
    /// Replies of another type, or with other contents.
    ///
    /// `reply` runs once for each call that is answered. Where slots follow the body, the
    /// [`Body`] of the reply must go into what it makes.
    #[must_use]
    pub fn replies<T>(
        self,
        reply: impl Fn(Reply) -> T + Send + Sync + 'static,
    ) -> Traffic<Req, T, E> {
        Traffic {
            request: self.request,
            reply: Arc::new(reply),
            errors: self.errors,
        }
    }

    /// Errors of another type: `make` makes one, and `find` knows it again.
    ///
    /// `find` looks at the error itself and not below it: an error that was wrapped did not come
    /// back unchanged.
    #[must_use]
    pub fn errors<T>(
        self,
        make: impl Fn(Failure) -> T + Send + Sync + 'static,
        find: impl Fn(&T) -> Option<Failure> + Send + Sync + 'static,
    ) -> Traffic<Req, Res, T> {
        Traffic {
            request: self.request,
            reply: self.reply,
            errors: Some(Errors {
                make: Arc::new(make),
                find: Arc::new(find),
            }),
        }
    }

    /// An inner service that never fails, as a server's. Faults are replies, then.
    #[must_use]
    pub fn infallible(self) -> Traffic<Req, Res, Infallible> {
        Traffic {
            request: self.request,
            reply: self.reply,
            errors: None,
        }
    }

    pub(super) fn request(&self, number: u64) -> Req {
        (self.request)(number)
    }

    /// The inner failure that an error of the outer service is, if it is one.
    pub(super) fn find(&self, error: &E) -> Option<Failure> {
        self.errors.as_ref().and_then(|errors| (errors.find)(error))
    }

    pub(super) fn can_fail(&self) -> bool {
        self.errors.is_some()
    }

    /// A new inner service that answers as the core says.
    pub(super) fn inner(&self, core: &Arc<Core>) -> Inner<Req, Res, E>
    where
        Res: Send + 'static,
        E: Send + 'static,
    {
        let reply = Arc::clone(&self.reply);
        let make: MakeError<E> = match &self.errors {
            Some(errors) => Arc::clone(&errors.make),
            None => Arc::new(|_| unreachable!("an infallible service is never told to fail")),
        };
        let error = Arc::clone(&make);
        let makers = Makers {
            sink: Box::new(move |slot: Arc<Slot<Res, E>>, call| {
                slot.sink(call, Arc::clone(&reply), Arc::clone(&make))
            }),
            error,
        };
        Inner::new(core, &Shared::new(Some(makers)))
    }
}

impl<Req, Res, E> Clone for Traffic<Req, Res, E> {
    fn clone(&self) -> Self {
        Self {
            request: Arc::clone(&self.request),
            reply: Arc::clone(&self.reply),
            errors: self.errors.as_ref().map(|errors| Errors {
                make: Arc::clone(&errors.make),
                find: Arc::clone(&errors.find),
            }),
        }
    }
}

impl<Req, Res, E> fmt::Debug for Traffic<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic")
            .field("can_fail", &self.can_fail())
            .finish_non_exhaustive()
    }
}

// ===== impl Errors =====

impl Errors<BoxError> {
    fn boxed() -> Self {
        Self {
            make: Arc::new(|failure| failure.into()),
            find: Arc::new(|error| error.downcast_ref::<Failure>().copied()),
        }
    }
}
