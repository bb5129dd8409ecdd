use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Algorithm,
    algorithm::{Cell, Closed, Mark, No},
    rate::Ticks,
};

/// A window that slides: what was taken when, so that in *any* window of
/// [`Rate::window`](crate::Rate::window) at most the burst is taken.
///
/// Its error is to one side, and at most a 1024th of the window: units that were taken within that
/// of each other are kept as one entry and become free again together, with the last of them. So
/// it never admits too much, and keeps at most 1025 entries. What is given back is free at once and
/// whole, since the window then holds that much less.
#[derive(Debug)]
pub struct SlidingLog(Mutex<Log>);

/// Two counters, of this window of [`Rate::window`](crate::Rate::window) and of the one before,
/// whose share falls as this one passes.
///
/// It takes what was used in the window before as spread evenly over it. In an aligned window at
/// most the burst is taken. Where the use was bunched, a window that lies across two can hold up
/// to twice the burst: all of it at the end of one, and again at the end of the next part.
/// Debts are forgotten with their window.
#[derive(Debug)]
pub struct SlidingCounter(Mutex<Counter>);

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    /// Of all entries; debts can be of any size.
    sum: u128,
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    first: u64,
    last: u64,
    units: u64,
}

#[derive(Debug, Default)]
struct Counter {
    window: u64,
    before: u64,
    current: u64,
    closed: bool,
}

/// How many parts of a window the log tells apart.
const PARTS: u64 = 1024;

fn window(ticks: &Ticks) -> u64 {
    u64::try_from(ticks.rate().window().as_nanos()).map_or(u64::MAX, |ns| ns.max(1))
}

// ===== impl SlidingLog =====

impl SlidingLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Algorithm for SlidingLog {}

impl Cell for SlidingLog {
    type Notes = ();

    fn new() -> Self {
        Self(Mutex::default())
    }

    fn peek(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
        self.lock().peek(ticks, now, units)
    }

    fn take(&self, ticks: &Ticks, now: u64, units: u64) -> Result<Mark, No> {
        let mut log = self.lock();
        log.peek(ticks, now, units)?;
        Ok(log.push(ticks, now, units))
    }

    fn give_back(
        &self,
        ticks: &Ticks,
        clock: &dyn Fn() -> u64,
        (): &mut (),
        mark: Mark,
        units: u64,
    ) -> bool {
        let mut log = self.lock();
        log.expire(ticks, clock());
        let Ok(at) = log
            .entries
            .binary_search_by_key(&mark, |entry| entry.number)
        else {
            return false;
        };
        let back = units.min(log.entries[at].units);
        log.entries[at].units -= back;
        log.sum -= u128::from(back);
        back > 0
    }

    fn charge(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), Closed> {
        let mut log = self.lock();
        if log.closed {
            return Err(Closed);
        }
        log.expire(ticks, now);
        log.push(ticks, now, units);
        Ok(())
    }

    fn used(&self, ticks: &Ticks, now: u64) -> u64 {
        let mut log = self.lock();
        log.expire(ticks, now);
        log.used()
    }

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
        let mut log = self.lock();
        log.expire(ticks, now);
        let last = log.entries.back().filter(|_| log.sum > 0);
        last.map_or(0, |last| {
            last.last.saturating_add(window(ticks)).saturating_sub(now)
        })
    }

    fn close(&self, ticks: &Ticks, now: u64) -> u64 {
        let mut log = self.lock();
        log.expire(ticks, now);
        log.closed = true;
        log.used()
    }
}

// ===== impl Log =====

impl Log {
    fn used(&self) -> u64 {
        u64::try_from(self.sum).unwrap_or(u64::MAX)
    }

    fn expire(&mut self, ticks: &Ticks, now: u64) {
        let window = window(ticks);
        while let Some(entry) = self.entries.front()
            && entry.last.saturating_add(window) <= now
        {
            self.sum -= u128::from(entry.units);
            self.entries.pop_front();
        }
    }

    fn peek(&mut self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
        if self.closed {
            return Err(No::Closed);
        }
        self.expire(ticks, now);
        let (window, burst) = (window(ticks), ticks.rate().burst());
        // More than a burst comes in windows of a burst each.
        let (rounds, units) = match units.checked_sub(burst) {
            None | Some(0) => (0, units),
            Some(_) => ((units - 1) / burst, (units - 1) % burst + 1),
        };
        let mut over = (self.sum + u128::from(units)).saturating_sub(u128::from(burst));
        let mut wait = rounds.saturating_mul(window);
        for entry in &self.entries {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(u128::from(entry.units));
            if over == 0 {
                wait = wait.saturating_add(entry.last.saturating_add(window) - now);
            }
        }
        if wait == 0 {
            Ok(())
        } else {
            Err(No::Wait(wait))
        }
    }

    fn push(&mut self, ticks: &Ticks, now: u64, units: u64) -> Mark {
        let part = window(ticks) / PARTS;
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
}

// ===== impl SlidingCounter =====

impl SlidingCounter {
    fn lock(&self) -> MutexGuard<'_, Counter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Algorithm for SlidingCounter {}

impl Cell for SlidingCounter {
    type Notes = ();

    fn new() -> Self {
        Self(Mutex::default())
    }

    fn peek(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
        self.lock().peek(ticks, now, units)
    }

    fn take(&self, ticks: &Ticks, now: u64, units: u64) -> Result<Mark, No> {
        let mut counter = self.lock();
        counter.peek(ticks, now, units)?;
        counter.current += units;
        Ok(counter.window)
    }

    fn give_back(
        &self,
        ticks: &Ticks,
        clock: &dyn Fn() -> u64,
        (): &mut (),
        mark: Mark,
        units: u64,
    ) -> bool {
        let mut counter = self.lock();
        counter.slide(window(ticks), clock());
        let count = match counter.window.checked_sub(mark) {
            Some(0) => &mut counter.current,
            Some(1) => &mut counter.before,
            _ => return false,
        };
        let back = units.min(*count);
        *count -= back;
        back > 0
    }

    fn charge(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), Closed> {
        let mut counter = self.lock();
        if counter.closed {
            return Err(Closed);
        }
        counter.slide(window(ticks), now);
        counter.current = counter.current.saturating_add(units);
        Ok(())
    }

    fn used(&self, ticks: &Ticks, now: u64) -> u64 {
        let (window, mut counter) = (window(ticks), self.lock());
        let left = counter.slide(window, now);
        counter.used(window, left)
    }

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
        let (window, mut counter) = (window(ticks), self.lock());
        let left = counter.slide(window, now);
        match (counter.before, counter.current) {
            (0, 0) => 0,
            (_, 0) => left,
            _ => left.saturating_add(window),
        }
    }

    fn close(&self, ticks: &Ticks, now: u64) -> u64 {
        let (window, mut counter) = (window(ticks), self.lock());
        let left = counter.slide(window, now);
        counter.closed = true;
        counter.used(window, left)
    }
}

// ===== impl Counter =====

impl Counter {
    /// Moves on to the window of this time. How many nanoseconds are left of it.
    fn slide(&mut self, window: u64, now: u64) -> u64 {
        // Clocks that go back do not bring back a window.
        let index = (now / window).max(self.window);
        match index - self.window {
            0 => {}
            1 => (self.before, self.current) = (self.current, 0),
            _ => (self.before, self.current) = (0, 0),
        }
        self.window = index;
        window - now.saturating_sub(index.saturating_mul(window)).min(window)
    }

    fn used(&self, window: u64, left: u64) -> u64 {
        let before = (u128::from(self.before) * u128::from(left)).div_ceil(u128::from(window));
        (before as u64).saturating_add(self.current)
    }

    fn peek(&mut self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
        if self.closed {
            return Err(No::Closed);
        }
        let (window, burst) = (window(ticks), ticks.rate().burst());
        let left = self.slide(window, now);
        let (rounds, units) = match units.checked_sub(burst) {
            None | Some(0) => (0, units),
            Some(_) => ((units - 1) / burst, (units - 1) % burst + 1),
        };
        // So much of a window may be left of the one before, for its share to fit.
        let fits = |before: u64, room: u64| match before {
            0 => window,
            _ => {
                let fits = u128::from(room) * u128::from(window) / u128::from(before);
                u64::try_from(fits).unwrap_or(u64::MAX).min(window)
            }
        };
        let wait = match burst.checked_sub(self.current.saturating_add(units)) {
            Some(room) => left.saturating_sub(fits(self.before, room)),
            None => left.saturating_add(window - fits(self.current, burst - units)),
        };
        let wait = wait.saturating_add(rounds.saturating_mul(window));
        if wait == 0 {
            Ok(())
        } else {
            Err(No::Wait(wait))
        }
    }
}
