use std::error::Error;

use buttress_core::{Class, Fault, Outcome, Refused};

/// A boxed error, as tower, hyper and axum have it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What an error of an HTTP client means: a refusal of ours, a failure of
/// [`Client`](crate::Client), or else [`Unavailable`](Class::Unavailable) and possibly sent.
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
    Outcome::new(Class::Unavailable)
}
