use buttress_core::Outcome;

/// Which attempts are followed by another, where the class of their outcome is not to decide: a
/// closure, given to [`RetryLayer::decide_with`](crate::RetryLayer::decide_with).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide about a `{Req}`",
    label = "not for this request",
    note = "`decide_with` takes a closure `|request: &{Req}, outcome: &Outcome| -> Option<bool>`; it must be of the type of request that reaches the retry"
)]
pub trait Decide<Req>: sealed::Sealed<Req> {
    /// Whether to make another attempt. `None`: as the outcome says.
    fn decide(&self, request: &Req, outcome: &Outcome) -> Option<bool>;
}

/// As the outcome says: the default of [`RetryLayer`](crate::RetryLayer).
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClass;

impl<Req> Decide<Req> for ByClass {
    fn decide(&self, _: &Req, _: &Outcome) -> Option<bool> {
        None
    }
}

impl<Req, F: Fn(&Req, &Outcome) -> Option<bool>> Decide<Req> for F {
    fn decide(&self, request: &Req, outcome: &Outcome) -> Option<bool> {
        self(request, outcome)
    }
}

mod sealed {
    use super::{ByClass, Outcome};

    pub trait Sealed<Req> {}

    impl<Req> Sealed<Req> for ByClass {}

    impl<Req, F: Fn(&Req, &Outcome) -> Option<bool>> Sealed<Req> for F {}
}
