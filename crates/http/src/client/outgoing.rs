//! What a request becomes on its way out.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full, combinators::UnsyncBoxBody};

use super::error::BoxError;

/// A body of any type. A pool is of one type, and bytes that are all there need no box.
pub(super) type Outgoing = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;

/// The most informational (1xx) responses that a request waits through: a `102` each second for
/// two minutes.
pub(super) const MAX_INFORMATIONAL: u32 = 128;

/// Counts the informational responses to one request, since hyper skips them without a bound.
#[derive(Debug, Default)]
pub(super) struct Informational {
    seen: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

pub(super) fn outgoing<B>(body: B) -> Outgoing
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Either::Left(Full::default());
    }
    let mut body = Some(body);
    let full = (&mut body as &mut dyn Any).downcast_mut::<Option<Full<Bytes>>>();
    if let Some(full) = full.and_then(Option::take) {
        return Either::Left(full);
    }
    match body {
        Some(body) => Either::Right(body.map_err(Into::into).boxed_unsync()),
        None => Either::Left(Full::default()),
    }
}

/// The headers that say where the body ends.
pub(super) fn frame(headers: &mut HeaderMap, method: &Method, body: &Outgoing) {
    headers.remove(header::TRANSFER_ENCODING);
    // Of a body whose length is known hyper would believe a header that says otherwise.
    match body.size_hint().exact() {
        // And there it says nothing of an empty one, which some servers answer with 411.
        Some(0) if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(length) if states(headers, length) => {}
        Some(_) => {
            headers.remove(header::CONTENT_LENGTH);
        }
        None => {}
    }
}

/// Whether the headers state this length already, once, and as hyper would write it.
fn states(headers: &HeaderMap, length: u64) -> bool {
    let mut stated = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(first), None) = (stated.next(), stated.next()) else {
        return false;
    };
    let digits = first.as_bytes();
    let plain = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
    plain && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse() == Ok(length))
}

// ===== impl Informational =====

impl Informational {
    /// Has the informational responses to this request counted.
    pub(super) fn watch<B>(request: &mut Request<B>) -> Arc<Self> {
        let informational = Arc::new(Self::default());
        let counted = informational.clone();
        hyper::ext::on_informational(request, move |_| counted.count());
        informational
    }

    fn count(&self) {
        if self.seen.fetch_add(1, Ordering::AcqRel) == MAX_INFORMATIONAL {
            let waker = self.waker().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Whether there were too many. If not, the task is woken when there are.
    pub(super) fn exceeded(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        drop(waker);
        self.seen.load(Ordering::Acquire) > MAX_INFORMATIONAL
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, header};
    use http_body_util::{BodyExt, Either, Empty, Full};

    use super::{BoxError, frame, outgoing};

    #[test]
    fn bytes_that_are_all_there_need_no_box() {
        assert!(matches!(outgoing(Full::from("hello")), Either::Left(_)));
        assert!(matches!(outgoing(Empty::new()), Either::Left(_)));
        let mapped = Full::from("hello").map_err(BoxError::from);
        assert!(matches!(outgoing(mapped), Either::Right(_)));
    }

    #[test]
    fn a_length_that_contradicts_the_body_is_dropped() {
        let stated = |headers: &HeaderMap| headers.get(header::CONTENT_LENGTH).cloned();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("gzip"));

        let full = outgoing(Full::from("hello"));
        frame(&mut headers, &Method::POST, &full);
        assert!(headers.is_empty(), "{headers:?}");

        for (value, kept) in [
            ("5", true),
            ("05", false),
            ("+5", false),
            ("5,5", false),
            ("", false),
        ] {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            frame(&mut headers, &Method::POST, &full);
            assert_eq!(stated(&headers).is_some(), kept, "{value}");
        }
        for _ in 0..2 {
            headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        }
        frame(&mut headers, &Method::POST, &full);
        assert_eq!(stated(&headers), None);

        let empty = outgoing(Empty::new());
        frame(&mut headers, &Method::POST, &empty);
        assert_eq!(stated(&headers).unwrap(), "0");
        frame(&mut headers, &Method::GET, &empty);
        assert_eq!(stated(&headers), None);
    }
}
