use buttress_core::Limits;

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

/// What the provider says remains, on its response.
///
/// Closures do it: see [`RateLimitLayer::limits`](crate::RateLimitLayer::limits).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a provider's `{Res}` says remains",
    note = "give a closure: `.limits(|response: &{Res}| …)`"
)]
pub trait LimitsOf<Res> {
    /// What remains, if the response says.
    fn limits(&self, response: &Res) -> Option<Limits>;
}

/// All calls share the quotas: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllCalls;

/// Each call costs one request: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRequest;

/// Nothing is read of what a provider says: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLimits;

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

// ===== impl LimitsOf =====

impl<Res> LimitsOf<Res> for NoLimits {
    fn limits(&self, _: &Res) -> Option<Limits> {
        None
    }
}

impl<Res, F: Fn(&Res) -> Option<Limits>> LimitsOf<Res> for F {
    fn limits(&self, response: &Res) -> Option<Limits> {
        self(response)
    }
}
