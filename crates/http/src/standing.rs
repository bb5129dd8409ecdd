//! How the caller's limits stand, on every response of a server: the `RateLimit` and
//! `RateLimit-Policy` fields.
//!
//! As in [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/):
//! of each policy its quota and window, and of each what is left and in how many seconds it is full
//! again.
//!
//! ```
//! use std::time::Duration;
//!
//! use buttress_http::standing::{Standing, StandingLayer};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // Who asks is known from the request, how they stand when the response is there.
//! let layer = StandingLayer::new(|_: &Request<()>| || {
//!     vec![Standing {
//!         name: "requests",
//!         quota: 60,
//!         window: Duration::from_secs(60),
//!         remaining: 12,
//!         full_in: Duration::from_millis(47_100),
//!     }]
//! });
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|_| async { Ok::<_, std::io::Error>(Response::new(())) }));
//! let response = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(response.headers()["ratelimit-policy"], r#""requests";q=60;w=60"#);
//! assert_eq!(response.headers()["ratelimit"], r#""requests";r=12;t=48"#);
//! # }
//! ```

use std::{
    fmt::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The largest whole number of a structured field (RFC 9651).
const LARGEST: u64 = 999_999_999_999_999;

/// How one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The policy's name: letters of ASCII. What is not visible ASCII, or a quote or backslash, is
    /// left out.
    pub name: &'static str,
    /// How much is allowed in a window.
    pub quota: u64,
    /// The window, said in whole seconds, rounded up.
    pub window: Duration,
    /// How much of it is left.
    pub remaining: u64,
    /// When it is full again, said in whole seconds, rounded up.
    pub full_in: Duration,
}

/// Says on every response of a server how its caller's limits stand. Put it outside of the limit.
///
/// `ask` is called with each request, and what it gives once the response has begun; where that says
/// nothing, no field is set.
#[derive(Clone, Copy)]
pub struct StandingLayer<F> {
    ask: F,
}

/// The service that [`StandingLayer`] makes.
#[derive(Clone, Copy)]
pub struct Stand<F, S> {
    ask: F,
    inner: S,
}

pin_project! {
    /// The future of [`Stand`].
    pub struct StandFuture<F, T> {
        #[pin]
        call: F,
        tell: Option<T>,
    }
}

// ===== impl Standing =====

impl Standing {
    /// Writes the fields of these limits, and takes away those that were there.
    pub fn write(standing: &[Self], headers: &mut HeaderMap) {
        let (mut now, mut policy) = (String::new(), String::new());
        for limit in standing {
            let comma = if now.is_empty() { "" } else { ", " };
            let visible = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
            let name: String = limit.name.chars().filter(visible).collect();
            let (quota, window) = (limit.quota.min(LARGEST), seconds(limit.window));
            let (left, full) = (limit.remaining.min(LARGEST), seconds(limit.full_in));
            // Writing into a string does not fail.
            let _: fmt::Result = write!(policy, "{comma}\"{name}\";q={quota};w={window}");
            let _: fmt::Result = write!(now, "{comma}\"{name}\";r={left};t={full}");
        }
        for (field, value) in [(RATELIMIT, now), (RATELIMIT_POLICY, policy)] {
            headers.remove(&field);
            if !value.is_empty()
                && let Ok(value) = HeaderValue::try_from(value)
            {
                headers.insert(field, value);
            }
        }
    }
}

fn seconds(time: Duration) -> u64 {
    let up = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(up).min(LARGEST)
}

// ===== impl StandingLayer =====

impl<F> StandingLayer<F> {
    /// Asks `ask` who it is, and then how they stand.
    #[must_use]
    pub fn new<B, T>(ask: F) -> Self
    where
        F: Fn(&Request<B>) -> T,
        T: FnOnce() -> Vec<Standing>,
    {
        Self { ask }
    }
}

impl<F: Clone, S> Layer<S> for StandingLayer<F> {
    type Service = Stand<F, S>;

    fn layer(&self, inner: S) -> Stand<F, S> {
        let ask = self.ask.clone();
        Stand { ask, inner }
    }
}

impl<F> fmt::Debug for StandingLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandingLayer").finish_non_exhaustive()
    }
}

// ===== impl Stand =====

impl<F, T, S, ReqB, ResB> Service<Request<ReqB>> for Stand<F, S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    F: Fn(&Request<ReqB>) -> T,
    T: FnOnce() -> Vec<Standing>,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = StandFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let tell = Some((self.ask)(&request));
        let call = self.inner.call(request);
        StandFuture { call, tell }
    }
}

impl<F, S: fmt::Debug> fmt::Debug for Stand<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// ===== impl StandFuture =====

impl<F, T, B, E> Future for StandFuture<F, T>
where
    F: Future<Output = Result<Response<B>, E>>,
    T: FnOnce() -> Vec<Standing>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.call.poll(cx));
        if let (Ok(response), Some(tell)) = (&mut result, this.tell.take()) {
            Standing::write(&tell(), response.headers_mut());
        }
        Poll::Ready(result)
    }
}

impl<F, T> fmt::Debug for StandFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_limits_are_a_list_and_what_cannot_be_written_is_left_out() {
        let one = Standing {
            name: "a\"\\\r\nb",
            quota: u64::MAX,
            window: Duration::MAX,
            remaining: 0,
            full_in: Duration::from_nanos(1),
        };
        let mut headers = HeaderMap::new();
        headers.insert(RATELIMIT, "the upstream's".parse().unwrap());
        Standing::write(&[one, one], &mut headers);
        assert_eq!(headers[RATELIMIT], r#""ab";r=0;t=1, "ab";r=0;t=1"#);
        let policy = headers[RATELIMIT_POLICY].to_str().unwrap();
        assert!(policy.starts_with(r#""ab";q=999999999999999;w=999999999999999, "ab""#));
        Standing::write(&[], &mut headers);
        assert!(headers.is_empty());
    }
}
