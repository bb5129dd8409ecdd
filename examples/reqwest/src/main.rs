//! The layers around a `reqwest::Client`, through a closure that is the adapter.

use std::time::Duration;

use buttress_circuit_breaker::CircuitBreakerLayer;
use buttress_http::{BoxError, BoxErrorLayer, Http, TrackLayer};
use buttress_llm::{CredentialsLayer, Dialect, OpenAi, Secret};
use buttress_retry::RetryLayer;
use buttress_testing::{Provider, Reply};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = Provider::openai()
        .reply(Reply::error(503).then(Reply::text("Hello from behind the layers")))
        .start()
        .await?;

    let client = reqwest::Client::new();
    let model = ServiceBuilder::new()
        .layer(RetryLayer::new(Http).on_event(|event| println!("retry: {event:?}")))
        .layer(CircuitBreakerLayer::new(Http))
        .layer(TimeoutLayer::new(Http).idle(Duration::from_secs(10)))
        .layer(CredentialsLayer::new(
            Dialect::OpenAi,
            Secret::new("sk-of-the-example")?,
        ))
        .layer(TrackLayer::new(OpenAi))
        // What reqwest fails with has no place for what a layer refuses.
        .layer(BoxErrorLayer)
        .service(service_fn(move |request: Request<Full<Bytes>>| {
            let client = client.clone();
            async move {
                let request = request.map(reqwest::Body::wrap).try_into()?;
                let response = client.execute(request).await?;
                Ok::<Response<reqwest::Body>, reqwest::Error>(response.into())
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
