//! A provider that knows keys, and who listens to the layer.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Event as _, Fact, Outcome};
use buttress_http::{Body, TrackLayer, Tracked};
use buttress_llm::{
    Dialect, Secret,
    keys::{CredentialsLayer, Event, Key, Keys},
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, request::Parts};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

pub(crate) type Reply = Response<Body<Full<Bytes>>>;
pub(crate) type Endpoint = BoxCloneSyncService<Request<()>, Reply, Infallible>;

pub(crate) const QUOTA: &str = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
pub(crate) const HELLO: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;

/// A provider: what it was sent, and what it answers to which key.
#[derive(Clone, Default)]
pub(crate) struct Provider(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(crate) struct Seen {
    requests: Vec<(HeaderMap, Uri)>,
    answers: Vec<(&'static str, Answer)>,
}

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static str,
}

/// What the layer told.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

// ===== impl Provider =====

impl Provider {
    /// From now on, answers this to a key.
    pub(crate) fn answer(&self, key: &'static str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(0, (key, answer));
    }

    /// The keys that came since it was asked last.
    pub(crate) fn keys(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.0.lock().unwrap().requests);
        let key = |(headers, _): &(HeaderMap, Uri)| {
            let value = headers["authorization"].to_str().unwrap();
            value.strip_prefix("Bearer sk-").unwrap().to_owned()
        };
        requests.iter().map(key).collect()
    }

    pub(crate) fn respond(&self, head: Parts) -> Response<Full<Bytes>> {
        let mut seen = self.0.lock().unwrap();
        let key = head.headers["authorization"].to_str().unwrap();
        let key = key.strip_prefix("Bearer sk-").unwrap();
        let answer = seen.answers.iter().find(|(of, _)| *of == key);
        let answer = answer.map_or(OK, |(_, answer)| answer.clone());
        seen.requests.push((head.headers, head.uri));
        let mut response = Response::builder()
            .status(answer.status)
            .header("content-type", "application/json");
        for (name, value) in answer.headers {
            response = response.header(*name, *value);
        }
        response.body(Full::from(answer.body)).unwrap()
    }

    /// The provider behind these layers.
    pub(crate) fn behind(&self, layer: CredentialsLayer, track: TrackLayer<Dialect>) -> Endpoint {
        let provider = self.clone();
        let client = service_fn(move |request: Request<()>| {
            let response = provider.respond(request.into_parts().0);
            async { Ok::<_, Infallible>(response) }
        });
        BoxCloneSyncService::new(
            ServiceBuilder::new()
                .layer(layer)
                .layer(track)
                .service(client),
        )
    }
}

pub(crate) const OK: Answer = Answer {
    status: 200,
    headers: &[],
    body: HELLO,
};

pub(crate) const DENIED: Answer = Answer {
    status: 401,
    headers: &[],
    body: "{}",
};

// ===== impl Log =====

impl Log {
    pub(crate) fn listen(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let log = self.clone();
        move |event| {
            let mut line = event.name().to_owned();
            event.facts(&mut |name, fact| match fact {
                Fact::Flag(false) => {}
                Fact::Flag(true) => line += &format!(" {name}"),
                fact => line += &format!(" {fact}"),
            });
            log.0.lock().unwrap().push(line);
        }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) fn layer(ids: &[&str]) -> CredentialsLayer {
    let secret = |id: &str| Secret::new(format!("sk-{id}")).unwrap();
    let keys = ids.iter().map(|id| Key::named(*id, secret(id)).unwrap());
    CredentialsLayer::new(Dialect::OpenAi, Keys::new(keys).unwrap())
}

pub(crate) const PEEK: fn() -> TrackLayer<Dialect> = || TrackLayer::new(Dialect::OpenAi);

pub(crate) async fn call(endpoint: &mut Endpoint) -> Reply {
    endpoint
        .ready()
        .await
        .unwrap()
        .call(Request::default())
        .await
        .unwrap()
}

pub(crate) async fn outcome(endpoint: &mut Endpoint) -> Outcome {
    call(endpoint).await.body().seen()
}

/// As a retry does that has no delays: asks again at once while it is told to.
pub(crate) async fn insist(endpoint: &mut Endpoint) -> Outcome {
    for _ in 0..9 {
        let outcome = outcome(endpoint).await;
        if !(outcome.again() && outcome.retry_after == Some(Duration::ZERO)) {
            return outcome;
        }
    }
    panic!("it never ends");
}
