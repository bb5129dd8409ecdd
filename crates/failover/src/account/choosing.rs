//! Where one call goes next.

use std::sync::Arc;

use buttress_core::{Reason, Refused};

use super::Account;
use crate::{Candidates, Choice, Stop, Strategy, cool::Standing, set::now, snapshot::Snapshot};

/// Who may be tried, better ones first.
struct Tiers {
    open: u128,
    /// Coming back, and it is not their turn.
    later: u128,
    /// Cooling down, and their servers did not ask for it.
    cooling: u128,
}

// ===== impl Account =====

impl<P, S, C, D, F> Account<P, S, C, D, F> {
    /// Chooses the next endpoint.
    #[inline]
    pub(crate) fn choose<Req>(&mut self, request: &Req) -> Result<&S, Stop>
    where
        C: Strategy<Req>,
    {
        let choice = loop {
            match self.chosen(request) {
                Some(choice) => break choice,
                // They may change again while it looks: as long as they do, it looks again.
                None => self.refresh()?,
            }
        };
        let out = self.out | 1 << choice.index;
        self.is_last = !self.is_any_but(out);
        self.out = out;
        self.index = choice.index;
        self.began = None;
        if self.variant.is_some() || choice.variant.is_some() {
            self.variant = choice.variant;
        }
        Ok(&self.snapshot.set.services[self.index])
    }

    #[inline]
    fn chosen<Req>(&self, request: &Req) -> Option<Choice>
    where
        C: Strategy<Req>,
    {
        let Snapshot {
            set,
            shared,
            config,
            ..
        } = &*self.snapshot;
        let open = self.untroubled();
        let choose = |bits: u128| {
            if bits == 0 {
                return None;
            }
            let candidates = Candidates::new(&set.members, bits, &shared.draws, self.attempts);
            let choice = config.strategy.choose(request, candidates)?;
            // One of another set, or of another call.
            (choice.index < set.members.len() && bits >> choice.index & 1 == 1).then_some(choice)
        };
        match open {
            Some(open) => choose(open),
            None => {
                let tiers = self.tiers();
                choose(tiers.open)
                    .or_else(|| choose(tiers.later))
                    .or_else(|| self.soonest_first(tiers.cooling).find_map(choose))
            }
        }
    }

    /// Who may be tried, if none of them is cooling down or coming back.
    #[inline]
    fn untroubled(&self) -> Option<u128> {
        let Snapshot { set, shared, .. } = &*self.snapshot;
        if shared.uneasy.is_none() {
            return Some(set.all & !self.out);
        }
        self.those_untroubled()
    }

    #[cold]
    fn those_untroubled(&self) -> Option<u128> {
        let mut open = 0;
        for (index, member) in self.snapshot.set.members.iter().enumerate() {
            if self.out >> index & 1 == 0 && member.weight() > 0 {
                if member.cool.is_troubled() {
                    return None;
                }
                open |= 1 << index;
            }
        }
        Some(open)
    }

    /// Whether there is an endpoint that was not tried, passed over or ruled out.
    pub(super) fn is_any_left(&self) -> bool {
        self.is_any_but(self.out)
    }

    // What has just been written in two halves is not read at once as a whole: that would wait for both.
    #[inline]
    fn is_any_but(&self, out: u128) -> bool {
        let Snapshot { set, shared, .. } = &*self.snapshot;
        let left = set.all & !out;
        if shared.uneasy.is_none() {
            return left != 0;
        }
        let mut members = set.members.iter().enumerate();
        members.any(|(index, member)| left >> index & 1 == 1 && member.weight() > 0)
    }

    /// Looks for endpoints that were added since the call began: those of its set may all be gone.
    #[cold]
    fn refresh(&mut self) -> Result<(), Stop> {
        if !self.is_outdated() {
            return Err(Stop::Spent);
        }
        let snapshot = self.snapshot.refreshed();
        let before = &self.snapshot.set.members;
        let mut out = 0;
        for (index, member) in snapshot.set.members.iter().enumerate() {
            let was = before.iter().position(|b| b.info.name == member.info.name);
            let tried = was.is_some_and(|was| self.out >> was & 1 == 1);
            let mut rules = self.failures.iter().flat_map(|failures| &failures.rules);
            if tried || rules.any(|(next, failed)| next.rules_out(failed, &member.info)) {
                out |= 1 << index;
            }
        }
        self.out = out;
        self.snapshot = Arc::new(snapshot);
        Ok(())
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.snapshot.shared.version() != self.snapshot.set.version
    }

    #[cold]
    fn tiers(&self) -> Tiers {
        let Snapshot { set, shared, .. } = &*self.snapshot;
        let settings = self.snapshot.settings();
        let (mut open, mut later, mut cooling) = (0, 0, 0);
        let mut at = None;
        for (index, member) in set.members.iter().enumerate() {
            let bit = 1_u128 << index;
            if self.out & bit != 0 || member.weight() == 0 {
                continue;
            }
            if !member.cool.is_troubled() {
                open |= bit;
                continue;
            }
            let now = *at.get_or_insert_with(now);
            match member.cool.standing(now, settings.cool.ramp) {
                Standing::Open => open |= bit,
                Standing::Recovering(share) if shared.draws.chance() < share => open |= bit,
                Standing::Recovering(_) => later |= bit,
                Standing::Cooling { asked: false, .. } if settings.last_resort => {
                    cooling |= bit;
                }
                Standing::Cooling { .. } => {}
            }
        }
        Tiers {
            open,
            later,
            cooling,
        }
    }

    /// One bit after another.
    fn soonest_first(&self, mut bits: u128) -> impl Iterator<Item = u128> {
        let members = &self.snapshot.set.members;
        let ramp = self.snapshot.settings().cool.ramp;
        let now = (bits != 0).then(now);
        std::iter::from_fn(move || {
            let indices = (0..members.len()).filter(|index| bits >> index & 1 == 1);
            let soonest = indices.min_by_key(|index| {
                let cool = &members[*index].cool;
                match now.map(|now| cool.standing(now, ramp)) {
                    Some(Standing::Cooling { until, .. }) => Some(until),
                    _ => None,
                }
            })?;
            bits &= !(1 << soonest);
            Some(1 << soonest)
        })
    }

    /// The refusal of a call that no endpoint was tried for.
    pub(crate) fn refusal(&self) -> Refused {
        let members = self.snapshot.set.members.iter();
        let (now, ramp) = (now(), self.snapshot.settings().cool.ramp);
        let waits = members
            .filter(|member| member.weight() > 0)
            .filter_map(|member| {
                let standing = member
                    .cool
                    .is_troubled()
                    .then(|| member.cool.standing(now, ramp));
                match standing {
                    Some(Standing::Cooling { until, .. }) => Some(until.duration_since(now)),
                    _ => None,
                }
            });
        let refused = Refused::new(Reason::NoEndpoint);
        match waits.min() {
            Some(wait) => refused.with_retry_after(wait),
            None => refused,
        }
    }
}
