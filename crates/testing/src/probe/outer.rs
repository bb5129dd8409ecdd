//! The service under test, with its types put away: the checks are written once, and compiled once.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::SizeHint;
use tower_layer::Layer;
use tower_service::Service;

use super::{core::Core, inner::Inner, reply::Failure, traffic::Traffic};

/// Makes the layer under test anew, for each scene of a check.
pub(super) trait Rig {
    fn layer(&self) -> Box<dyn Layered>;

    /// Whether the inner service has errors at all.
    fn can_fail(&self) -> bool;

    /// Whether replies have bodies that outlive the response future.
    fn has_bodies(&self) -> bool;
}

/// One layer.
pub(super) trait Layered {
    /// A service of this layer on an inner service of its own, all of which share `core`.
    fn service(&self, core: &Arc<Core>) -> Box<dyn Outer>;
}

/// One instance of the service under test.
pub(super) trait Outer: Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>>;

    fn call(&mut self, request: u64) -> Pin<Box<dyn OuterFuture>>;

    fn fork(&self) -> Box<dyn Outer>;
}

pub(super) trait OuterFuture {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Box<dyn Held>, Fault>>;
}

/// A response that a caller holds.
pub(super) trait Held {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>>;

    fn is_end_stream(&self) -> bool;

    fn size_hint(&self) -> SizeHint;
}

/// An error of the service under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The failure of the inner service, if it came back unchanged.
    pub(super) failure: Option<Failure>,
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Vec<u8>),
    Trailers,
    Error,
}

/// How a response of the service under test is held.
pub(super) type Hold<Res> = fn(Res) -> Box<dyn Held>;

struct TypedRig<F, Req, Res, E, Out> {
    make: F,
    traffic: Traffic<Req, Res, E>,
    hold: Hold<Out>,
    has_bodies: bool,
}

struct TypedLayer<L, Req, Res, E, Out> {
    layer: L,
    traffic: Traffic<Req, Res, E>,
    hold: Hold<Out>,
}

struct TypedOuter<S, Req, Res, E, Out> {
    service: S,
    traffic: Traffic<Req, Res, E>,
    hold: Hold<Out>,
}

struct TypedFuture<F, Req, Res, E, Out> {
    future: Pin<Box<F>>,
    traffic: Traffic<Req, Res, E>,
    hold: Hold<Out>,
}

struct Whole<Res> {
    _response: Res,
}

struct Streamed<B> {
    /// Held as a caller may hold it: what lies in the extensions lives on.
    _head: http::response::Parts,
    body: Pin<Box<B>>,
}

pub(super) fn rig<F, L, Req, Res, E, S, Out>(
    make: F,
    traffic: Traffic<Req, Res, E>,
    hold: Hold<Out>,
    has_bodies: bool,
) -> Box<dyn Rig>
where
    F: Fn() -> L + 'static,
    L: Layer<Inner<Req, Res, E>, Service = S> + 'static,
    S: Service<Req, Response = Out, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Req: Send + 'static,
    Res: Send + 'static,
    E: Debug + Send + 'static,
    Out: 'static,
{
    Box::new(TypedRig {
        make,
        traffic,
        hold,
        has_bodies,
    })
}

/// Holds a response whose work is over.
pub(super) fn whole<Res: 'static>(response: Res) -> Box<dyn Held> {
    Box::new(Whole {
        _response: response,
    })
}

/// Holds an http response whose body may still come.
pub(super) fn streamed<B: http_body::Body + 'static>(response: http::Response<B>) -> Box<dyn Held> {
    let (head, body) = response.into_parts();
    Box::new(Streamed {
        _head: head,
        body: Box::pin(body),
    })
}

// ===== impl TypedRig =====

impl<F, L, Req, Res, E, S, Out> Rig for TypedRig<F, Req, Res, E, Out>
where
    F: Fn() -> L,
    L: Layer<Inner<Req, Res, E>, Service = S> + 'static,
    S: Service<Req, Response = Out, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Req: Send + 'static,
    Res: Send + 'static,
    E: Debug + Send + 'static,
    Out: 'static,
{
    fn layer(&self) -> Box<dyn Layered> {
        Box::new(TypedLayer {
            layer: (self.make)(),
            traffic: self.traffic.clone(),
            hold: self.hold,
        })
    }

    fn can_fail(&self) -> bool {
        self.traffic.can_fail()
    }

    fn has_bodies(&self) -> bool {
        self.has_bodies
    }
}

// ===== impl TypedLayer =====

impl<L, Req, Res, E, S, Out> Layered for TypedLayer<L, Req, Res, E, Out>
where
    L: Layer<Inner<Req, Res, E>, Service = S>,
    S: Service<Req, Response = Out, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Req: Send + 'static,
    Res: Send + 'static,
    E: Debug + Send + 'static,
    Out: 'static,
{
    fn service(&self, core: &Arc<Core>) -> Box<dyn Outer> {
        Box::new(TypedOuter {
            service: self.layer.layer(self.traffic.inner(core)),
            traffic: self.traffic.clone(),
            hold: self.hold,
        })
    }
}

// ===== impl TypedOuter =====

impl<S, Req, Res, E, Out> Outer for TypedOuter<S, Req, Res, E, Out>
where
    S: Service<Req, Response = Out, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Req: Send + 'static,
    Res: Send + 'static,
    E: Debug + Send + 'static,
    Out: 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let ready = self.service.poll_ready(cx);
        ready.map_err(|error| Fault::new(&error, &self.traffic))
    }

    fn call(&mut self, request: u64) -> Pin<Box<dyn OuterFuture>> {
        let future = self.service.call(self.traffic.request(request));
        Box::pin(TypedFuture {
            future: Box::pin(future),
            traffic: self.traffic.clone(),
            hold: self.hold,
        })
    }

    fn fork(&self) -> Box<dyn Outer> {
        Box::new(Self {
            service: self.service.clone(),
            traffic: self.traffic.clone(),
            hold: self.hold,
        })
    }
}

// ===== impl TypedFuture =====

impl<F, Req, Res, E, Out> OuterFuture for TypedFuture<F, Req, Res, E, Out>
where
    F: Future<Output = Result<Out, E>>,
    E: Debug,
{
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Box<dyn Held>, Fault>> {
        let result = ready!(self.future.as_mut().poll(cx));
        Poll::Ready(match result {
            Ok(response) => Ok((self.hold)(response)),
            Err(error) => Err(Fault::new(&error, &self.traffic)),
        })
    }
}

// ===== impl Fault =====

impl Fault {
    fn new<Req, Res, E: Debug>(error: &E, traffic: &Traffic<Req, Res, E>) -> Self {
        Self {
            failure: traffic.find(error),
            text: format!("{error:?}"),
        }
    }
}

// ===== impl Whole =====

impl<Res> Held for Whole<Res> {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Piece>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// ===== impl Streamed =====

impl<B: http_body::Body> Held for Streamed<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => match frame.into_data() {
                Ok(mut data) => Piece::Data(data.copy_to_bytes(data.remaining()).into()),
                Err(_) => Piece::Trailers,
            },
            Err(_) => Piece::Error,
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
