//! No accidental bounds.

use std::{
    cell::Cell,
    marker::{PhantomData, PhantomPinned},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{Inner, Reply};

/// A request about which nothing can be assumed but that it is `Send`: it is neither `Clone` nor
/// `Sync` nor `Unpin`, and borrows.
#[derive(Debug)]
pub struct Lean<'a> {
    borrows: PhantomData<(&'a (), Cell<()>, PhantomPinned)>,
}

/// Compiles if a layer asks nothing of requests and replies that its job does not need, and if its
/// service can be shared between threads and tasks. It does nothing when it runs.
///
/// The requests are [`Lean`], and the replies, [`Reply`], neither `Clone` nor `Sync`. `E` is an
/// error that the layer accepts. The service has to be `Clone`, `Send` and `Sync`, and its future
/// `Send`.
///
/// ```
/// use buttress_testing::probe;
/// use tower::{BoxError, timeout::TimeoutLayer};
/// use std::time::Duration;
///
/// probe::lean::<BoxError, _>(&TimeoutLayer::new(Duration::from_secs(1)));
/// ```
///
/// The usual accident is a marker that says that the service *has* requests, so that it is not
/// `Sync` with them:
///
/// ```compile_fail,E0277
/// use buttress_testing::probe::{self, Inner, Reply};
/// # use std::{error::Error, marker::PhantomData, task::{Context, Poll}};
/// # use tower_layer::{Layer, layer_fn};
/// # use tower_service::Service;
/// # type BoxError = Box<dyn Error + Send + Sync>;
///
/// struct Marked<S, Req> {
///     inner: S,
///     request: PhantomData<Req>,
/// }
/// # impl<S: Clone, Req> Clone for Marked<S, Req> {
/// #     fn clone(&self) -> Self { Self { inner: self.inner.clone(), request: PhantomData } }
/// # }
/// # impl<S: Service<Req>, Req> Service<Req> for Marked<S, Req> {
/// #     type Response = S::Response;
/// #     type Error = S::Error;
/// #     type Future = S::Future;
/// #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> { self.inner.poll_ready(cx) }
/// #     fn call(&mut self, request: Req) -> S::Future { self.inner.call(request) }
/// # }
/// # struct MarkLayer;
/// # impl<Req> Layer<Inner<Req, Reply, BoxError>> for MarkLayer {
/// #     type Service = Marked<Inner<Req, Reply, BoxError>, Req>;
/// #     fn layer(&self, inner: Inner<Req, Reply, BoxError>) -> Self::Service { Marked { inner, request: PhantomData } }
/// # }
/// probe::lean::<BoxError, _>(&MarkLayer);
/// ```
///
/// With `PhantomData<fn(Req)>` it compiles:
///
/// ```
/// use buttress_testing::probe::{self, Inner, Reply};
/// # use std::{error::Error, marker::PhantomData, task::{Context, Poll}};
/// # use tower_layer::{Layer, layer_fn};
/// # use tower_service::Service;
/// # type BoxError = Box<dyn Error + Send + Sync>;
///
/// struct Marked<S, Req> {
///     inner: S,
///     request: PhantomData<fn(Req)>,
/// }
/// # impl<S: Clone, Req> Clone for Marked<S, Req> {
/// #     fn clone(&self) -> Self { Self { inner: self.inner.clone(), request: PhantomData } }
/// # }
/// # impl<S: Service<Req>, Req> Service<Req> for Marked<S, Req> {
/// #     type Response = S::Response;
/// #     type Error = S::Error;
/// #     type Future = S::Future;
/// #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> { self.inner.poll_ready(cx) }
/// #     fn call(&mut self, request: Req) -> S::Future { self.inner.call(request) }
/// # }
/// # struct MarkLayer;
/// # impl<Req> Layer<Inner<Req, Reply, BoxError>> for MarkLayer {
/// #     type Service = Marked<Inner<Req, Reply, BoxError>, Req>;
/// #     fn layer(&self, inner: Inner<Req, Reply, BoxError>) -> Self::Service { Marked { inner, request: PhantomData } }
/// # }
/// probe::lean::<BoxError, _>(&MarkLayer);
/// ```
pub fn lean<E, L>(_: &L)
where
    L: for<'a> Layer<
            Inner<Lean<'a>, Reply, E>,
            Service: Service<Lean<'a>, Future: Send> + Clone + Send + Sync,
        >,
{
}
