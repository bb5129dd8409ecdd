use crate::Cost;

/// Which key a request belongs to.
///
/// Closures do it: see [`RateLimitLayer::key`](crate::RateLimitLayer::key).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which key a `{Req}` belongs to",
    note = "give a closure: `.key(|request: &{Req}| …)`"
)]
pub trait KeyOf<Req, K> {
    /// The key of this request.
    fn key(&self, request: &Req) -> K;
}

/// What a request costs, by estimate.
///
/// Closures do it: see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a `{Req}` costs",
    note = "give a closure: `.cost(|request: &{Req}| Cost::tokens(…, …))`"
)]
pub trait CostOf<Req> {
    /// The cost of this request.
    fn cost(&self, request: &Req) -> Cost;
}

/// All calls share the quotas: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllCalls;

/// Each call costs one request: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRequest;

// ===== impl KeyOf =====

impl<Req> KeyOf<Req, ()> for AllCalls {
    fn key(&self, _: &Req) {}
}

impl<Req, K, F: Fn(&Req) -> K> KeyOf<Req, K> for F {
    fn key(&self, request: &Req) -> K {
        self(request)
    }
}

// ===== impl CostOf =====

impl<Req> CostOf<Req> for OneRequest {
    fn cost(&self, _: &Req) -> Cost {
        Cost::REQUEST
    }
}

impl<Req, F: Fn(&Req) -> Cost> CostOf<Req> for F {
    fn cost(&self, request: &Req) -> Cost {
        self(request)
    }
}
