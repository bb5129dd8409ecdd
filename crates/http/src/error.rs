use std::error::Error;

use buttress_core::{Class, Fault, Outcome, Refused};

/// A boxed error, as tower, hyper and axum have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What an error of an HTTP client means: what a refusal of ours says, or, with the feature
/// `client`, the [kind](crate::client::Kind) of whatever hyper, h2, rustls or the system failed
/// with, or else [`Unavailable`](Class::Unavailable) and possibly sent.
///
/// ```
/// use buttress_core::Class;
/// use buttress_http::outcome_of_error;
///
/// let error = std::io::Error::other("what?");
/// assert_eq!(outcome_of_error(&error).class, Class::Unavailable);
/// ```
pub fn outcome_of_error<E: Fault + ?Sized>(error: &E) -> Outcome {
    let Some(cause) = error.cause() else {
        return Outcome::new(Class::Unavailable);
    };
    if let Some(refused) = Refused::find(cause) {
        return refused.outcome();
    }
    #[cfg(feature = "client")]
    let outcome = crate::client::Kind::of(cause).outcome();
    #[cfg(not(feature = "client"))]
    let outcome = Outcome::new(Class::Unavailable);
    outcome
}

/// Whether one of our own layers refused.
pub(crate) fn is_refusal<E: Fault + ?Sized>(error: &E) -> bool {
    error.cause().and_then(Refused::find).is_some()
}

/// The reason of a refusal, or the kind of a client's error: nothing that somebody else wrote.
pub(crate) fn describe<E: Fault + ?Sized>(error: &E) -> Option<&'static str> {
    let cause = error.cause()?;
    if let Some(refused) = Refused::find(cause) {
        return Some(refused.reason().as_str());
    }
    #[cfg(feature = "client")]
    let kind = Some(crate::client::Kind::of(cause).as_str());
    #[cfg(not(feature = "client"))]
    let kind = None;
    kind
}
