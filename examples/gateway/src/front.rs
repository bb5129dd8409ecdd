//! The way of a request: from a caller to an endpoint, and the way of its reply back.

use std::{pin::Pin, sync::Arc};

use axum::{body::Body, extract::State};
use buttress_core::{Class, Completion, settle};
use buttress_http::{Http, sse::is_event_stream};
use buttress_llm::{
    Dialect,
    convert::{Conversion, Converted},
    openai::UsageFilter,
    request::Peek,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request::Parts,
};
use http_body::Body as _;
use http_body_util::{Either, Full};

use crate::{
    body,
    call::{Call, Line},
    callers::Caller,
    endpoint::{Endpoint, Reply, ReplyBody},
    face::{self, Asks, Face},
    fault::{self, Fault},
    gateway::{Gateway, Id},
    headers::{ATTEMPTS, is_endpoints, take_out},
    web,
    written::Written,
};

/// What callers are sent: replies as they come, in a box because they are moved often; or whatever
/// was made here.
pub(crate) type Answer = Response<Either<Pin<Box<Written<ReplyBody>>>, Body>>;

/// A request that an endpoint will be asked.
struct Asked {
    endpoint: Arc<Endpoint>,
    request: Request<Full<Bytes>>,
    /// We asked for the usage of the stream, and the caller did not.
    usage: bool,
    /// The endpoint speaks another dialect than the caller.
    converted: Option<Converted>,
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
    let asked = match read(gateway, face, &mut head, body, &mut line).await {
        Ok(body) => {
            unread = false;
            understand(gateway, face, head, body, &mut line)
        }
        Err(fault) => Err(fault),
    };
    let reply = match asked {
        Ok(asked) => ask(asked, face, id, line).await,
        Err(fault) => {
            gateway.turned_away.count(&fault);
            line.turned_away(&fault, id);
            Err(fault)
        }
    };
    reply.unwrap_or_else(|fault| {
        let mut answer = fault.answer(face.dialect, id);
        if unread {
            close(&mut answer, version);
        }
        answer.map(Either::Right)
    })
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

/// Finds the endpoint that a request goes to, and makes it the endpoint's.
fn understand(
    gateway: &Gateway,
    face: Face,
    head: Parts,
    body: Bytes,
    line: &mut Line,
) -> Result<Asked, Fault> {
    let asked = Peek::new(body).map_err(Fault::Malformed)?;

    let model = asked.model().ok_or(match face.asks {
        Asks::Reply => Fault::NoModel,
        Asks::Other => Fault::Nameless,
    })?;
    line.model(model);
    let caller = head.extensions.get::<Caller>();
    if caller.is_some_and(|caller| !caller.may_use(model)) {
        return Err(Fault::Forbidden(model.to_owned()));
    }
    let route = gateway
        .routes
        .find(model)
        .ok_or_else(|| Fault::Model(model.to_owned()))?;
    let endpoint = match face.asks {
        Asks::Reply => route.first(),
        // What is no reply of a model stays in its dialect.
        Asks::Other => (route.speaking(face.dialect))
            .ok_or_else(|| Fault::OtherDialect(model.to_owned(), route.first().dialect))?,
    };

    // Every byte stays what it was, but for what truth needs.
    let mut edit = asked.edit();
    if let Some(name) = route.rename() {
        edit = edit.model(name);
    }
    if endpoint.dialect != face.dialect {
        let way = Conversion::new(face.dialect, endpoint.dialect);
        let name = endpoint.name.clone();
        let converted =
            (way.request(edit.finish())).map_err(|error| Fault::Convert(name, error))?;
        let model = route.rename().unwrap_or(model);
        return Ok(Asked {
            request: endpoint.converted(head, model, &converted)?,
            endpoint: endpoint.clone(),
            usage: false,
            converted: Some(converted),
        });
    }
    // A chat's stream tells its usage only to those who ask.
    let usage = face == Face::CHAT && asked.stream() && !asked.include_usage();
    if usage {
        edit = edit.include_usage();
    }
    Ok(Asked {
        request: endpoint.request(head, edit.finish()),
        endpoint: endpoint.clone(),
        usage,
        converted: None,
    })
}

/// Asks the endpoint, and follows its reply to the end.
async fn ask(asked: Asked, face: Face, id: Id, line: Line) -> Result<Answer, Fault> {
    let Asked {
        endpoint,
        mut request,
        usage,
        converted,
    } = asked;
    let mut call = Call::begin(&endpoint, line);
    call.carried_by(request.extensions_mut());
    // If nobody waits any more, this is dropped before the call.
    let heard = Completion::new(call.trail().clone());
    let mut result = match face.asks {
        Asks::Reply => call.trail().follow(endpoint.chat(request)).await,
        Asks::Other => call.trail().follow(endpoint.other(request)).await,
    };
    let attempts = call.trail().steps().attempts();
    let unfit = match &result {
        Ok(reply) if !is_final(reply.status()) => Some(Fault::Redirect as fn(_, _) -> _),
        Ok(reply) if face.asks == Asks::Reply && is_empty(reply) => Some(Fault::Empty as _),
        _ => None,
    };
    if unfit.is_none()
        && let Some(converted) = converted
    {
        result = match result {
            Ok(reply) => Ok(converted.response(reply).await),
            Err(error) => Err(error),
        };
    }
    match &mut result {
        Ok(_) if unfit.is_some() => call.answered(StatusCode::BAD_GATEWAY, || id.header()),
        Ok(reply) => {
            let status = reply.status();
            let name = clean(reply.headers_mut(), face.dialect, id);
            call.answered(status, || name.clone());
            if attempts > 1 {
                reply.headers_mut().insert(ATTEMPTS, attempts.into());
            }
        }
        Err(error) => call.answered(fault::status_of(error), || id.header()),
    }
    if unfit.is_some() {
        call.failed(Class::Unavailable);
    }
    settle(&Http, &mut result, heard);
    match (result, unfit) {
        (Ok(reply), Some(fault)) => Err(fault(endpoint.name.clone(), reply.status())),
        (Ok(reply), None) => Ok(passed_on(reply, usage, call)),
        (Err(error), _) => Err(Fault::Endpoint(endpoint.name.clone(), error, attempts)),
    }
}

/// Whether a reply with this status is one to pass on: not a redirect, nor a switch of protocols.
fn is_final(status: StatusCode) -> bool {
    !status.is_redirection() && !status.is_informational()
}

/// Whether it is a success of which nothing comes.
fn is_empty(reply: &Reply) -> bool {
    let contentless = matches!(
        reply.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
    );
    reply.status().is_success() && (contentless || reply.body().is_end_stream())
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

/// The reply for the caller, its body as it comes.
fn passed_on(reply: Reply, usage: bool, call: Call) -> Answer {
    let (mut head, body) = reply.into_parts();
    if usage && is_event_stream(&head.headers) {
        head.headers.remove(header::CONTENT_LENGTH);
        let filtered = Body::new(Written::new(UsageFilter::new(body), call));
        Response::from_parts(head, Either::Right(filtered))
    } else {
        Response::from_parts(head, Either::Left(Box::pin(Written::new(body, call))))
    }
}

const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
