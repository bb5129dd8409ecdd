use std::{any::type_name, fmt, time::Duration};

use buttress_core::{Class, Finish, Outcome};

use crate::Terms;

/// For how long a reply serves.
///
/// | | default |
/// |---|---|
/// | fresh | five minutes |
/// | [stale while it is refreshed](Freshness::stale_while_revalidate) | never |
/// | [stale if the upstream fails](Freshness::stale_if_error) | never |
///
/// Durations too large to be added to the clock mean: for ever.
///
/// ```
/// use std::time::Duration;
/// use buttress_cache::Freshness;
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// let freshness = Freshness::new(minutes(10))
///     .stale_while_revalidate(minutes(5))
///     .stale_if_error(minutes(60));
/// assert_ne!(freshness, Freshness::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub(crate) fresh: Duration,
    pub(crate) revalidate: Duration,
    pub(crate) if_error: Duration,
}

/// For how long a reply serves, decided reply by reply.
///
/// A [`Freshness`] says the same of all that went well. A function of `&Res` and `&Outcome` says it
/// of each. It is asked when the response has come and, if that is a stream, before its end is
/// known; what then fails, or is cut by a [filter](Finish::Filtered), is not kept whatever it said.
///
/// Of failed responses none is kept unless it is asked for: the function may answer for those of
/// class [`Invalid`](Class::Invalid) and [`Unfit`](Class::Unfit), which fail again if they are asked
/// again. See [`CacheLayer::negative`](crate::CacheLayer::negative).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say for how long a `{Res}` serves",
    label = "not a lifetime of this response",
    note = "a lifetime is a `Freshness`, or a function of `&{Res}` and `&Outcome` that gives one; write the types of its arguments"
)]
pub trait Lifetime<Res> {
    /// For how long this one serves.
    fn freshness(&self, response: &Res, seen: &Outcome) -> Freshness;
}

/// Keeps failures as well: see [`CacheLayer::negative`](crate::CacheLayer::negative).
#[derive(Clone, Copy, Debug)]
pub struct Negative<L> {
    pub(crate) inner: L,
    pub(crate) time: Duration,
}

/// Limited by the upstream's terms: see [`CacheLayer::heed_reply`](crate::CacheLayer::heed_reply).
#[derive(Clone, Copy)]
pub struct Limited<L, F> {
    pub(crate) inner: L,
    pub(crate) terms: F,
}

/// Whether what ended so may be kept: all of a reply, or a failure that would be the same the next
/// time. What a filter cut is a part of a reply, and might be whole the next time.
pub(crate) const fn may_be_kept(outcome: &Outcome) -> bool {
    match outcome.class {
        Class::Success => !matches!(outcome.finish, Some(Finish::Filtered)),
        Class::Invalid | Class::Unfit => true,
        _ => false,
    }
}

// ===== impl Freshness =====

impl Freshness {
    /// It is not kept at all.
    pub const NONE: Self = Self::new(Duration::ZERO);

    /// Fresh for so long, and of no use after that.
    #[must_use]
    pub const fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
        }
    }

    /// For so long after it was fresh it serves still, marked as stale, and is refreshed meanwhile.
    #[must_use]
    pub const fn stale_while_revalidate(self, time: Duration) -> Self {
        Self {
            revalidate: time,
            ..self
        }
    }

    /// For so long after it was fresh it serves, marked as stale, instead of a failure of the
    /// upstream that has nothing to do with the request.
    #[must_use]
    pub const fn stale_if_error(self, time: Duration) -> Self {
        Self {
            if_error: time,
            ..self
        }
    }

    /// Whether it is kept at all.
    pub(crate) fn is_none(&self) -> bool {
        self.fresh.is_zero() && self.revalidate.is_zero() && self.if_error.is_zero()
    }

    pub(crate) fn is_fresh(&self, age: Duration) -> bool {
        age < self.fresh
    }

    pub(crate) fn serves_while_refreshed(&self, age: Duration) -> bool {
        age < self.fresh.saturating_add(self.revalidate)
    }

    pub(crate) fn serves_if_error(&self, age: Duration) -> bool {
        age < self.fresh.saturating_add(self.if_error)
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self::new(Duration::from_secs(300))
    }
}

// ===== impl Lifetime =====

impl<Res> Lifetime<Res> for Freshness {
    fn freshness(&self, _: &Res, seen: &Outcome) -> Freshness {
        match seen.class {
            Class::Success => *self,
            _ => Self::NONE,
        }
    }
}

impl<F, Res> Lifetime<Res> for F
where
    F: Fn(&Res, &Outcome) -> Freshness,
{
    fn freshness(&self, response: &Res, seen: &Outcome) -> Freshness {
        self(response, seen)
    }
}

impl<L, Res> Lifetime<Res> for Negative<L>
where
    L: Lifetime<Res>,
{
    fn freshness(&self, response: &Res, seen: &Outcome) -> Freshness {
        match seen.class {
            Class::Invalid | Class::Unfit => Freshness::new(self.time),
            _ => self.inner.freshness(response, seen),
        }
    }
}

impl<L, F, Res> Lifetime<Res> for Limited<L, F>
where
    L: Lifetime<Res>,
    F: Fn(&Res) -> Terms,
{
    fn freshness(&self, response: &Res, seen: &Outcome) -> Freshness {
        (self.terms)(response).limit(self.inner.freshness(response, seen))
    }
}

impl<L: fmt::Debug, F> fmt::Debug for Limited<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("inner", &self.inner)
            .field("terms", &format_args!("{}", type_name::<F>()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Class, Finish, Outcome};

    use super::may_be_kept;

    #[test]
    fn c4_what_a_filter_cut_is_not_kept() {
        for finish in Finish::ALL {
            let mut outcome = Outcome::SUCCESS;
            outcome.finish = Some(finish);
            assert_eq!(may_be_kept(&outcome), finish != Finish::Filtered);
        }
        let mut refused = Outcome::new(Class::Invalid);
        refused.finish = Some(Finish::Filtered);
        assert!(may_be_kept(&refused), "it is refused the next time, too");
    }
}
