use crate::rate::Ticks;

/// What was given back to the calls of each of the latest eighths of a burst.
#[derive(Debug, Default)]
pub struct Refunds {
    /// The latest eighth, counted from the beginning.
    latest: u64,
    sums: [u64; EIGHTHS as usize],
}

const EIGHTHS: u64 = 8;
// ===== impl Refunds =====

impl Refunds {
    fn eighth(ticks: &Ticks, place: u64) -> u64 {
        place / (ticks.burst() / EIGHTHS).max(1)
    }

    /// What was given back to calls that certainly came later than one at this place.
    pub(super) fn later(&self, ticks: &Ticks, place: u64) -> u64 {
        let kept = (self.latest + 1).saturating_sub(EIGHTHS);
        let from = (Self::eighth(ticks, place) + 1).max(kept);
        (from..=self.latest)
            .map(|eighth| self.sums[(eighth % EIGHTHS) as usize])
            .fold(0, u64::wrapping_add)
    }

    pub(super) fn add(&mut self, ticks: &Ticks, place: u64, back: u64) {
        let eighth = Self::eighth(ticks, place);
        if eighth + EIGHTHS <= self.latest {
            // Too old to be told apart: counted as one that moved all others.
            return;
        }
        if eighth > self.latest {
            let new = (eighth - self.latest).min(EIGHTHS);
            for eighth in eighth + 1 - new..=eighth {
                self.sums[(eighth % EIGHTHS) as usize] = 0;
            }
            self.latest = eighth;
        }
        let sum = &mut self.sums[(eighth % EIGHTHS) as usize];
        *sum = sum.wrapping_add(back);
    }
}
