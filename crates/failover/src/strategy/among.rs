use std::{any::type_name, fmt};

use super::{Candidates, Choice, Strategy};

/// A strategy that chooses among what a closure leaves: see
/// [`StrategyExt::among`](crate::StrategyExt::among).
#[derive(Clone, Copy)]
pub struct Among<C, F> {
    inner: C,
    choose: F,
}

impl<C, F> Among<C, F> {
    pub(super) const fn new(inner: C, choose: F) -> Self {
        Self { inner, choose }
    }
}

impl<C, F, Req> Strategy<Req> for Among<C, F>
where
    C: Strategy<Req>,
    F: Fn(&Req, &mut Candidates<'_>),
{
    fn choose(&self, request: &Req, mut candidates: Candidates<'_>) -> Option<Choice> {
        (self.choose)(request, &mut candidates);
        self.inner.choose(request, candidates)
    }

    fn follows(&self) -> bool {
        self.inner.follows()
    }
}

impl<C: fmt::Debug, F> fmt::Debug for Among<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Among")
            .field("inner", &self.inner)
            .field("choose", &format_args!("{}", type_name::<F>()))
            .finish()
    }
}
