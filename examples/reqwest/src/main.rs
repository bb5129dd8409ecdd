//! The layers around a `reqwest::Client`, through a closure that is the adapter.

use std::{error::Error, fmt, time::Duration};

use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_core::{Class, Fault, Outcome, ProtocolExt, Refused};
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_llm::{CredentialsLayer, Dialect, OpenAi, Secret};
use buttress_retry::RetryLayer;
use buttress_testing::{Provider, Reply};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};

use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// What every layer hands on: the client's body, tracked.
type Body = buttress_http::Body<reqwest::Body>;

/// What a call fails with: reqwest's error as it is, or what a layer said.
#[derive(Debug)]
enum CallError {
    Reqwest(reqwest::Error),
    Refused(Refused),
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = Provider::openai()
        .reply(Reply::error(503).then(Reply::text("Hello from behind the layers")))
        .start()
        .await?;

    let client = reqwest::Client::new();
    let protocol = Http.classify_with(judge);
    let model = ServiceBuilder::new()
        .layer(RetryLayer::new(protocol).on_event(|event| println!("retry: {event:?}")))
        .layer(CircuitBreakerLayer::new(protocol))
        .layer(TimeoutLayer::new(Http).idle(Duration::from_secs(10)))
        .layer(CredentialsLayer::new(
            Dialect::OpenAi,
            Secret::new("sk-of-the-example")?,
        ))
        .layer(TrackLayer::new(OpenAi))
        .service(service_fn(move |request: Request<Full<Bytes>>| {
            let client = client.clone();
            async move {
                let request = request.map(reqwest::Body::wrap).try_into()?;
                let response = client.execute(request).await?;
                Ok::<Response<reqwest::Body>, CallError>(response.into())
            }
        }));

    let ask = json!({
        "model": "gpt-example",
        "stream": true,
        "messages": [{"role": "user", "content": "Hello!"}],
    });
    let request = Request::post(format!("{}/chat/completions", provider.base_url()))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(ask.to_string()))?;
    let mut body = model.oneshot(request).await?.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            print!("{}", String::from_utf8_lossy(&chunk));
        }
    }
    Ok(())
}

/// What an error of reqwest's means, where that is more than that it failed.
fn judge(result: Result<&Response<Body>, &CallError>) -> Option<Outcome> {
    match result {
        Err(CallError::Reqwest(error)) if error.is_connect() => {
            Some(Outcome::new(Class::Unavailable).not_sent())
        }
        Err(CallError::Reqwest(error)) if error.is_builder() => {
            Some(Outcome::new(Class::Invalid).not_sent())
        }
        _ => None,
    }
}

// ===== impl CallError =====

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        Self::Reqwest(error)
    }
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for CallError {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reqwest(_) => f.write_str("the call failed"),
            Self::Refused(_) => f.write_str("the call was refused"),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Reqwest(error) => Some(error),
            Self::Refused(refused) => Some(refused),
        }
    }
}
