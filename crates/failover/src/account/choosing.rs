//! Where one call goes next.

use std::sync::Arc;

use buttress_core::{Reason, Refused};

use super::{Account, Attempt};
use crate::{Candidates, Choice, Stop, Strategy, cool::Standing, service::Snapshot, set::now};

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
        self.out |= 1 << choice.index;
        self.at = Attempt {
            index: choice.index,
            variant: choice.variant,
            episode: 0,
            began: None,
        };
        Ok(&self.snapshot.set.services[self.at.index])
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
        let mut open = 0;
        // By halves: what a processor can do with one word, it cannot with two.
        for (half, members) in self.snapshot.set.members.chunks(64).enumerate() {
            let out = (self.out >> (64 * half)) as u64;
            let (mut bits, mut bit) = (0_u64, 1_u64);
            for member in members {
                if out & bit == 0 && member.weight() > 0 {
                    if member.cool.is_troubled() {
                        return None;
                    }
                    bits |= bit;
                }
                bit <<= 1;
            }
            open |= u128::from(bits) << (64 * half);
        }
        Some(open)
    }

    /// Looks for endpoints that were added since the call began: those of its set may all be gone.
    #[cold]
    fn refresh(&mut self) -> Result<(), Stop> {
        if !self.is_outdated() {
            return Err(Stop::Spent);
        }
        let mut snapshot = Snapshot::clone(&self.snapshot);
        snapshot.set = snapshot.shared.set();
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
        let Snapshot {
            set,
            shared,
            config,
        } = &*self.snapshot;
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
            match member.cool.standing(now, config.settings.cool.ramp) {
                Standing::Open => open |= bit,
                Standing::Recovering(share) if shared.draws.chance() < share => open |= bit,
                Standing::Recovering(_) => later |= bit,
                Standing::Cooling { asked: false, .. } if config.settings.last_resort => {
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
        let ramp = self.snapshot.config.settings.cool.ramp;
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
        let (now, ramp) = (now(), self.snapshot.config.settings.cool.ramp);
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
