//! What would be generated from
//!
//! ```proto
//! service Greeter { rpc Greet(Name) returns (Greeting); }
//! message Name { string name = 1; }
//! message Greeting { string text = 1; }
//! ```

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response, uri::PathAndQuery};
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    server::{NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Name {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Greeting {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

const GREET: &str = "/example.Greeter/Greet";

/// Calls the service.
#[derive(Clone, Debug)]
pub(crate) struct GreeterClient<S> {
    inner: tonic::client::Grpc<S>,
}

/// Serves it.
#[derive(Clone, Debug)]
pub(crate) struct GreeterServer<T> {
    greeter: T,
}

// ===== impl GreeterClient =====

impl<S> GreeterClient<S>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    pub(crate) fn new(service: S) -> Self {
        Self {
            inner: tonic::client::Grpc::new(service),
        }
    }

    pub(crate) async fn greet(&mut self, name: &str) -> Result<String, Status> {
        let ready = self.inner.ready().await;
        ready.map_err(|error| Status::unknown(error.into().to_string()))?;
        let name = tonic::Request::new(Name {
            name: name.to_owned(),
        });
        let codec = ProstCodec::<Name, Greeting>::default();
        let path = PathAndQuery::from_static(GREET);
        let greeting = self.inner.unary(name, path, codec).await?;
        Ok(greeting.into_inner().text)
    }
}

// ===== impl GreeterServer =====

impl<T> GreeterServer<T> {
    pub(crate) const fn new(greeter: T) -> Self {
        Self { greeter }
    }
}

impl<T> Service<Request<Body>> for GreeterServer<T>
where
    T: UnaryService<Name, Response = Greeting> + Clone + Send + 'static,
    T::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let greeter = self.greeter.clone();
        Box::pin(async move {
            if request.uri().path() != GREET {
                return Ok(Status::unimplemented("").into_http());
            }
            let codec = ProstCodec::<Greeting, Name>::default();
            Ok(tonic::server::Grpc::new(codec)
                .unary(greeter, request)
                .await)
        })
    }
}

impl<T> NamedService for GreeterServer<T> {
    const NAME: &'static str = "example.Greeter";
}
