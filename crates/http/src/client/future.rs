//! One request under way.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, Response, header, uri::Authority};
use hyper::body::Incoming;
use hyper_util::client::legacy;

use super::{
    Error, ResponseBody,
    outgoing::{Informational, MAX_INFORMATIONAL},
    socket::Kept,
};

/// The future of [`Client`](super::Client).
///
/// It resolves when the head of the response is there. Dropped before that, it closes the HTTP/1.1
/// connection or resets the HTTP/2 stream.
///
/// # Panics
///
/// Polled after it has resolved, as futures do.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    state: State,
}

enum State {
    Sent {
        response: legacy::ResponseFuture,
        informational: Option<Arc<Informational>>,
        authority: Authority,
    },
    Refused(Option<Error>),
}

// ===== impl ResponseFuture =====

impl ResponseFuture {
    pub(super) const fn sent(
        response: legacy::ResponseFuture,
        informational: Option<Arc<Informational>>,
        authority: Authority,
    ) -> Self {
        Self {
            state: State::Sent {
                response,
                informational,
                authority,
            },
        }
    }

    pub(super) const fn refused(error: Error) -> Self {
        Self {
            state: State::Refused(Some(error)),
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            State::Refused(error) => match error.take() {
                Some(error) => Err(error),
                None => panic!("polled after completion"),
            },
            State::Sent {
                response,
                informational,
                authority,
            } => match Pin::new(response).poll(cx) {
                Poll::Ready(result) => finish(result, authority),
                Poll::Pending => {
                    let informational = informational.as_ref();
                    if !informational.is_some_and(|seen| seen.exceeded(cx)) {
                        return Poll::Pending;
                    }
                    Err(Error::response(
                        format!("more than {MAX_INFORMATIONAL} informational responses"),
                        "a final one",
                        authority,
                    ))
                }
            },
        };
        // What is left of the request goes now, and not when the future does.
        self.state = State::Refused(None);
        Poll::Ready(result)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

fn finish(
    result: Result<Response<Incoming>, legacy::Error>,
    authority: &Authority,
) -> Result<Response<ResponseBody>, Error> {
    match result {
        Ok(mut response) => {
            if let Some(kept) = response.extensions_mut().remove::<Kept>() {
                kept.served();
            }
            match contradiction(response.headers()) {
                Some(found) => Err(Error::response(found, "one length", authority)),
                None => Ok(response.map(|body| ResponseBody::new(body, authority.clone()))),
            }
        }
        Err(error) => {
            let mut extras = Extensions::new();
            if let Some(info) = error.connect_info() {
                info.get_extras(&mut extras);
            }
            let kept = extras.get::<Kept>().is_some_and(Kept::was_kept);
            Err(Error::transport(error, kept, authority))
        }
    }
}

/// hyper picks one where a head says two things of its body's length. Whoever reads the head
/// further on may pick the other.
fn contradiction(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    if lengths.next().is_some() || first.as_bytes().contains(&b',') {
        return Some("two content lengths");
    }
    headers
        .contains_key(header::TRANSFER_ENCODING)
        .then_some("a content length and a transfer encoding")
}
