//! The whole stack, layer by layer from the innermost, in the order that the guide advises.
//!
//! Outermost first: request metrics, total timeout, cache, failover over two endpoints; in each
//! retry, circuit breaker, rate limit, attempt metrics, attempt timeouts, credentials, track. Each row
//! has one layer more than the row before.

/// Over a tracked body, with the Prometheus exporter installed.
mod http;
/// Over a service that is no HTTP, without metrics.
mod plain;

pub(crate) use self::{http::group as http, plain::group as plain, plain::threads};
