//! The words around a tonic client and a tonic server, whose statuses come in trailers.

mod toys;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress_core::Class;
use buttress_http::{BoxError, Grpc, GrpcServer, Http, ReplayBody, ReplayLayer, TrackLayer};
use bytes::{Buf, BufMut, Bytes};
use http::{Request, uri::PathAndQuery};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, service_fn};
use toys::{breaker, failures, metrics::MetricsLayer, permit::PermitLayer, retry};

/// Messages are bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A tonic server that is busy for so many calls and then says what it was told, under layers.
async fn connect(
    busy: usize,
    permits: &PermitLayer<GrpcServer>,
    seen: &MetricsLayer<GrpcServer>,
) -> Channel {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let layers = ServiceBuilder::new()
        .layer(seen.clone())
        .layer(permits.clone())
        .layer(TrackLayer::new(Grpc))
        .into_inner();
    let calls = Arc::new(AtomicUsize::new(0));
    let echo = service_fn(move |request: Request<Body>| {
        let busy = calls.fetch_add(1, Ordering::Relaxed) < busy;
        async move {
            let unary = service_fn(|request: tonic::Request<Bytes>| async move {
                match busy {
                    true => Err(Status::unavailable("busy")),
                    false => Ok(tonic::Response::new(request.into_inner())),
                }
            });
            Ok::<_, Infallible>(tonic::server::Grpc::new(Raw).unary(unary, request).await)
        }
    });
    tokio::spawn(
        Server::builder()
            .layer(layers)
            .serve_with_incoming(echo, incoming),
    );
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn say<S>(service: S, text: &'static str) -> Result<Bytes, Status>
where
    S: GrpcService<Body>,
    S::ResponseBody: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let mut client = tonic::client::Grpc::new(service);
    assert!(client.ready().await.is_ok());
    let request = tonic::Request::new(Bytes::from_static(text.as_bytes()));
    let path = PathAndQuery::from_static("/test/Echo");
    Ok(client.unary(request, path, Raw).await?.into_inner())
}

#[tokio::test]
async fn a_status_in_the_trailers_is_retried_judged_and_counted_on_both_sides() {
    let (permits, inside) = (
        PermitLayer::new(GrpcServer, 1),
        MetricsLayer::attempt(GrpcServer),
    );
    let channel = connect(2, &permits, &inside).await;
    let (breaker, attempts, requests) = (
        breaker(Http),
        MetricsLayer::attempt(Http),
        MetricsLayer::request(Http),
    );
    let stack = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(requests.clone())
        .layer(retry(Http))
        .layer(breaker.clone())
        .layer(attempts.clone())
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .map_request(|request: Request<ReplayBody<_>>| request.map(Body::new))
        .service(channel);

    assert_eq!(say(stack, "hello").await.unwrap(), "hello");
    let classes = [Class::Unavailable, Class::Unavailable, Class::Success];
    assert_eq!(
        (attempts.classes(), inside.classes()),
        (classes.to_vec(), classes.to_vec())
    );
    assert_eq!(requests.classes(), [Class::Success]);
    assert_eq!((failures(&breaker), permits.free()), (0, 1));
}

#[tokio::test]
async fn a_servers_refusal_is_a_status_for_its_caller_and_a_refusal_for_its_layers() {
    let (permits, inside) = (
        PermitLayer::new(GrpcServer, 0),
        MetricsLayer::attempt(GrpcServer),
    );
    let channel = connect(0, &permits, &inside).await;
    let outside = MetricsLayer::attempt(Http);
    let stack = ServiceBuilder::new()
        .layer(outside.clone())
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel);

    let status = say(stack, "hello").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "queue full")
    );
    assert_eq!(inside.classes(), [Class::Refused]);
    assert_eq!(outside.classes(), [Class::Throttled]);
}
