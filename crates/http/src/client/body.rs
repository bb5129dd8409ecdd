//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::uri::Authority;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Error;

/// The body of a response of [`Client`](super::Client).
///
/// It is hyper's, as it comes from the connection, but for two things. What it fails with is an
/// [`Error`], of the [kind](super::Kind) that [`Kind::of_body`](super::Kind::of_body) gives and
/// with nothing that the peer wrote. And one that ends before its `content-length` is there fails,
/// with [`Kind::Closed`](super::Kind::Closed), where hyper takes an HTTP/2 `RST_STREAM` or `GOAWAY`
/// that says `NO_ERROR` for the end. Once it has failed, it is over.
///
/// # Examples
///
/// ```
/// use buttress_http::client::{Error, Kind, ResponseBody};
/// use http_body_util::BodyExt;
///
/// async fn read(body: ResponseBody) -> Result<Vec<u8>, Error> {
///     match body.collect().await {
///         Ok(whole) => Ok(whole.to_bytes().into()),
///         Err(error) if error.kind() == Kind::Reset => Ok(Vec::new()),
///         Err(error) => Err(error),
///     }
/// }
/// ```
pub struct ResponseBody {
    incoming: Incoming,
    /// Whose body it is; nobody's after a failure, which took it along.
    authority: Option<Authority>,
}

// ===== impl ResponseBody =====

impl ResponseBody {
    pub(super) const fn new(incoming: Incoming, authority: Authority) -> Self {
        Self {
            incoming,
            authority: Some(authority),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.authority.is_none() {
            return Poll::Ready(None);
        }
        let error = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Error::body(error, self.authority.take()),
            None => match self.size_hint().lower() {
                0 => return Poll::Ready(None),
                missing => Error::short(missing, self.authority.take()),
            },
        };
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.authority.is_none() || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // On HTTP/2, hyper promises the `content-length` of a reply to `HEAD`, too, and of a 304.
        match self.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => self.incoming.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}
