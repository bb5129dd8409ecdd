use super::{Window, length, rounds};
use crate::{algorithm::Mark, rate::Ticks};

#[derive(Debug, Default)]
pub(super) struct Counter {
    window: u64,
    before: u64,
    current: u64,
}

// ===== impl Counter =====

impl Counter {
    /// How many nanoseconds are left of its window.
    fn left(&self, length: u64, now: u64) -> u64 {
        let begun = self.window.saturating_mul(length);
        length - now.saturating_sub(begun).min(length)
    }
}

impl Window for Counter {
    fn pass(&mut self, ticks: &Ticks, now: u64) {
        // Clocks that go back do not bring back a window.
        let index = (now / length(ticks)).max(self.window);
        match index - self.window {
            0 => {}
            1 => (self.before, self.current) = (self.current, 0),
            _ => (self.before, self.current) = (0, 0),
        }
        self.window = index;
    }

    fn wait(&self, ticks: &Ticks, now: u64, units: u64) -> u64 {
        let (length, burst) = (length(ticks), ticks.rate().burst());
        let left = self.left(length, now);
        let (rounds, units) = rounds(units, burst);
        // So much of a window may be left of the one before, for its share to fit.
        let fits = |before: u64, room: u64| match before {
            0 => length,
            _ => {
                let fits = u128::from(room) * u128::from(length) / u128::from(before);
                u64::try_from(fits).unwrap_or(u64::MAX).min(length)
            }
        };
        let wait = match burst.checked_sub(self.current.saturating_add(units)) {
            Some(room) => left.saturating_sub(fits(self.before, room)),
            None => left.saturating_add(length - fits(self.current, burst - units)),
        };
        wait.saturating_add(rounds.saturating_mul(length))
    }

    fn add(&mut self, _: &Ticks, _: u64, units: u64) -> Mark {
        self.current = self.current.saturating_add(units);
        self.window
    }

    fn give_back(&mut self, mark: Mark, units: u64) -> u64 {
        let count = match self.window.checked_sub(mark) {
            Some(0) => &mut self.current,
            Some(1) => &mut self.before,
            _ => return 0,
        };
        let back = units.min(*count);
        *count -= back;
        back
    }

    fn used(&self, ticks: &Ticks, now: u64) -> u64 {
        let length = length(ticks);
        let share = u128::from(self.before) * u128::from(self.left(length, now));
        (share.div_ceil(u128::from(length)) as u64).saturating_add(self.current)
    }

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
        let length = length(ticks);
        let left = self.left(length, now);
        match (self.before, self.current) {
            (0, 0) => 0,
            (_, 0) => left,
            _ => left.saturating_add(length),
        }
    }
}
