//! What a connection is served.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::{face, front, gateway::Gateway, models, pages};

/// Everything that the gateway answers, for one kind of peer.
#[derive(Clone, Debug)]
pub(crate) struct App {
    gateway: Arc<Gateway>,
    router: Router,
}

// ===== impl App =====

impl App {
    /// With the pages, or with a word in their place.
    pub(crate) fn new(gateway: Arc<Gateway>, with_pages: bool) -> Self {
        let pages = if with_pages {
            Router::new()
                .route("/", get(pages::index))
                .route("/status", get(pages::status))
                .route("/metrics", get(pages::metrics))
        } else {
            let hidden = get(pages::hidden);
            Router::new()
                .route("/", hidden.clone())
                .route("/status", hidden.clone())
                .route("/metrics", hidden)
        };
        let router = pages
            .route("/healthz", get(pages::health))
            .route("/v1/models", get(models::list))
            .route("/v1/models/{*id}", get(models::one))
            .fallback(front::nothing)
            .method_not_allowed_fallback(front::nothing)
            .with_state(gateway.clone());
        Self { gateway, router }
    }

    pub(crate) async fn serve(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        // The router boxes body, route and future of each request. For calls, of which there are
        // many, there is nothing to be routed by the path.
        if face::is_call(&request) {
            Ok(front::serve(&self.gateway, request).await)
        } else {
            self.router.oneshot(request.map(Body::new)).await
        }
    }
}
