use crate::{Throughput, span::Span};

/// How many pieces came in the last while, in slots of an eighth of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    slots: [u32; SLOTS],
    open: u32,
    /// How many slots were closed so far.
    closed: u32,
    due: Span,
}

const SLOTS: usize = 8;

// ===== impl Pace =====

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [0; SLOTS],
            open: 0,
            closed: 0,
            due: Span::UNSET,
        }
    }

    /// So many more pieces by `now`. `away` says that nobody waited for them at the end: such time
    /// is not counted. When to look again, or `None` if they came too slowly.
    pub(crate) fn look(
        &mut self,
        floor: Throughput,
        now: Span,
        pieces: u32,
        away: bool,
    ) -> Option<Span> {
        let slot = floor.window().eighth();
        self.open = self.open.saturating_add(pieces);
        if self.due.is_set() && now < self.due {
            return Some(self.due);
        }
        let mut next = now;
        if self.due.is_set() && !away {
            let missed = now.since(self.due).over(slot).min(SLOTS as u64);
            (0..=missed).for_each(|_| self.close());
            if missed == 0 {
                // A timer's lateness does not add up.
                next = self.due;
            }
        }
        if self.closed >= SLOTS as u32 && self.sum() < floor.pieces() {
            return None;
        }
        self.due = next.plus(slot);
        Some(self.due)
    }

    fn close(&mut self) {
        self.slots[self.closed as usize % SLOTS] = std::mem::take(&mut self.open);
        // It goes round at a multiple of the slots, where all of them are closed.
        self.closed = self.closed.checked_add(1).unwrap_or(SLOTS as u32);
    }

    fn sum(&self) -> u64 {
        self.slots.iter().copied().map(u64::from).sum()
    }
}
