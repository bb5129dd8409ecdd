//! What a connection is served.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, routing::get};
use buttress_http::BoxError;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Either;
use tower::ServiceExt;

use crate::{
    face,
    front::{self, Answer},
    gateway::Gateway,
    models, pages, web,
};

/// What peers are served: the pages, those of them that may see them.
#[derive(Debug)]
pub(crate) struct Apps {
    with_pages: App,
    without: App,
    public: bool,
}

/// Everything that the gateway answers, for one kind of peer.
#[derive(Clone, Debug)]
pub(crate) struct App {
    gateway: Arc<Gateway>,
    router: Router,
}

// ===== impl Apps =====

impl Apps {
    /// Everybody may see the pages if they are `public`, else only peers on this machine.
    pub(crate) fn new(gateway: &Arc<Gateway>, public: bool) -> Self {
        Self {
            with_pages: App::new(gateway.clone(), true),
            without: App::new(gateway.clone(), false),
            public,
        }
    }

    pub(crate) fn of(&self, peer: SocketAddr) -> App {
        if self.public || peer.ip().to_canonical().is_loopback() {
            self.with_pages.clone()
        } else {
            self.without.clone()
        }
    }
}

// ===== impl App =====

impl App {
    fn new(gateway: Arc<Gateway>, with_pages: bool) -> Self {
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

    pub(crate) async fn serve<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let listed = self.gateway.web.listed(&request);
        // The router boxes body, route and future of each request. For calls, of which there are
        // many, there is nothing to be routed by the path.
        let mut answer = if face::is_call(&request) {
            front::serve(&self.gateway, request).await
        } else {
            self.route(request).await.map(Either::Right)
        };
        if let Some(origin) = listed {
            web::open(&mut answer, origin);
        }
        answer
    }

    async fn route<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let rest = (!request.body().is_end_stream()).then_some(request.version());
        let (head, body) = request.into_parts();
        let mut answer = match self.gateway.shows(&head) {
            Ok(()) => {
                let request = Request::from_parts(head, Body::new(body));
                match self.router.clone().oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                }
            }
            Err(fault) => front::turn_away(&self.gateway, &head, &fault),
        };
        // Nothing that is routed reads a body.
        if let Some(version) = rest {
            front::close(&mut answer, version);
        }
        answer
    }

    /// Whether it was answered with a part of the request unread, which stands in the way of the
    /// connection's next one.
    pub(crate) fn closes(answer: &Answer) -> bool {
        // Of an endpoint's reply, this header is taken out.
        answer.headers().contains_key(header::CONNECTION)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::Path, sync::Arc};

    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;

    use super::Apps;
    use crate::{config::Config, gateway::Gateway, log::Writer};

    fn apps(public: bool) -> Apps {
        let text = "[[endpoint]]\nname = \"a\"\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\n\
                    [[route]]\nmodel = \"m\"\nendpoints = [\"a\"]\n";
        let config = Config::parse(Path::new("gateway.toml"), text, None, &|_| None).unwrap();
        Apps::new(
            &Arc::new(Gateway::new(config, Writer::quiet().log(), false)),
            public,
        )
    }

    async fn get(apps: &Apps, peer: &str, path: &str) -> (u16, String) {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = Request::get(path).header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        let answer = apps.of(peer).serve(request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn the_pages_are_shown_to_peers_on_this_machine_alone_unless_they_are_public() {
        for page in ["/", "/status", "/metrics"] {
            for (public, peer, status) in [
                (false, "127.0.0.1:1", 200),
                (false, "127.9.9.9:1", 200),
                (false, "[::1]:1", 200),
                (false, "[::ffff:127.0.0.1]:1", 200),
                (false, "10.0.0.1:1", 403),
                (false, "[::ffff:10.0.0.1]:1", 403),
                (false, "[2001:db8::1]:1", 403),
                (true, "10.0.0.1:1", 200),
            ] {
                let (found, text) = get(&apps(public), peer, page).await;
                assert_eq!(found, status, "{page} {peer}");
                assert_eq!(status == 403, text.contains("public = true"), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn everybody_is_told_that_it_runs_and_which_models_there_are() {
        let apps = apps(false);
        assert_eq!(
            get(&apps, "10.0.0.1:1", "/healthz").await,
            (200, "ok\n".to_owned())
        );
        let (status, models) = get(&apps, "10.0.0.1:1", "/v1/models").await;
        assert!(status == 200 && models.contains("\"id\":\"m\""), "{models}");
    }
}
