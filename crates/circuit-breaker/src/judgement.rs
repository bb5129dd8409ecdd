use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use buttress_core::{Class, Health, Outcome, Progress, Report};

use crate::{
    machine::{Said, Ticket},
    shared::{Shared, now},
};

/// The interest in one call that was admitted: what it will say of its endpoint, and its place, if
/// it is a probe. Three words, since it is moved with every future.
#[derive(Debug)]
pub(crate) struct Judgement {
    shared: Arc<Shared>,
    ticket: Ticket,
    timer: Timer,
}

/// How long a call takes to its first content, or to its end.
///
/// In nanoseconds: since the origin of the circuit, when the call began; or, with the highest bit
/// set, what it took. 292 years are more than enough.
#[derive(Clone, Copy, Debug)]
struct Timer(u64);

// ===== impl Judgement =====

impl Judgement {
    #[inline]
    pub(crate) fn new(shared: &Arc<Shared>, ticket: Ticket) -> Self {
        let timer = match shared.times() {
            true => Timer::start(shared),
            false => Timer::OFF,
        };
        Self {
            shared: Arc::clone(shared),
            ticket,
            timer,
        }
    }
}

// Neither is inlined, and both get words alone: so that what surrounds them is, and a judgement that
// is about to end need not be in memory, nor its outcome.

/// A call went well or failed.
#[inline(never)]
fn over(shared: &Shared, ticket: Ticket, timer: Timer, failed: bool) {
    let (took, at) = timer.read(shared);
    let change = shared.count(ticket, failed, took, at);
    shared.tell(change);
}

/// It says nothing of the health of its endpoint, unless for how long to leave it alone.
#[cold]
#[inline(never)]
fn neutral(shared: &Shared, ticket: Ticket, hint: Option<Duration>) {
    let said = match hint {
        Some(hint) if shared.pauses() && !hint.is_zero() => Said::Pause(hint),
        _ => Said::Nothing,
    };
    let change = shared.record(ticket, said);
    shared.tell(change);
}

impl Report for Judgement {
    #[inline]
    fn report(&mut self, outcome: &Outcome) {
        match outcome.class.health() {
            // Most calls end here, and touch nothing that others write.
            Health::Good if self.timer.is_off() && self.shared.is_calm(self.ticket) => {}
            Health::Good => over(&self.shared, self.ticket, self.timer, false),
            Health::Bad => over(&self.shared, self.ticket, self.timer, true),
            _ => {
                let throttled = outcome.class == Class::Throttled;
                let hint = outcome.retry_after.filter(|_| throttled);
                neutral(&self.shared, self.ticket, hint);
            }
        }
    }

    fn watches(&self) -> bool {
        self.ticket.is_probe() || self.timer.is_running()
    }

    fn progress(&mut self, progress: Progress) {
        if self.timer.is_running() && progress.is_content() {
            self.timer.stop(&self.shared);
        }
        self.ticket = self.shared.alive(self.ticket, now);
    }
}

// ===== impl Timer =====

impl Timer {
    const STOPPED: u64 = 1 << 63;
    /// Nobody wants to know.
    const OFF: Self = Self(Self::STOPPED);

    #[inline(never)]
    fn start(shared: &Shared) -> Self {
        Self(shared.since_origin(now()) & !Self::STOPPED)
    }

    const fn is_off(self) -> bool {
        self.0 == Self::OFF.0
    }

    const fn is_running(self) -> bool {
        self.0 & Self::STOPPED == 0
    }

    fn stop(&mut self, shared: &Shared) {
        self.0 = self.read(shared).0 | Self::STOPPED;
    }

    /// What it shows, and the time if it was read for it.
    fn read(self, shared: &Shared) -> (u64, Option<Instant>) {
        if self.is_running() {
            let now = now();
            (shared.since_origin(now).saturating_sub(self.0), Some(now))
        } else {
            (self.0 & !Self::STOPPED, None)
        }
    }
}
