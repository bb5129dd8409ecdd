//! Which endpoint is tried next.

mod among;
mod by_key;
mod least_loaded;
mod variants;

use std::{fmt, iter, sync::Arc};

use crate::{
    Info,
    hash::within,
    load::Stamp,
    set::{Draws, Member, now},
};

pub use self::{
    among::Among,
    by_key::ByKey,
    least_loaded::LeastLoaded,
    variants::{Variant, Variants, VariantsError},
};

/// Chooses the next endpoint for a request: [`Ordered`], [`Weighted`], [`ByKey`], [`LeastLoaded`],
/// [`Variants`], or your own.
///
/// It is asked once for each attempt, in the task that makes the call, with the endpoints that may be
/// tried: those that this call has not tried, that are not cooling down, and whose weight is not zero.
/// One that is coming back from a cool-down is among them as often as it has its share back.
///
/// # Examples
///
/// The cheapest:
///
/// ```
/// use buttress_failover::{Candidates, Choice, Strategy};
///
/// struct Cheapest;
///
/// impl<Req> Strategy<Req> for Cheapest {
///     fn choose(&self, _: &Req, candidates: Candidates<'_>) -> Option<Choice> {
///         let cheapest = candidates.iter().min_by_key(|candidate| candidate.info().price());
///         cheapest.map(Choice::of)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not choose an endpoint for a `{Req}`",
    label = "not a strategy for this request",
    note = "the closure of a strategy must take the type of request that reaches the failover"
)]
pub trait Strategy<Req> {
    /// The endpoint to try next. `None`: none of these, and so no further one is tried.
    fn choose(&self, request: &Req, candidates: Candidates<'_>) -> Option<Choice>;

    /// Whether it wants to know how many calls each endpoint has in flight, and how long it takes to
    /// its first content: then each reply is timed, which costs two readings of the clock. `false` by
    /// default.
    fn follows(&self) -> bool {
        false
    }
}

/// What every strategy can be given.
///
/// ```
/// use buttress_failover::{Ordered, StrategyExt};
///
/// struct Ask {
///     tokens: u64,
/// }
///
/// // A long prompt goes where it fits, and a short one to what is cheap.
/// let strategy = Ordered.among(|ask: &Ask, endpoints| {
///     endpoints.retain(|endpoint| endpoint.context().is_none_or(|most| ask.tokens <= most));
/// });
/// ```
pub trait StrategyExt: Sized {
    /// Lets a closure choose the set by the request, each time before this strategy chooses among
    /// them. If it leaves none, no further one is tried.
    fn among<Req, F>(self, choose: F) -> Among<Self, F>
    where
        F: Fn(&Req, &mut Candidates<'_>),
    {
        Among::new(self, choose)
    }
}

/// The first that may be tried, in the order in which they were given. The default.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Failover, Ordered};
/// # let (preferred, other) = ((), ());
///
/// let service = Failover::new(Plain, [preferred, other]).strategy(Ordered);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered;

/// Shares calls by the weights, evenly from the first call on: no endpoint gets a burst.
///
/// After n calls an endpoint has had its share of them within a few calls, in any number of threads.
/// Where a call goes that failed elsewhere is drawn by the weights of the others.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Endpoint, Failover, Weighted};
/// # let (large, small) = ((), ());
///
/// let endpoints = [Endpoint::new("large", large).weight(9), Endpoint::new("small", small)];
/// let service = Failover::over(Plain, endpoints)?.strategy(Weighted);
/// # Ok::<_, buttress_failover::EndpointsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Weighted;

/// The endpoints that may be tried next.
///
/// ```
/// use buttress_failover::Candidates;
///
/// /// Those that are not much in demand.
/// fn idle(endpoints: &mut Candidates<'_>) {
///     endpoints.retain(|endpoint| endpoint.price().is_none());
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    members: &'a [Arc<Member>],
    bits: u128,
    draws: &'a Draws,
    /// How many were tried before.
    tried: u32,
}

/// One endpoint that may be tried next.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    index: usize,
    member: &'a Member,
}

/// Which endpoint is tried next, and why.
///
/// ```
/// use buttress_failover::{Candidates, Choice};
///
/// fn first(candidates: Candidates<'_>) -> Option<Choice> {
///     candidates.iter().next().map(|candidate| Choice::of(candidate).variant("control"))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Choice {
    pub(crate) index: usize,
    pub(crate) variant: Option<Arc<str>>,
}

// ===== impl StrategyExt =====

impl<C> StrategyExt for C {}

// ===== impl Ordered =====

impl<Req> Strategy<Req> for Ordered {
    #[inline]
    fn choose(&self, _: &Req, candidates: Candidates<'_>) -> Option<Choice> {
        candidates.iter().next().map(Choice::of)
    }
}

// ===== impl Weighted =====

impl<Req> Strategy<Req> for Weighted {
    #[inline]
    fn choose(&self, _: &Req, candidates: Candidates<'_>) -> Option<Choice> {
        candidates.by_weight().map(Choice::of)
    }
}

// ===== impl Candidates =====

impl<'a> Candidates<'a> {
    #[inline]
    pub(crate) const fn new(
        members: &'a [Arc<Member>],
        bits: u128,
        draws: &'a Draws,
        tried: u32,
    ) -> Self {
        Self {
            members,
            bits,
            draws,
            tried,
        }
    }

    /// They, in the order in which they were given.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let members = self.members;
        // By halves: what a processor can do with one word, it cannot with two.
        let (mut low, mut high, mut from) = (self.bits as u64, (self.bits >> 64) as u64, 0);
        iter::from_fn(move || {
            if low == 0 {
                (low, high, from) = (high, 0, 64);
                if low == 0 {
                    return None;
                }
            }
            let index = from + low.trailing_zeros() as usize;
            low &= low - 1;
            let member = &**members.get(index)?;
            Some(Candidate { index, member })
        })
    }

    /// How many they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bits.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Leaves out those for which `keep` says `false`.
    pub fn retain(&mut self, mut keep: impl FnMut(&Info) -> bool) {
        for candidate in self.iter() {
            if !keep(candidate.info()) {
                self.leave_out(candidate);
            }
        }
    }

    /// The one of this name, if it may be tried.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Candidate<'a>> {
        self.iter()
            .find(|candidate| candidate.info().name() == name)
    }

    /// One of them by their weights: evenly where this is the first attempt of a call, else by
    /// chance.
    #[must_use]
    pub fn by_weight(&self) -> Option<Candidate<'a>> {
        let part = match self.tried {
            0 => self.draws.spread(),
            // Were it the next of the same sequence, it would follow from the one that failed.
            _ => self.draws.chance(),
        };
        self.at(part, self.total())
    }

    /// Two of them by their weights and by chance, if there are two.
    pub(crate) fn two_by_chance(&self) -> Option<(Candidate<'a>, Option<Candidate<'a>>)> {
        let total = self.total();
        let one = self.at(self.draws.chance(), total)?;
        let mut others = *self;
        others.leave_out(one);
        let left = total.saturating_sub(one.weight().into());
        Some((one, others.at(self.draws.chance(), left)))
    }

    pub(crate) const fn leave_out(&mut self, candidate: Candidate<'_>) {
        self.bits &= !(1 << candidate.index);
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.draws.stamp(now())
    }

    fn total(&self) -> u64 {
        let weights = self.iter().map(|candidate| u64::from(candidate.weight()));
        weights.sum()
    }

    /// The one in whose part of all weights a fraction of 2^64 lies.
    fn at(&self, part: u64, total: u64) -> Option<Candidate<'a>> {
        let mut left = within(part, total);
        let mut last = None;
        for candidate in self.iter() {
            let weight = candidate.weight().into();
            if left < weight {
                return Some(candidate);
            }
            left -= weight;
            last = Some(candidate);
        }
        // A weight was lowered meanwhile.
        last
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

// ===== impl Candidate =====

impl<'a> Candidate<'a> {
    /// What is known of it.
    #[must_use]
    pub const fn info(&self) -> &'a Info {
        &self.member.info
    }

    /// Its weight by now. Never zero.
    #[must_use]
    pub fn weight(&self) -> u32 {
        // Lowered meanwhile: it is a candidate still.
        self.member.weight().max(1)
    }

    /// How many calls it has in flight. Zero unless the strategy [follows](Strategy::follows).
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.member.load.in_flight()
    }

    /// Of its name.
    pub(crate) fn hash(&self) -> u64 {
        self.member.draw.hash
    }

    pub(crate) const fn member(&self) -> &'a Member {
        self.member
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Candidate")
            .field(&self.info().name())
            .finish()
    }
}

// ===== impl Choice =====

impl Choice {
    /// This one.
    #[must_use]
    #[inline]
    pub fn of(candidate: Candidate<'_>) -> Self {
        Self {
            index: candidate.index,
            variant: None,
        }
    }

    /// The same, as a variant of this name, which then stands in the events. An `Arc<str>` that is
    /// cloned allocates nothing.
    #[must_use]
    pub fn variant(mut self, name: impl Into<Arc<str>>) -> Self {
        self.variant = Some(name.into());
        self
    }
}
