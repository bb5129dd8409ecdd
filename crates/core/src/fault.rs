use std::{convert::Infallible, error::Error, io, sync::Arc};

use crate::{Class, Outcome, Refused};

/// What a layer may see of an error: where to begin looking for what caused it.
///
/// For an error type of your own crate it is one line, beside an [`Error`] whose
/// [`source`](Error::source) leads to what it holds:
///
/// ```
/// use std::{error::Error, fmt, io};
/// use buttress_core::Fault;
///
/// #[derive(Debug)]
/// struct ApiError(io::Error);
///
/// impl Fault for ApiError {
///     fn cause(&self) -> Option<&(dyn Error + 'static)> {
///         Some(self)
///     }
/// }
///
/// impl Error for ApiError {
///     fn source(&self) -> Option<&(dyn Error + 'static)> {
///         Some(&self.0)
///     }
/// }
///
/// impl fmt::Display for ApiError {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("the API cannot be reached")
///     }
/// }
/// ```
///
/// From there a layer goes down from source to source, and sees no further than these lead: to the
/// [`Refused`] of a layer inside, which is then no failure of the upstream's, and to the client's own
/// error, which says whether the request was sent. An error that holds one and whose `source` is not
/// written is [`Unavailable`](Class::Unavailable), and is retried. With `thiserror`, `#[from]`,
/// `#[source]` and `#[error(transparent)]` write it.
///
/// It is a trait of its own, and not `Into<BoxError>`, because layers look at errors by
/// reference, and because a bound on a boxed error's lifetime would keep calls from being
/// spawned.
#[diagnostic::on_unimplemented(
    message = "a layer cannot look inside the error `{Self}`",
    label = "`{Self}` is not a `Fault`",
    note = "for an error type of your own crate: `impl Fault for {Self} {{ fn cause(&self) -> Option<&(dyn Error + 'static)> {{ Some(self) }} }}`",
    note = "for somebody else's error: put `BoxErrorLayer` of `buttress-http` innermost, under the layers (with `default-features = false`, that crate has no client)"
)]
pub trait Fault {
    /// This error, or else the first error below it.
    fn cause(&self) -> Option<&(dyn Error + 'static)>;
}

/// The outcome that an error has by itself: that of the [`Refused`] below it, if there is one,
/// else [`Unavailable`](Class::Unavailable) and possibly sent.
///
/// ```
/// use buttress_core::{Class, Reason, Refused, outcome_of};
///
/// let error = Box::<dyn std::error::Error>::from("no idea");
/// assert_eq!(outcome_of(&error).class, Class::Unavailable);
/// assert_eq!(outcome_of(&Refused::new(Reason::Limited)).class, Class::Refused);
/// ```
pub fn outcome_of<E: Fault + ?Sized>(error: &E) -> Outcome {
    match error.cause().and_then(Refused::find) {
        Some(refused) => refused.outcome(),
        None => Outcome::new(Class::Unavailable),
    }
}

// A box of any lifetime cannot be looked at itself, but what is below it can: that is why a
// `Refused` is its own source.
macro_rules! boxed {
    ($($error:ty),*) => {$(
        impl<'a> Fault for Box<$error> {
            fn cause(&self) -> Option<&(dyn Error + 'static)> {
                self.source()
            }
        }
    )*};
}

boxed!(
    dyn Error + 'a,
    dyn Error + Send + 'a,
    dyn Error + Send + Sync + 'a
);

impl Fault for Refused {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl Fault for io::Error {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl Fault for Infallible {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match *self {}
    }
}

impl<E: Fault + ?Sized> Fault for Arc<E> {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        (**self).cause()
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io, sync::Arc};

    use super::{Fault, outcome_of};
    use crate::{Class, Outcome, Reason, Refused, Sent};

    const OPEN: Refused = Refused::new(Reason::CircuitOpen);

    #[test]
    fn a_refusal_is_found_below_boxes_and_io_errors() {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(OPEN);
        let twice: Box<dyn Error> = Box::new(io::Error::other(boxed));
        for outcome in [
            outcome_of(&OPEN),
            outcome_of(&Arc::new(OPEN)),
            outcome_of(&io::Error::other(OPEN)),
            outcome_of(&twice),
        ] {
            assert_eq!(outcome, Outcome::new(Class::Refused));
        }
    }

    #[test]
    fn an_error_that_nothing_lists_is_unavailable_and_may_have_been_sent() {
        let outcome = outcome_of(&io::Error::other("?"));
        assert_eq!(
            (outcome.class, outcome.sent),
            (Class::Unavailable, Sent::Maybe)
        );
    }

    #[test]
    fn a_timeout_was_sent() {
        let outcome = Refused::new(Reason::AttemptTimeout).outcome();
        assert_eq!(
            (outcome.class, outcome.sent),
            (Class::Unavailable, Sent::Maybe)
        );
    }

    #[test]
    fn a_box_that_borrows_is_a_fault_too() {
        fn is_fault<E: Fault>(error: &E) -> bool {
            error.cause().is_some()
        }
        fn borrows<'a>(error: impl Error + 'a) -> Box<dyn Error + 'a> {
            Box::new(error)
        }
        assert!(is_fault(&borrows(OPEN)));
    }
}
