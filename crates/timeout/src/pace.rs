use crate::{Throughput, span::Span};

/// How many pieces came in the last while, in slots of an eighth of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    slots: [u32; SLOTS],
    open: u32,
    /// How many slots were closed so far.
    closed: u32,
    due: Span,
    /// Until when a look that was late, and had heard nothing, lets off.
    excused: Span,
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
            excused: Span::UNSET,
        }
    }

    /// So many more pieces by `now`. When to look again, or `None` if they came too slowly.
    ///
    /// `late` says that nobody waited at the end, or could not. Such time is not counted if anything
    /// was `heard` in it, or is in the slot after it.
    pub(crate) fn look(
        &mut self,
        floor: Throughput,
        now: Span,
        pieces: u32,
        heard: bool,
        late: bool,
    ) -> Option<Span> {
        let slot = floor.window().eighth();
        self.open = self.open.saturating_add(pieces);
        if self.due.is_set() && now < self.due {
            return Some(self.due);
        }
        let excused = self.excused;
        if late && !heard && !excused.is_set() {
            self.excused = now.plus(slot);
        }
        if self.excused.is_set() && !heard && now < self.excused {
            return Some(self.excused);
        }
        let away = late || excused.is_set();
        if heard {
            self.excused = Span::UNSET;
        }
        let mut next = now;
        if self.due.is_set() && !(heard && away) {
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

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::{Pace, SLOTS};
    use crate::{Throughput, span::Span};

    const FLOOR: Throughput =
        Throughput::per_second(NonZeroU32::MIN).grace(Duration::from_secs(SLOTS as u64));

    fn millis(millis: u64) -> Span {
        Span::new(Duration::from_millis(millis))
    }

    #[test]
    fn that_timers_are_late_does_not_add_up() {
        let mut pace = Pace::new();
        let mut due = pace.look(FLOOR, millis(0), 1, true, false);
        for k in 1..100 {
            assert_eq!(due, Some(millis(1000 * k)));
            due = pace.look(FLOOR, millis(1000 * k + 4), 1, true, false);
        }
    }

    #[test]
    fn what_has_come_is_never_too_slow_before_its_grace() {
        let mut pace = Pace::new();
        for k in 0..SLOTS as u64 {
            assert!(
                pace.look(FLOOR, millis(1000 * k), 0, false, false)
                    .is_some()
            );
        }
        assert!(pace.look(FLOOR, millis(8000), 0, false, false).is_none());
    }

    #[test]
    fn time_that_was_waited_for_without_a_look_counts_in_full() {
        let mut pace = Pace::new();
        for (at, pieces) in [(0, 0), (1000, 8), (8000, 0)] {
            assert!(
                pace.look(FLOOR, millis(at), pieces, pieces > 0, false)
                    .is_some()
            );
        }
        assert!(pace.look(FLOOR, millis(9000), 0, false, false).is_none());
    }

    #[test]
    fn a_stream_that_outlives_the_count_of_its_slots_has_no_second_grace() {
        let mut pace = Pace::new();
        assert!(pace.look(FLOOR, millis(0), 0, false, false).is_some());
        pace.closed = u32::MAX;
        assert!(pace.look(FLOOR, millis(1000), 0, false, false).is_none());
    }
}
