use tower_service::Service;

/// Does nothing, and compiles only if `service` takes a `Req`.
///
/// When a stack does not fit together, a method call such as `.oneshot(request)` says only that
/// the method does not exist. Put through this function, the compiler says which layer asked for
/// what, and our notes say what to do.
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, future::{Ready, ready}, task::{Context, Poll}};
/// use tower_service::Service;
///
/// struct Echo;
///
/// impl Service<String> for Echo {
///     type Response = String;
///     type Error = Infallible;
///     type Future = Ready<Result<String, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, request: String) -> Self::Future {
///         ready(Ok(request))
///     }
/// }
///
/// let service = buttress_core::check::<String, _>(Echo);
/// ```
pub const fn check<Req, S: Service<Req>>(service: S) -> S {
    service
}
