use buttress_core::{Class, Finish, Money, Outcome, Progress, Usage};
use bytes::Bytes;
use http::{Extensions, HeaderMap, StatusCode, response::Parts};

use crate::hints;

/// What a response means: first its head, then its body as it passes.
///
/// `buttress-llm` has a judge for each dialect. [`ByStatus`] knows nothing but HTTP.
///
/// # Examples
///
/// An API whose errors are all of status 200:
///
/// ```
/// use buttress_core::{Class, Outcome};
/// use buttress_http::{ByStatus, Judge, Meter};
/// use http::response::Parts;
///
/// #[derive(Clone)]
/// struct Legacy;
///
/// impl Judge for Legacy {
///     fn head(&self, parts: &Parts) -> Outcome {
///         match parts.headers.get("x-error") {
///             Some(_) => Outcome::new(Class::Unavailable),
///             None => ByStatus.head(parts),
///         }
///     }
///
///     fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
///         None
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not judge responses",
    label = "not a `Judge`",
    note = "use the judge of your provider's dialect from `buttress-llm`, or `ByStatus`"
)]
pub trait Judge {
    /// What the head says. Of a response that goes on, [`Class::Success`] says: well so far.
    fn head(&self, parts: &Parts) -> Outcome;

    /// Who reads the body, if the head does not say it all. With a meter, the response is held
    /// back until its meaning is known (see [`TrackLayer`](crate::TrackLayer)).
    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>>;
}

/// Reads one body as it passes, changing nothing.
///
/// What a meter cannot read passes as it came. One malformed part in an otherwise good body is no
/// failure: the meters of `buttress-llm` skip it, and it is [`Progress::Ping`], neither content
/// nor verdict. It is no part of an [`Outcome`] either, which says how a call went: a meter that
/// counts such parts is given where to by its [`Judge`], which makes it.
///
/// # Examples
///
/// A line protocol that ends with `END`:
///
/// ```
/// use buttress_core::{Outcome, Progress};
/// use buttress_http::Meter;
/// use bytes::Bytes;
///
/// #[derive(Default)]
/// struct Lines {
///     ended: bool,
/// }
///
/// impl Meter for Lines {
///     fn chunk(&mut self, data: &Bytes) -> Progress {
///         self.ended |= data.ends_with(b"END\n");
///         Progress::Content
///     }
///
///     fn verdict(&self, _: bool) -> Option<Outcome> {
///         self.ended.then_some(Outcome::SUCCESS)
///     }
/// }
/// ```
pub trait Meter: Send {
    /// A chunk is about to be delivered. [`Progress::Content`] and [`Progress::FirstContent`] mean
    /// the same here: the first of either is the first content.
    fn chunk(&mut self, data: &Bytes) -> Progress;

    /// The trailers are about to be delivered. Does nothing by default.
    fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// What the reply itself says of how the call went: a success once its terminator was seen, a
    /// failure once it told of an error, by the error's own class. `ended` says that the body
    /// has come to a clean end. `None`: it does not say, or not yet; at a clean end that means
    /// that the terminator is missing.
    fn verdict(&self, ended: bool) -> Option<Outcome>;

    /// The tokens learned so far. None by default.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// What they cost, where a price is known. None by default.
    fn cost(&self) -> Option<Money> {
        None
    }

    /// Why the model stopped, where that was told. None by default.
    fn finish(&self) -> Option<Finish> {
        None
    }

    /// The response is about to be handed out after it was held back: what its body has said by now
    /// that is no part of an [`Outcome`], and that somebody outside wants to know, can be put into the
    /// extensions of its head. Asked once, and not where nothing is held back. Does nothing by default.
    fn learned(&self, head: &mut Extensions) {
        let _ = head;
    }
}

/// Judges a response by its status and its `Retry-After` alone.
///
/// | status | class |
/// |---|---|
/// | 2xx, 304 | success, once the body has ended |
/// | 401, 402, 403, 407 | denied |
/// | 404, 405, 410, 421, 501, 505, and 3xx | unfit |
/// | 408, 409, 425, 500, 502, 503, 504, 529, and 5xx not named here | unavailable |
/// | 429 | throttled |
/// | 400, 411, 413, 414, 415, 422, 431, and 4xx not named here | invalid |
/// | 1xx, and what is no status of HTTP | unavailable |
///
/// `retry-after-ms`, `retry-after` and `x-should-retry` are kept with the class.
///
/// # Examples
///
/// ```
/// use buttress_core::Class;
/// use buttress_http::{ByStatus, Judge};
///
/// let (parts, ()) = http::Response::builder()
///     .status(429)
///     .header("retry-after", "2")
///     .body(())
///     .unwrap()
///     .into_parts();
/// let outcome = ByStatus.head(&parts);
/// assert_eq!(outcome.class, Class::Throttled);
/// assert_eq!(outcome.retry_after.unwrap().as_secs(), 2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

/// The class of a status, as the table of [`ByStatus`] says.
///
/// ```
/// use buttress_core::Class;
/// use buttress_http::class_of_status;
/// use http::StatusCode;
///
/// assert_eq!(class_of_status(StatusCode::CONFLICT), Class::Unavailable);
/// ```
#[must_use]
pub fn class_of_status(status: StatusCode) -> Class {
    match status.as_u16() {
        200..=299 | 304 => Class::Success,
        401 | 402 | 403 | 407 => Class::Denied,
        // A redirect is not followed, since a credential must not be.
        300..=399 | 404 | 405 | 410 | 421 | 501 | 505 => Class::Unfit,
        408 | 409 | 425 => Class::Unavailable,
        429 => Class::Throttled,
        400..=499 => Class::Invalid,
        _ => Class::Unavailable,
    }
}

// ===== impl ByStatus =====

impl Judge for ByStatus {
    fn head(&self, parts: &Parts) -> Outcome {
        let class = class_of_status(parts.status);
        match class {
            Class::Success => Outcome::SUCCESS,
            _ => hints::add(Outcome::new(class), &parts.headers, &parts.extensions),
        }
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        None
    }
}
