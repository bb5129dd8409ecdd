//! What gRPC means: first on raw responses, then with tonic on both sides.

mod pipe;

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{
    Class, Classify, Completion, Outcome, Progress, Reason, Refuse, Refused, Replay, Report, Share,
    Track, settle,
};
use buttress_http::{
    Body, BoxError, Grpc, GrpcServer, Http, ReplayBody, ReplayLayer, Shared, TrackLayer,
    class_of_grpc_code, grpc_code_of_refusal,
};
use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response, uri::PathAndQuery};
use tonic::{
    Code, Status,
    client::GrpcService,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::tokio_stream,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use pipe::{Pipe, Piped, poll};

// ===== Raw responses =====

type Heard = Arc<Mutex<(Vec<Progress>, Option<Outcome>)>>;

struct Hears(Heard);

impl Report for Hears {
    fn report(&mut self, outcome: &Outcome) {
        let before = self.0.lock().unwrap().1.replace(*outcome);
        assert_eq!(before, None, "a second report");
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.0.lock().unwrap().0.push(progress);
    }
}

/// The response as the layers around `TrackLayer` get it.
fn tracked(head: http::response::Builder, body: Piped) -> Response<Body<Piped>> {
    let response = Mutex::new(head.body(body).ok());
    let client = service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, io::Error>(response.lock().unwrap().take().unwrap()))
    });
    let service = ServiceBuilder::new()
        .layer(TrackLayer::new(Grpc).peek_bytes(0))
        .service(client);
    let mut call = pin!(service.oneshot(Request::default()));
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("the response is there"),
    }
}

/// Of a response that is read to its end.
fn outcome_of(head: http::response::Builder, body: Piped) -> Outcome {
    let mut response = tracked(head, body);
    let heard = Heard::default();
    let seen = response_outcome(&response);
    Http.track(&mut response, &seen, Completion::new(Hears(heard.clone())));
    while let Poll::Ready(Some(Ok(_))) = poll(response.body_mut(), Waker::noop()) {}
    let outcome = heard.lock().unwrap().1;
    outcome.expect("the body is over")
}

fn response_outcome(response: &Response<Body<Piped>>) -> Outcome {
    Http.classify(Ok::<_, &io::Error>(response))
}

/// A status in the trailers, after so many messages.
fn in_trailers(messages: usize, trailers: &[(&'static str, &str)]) -> Outcome {
    let (pipe, body) = Pipe::new();
    for _ in 0..messages {
        pipe.send_bytes(Bytes::from_static(b"\0\0\0\0\x01x"));
    }
    pipe.all_trailers(trailers);
    pipe.end();
    outcome_of(Response::builder(), body)
}

/// A response without messages, whose head has the status.
fn in_head(headers: &[(&'static str, &str)]) -> Outcome {
    let mut head = Response::builder();
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    outcome_of(head, Pipe::whole(&[]))
}

/// The table of the docs.
const TABLE: [(Code, Class); 17] = [
    (Code::Ok, Class::Success),
    (Code::Cancelled, Class::Unavailable),
    (Code::Unknown, Class::Unavailable),
    (Code::InvalidArgument, Class::Invalid),
    (Code::DeadlineExceeded, Class::Unavailable),
    (Code::NotFound, Class::Unfit),
    (Code::AlreadyExists, Class::Invalid),
    (Code::PermissionDenied, Class::Denied),
    (Code::ResourceExhausted, Class::Throttled),
    (Code::FailedPrecondition, Class::Invalid),
    (Code::Aborted, Class::Invalid),
    (Code::OutOfRange, Class::Invalid),
    (Code::Unimplemented, Class::Unfit),
    (Code::Internal, Class::Unavailable),
    (Code::Unavailable, Class::Unavailable),
    (Code::DataLoss, Class::Unfit),
    (Code::Unauthenticated, Class::Denied),
];

#[test]
fn every_status_has_the_class_of_its_row_in_head_and_trailers() {
    for (number, (code, class)) in TABLE.into_iter().enumerate() {
        assert_eq!(code as usize, number);
        assert_eq!(class_of_grpc_code(code as i32), class, "{code:?}");
        let text = &number.to_string()[..];
        assert_eq!(in_head(&[("grpc-status", text)]).class, class, "{code:?}");
        assert_eq!(
            in_trailers(0, &[("grpc-status", text)]).class,
            class,
            "{code:?}"
        );
        let after_content = match class {
            Class::Success => Class::Success,
            _ => Class::Interrupted,
        };
        assert_eq!(
            in_trailers(1, &[("grpc-status", text)]).class,
            after_content,
            "{code:?}"
        );
    }
}

#[test]
fn a_status_that_grpc_does_not_list_is_unknown() {
    for text in ["17", "-1", "99999999999", "OK", "", "\u{e4}"] {
        assert_eq!(
            in_head(&[("grpc-status", text)]).class,
            Class::Unavailable,
            "{text}"
        );
        assert_eq!(
            in_trailers(0, &[("grpc-status", text)]).class,
            Class::Unavailable,
            "{text}"
        );
    }
}

#[test]
fn a_body_without_a_status_has_lost_its_terminator() {
    assert_eq!(in_trailers(0, &[("other", "1")]).class, Class::Unavailable);
    assert_eq!(in_trailers(2, &[("other", "1")]).class, Class::Interrupted);
    let (pipe, body) = Pipe::new();
    pipe.send("x");
    pipe.end();
    assert_eq!(
        outcome_of(Response::builder(), body).class,
        Class::Interrupted
    );
    assert_eq!(in_head(&[]).class, Class::Unavailable);
}

#[test]
fn a_body_that_breaks_is_unavailable_or_interrupted() {
    let (pipe, body) = Pipe::new();
    pipe.fail();
    assert_eq!(
        outcome_of(Response::builder(), body).class,
        Class::Unavailable
    );
    let (pipe, body) = Pipe::new();
    pipe.send("x");
    pipe.fail();
    assert_eq!(
        outcome_of(Response::builder(), body).class,
        Class::Interrupted
    );
}

#[test]
fn a_response_of_some_proxy_is_judged_by_grpcs_own_table() {
    let cases = [
        (400, Class::Unavailable),
        (401, Class::Denied),
        (403, Class::Denied),
        (404, Class::Unfit),
        (429, Class::Throttled),
        (431, Class::Unavailable),
        (500, Class::Unavailable),
        (502, Class::Unavailable),
        (503, Class::Unavailable),
        (504, Class::Unavailable),
        (204, Class::Unavailable),
        (302, Class::Unavailable),
        (418, Class::Unavailable),
    ];
    for (status, class) in cases {
        let head = Response::builder()
            .status(status)
            .header("retry-after", "3");
        let outcome = outcome_of(head, Pipe::whole(&["<html>"]));
        assert_eq!(outcome.class, class, "{status}");
        assert_eq!(outcome.retry_after, Some(Duration::from_secs(3)));
        let head = Response::builder()
            .status(status)
            .header("grpc-status", "16");
        let outcome = outcome_of(head, Pipe::whole(&[]));
        assert_eq!(
            outcome.class,
            Class::Denied,
            "{status}: a status counts before it"
        );
    }
}

#[test]
fn r8_pushback_says_when_or_not_to_send_it_again() {
    let day = Duration::from_secs(24 * 60 * 60);
    let cases = [
        ("0", Some(Duration::ZERO), None),
        ("1500", Some(Duration::from_millis(1500)), None),
        ("2147483647", Some(day), None),
        ("-1", None, Some(false)),
        ("2147483648", None, Some(false)),
        ("soon", None, Some(false)),
        ("", None, Some(false)),
    ];
    for (text, wait, again) in cases {
        let headers = [("grpc-status", "14"), ("grpc-retry-pushback-ms", text)];
        for outcome in [in_head(&headers), in_trailers(0, &headers)] {
            assert_eq!(outcome.class, Class::Unavailable);
            assert_eq!(
                (outcome.retry_after, outcome.should_retry),
                (wait, again),
                "{text}"
            );
        }
    }
    let both = [
        ("grpc-status", "8"),
        ("grpc-retry-pushback-ms", "20"),
        ("retry-after", "3"),
    ];
    assert_eq!(in_head(&both).retry_after, Some(Duration::from_millis(20)));
    let other = [("grpc-status", "8"), ("retry-after", "3")];
    assert_eq!(
        in_trailers(0, &other).retry_after,
        Some(Duration::from_secs(3))
    );
}

#[test]
fn messages_are_content_and_nothing_else_is() {
    let (pipe, body) = Pipe::new();
    let mut response = tracked(Response::builder(), body);
    let heard = Heard::default();
    let seen = response_outcome(&response);
    Http.track(&mut response, &seen, Completion::new(Hears(heard.clone())));
    for chunk in ["", "message", "", "message"] {
        pipe.send(chunk);
        assert!(poll(response.body_mut(), Waker::noop()).is_ready());
    }
    use Progress::{Content, FirstContent, Ping};
    assert_eq!(heard.lock().unwrap().0, [Ping, FirstContent, Ping, Content]);
}

#[test]
fn a_caller_that_leaves_after_the_trailers_leaves_a_success() {
    let (pipe, body) = Pipe::new();
    let mut response = tracked(Response::builder(), body);
    let heard = Heard::default();
    let seen = response_outcome(&response);
    Http.track(&mut response, &seen, Completion::new(Hears(heard.clone())));
    pipe.send("message");
    pipe.trailers("grpc-status", "0");
    for _ in 0..2 {
        assert!(poll(response.body_mut(), Waker::noop()).is_ready());
    }
    drop(response);
    assert_eq!(heard.lock().unwrap().1, Some(Outcome::SUCCESS));
}

#[test]
fn every_refusal_is_a_status_that_its_class_is_read_back_from() {
    for &reason in Reason::ALL {
        let refused = Refused::new(reason).with_retry_after(Duration::from_micros(1_000_001));
        let answer: Result<Response<Body<Piped>>, Infallible> = GrpcServer.refuse(refused);
        let Ok(response) = answer;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert!(
            http_body::Body::is_end_stream(response.body()),
            "no trailers, no messages"
        );
        assert_eq!(response_outcome(&response), refused.outcome());
        assert_eq!(response.extensions().get::<Refused>(), Some(&refused));
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code() as i32, grpc_code_of_refusal(refused));
        assert_eq!(status.message(), reason.as_str());
        // As another process reads it.
        let mut head = Response::builder();
        head.headers_mut().unwrap().clone_from(response.headers());
        let read = outcome_of(head, Pipe::whole(&[]));
        assert!(
            read.failed() && read.class != Class::Refused,
            "{reason}: {read:?}"
        );
        match reason {
            Reason::Oversized => assert_eq!(read.should_retry, Some(false)),
            _ => assert_eq!(
                read.retry_after,
                Some(Duration::from_millis(1001)),
                "rounded up"
            ),
        }
    }
    let throttled = Refused::new(Reason::Coalesced).with_class(Class::Throttled);
    assert_eq!(
        grpc_code_of_refusal(throttled),
        Code::ResourceExhausted as i32
    );
}

// ===== With tonic on both sides =====

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

/// `/test/Unary` answers with what it was sent, or that it is busy, for so many calls;
/// `/test/Stream` with two messages and a failure.
#[derive(Clone, Default)]
struct Upstream {
    calls: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
}

type Messages = tokio_stream::Iter<std::vec::IntoIter<Result<Bytes, Status>>>;

impl Upstream {
    async fn answer(
        self,
        request: Request<tonic::body::Body>,
    ) -> Result<Response<tonic::body::Body>, Infallible> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut grpc = tonic::server::Grpc::new(Raw);
        let unary = service_fn(|request: tonic::Request<Bytes>| {
            let busy = self.busy.load(Ordering::SeqCst) >= self.calls.load(Ordering::SeqCst);
            std::future::ready(match busy {
                true => Err(Status::unavailable("busy")),
                false => Ok(tonic::Response::new(request.into_inner())),
            })
        });
        let stream = service_fn(|_: tonic::Request<Bytes>| {
            let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
            let all = vec![Ok(one), Ok(two), Err(Status::resource_exhausted("enough"))];
            let messages: Messages = tokio_stream::iter(all);
            std::future::ready(Ok(tonic::Response::new(messages)))
        });
        Ok(match request.uri().path() {
            "/test/Unary" => grpc.unary(unary, request).await,
            _ => grpc.server_streaming(stream, request).await,
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// A layer as ours are: it may refuse, and it hears how each call ended.
#[derive(Clone)]
struct Watch<P, S> {
    protocol: P,
    handle: Handle,
    inner: S,
}

/// What a test has of a [`Watch`].
#[derive(Clone, Default)]
struct Handle {
    refuses: Arc<Mutex<Option<Refused>>>,
    heard: Arc<Mutex<Vec<Outcome>>>,
}

struct Push(Handle);

impl Handle {
    fn layer<P: Clone, S>(
        &self,
        protocol: P,
    ) -> impl Layer<S, Service = Watch<P, S>> + Clone + use<P, S> {
        let handle = self.clone();
        layer_fn(move |inner| Watch {
            protocol: protocol.clone(),
            handle: handle.clone(),
            inner,
        })
    }

    fn refuse(&self, refused: Refused) {
        *self.refuses.lock().unwrap() = Some(refused);
    }

    fn heard(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl Report for Push {
    fn report(&mut self, outcome: &Outcome) {
        self.0.heard.lock().unwrap().push(*outcome);
    }
}

impl<P, S, B, Res> Service<Request<B>> for Watch<P, S>
where
    S: Service<Request<B>, Response = Res, Future: Send + 'static>,
    P: Classify<Res, S::Error> + Track<Res> + Refuse<Res, S::Error> + Clone + Send + 'static,
{
    type Response = Res;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Res, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let protocol = self.protocol.clone();
        if let Some(refused) = *self.handle.refuses.lock().unwrap() {
            return Box::pin(async move { protocol.refuse(refused) });
        }
        let completion = Completion::new(Push(self.handle.clone()));
        let call = self.inner.call(request);
        Box::pin(async move {
            let mut result = call.await;
            settle(&protocol, &mut result, completion);
            result
        })
    }
}

/// A tonic server, with a stack of its own, and a channel to it.
async fn connected(upstream: &Upstream, handle: &Handle) -> Channel {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let layers = ServiceBuilder::new()
        .layer(handle.layer(GrpcServer))
        .layer(TrackLayer::new(Grpc))
        .into_inner();
    let upstream = upstream.clone();
    let service = service_fn(move |request| upstream.clone().answer(request));
    let server = Server::builder().layer(layers);
    tokio::spawn(server.serve_with_incoming(service, incoming));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

async fn unary<S>(service: S, text: &'static str) -> Result<Bytes, Status>
where
    S: GrpcService<tonic::body::Body>,
    S::ResponseBody: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let mut client = tonic::client::Grpc::new(service);
    client
        .ready()
        .await
        .map_err(|_| Status::internal("never"))?;
    let (request, path) = (Bytes::from_static(text.as_bytes()), "/test/Unary");
    let response = client
        .unary(
            tonic::Request::new(request),
            PathAndQuery::from_static(path),
            Raw,
        )
        .await?;
    Ok(response.into_inner())
}

/// The messages of a stream, and the status that ended it.
async fn streamed<S>(service: S) -> (Vec<Bytes>, Code)
where
    S: GrpcService<tonic::body::Body>,
    S::ResponseBody: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let mut client = tonic::client::Grpc::new(service);
    assert!(client.ready().await.is_ok());
    let path = PathAndQuery::from_static("/test/Stream");
    let call = client.server_streaming(tonic::Request::new(Bytes::new()), path, Raw);
    let mut stream = match call.await {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), status.code()),
    };
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Code::Ok),
            Err(status) => return (messages, status.code()),
        }
    }
}

#[tokio::test]
async fn a_status_in_the_trailers_reaches_the_layers_of_client_and_server() {
    let (upstream, inside, outside) = (Upstream::default(), Handle::default(), Handle::default());
    let channel = connected(&upstream, &inside).await;
    let stack = ServiceBuilder::new()
        .layer(outside.layer(Http))
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel);

    assert_eq!(unary(stack.clone(), "hello").await.unwrap(), "hello");
    assert_eq!(outside.heard(), [Outcome::SUCCESS]);
    assert_eq!(inside.heard(), [Outcome::SUCCESS.worked_on()]);

    let (messages, code) = streamed(stack.clone()).await;
    assert_eq!(messages, ["one", "two"]);
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(outside.heard(), [Outcome::new(Class::Interrupted)]);
    assert_eq!(
        inside.heard(),
        [Outcome::new(Class::Interrupted).worked_on()]
    );

    upstream.busy.store(usize::MAX, Ordering::SeqCst);
    let status = unary(stack, "hello").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "busy")
    );
    assert_eq!(outside.heard(), [Outcome::new(Class::Unavailable)]);
    assert_eq!(
        inside.heard(),
        [Outcome::new(Class::Unavailable).worked_on()]
    );
}

#[tokio::test]
async fn a_refusal_of_the_server_reaches_the_tonic_client_as_a_status_with_its_hint() {
    let (upstream, inside, outside) = (Upstream::default(), Handle::default(), Handle::default());
    let channel = connected(&upstream, &inside).await;
    let stack = ServiceBuilder::new()
        .layer(outside.layer(Http))
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel);
    let wait = Duration::from_millis(1500);
    let cases = [
        (Reason::Limited, Code::ResourceExhausted, Class::Throttled),
        (Reason::CircuitOpen, Code::Unavailable, Class::Unavailable),
        (Reason::NotCached, Code::NotFound, Class::Unfit),
        (
            Reason::TotalTimeout,
            Code::DeadlineExceeded,
            Class::Unavailable,
        ),
    ];
    for (reason, code, class) in cases {
        inside.refuse(Refused::new(reason).with_retry_after(wait));
        let status = unary(stack.clone(), "hello").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, reason.as_str()));
        assert_eq!(
            outside.heard(),
            [Outcome::new(class).with_retry_after(wait)]
        );
        assert_eq!(streamed(stack.clone()).await, (Vec::new(), code));
        assert_eq!(
            outside.heard(),
            [Outcome::new(class).with_retry_after(wait)]
        );
    }
    assert_eq!(upstream.calls(), 0);
    assert_eq!(inside.heard(), []);
}

#[tokio::test]
async fn a_refusal_of_the_clients_own_layers_is_a_status_too() {
    let (upstream, refusing) = (Upstream::default(), Handle::default());
    let channel = connected(&upstream, &Handle::default()).await;
    refusing.refuse(Refused::new(Reason::CircuitOpen));

    let with_errors = ServiceBuilder::new()
        .map_err(|error: BoxError| match Refused::find(&*error) {
            Some(refused) => Status::new(grpc_code_of_refusal(refused).into(), refused.to_string()),
            None => Status::from_error(error),
        })
        .layer(refusing.layer(Http))
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel.clone());
    let status = unary(with_errors, "hello").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "circuit open")
    );

    let outside = Handle::default();
    let with_responses = ServiceBuilder::new()
        .layer(outside.layer(Http))
        .layer(refusing.layer(GrpcServer))
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel);
    let status = unary(with_responses, "hello").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "circuit open")
    );
    assert_eq!(
        outside.heard(),
        [Outcome::new(Class::Refused)],
        "known for what it is"
    );
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn r11_a_unary_call_is_sent_again_with_the_same_message() {
    let (upstream, inside) = (Upstream::default(), Handle::default());
    upstream.busy.store(1, Ordering::SeqCst);
    let channel = connected(&upstream, &inside).await;
    let endpoint = ServiceBuilder::new()
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .map_request(|request: Request<ReplayBody<_>>| request.map(tonic::body::Body::new))
        .service(channel);
    let twice = service_fn(move |request: Request<ReplayBody<tonic::body::Body>>| {
        let endpoint = endpoint.clone();
        async move {
            let first = Http.copy(&request).expect("nothing has passed yet");
            let result = endpoint.clone().oneshot(first).await;
            if !Http.classify(result.as_ref()).again() {
                return result;
            }
            drop(result);
            assert!(Http.whole(&request));
            endpoint.oneshot(request).await
        }
    });
    let stack = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .service(twice);
    assert_eq!(unary(stack, "hello").await.unwrap(), "hello");
    assert_eq!(upstream.calls(), 2);
    assert_eq!(
        inside.heard(),
        [Outcome::new(Class::Unavailable), Outcome::SUCCESS].map(Outcome::worked_on)
    );
}

#[tokio::test]
async fn one_reply_is_shared_by_several_tonic_clients() {
    let (upstream, inside) = (Upstream::default(), Handle::default());
    let channel = connected(&upstream, &inside).await;
    let endpoint = ServiceBuilder::new()
        .layer(TrackLayer::new(Grpc))
        .map_err(BoxError::from)
        .service(channel);
    let kept = Arc::new(Mutex::new(None::<Shared<tonic::body::Body>>));
    let sharing = service_fn(move |request: Request<tonic::body::Body>| {
        let (endpoint, kept) = (endpoint.clone(), kept.clone());
        async move {
            if let Some(shared) = &*kept.lock().unwrap() {
                return Ok(Http.open(shared));
            }
            let result = endpoint.oneshot(request).await;
            let seen = Http.classify(result.as_ref());
            let shared = Http.share(result?, &seen);
            Ok::<_, BoxError>(Http.open(kept.lock().unwrap().insert(shared)))
        }
    });
    for _ in 0..3 {
        let (messages, code) = streamed(sharing.clone()).await;
        assert_eq!(messages, ["one", "two"]);
        assert_eq!(code, Code::ResourceExhausted, "the trailers too");
    }
    assert_eq!(upstream.calls(), 1);
    assert_eq!(
        inside.heard(),
        [Outcome::new(Class::Interrupted).worked_on()]
    );
}
