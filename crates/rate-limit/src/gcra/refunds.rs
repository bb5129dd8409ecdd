use crate::rate::Ticks;

/// What was given back to the calls of each of the latest parts of the line. A part is about an
/// eighth of a burst, or less: a power of two, so that places, which are counted modulo 2⁶³, are told
/// apart beyond that too.
#[derive(Debug, Default)]
pub struct Refunds {
    /// The part in which the queue ended when something was given back last.
    latest: u64,
    sums: [u64; KEPT as usize],
}

/// So many make a burst at least.
const KEPT: u64 = 16;

// ===== impl Refunds =====

impl Refunds {
    /// How long a part is, as a power of two.
    fn shift(ticks: &Ticks) -> u32 {
        (ticks.burst() / 8).max(1).ilog2()
    }

    /// How many parts lie between a place and where the queue ends.
    fn age(&self, ticks: &Ticks, place: u64) -> u64 {
        let shift = Self::shift(ticks);
        let parts = u64::MAX >> 1 >> shift;
        self.latest.wrapping_sub(place >> shift) & parts
    }

    /// The queue now ends at this place. No call has a later one.
    pub(super) fn pass(&mut self, ticks: &Ticks, end: u64) {
        let part = end >> Self::shift(ticks);
        // As far as it lies behind, it is ahead.
        let parts = u64::MAX >> 1 >> Self::shift(ticks);
        let new = part.wrapping_sub(self.latest) & parts;
        for part in 0..new.min(KEPT) {
            let at = self.latest.wrapping_add(new).wrapping_sub(part) % KEPT;
            self.sums[at as usize] = 0;
        }
        self.latest = part;
    }

    /// What was given back to calls that certainly came later than one at this place.
    pub(super) fn later(&self, ticks: &Ticks, place: u64) -> u64 {
        (0..self.age(ticks, place).min(KEPT))
            .map(|part| self.sums[(self.latest.wrapping_sub(part) % KEPT) as usize])
            .fold(0, u64::wrapping_add)
    }

    pub(super) fn add(&mut self, ticks: &Ticks, place: u64, back: u64) {
        // If it is too old to be told apart, it counts as one that moved all others.
        if self.age(ticks, place) < KEPT {
            let sum = &mut self.sums[((place >> Self::shift(ticks)) % KEPT) as usize];
            *sum = sum.wrapping_add(back);
        }
    }
}
