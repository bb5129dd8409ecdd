//! A circuit among threads: most calls pass, and end, without its lock.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use buttress_core::{Reason, Refused};
use tokio::time;

use crate::{
    CircuitEvent,
    gauge::nanos,
    machine::{Change, Closed, Machine, Phase, Said, Ticket},
    policy::{Observer, Rules},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
};

/// A machine, and enough of it beside to let calls pass, or refuse them, without its lock.
pub(crate) struct Shared {
    /// The generation, above whether it is [calm](Machine::is_calm), above a [tag](Tag). It is written
    /// with the lock held.
    word: AtomicU64,
    /// Until when it is open, in nanoseconds since the origin. Written before the word.
    until: AtomicU64,
    origin: Instant,
    machine: Mutex<Machine>,
    /// Whether each record wants the time, and each call its duration.
    reads_clock: bool,
    times: bool,
    /// A call that took more nanoseconds is slow to some rate.
    limit: u64,
    pauses: bool,
    pub(crate) name: Arc<str>,
    observer: Option<Arc<Observer>>,
}

/// That a call is refused, and for how many nanoseconds, in one word: it is moved with every future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shut(NonZeroU64);

/// What the fast path has to know of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Pass,
    OpenUntil,
    /// Ask the machine.
    Ask,
    Refuse,
}

/// A time that no clock reaches.
const NEVER: u64 = u64::MAX;

pub(crate) fn now() -> Instant {
    time::Instant::now().into_std()
}

// ===== impl Shared =====

impl Shared {
    pub(crate) fn new(
        rules: Rules,
        name: Arc<str>,
        observer: Option<Arc<Observer>>,
        now: Instant,
    ) -> Self {
        let by_time = rules.rates.iter().any(|rate| rate.window.is_time());
        let times = rules.times();
        let limits = rules.rates.iter().filter_map(|rate| rate.slow);
        let limit = limits.min().map_or(u64::MAX, nanos);
        let machine = Machine::new(rules, now);
        Self {
            word: AtomicU64::new(word_of(&machine)),
            until: AtomicU64::new(0),
            origin: now,
            reads_clock: by_time || times,
            times,
            limit,
            pauses: machine.pauses(),
            machine: Mutex::new(machine),
            name,
            observer,
        }
    }

    /// Whether calls are timed.
    #[inline]
    pub(crate) const fn times(&self) -> bool {
        self.times
    }

    /// Whether a throttled call may say for how long to pause.
    pub(crate) const fn pauses(&self) -> bool {
        self.pauses
    }

    /// So many nanoseconds after its origin.
    pub(crate) fn since_origin(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.origin))
    }

    /// The ticket of a call, if it may pass without asking any further.
    #[inline]
    pub(crate) fn pass(&self) -> Option<Ticket> {
        let word = self.word.load(Ordering::Acquire);
        (tag(word) == Tag::Pass).then(|| Ticket::new(generation(word), false))
    }

    /// Whether a call that went well, and was not slow, changes nothing by its end.
    ///
    /// Then it ends before any that changes something, however the threads see it: whoever heard of
    /// that one first also sees the word that it left.
    #[inline]
    pub(crate) fn is_calm(&self, ticket: Ticket) -> bool {
        let calm = ticket.generation() << BELOW | CALM | Tag::Pass as u64;
        self.word.load(Ordering::Relaxed) == calm
    }

    /// Whether a call would be admitted. Nothing is taken.
    pub(crate) fn admits(&self, now: impl FnOnce() -> Instant) -> Result<(), Shut> {
        match tag(self.word.load(Ordering::Acquire)) {
            Tag::Pass => Ok(()),
            Tag::OpenUntil => self.is_due(now()),
            Tag::Ask => {
                let now = now();
                Ok(self.read(|machine| machine.admits(now))?)
            }
            Tag::Refuse => Err(Shut(Shut::UNKNOWN)),
        }
    }

    /// How a call would be refused now, if it would.
    pub(crate) fn shut(&self) -> Option<Shut> {
        self.admits(now).err()
    }

    /// Admits a call, or not.
    pub(crate) fn admit(
        &self,
        now: impl FnOnce() -> Instant,
    ) -> (Result<Ticket, Shut>, Option<Change>) {
        if let Some(ticket) = self.pass() {
            return (Ok(ticket), None);
        }
        let tag = tag(self.word.load(Ordering::Acquire));
        if tag == Tag::Refuse {
            return (Err(Shut(Shut::UNKNOWN)), None);
        }
        let now = now();
        if tag == Tag::OpenUntil
            && let Err(shut) = self.is_due(now)
        {
            return (Err(shut), None);
        }
        let (ticket, change) = self.write(|machine| machine.admit(now));
        (ticket.map_err(Shut::from), change)
    }

    /// Of a circuit that is open.
    fn is_due(&self, now: Instant) -> Result<(), Shut> {
        // It belongs to the word that was read before, or to a later one: then there is another
        // reason to refuse, or none that matters to who asked earlier.
        let until = self.until.load(Ordering::Relaxed);
        if until == NEVER {
            return Err(Shut(Shut::UNKNOWN));
        }
        let left = until.saturating_sub(self.since_origin(now));
        NonZeroU64::new(left).map_or(Ok(()), |left| Err(Shut(left)))
    }

    /// A call that went well or failed is over, after so many nanoseconds if calls are timed, and at
    /// this time if it was read.
    #[inline]
    pub(crate) fn count(
        &self,
        ticket: Ticket,
        failed: bool,
        took: u64,
        at: Option<Instant>,
    ) -> Option<Change> {
        if self.is_stale(ticket) || !failed && took <= self.limit && self.is_calm(ticket) {
            return None;
        }
        // Not with the lock held, if it is wanted anyway.
        let at = match at {
            None if self.reads_clock => Some(now()),
            at => at,
        };
        let time = || at.unwrap_or_else(now);
        let mut machine = self.lock();
        if machine.counts(ticket) {
            let news = machine.count(failed, took, time);
            self.publish(&machine);
            // Most calls end here.
            let news = news?;
            let change = machine.trip(news, time);
            return self.changed(&machine, change);
        }
        let said = if failed { Said::Badly } else { Said::Well };
        let change = machine.record(ticket, said, took, time);
        self.changed(&machine, change)
    }

    /// A call that says neither is over.
    pub(crate) fn record(&self, ticket: Ticket, said: Said) -> Option<Change> {
        if self.is_stale(ticket) || said == Said::Nothing && !ticket.is_probe() {
            return None;
        }
        let now = now();
        self.write(|machine| ((), machine.record(ticket, said, 0, || now)))
            .1
    }

    /// Whether what this call says is of no interest any more. It may seem of interest and not be:
    /// the machine looks again.
    #[inline]
    fn is_stale(&self, ticket: Ticket) -> bool {
        generation(self.word.load(Ordering::Relaxed)) != ticket.generation()
    }

    /// Something came of a call that is still under way: its ticket from now on.
    pub(crate) fn alive(&self, ticket: Ticket, now: impl FnOnce() -> Instant) -> Ticket {
        if !ticket.is_probe() || !ticket.has_place() || self.is_stale(ticket) {
            return ticket;
        }
        let now = now();
        self.read(|machine| machine.alive(ticket, now))
    }

    pub(crate) fn steer(&self, to: Phase) {
        let now = now();
        let ((), change) = self.write(|machine| ((), machine.steer(to, now)));
        self.tell(change);
    }

    /// Tells the observer of a change: when nothing is locked.
    #[inline]
    pub(crate) fn tell(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.observe(change);
        }
    }

    #[cold]
    fn observe(&self, change: Change) {
        let Some(observer) = &self.observer else {
            return;
        };
        let name = &*self.name;
        observer(&match change {
            Change::State {
                from,
                to,
                cause,
                wait,
                generation,
            } => CircuitEvent::Changed {
                name,
                from,
                to,
                cause,
                wait,
                generation,
            },
            Change::WouldOpen { cause } => CircuitEvent::WouldOpen { name, cause },
        });
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Machine> {
        // Nothing in there panics, and if it did, the numbers would still be numbers.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What does not change its phase.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut Machine) -> T) -> T {
        read(&mut self.lock())
    }

    /// What may change it.
    fn write<T>(
        &self,
        write: impl FnOnce(&mut Machine) -> (T, Option<Change>),
    ) -> (T, Option<Change>) {
        let mut machine = self.lock();
        let (value, change) = write(&mut machine);
        (value, self.changed(&machine, change))
    }

    #[cold]
    fn changed(&self, machine: &Machine, change: Option<Change>) -> Option<Change> {
        if let Some(Change::State { .. }) = change {
            self.publish(machine);
        }
        change
    }

    /// With the lock held.
    #[inline]
    fn publish(&self, machine: &Machine) {
        let word = word_of(machine);
        if word == self.word.load(Ordering::Relaxed) {
            return;
        }
        if let Phase::Open { until, .. } = machine.phase() {
            let until = until.map(|until| self.since_origin(until));
            self.until.store(until.unwrap_or(NEVER), Ordering::Relaxed);
        }
        self.word.store(word, Ordering::Release);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// ===== impl Tag =====

impl Tag {
    const BITS: u32 = 2;
    const MASK: u64 = (1 << Self::BITS) - 1;
}

/// Beside a tag: the circuit is calm.
const CALM: u64 = 1 << Tag::BITS;

/// So many bits are below the generation.
const BELOW: u32 = Tag::BITS + 1;

fn word_of(machine: &Machine) -> u64 {
    let tag = match machine.phase() {
        Phase::Closed | Phase::ForcedClosed | Phase::ObserveOnly => Tag::Pass,
        Phase::Open { .. } => Tag::OpenUntil,
        Phase::HalfOpen(_) => Tag::Ask,
        Phase::ForcedOpen => Tag::Refuse,
    };
    let calm = if machine.is_calm() { CALM } else { 0 };
    machine.generation() << BELOW | calm | tag as u64
}

const fn generation(word: u64) -> u64 {
    word >> BELOW
}

const fn tag(word: u64) -> Tag {
    match word & Tag::MASK {
        0 => Tag::Pass,
        1 => Tag::OpenUntil,
        2 => Tag::Ask,
        _ => Tag::Refuse,
    }
}

// ===== impl Shut =====

impl Shut {
    const UNKNOWN: NonZeroU64 = NonZeroU64::MAX;

    pub(crate) fn refused(self) -> Refused {
        let refused = Refused::new(Reason::CircuitOpen);
        match self.0 {
            Self::UNKNOWN => refused,
            wait => refused.with_retry_after(Duration::from_nanos(wait.get())),
        }
    }
}

impl From<Closed> for Shut {
    #[inline]
    fn from(closed: Closed) -> Self {
        // A wait of nothing is no reason to refuse, and is not met here.
        let wait = closed.0.and_then(|wait| NonZeroU64::new(nanos(wait)));
        Self(wait.unwrap_or(Self::UNKNOWN))
    }
}
