use std::collections::VecDeque;

use super::{Window, length, rounds};
use crate::{algorithm::Mark, rate::Ticks};

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// Of all entries; debts can be of any size.
    sum: u128,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    first: u64,
    last: u64,
    units: u64,
}

/// How many parts of a window the log tells apart.
const PARTS: u64 = 1024;

// ===== impl Log =====

impl Window for Log {
    fn pass(&mut self, ticks: &Ticks, now: u64) {
        let length = length(ticks);
        while let Some(entry) = self.entries.front()
            && entry.last.saturating_add(length) <= now
        {
            self.sum -= u128::from(entry.units);
            self.entries.pop_front();
        }
    }

    fn wait(&self, ticks: &Ticks, now: u64, units: u64) -> u64 {
        let (length, burst) = (length(ticks), ticks.rate().burst());
        let (rounds, units) = rounds(units, burst);
        let mut over = (self.sum + u128::from(units)).saturating_sub(u128::from(burst));
        let mut wait = rounds.saturating_mul(length);
        for entry in &self.entries {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(u128::from(entry.units));
            if over == 0 {
                wait = wait.saturating_add(entry.last.saturating_add(length) - now);
            }
        }
        wait
    }

    fn add(&mut self, ticks: &Ticks, now: u64, units: u64) -> Mark {
        // Whatever comes at one time is together, however short a window is.
        let part = (length(ticks) / PARTS).max(1);
        if let Some(last) = self.entries.back_mut()
            && now.saturating_sub(last.first) < part
        {
            last.last = last.last.max(now);
            let units = last.units.saturating_add(units);
            self.sum += u128::from(units - last.units);
            last.units = units;
            return last.number;
        }
        // Clocks that go back do not put entries out of order.
        let now = self.entries.back().map_or(now, |last| last.last.max(now));
        let number = self.next;
        self.next += 1;
        self.sum += u128::from(units);
        self.entries.push_back(Entry {
            number,
            first: now,
            last: now,
            units,
        });
        number
    }

    fn give_back(&mut self, mark: Mark, units: u64) -> u64 {
        let found = self
            .entries
            .binary_search_by_key(&mark, |entry| entry.number);
        let Ok(at) = found else { return 0 };
        let back = units.min(self.entries[at].units);
        self.entries[at].units -= back;
        self.sum -= u128::from(back);
        back
    }

    fn used(&self, _: &Ticks, _: u64) -> u64 {
        u64::try_from(self.sum).unwrap_or(u64::MAX)
    }

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
        let last = self.entries.back().filter(|_| self.sum > 0);
        last.map_or(0, |last| {
            last.last.saturating_add(length(ticks)).saturating_sub(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Rate;

    #[test]
    fn s3_a_window_has_no_more_entries_than_parts_however_short_it_is() {
        for nanos in [1, 100, 1_000, 100_000, 1_000_000_000] {
            let units = (32 * nanos).min(1 << 20);
            let rate = Rate::new(units.try_into().unwrap(), Duration::from_nanos(nanos));
            let (ticks, mut log, mut most) = (Ticks::new(rate.unwrap()), Log::default(), 0);
            for taken in 0..3 * units.min(100_000) {
                let now = taken * nanos / units;
                log.pass(&ticks, now);
                log.add(&ticks, now, 1);
                most = most.max(log.entries.len());
            }
            assert!(most <= 1025, "{most} in {nanos} ns");
        }
    }
}
