//! A call that leaves the cache out.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// Readies the service and calls it.
    #[project = DirectProj]
    pub(crate) enum Direct<S: Service<Req>, Req> {
        Readies { service: S, request: Option<Req> },
        Calls { #[pin] response: S::Future },
    }
}

// ===== impl Direct =====

impl<S: Service<Req>, Req> Direct<S, Req> {
    pub(crate) const fn new(service: S, request: Req) -> Self {
        Self::Readies {
            service,
            request: Some(request),
        }
    }
}

impl<S: Service<Req>, Req> Future for Direct<S, Req> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let response = match self.as_mut().project() {
                DirectProj::Calls { response } => return response.poll(cx),
                DirectProj::Readies { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else {
                        panic!("polled after its end")
                    };
                    service.call(request)
                }
            };
            self.set(Self::Calls { response });
        }
    }
}
