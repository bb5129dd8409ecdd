use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Phase, Throughput,
    plan::{Cut, after},
};

/// How many pieces came in the last while, in slots of an eighth of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    cut: Cut,
    /// So many in all slots together, or it is too slow.
    floor: u64,
    slot: Duration,
    slots: [u32; SLOTS],
    /// How many slots were closed so far, and where the next one goes.
    closed: usize,
    open: u32,
    due: Option<Instant>,
}

const SLOTS: usize = 8;

// ===== impl Pace =====

impl Pace {
    pub(crate) fn new(throughput: Throughput) -> Self {
        let grace = throughput.grace.max(Duration::from_secs(1));
        let floor = u128::from(throughput.pieces.get()) * grace.as_millis() / 1000;
        Self {
            cut: Cut {
                phase: Phase::Throughput,
                limit: grace,
                neutral: false,
            },
            floor: floor.try_into().unwrap_or(u64::MAX),
            slot: grace / SLOTS as u32,
            slots: [0; SLOTS],
            closed: 0,
            open: 0,
            due: None,
        }
    }

    /// So many more pieces by `now`. `away` says that nobody waited for them at the end: such time
    /// is not counted. Else when to look again.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        pieces: u32,
        away: bool,
    ) -> Result<Option<Instant>, Cut> {
        self.open = self.open.saturating_add(pieces);
        let next = match self.due {
            Some(due) if now < due => return Ok(self.due),
            Some(due) if !away => {
                let late = (now - due).as_nanos() / self.slot.as_nanos();
                let missed = usize::try_from(late).map_or(SLOTS, |late| late.min(SLOTS));
                for _ in 0..=missed {
                    self.close();
                }
                // From when it was due, so that a timer's lateness does not add up.
                if missed == 0 { due } else { now }
            }
            _ => now,
        };
        if self.closed >= SLOTS && self.sum() < self.floor {
            return Err(self.cut);
        }
        self.due = after(next, self.slot);
        Ok(self.due)
    }

    fn close(&mut self) {
        self.slots[self.closed % SLOTS] = std::mem::take(&mut self.open);
        self.closed += 1;
    }

    fn sum(&self) -> u64 {
        self.slots.iter().copied().map(u64::from).sum()
    }
}
