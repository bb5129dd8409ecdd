use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;

/// Boxes the errors of the service below: the layers above then have a place for what they refuse.
///
/// It stands innermost, over a client whose error is a type of its own. A service whose error is a
/// [`BoxError`] already, or an enum with a `From<Refused>`, does without.
///
/// It does what tower's `map_err(BoxError::from)` does, and its type can be written down. The
/// type of that one has a `'static` in it, through which the compiler does not see where a call is
/// held in a task that is spawned ([rust-lang/rust#110338]): there, and in a struct, use this.
///
/// [rust-lang/rust#110338]: https://github.com/rust-lang/rust/issues/110338
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, io};
/// use buttress_http::{BoxError, BoxErrorLayer, TrackLayer};
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use bytes::Bytes;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = service_fn(|_: Request<()>| async {
///     Err::<Response<Empty<Bytes>>, _>(io::Error::other("no way"))
/// });
/// let service = ServiceBuilder::new()
///     .layer(TrackLayer::default())
///     .layer(BoxErrorLayer)
///     .service(client);
/// let error: BoxError = service.oneshot(Request::new(())).await.unwrap_err();
/// assert!(error.is::<io::Error>());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BoxErrorLayer;

/// The service that [`BoxErrorLayer`] makes.
#[derive(Clone, Copy, Debug)]
pub struct BoxErrorService<S> {
    inner: S,
}

pin_project! {
    /// The future of a [`BoxErrorService`].
    pub struct BoxErrorFuture<F> {
        #[pin]
        inner: F,
    }
}

// ===== impl BoxErrorLayer =====

impl<S> Layer<S> for BoxErrorLayer {
    type Service = BoxErrorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BoxErrorService { inner }
    }
}

// ===== impl BoxErrorService =====

impl<S> BoxErrorService<S> {
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

impl<S, Req> Service<Req> for BoxErrorService<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxErrorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        BoxErrorFuture {
            inner: self.inner.call(request),
        }
    }
}

// ===== impl BoxErrorFuture =====

impl<F, T, E> Future for BoxErrorFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.map_err(Into::into))
    }
}

impl<F> fmt::Debug for BoxErrorFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxErrorFuture").finish_non_exhaustive()
    }
}
