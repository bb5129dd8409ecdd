//! The instances of one inner service: who is ready, who waits, and who may be called.

use std::{collections::BTreeMap, task::Waker};

use super::promise::Promise;

/// The instances that live, by number.
#[derive(Default)]
pub(super) struct Instances {
    alive: BTreeMap<u64, Instance>,
    born: u64,
}

/// Where an instance stands between one call and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Unready,
    /// It was asked, and said `Pending`.
    Waiting,
    Reserved,
    Failed,
}

struct Instance {
    parent: Option<u64>,
    phase: Phase,
    waker: Option<Waker>,
    calls: u64,
}

// ===== impl Instances =====

impl Instances {
    pub(super) fn born(&mut self, parent: Option<u64>) -> u64 {
        self.born += 1;
        let instance = Instance {
            parent,
            phase: Phase::Unready,
            waker: None,
            calls: 0,
        };
        self.alive.insert(self.born, instance);
        self.born
    }

    /// Removes an instance, and says where it stood.
    pub(super) fn gone(&mut self, id: u64) -> Option<Phase> {
        self.alive.remove(&id).map(|instance| instance.phase)
    }

    pub(super) fn count(&self) -> usize {
        self.alive.len()
    }

    pub(super) fn reserved(&self) -> usize {
        let phases = self.alive.values().map(|instance| instance.phase);
        phases.filter(|phase| *phase == Phase::Reserved).count()
    }

    pub(super) fn phase(&self, id: u64) -> Phase {
        self.alive
            .get(&id)
            .map_or(Phase::Unready, |instance| instance.phase)
    }

    pub(super) fn enter(&mut self, id: u64, phase: Phase) {
        let instance = self.instance(id);
        instance.phase = phase;
        instance.waker = None;
    }

    /// Notes who waits for an instance; the last one counts, as the contract allows. Whether it is
    /// the first since the instance was called.
    pub(super) fn wait(&mut self, id: u64, waker: &Waker) -> bool {
        let instance = self.instance(id);
        instance.waker = Some(waker.clone());
        let first = instance.phase == Phase::Unready;
        instance.phase = Phase::Waiting;
        first
    }

    /// Takes all who wait.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let instances = self.alive.values_mut();
        instances
            .filter_map(|instance| instance.waker.take())
            .collect()
    }

    /// Spends the reservation of an instance for a call. If there is none, that is the error.
    pub(super) fn spend(&mut self, id: u64) -> Result<(), (Promise, String)> {
        let instance = self.instance(id);
        let (phase, parent, calls) = (instance.phase, instance.parent, instance.calls);
        instance.calls += 1;
        if phase != Phase::Failed {
            instance.phase = Phase::Unready;
        }
        let readied_parent = parent.filter(|parent| self.phase(*parent) == Phase::Reserved);
        let seen = match (phase, readied_parent) {
            (Phase::Reserved, _) => return Ok(()),
            (Phase::Failed, _) => {
                let seen = format!("inner {id} was called after its poll_ready had failed");
                return Err((Promise::T2, seen));
            }
            (Phase::Waiting, _) => {
                format!("inner {id} was called although its poll_ready had said Pending")
            }
            (Phase::Unready, _) if calls > 0 => {
                format!("inner {id} was called again on readiness that its previous call had spent")
            }
            (Phase::Unready, Some(parent)) => format!(
                "inner {id} was called but never readied; it is a clone of inner {parent}, which \
                 was readied and keeps that reservation"
            ),
            (Phase::Unready, None) => format!("inner {id} was called but never readied"),
        };
        Err((Promise::T1, seen))
    }

    fn instance(&mut self, id: u64) -> &mut Instance {
        self.alive.get_mut(&id).expect("a live instance")
    }
}
