//! Windows that slide, as cells behind a lock.

mod counter;
mod log;

use std::sync::{Mutex, MutexGuard, PoisonError};

use self::{counter::Counter, log::Log};
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
pub struct SlidingLog(Locked<Log>);

/// Two counters, of this window of [`Rate::window`](crate::Rate::window) and of the one before,
/// whose share falls as this one passes.
///
/// It takes what was used in the window before as spread evenly over it. In an aligned window at
/// most the burst is taken. Where the use was bunched, a window that lies across two can hold up
/// to twice the burst: all of it at the end of one, and again at the end of the next part.
/// Debts are forgotten with their window.
#[derive(Debug)]
pub struct SlidingCounter(Locked<Counter>);

/// What a window keeps.
trait Window: Default {
    /// Moves on to this time.
    fn pass(&mut self, ticks: &Ticks, now: u64);

    /// In how many nanoseconds so many units would fit, of which there may be more than a burst.
    fn wait(&self, ticks: &Ticks, now: u64, units: u64) -> u64;

    /// Counts them. Where.
    fn add(&mut self, ticks: &Ticks, now: u64, units: u64) -> Mark;

    /// Gives back what is still counted of these. How many.
    fn give_back(&mut self, mark: Mark, units: u64) -> u64;

    fn used(&self, ticks: &Ticks, now: u64) -> u64;

    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64;
}

/// A window, and whether another cell has taken its place.
#[derive(Debug, Default)]
struct Locked<W>(Mutex<(W, Option<Closed>)>);

// ===== impl SlidingLog, SlidingCounter =====

macro_rules! cell {
    ($window:ident) => {
        impl Algorithm for $window {}

        impl Cell for $window {
            type Notes = ();

            fn new() -> Self {
                Self(Locked::default())
            }

            fn peek(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No> {
                let window = self.0.at(ticks, now);
                fits(&window, ticks, now, units)
            }

            fn take(&self, ticks: &Ticks, now: u64, units: u64) -> Result<Mark, No> {
                let mut window = self.0.at(ticks, now);
                fits(&window, ticks, now, units)?;
                Ok(window.0.add(ticks, now, units))
            }

            fn give_back(
                &self,
                ticks: &Ticks,
                clock: &dyn Fn() -> u64,
                (): &mut (),
                mark: Mark,
                units: u64,
            ) -> bool {
                let mut window = self.0.at(ticks, clock());
                window.0.give_back(mark, units) > 0
            }

            fn charge(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), Closed> {
                let mut window = self.0.at(ticks, now);
                match window.1 {
                    Some(closed) => return Err(closed),
                    None => window.0.add(ticks, now, units),
                };
                Ok(())
            }

            fn used(&self, ticks: &Ticks, now: u64) -> u64 {
                self.0.at(ticks, now).0.used(ticks, now)
            }

            fn idle_in(&self, ticks: &Ticks, now: u64) -> u64 {
                self.0.at(ticks, now).0.idle_in(ticks, now)
            }

            fn close(&self, ticks: &Ticks, now: u64) -> u64 {
                let mut window = self.0.at(ticks, now);
                window.1 = Some(Closed);
                window.0.used(ticks, now)
            }
        }
    };
}

cell!(SlidingLog);
cell!(SlidingCounter);

// ===== impl Locked =====

impl<W: Window> Locked<W> {
    /// The window at this time.
    fn at(&self, ticks: &Ticks, now: u64) -> MutexGuard<'_, (W, Option<Closed>)> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.0.pass(ticks, now);
        window
    }
}

fn fits<W: Window>(
    (window, closed): &(W, Option<Closed>),
    ticks: &Ticks,
    now: u64,
    units: u64,
) -> Result<(), No> {
    match window.wait(ticks, now, units) {
        _ if closed.is_some() => Err(No::Closed),
        0 => Ok(()),
        wait => Err(No::Wait(wait)),
    }
}

/// How long a window is, in nanoseconds.
fn length(ticks: &Ticks) -> u64 {
    u64::try_from(ticks.rate().window().as_nanos()).map_or(u64::MAX, |ns| ns.max(1))
}

/// More than a burst comes in windows of a burst each: how many of these, and what is left.
const fn rounds(units: u64, burst: u64) -> (u64, u64) {
    if units <= burst {
        (0, units)
    } else {
        ((units - 1) / burst, (units - 1) % burst + 1)
    }
}
