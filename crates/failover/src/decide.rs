use buttress_core::{Elsewhere, Finish, Outcome};

use crate::Info;

/// Where a call goes after an attempt that failed.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Failover, Next};
/// # let (small, large) = ((), ());
///
/// // What is too long for one model is tried where more fits.
/// let service = Failover::new(Plain, [small, large]).on_unfit(Next::LargerContext);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Next {
    /// Nowhere: this result is the answer.
    Nowhere,
    /// To any other endpoint.
    Any,
    /// To one that [says](crate::Endpoint::credential) that it uses another credential. If the one that
    /// failed says nothing, to none.
    OtherCredential,
    /// To one that [says](crate::Endpoint::context) that it takes more tokens. If the one that failed
    /// says nothing, to none.
    LargerContext,
}

/// Where calls go that failed, where the class of the outcome is not to decide: a closure, given to
/// [`Failover::decide_with`](crate::Failover::decide_with).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide about a `{Req}`",
    label = "not for this request",
    note = "`decide_with` takes a closure `|request: &{Req}, outcome: &Outcome, endpoint: &Info| -> Option<Next>`; it must be of the type of request that reaches the failover"
)]
pub trait Decide<Req>: sealed::Sealed<Req> {
    /// Where the call goes. `None`: as the outcome says.
    fn decide(&self, request: &Req, outcome: &Outcome, endpoint: &Info) -> Option<Next>;
}

/// As the outcome says: the default of [`Failover`](crate::Failover).
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClass;

// ===== impl Next =====

impl Next {
    pub(crate) fn by_outcome(outcome: &Outcome, unfit: Self) -> Self {
        match outcome.class.elsewhere() {
            Elsewhere::Yes => Self::Any,
            Elsewhere::OtherCredential => Self::OtherCredential,
            // Nobody asks for a filter to be got round by asking somebody else.
            Elsewhere::IfConfigured if outcome.finish == Some(Finish::Filtered) => Self::Nowhere,
            Elsewhere::IfConfigured => unfit,
            // To go on with a reply of which part was delivered is another layer's business.
            _ => Self::Nowhere,
        }
    }

    /// Whether an endpoint is ruled out by what another one failed with.
    pub(crate) fn rules_out(self, failed: &Info, other: &Info) -> bool {
        match self {
            Self::Nowhere => true,
            Self::Any => false,
            Self::OtherCredential => match (failed.credential(), other.credential()) {
                (Some(failed), Some(other)) => failed == other,
                _ => true,
            },
            Self::LargerContext => match (failed.context(), other.context()) {
                (Some(failed), Some(other)) => other <= failed,
                _ => true,
            },
        }
    }
}

impl<Req> Decide<Req> for ByClass {
    #[inline]
    fn decide(&self, _: &Req, _: &Outcome, _: &Info) -> Option<Next> {
        None
    }
}

impl<Req, F: Fn(&Req, &Outcome, &Info) -> Option<Next>> Decide<Req> for F {
    fn decide(&self, request: &Req, outcome: &Outcome, endpoint: &Info) -> Option<Next> {
        self(request, outcome, endpoint)
    }
}

mod sealed {
    use super::{ByClass, Info, Next, Outcome};

    pub trait Sealed<Req> {}

    impl<Req> Sealed<Req> for ByClass {}

    impl<Req, F: Fn(&Req, &Outcome, &Info) -> Option<Next>> Sealed<Req> for F {}
}
