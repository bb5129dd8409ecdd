//! The way of a request: from a caller to an endpoint, and the way of its reply back.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use axum::{body::Body, extract::State};
use buttress_core::{CacheStatus, Cached, Completion, settle};
use buttress_http::{BoxError, Http, sse::is_event_stream};
use buttress_llm::{Dialect, estimate::Estimate, request::Peek};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header, request::Parts,
};
use http_body_util::{Either, Full};
use tower::Service;

use crate::{
    adapt::{Asked, Question, Worthless, judged, without_usage, worthless},
    body,
    call::{Call, Line},
    callers::Caller,
    endpoint::{Reply, ReplyBody},
    face::{self, Asks, Face},
    fault::{self, Fault},
    gateway::{Gateway, Id},
    headers::{ATTEMPTS, CACHE, ENDPOINTS, is_endpoints, is_of_the_moment, take_out},
    quota,
    route::{Elsewhere, Model},
    web,
    written::Written,
};

/// What callers are sent: replies as they come, in a box because they are moved often; or whatever
/// was made here.
pub(crate) type Answer = Response<Either<Pin<Box<Written<ReplyBody>>>, Body>>;

/// Who is asked, and what.
struct Asking {
    service: Either<Model, Elsewhere>,
    adds_usage: bool,
    /// Replies are kept.
    keeps: bool,
    request: Request<Full<Bytes>>,
}

/// Serves one call, whatever becomes of it.
pub(crate) async fn serve<B>(gateway: &Gateway, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (mut head, body) = request.into_parts();
    let face = Face::of(&head);
    let version = head.version;
    let id = gateway.ids.next();
    let mut line = Line::begin(&gateway.log, &head);
    let mut unread = !body.is_end_stream();
    let read = read(gateway, face, &mut head, body, &mut line).await;
    let caller = head.extensions.get::<Caller>().cloned();
    let asked = match read {
        Ok(body) => {
            unread = false;
            understand(gateway, face, head, body, &mut line)
        }
        Err(fault) => Err(fault),
    };
    let mut answer = match asked {
        Ok(asking) => ask(asking, face, id, line).await,
        Err(fault) => {
            gateway.turned_away.count(&fault);
            line.turned_away(&fault, id);
            let mut answer = fault.answer(face.dialect, id);
            if unread {
                close(&mut answer, version);
            }
            answer.map(Either::Right)
        }
    };
    if let Some(caller) = &caller {
        quota::tell_standing(&gateway.caller_limits, caller, answer.headers_mut());
    }
    answer
}

/// Tells the caller that the connection ends with this answer, where one request stands in the way
/// of the next.
pub(crate) fn close(answer: &mut Response<Body>, version: Version) {
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
}

/// Answers what is not there, and what is but not in this way.
pub(crate) async fn nothing(
    State(gateway): State<Arc<Gateway>>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    match face::methods(head.uri.path()) {
        Some(allowed) if head.method == Method::OPTIONS => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            let headers = answer.headers_mut();
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            web::preflight(&head.headers, headers);
            answer
        }
        Some(allowed) => {
            let method = head.method.clone();
            turn_away(&gateway, &head, &Fault::Method(method, allowed))
        }
        None => turn_away(&gateway, &head, &Fault::Path),
    }
}

/// Tells why there is no answer, counts it, and writes its line.
pub(crate) fn turn_away(gateway: &Gateway, head: &Parts, fault: &Fault) -> Response<Body> {
    let id = gateway.ids.next();
    gateway.turned_away.count(fault);
    Line::begin(&gateway.log, head).turned_away(fault, id);
    fault.answer(Face::of(head).dialect, id)
}

/// Reads the body of a request, if its head admits it.
async fn read<B>(
    gateway: &Gateway,
    face: Face,
    head: &mut Parts,
    body: B,
    line: &mut Line,
) -> Result<Bytes, Fault>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if let Some(caller) = gateway.admits(head)? {
        line.caller(&caller);
        // For whatever layer wants to know.
        head.extensions.insert(caller);
    }
    face.admits(head)?;
    let limits = &gateway.limits;
    let read = body::read(body, limits).await;
    read.map_err(|fault| Fault::Body(fault, *limits))
}

/// Finds out who is asked.
fn understand(
    gateway: &Gateway,
    face: Face,
    mut head: Parts,
    body: Bytes,
    line: &mut Line,
) -> Result<Asking, Fault> {
    let asked = Peek::new(body).map_err(Fault::Malformed)?;

    let model = asked.model().ok_or(match face.asks {
        Asks::Reply => Fault::NoModel,
        Asks::Other => Fault::Nameless,
    })?;
    line.model(model);
    let caller = head.extensions.remove::<Caller>();
    if caller.as_ref().is_some_and(|caller| !caller.may_use(model)) {
        return Err(Fault::Forbidden(model.to_owned()));
    }
    let route = gateway
        .routes
        .find(model)
        .ok_or_else(|| Fault::Model(model.to_owned()))?;
    let service = match face.asks {
        Asks::Reply => Either::Left(route.model().clone()),
        // What is no reply of a model stays in its dialect.
        Asks::Other => Either::Right(
            (route.speaking(face.dialect))
                .ok_or_else(|| Fault::OtherDialect(model.to_owned(), route.first().dialect))?,
        ),
    };
    // What the connection knows of itself is nobody else's business.
    head.extensions = Extensions::new();
    if let Some(caller) = caller {
        // For whatever layer wants to know.
        head.extensions.insert(caller);
    }
    let body = asked.body().clone();
    if gateway.counts_tokens {
        head.extensions.insert(Estimate::of_body(&body));
    }
    let question = Question {
        face,
        path: (face.asks == Asks::Other).then(|| head.uri.path().into()),
        rename: route.rename().cloned(),
        body: asked,
    };
    let adds_usage = question.adds_usage();
    head.extensions.insert(Asked(Arc::new(question)));
    Ok(Asking {
        service,
        adds_usage,
        keeps: gateway.replies.is_on(),
        request: Request::from_parts(head, Full::new(body)),
    })
}

/// Asks, and follows the reply to its end.
async fn ask(asking: Asking, face: Face, id: Id, line: Line) -> Answer {
    let Asking {
        service,
        adds_usage,
        keeps,
        mut request,
    } = asking;
    let mut call = Call::begin(line);
    call.carried_by(request.extensions_mut());
    // For whoever drives the call, if it is not this task alone.
    request.extensions_mut().insert(call.story().clone());
    // If nobody waits any more, this is dropped before the call.
    let heard = Completion::new(call.story().clone());
    let mut result = match service {
        Either::Left(model) => call.story().follow(send(model, request)).await,
        Either::Right(other) => call.story().follow(send(other, request)).await,
    };
    if adds_usage {
        result = result.map(without_usage);
    }
    let (endpoint, attempts, tried) = {
        let steps = call.story().steps();
        let answered = steps.answered.as_ref().or(steps.endpoints.last());
        let tried = (steps.endpoints.len() > 1).then(|| steps.endpoints.join(", "));
        (answered.cloned(), steps.attempts(), tried)
    };
    let worthless = match &result {
        Ok(reply) => worthless(reply).filter(|why| {
            // What is no reply of a model may say nothing.
            face.asks == Asks::Reply || *why == Worthless::Redirect
        }),
        Err(_) => None,
    };
    match &mut result {
        Ok(_) if worthless.is_some() => call.answered(StatusCode::BAD_GATEWAY, || id.header()),
        Ok(reply) => {
            let status = reply.status();
            let cached = reply.extensions().get::<Cached>().copied();
            let cached = cached.filter(|_| keeps);
            if cached.is_some_and(|cached| cached.status.is_saved()) {
                // That of the call it was made for is another's.
                reply.headers_mut().remove(face.dialect.request_id_header());
            }
            let name = clean(reply.headers_mut(), face.dialect, id);
            call.answered(status, || name.clone());
            tell_way(reply.headers_mut(), attempts, tried.as_deref());
            if let Some(cached) = cached {
                tell_cached(reply.headers_mut(), cached);
                call.story().steps().cached = Some(cached.status);
            }
        }
        Err(error) => call.answered(fault::status_of(error), || id.header()),
    }
    if let Some(why) = worthless {
        call.failed(why.outcome().class);
    }
    match (face.asks, worthless) {
        // What is no reply of a model may say nothing.
        (Asks::Other, None) => settle(&Http, &mut result, heard),
        _ => settle(&judged(), &mut result, heard),
    }
    let fault = match (result, worthless) {
        (Ok(reply), None) => {
            return reply.map(|body| Either::Left(Box::pin(Written::new(body, call))));
        }
        (Ok(reply), Some(why)) => {
            let endpoint = endpoint.unwrap_or_else(|| Arc::from("none"));
            Fault::Worthless(endpoint, why, reply.status())
        }
        (Err(error), _) => Fault::of(endpoint, error, attempts),
    };
    let mut answer = fault.answer(face.dialect, id);
    tell_way(answer.headers_mut(), attempts, tried.as_deref());
    answer.map(Either::Right)
}

/// Says of a reply that was not had at once what it took.
fn tell_way(headers: &mut HeaderMap, attempts: usize, tried: Option<&str>) {
    if attempts > 1 {
        headers.insert(ATTEMPTS, attempts.into());
    }
    // The names of endpoints are fit for it.
    if let Some(Ok(tried)) = tried.map(HeaderValue::from_str) {
        headers.insert(ENDPOINTS, tried);
    }
}

/// Says of a reply whether it was asked for anew, and if not, how old it is, in seconds.
fn tell_cached(headers: &mut HeaderMap, cached: Cached) {
    headers.insert(CACHE, HeaderValue::from_static(cached.status.as_str()));
    if let CacheStatus::Hit | CacheStatus::Stale = cached.status {
        take_out(headers, is_of_the_moment);
    }
    if cached.status.is_saved() {
        headers.insert(header::AGE, cached.age.as_secs().into());
    }
}

async fn send<S>(mut service: S, request: Request<Full<Bytes>>) -> Result<Reply, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Reply, Error = BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// Makes the head of a reply one of ours, and says under which id the caller gets it.
fn clean(headers: &mut HeaderMap, dialect: Dialect, id: Id) -> &HeaderValue {
    take_out(headers, is_endpoints);
    if is_event_stream(headers) {
        // Nothing on the way may keep a part of it back.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(BUFFERING, HeaderValue::from_static("no"));
    }
    headers
        .entry(dialect.request_id_header())
        .or_insert_with(|| id.header())
}

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
