use std::{
    fmt,
    num::NonZeroU64,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use buttress_core::{Reason, Refused};
use tokio::time;

use crate::{
    Cause, CircuitEvent, Policy, State, Window,
    gauge::nanos,
    machine::{Change, Closed, Machine, Phase, Said, Ticket},
    policy::{Observer, Rules},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
};

/// One circuit, and the handle to it: to share it among layers, to look at it, and to steer it.
///
/// Clones are the same circuit.
///
/// # Examples
///
/// ```
/// use buttress_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Policy, State};
/// use buttress_core::Plain;
///
/// let breaker = CircuitBreaker::new(Policy::default());
/// let (chat, embeddings) = (
///     CircuitBreakerLayer::new(Plain).breaker(&breaker),
///     CircuitBreakerLayer::new(Plain).breaker(&breaker),
/// );
/// assert_eq!(breaker.state(), State::Closed);
///
/// // Maintenance:
/// breaker.force_open();
/// assert_eq!(chat.handle().state(), State::ForcedOpen);
/// breaker.reset();
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

/// How a circuit stands at one moment, as from [`CircuitBreaker::snapshot`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where it stands.
    pub state: State,
    /// For how long.
    pub elapsed: Duration,
    /// What brought it there. `None`: it has never changed.
    pub cause: Option<Cause>,
    /// How many changes there were.
    pub generation: u64,
    /// When it will let a call through: zero, if it is due with the next one. `None`: it is not
    /// open, or nobody knows.
    pub next_probe: Option<Duration>,
    /// So many failed one after another, in the calls that it counted.
    pub consecutive_failures: u32,
    /// What is in the window of each rate of its policy, in the order in which they were added. While
    /// it is open: what made it open.
    pub rates: Vec<Counts>,
    /// Its probes, while it is half-open.
    pub probes: Option<Probes>,
}

/// The calls in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// What opens the circuit, if there are too many bad ones: [`Cause::FailureRate`] or
    /// [`Cause::SlowRate`].
    pub cause: Cause,
    /// Which calls are counted.
    pub window: Window,
    /// How many there are.
    pub calls: u64,
    /// How many of them failed, or were slow.
    pub bad: u64,
}

/// The probes of a half-open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probes {
    /// Those under way, with the streams among them that gave their places to others.
    pub in_flight: u32,
    /// Those that went well.
    pub succeeded: u32,
    /// Those that failed.
    pub failed: u32,
}

/// A machine, and enough of it beside to let calls pass, or refuse them, without its lock.
pub(crate) struct Shared {
    /// The generation above a [tag](Tag). It is written with the lock held.
    word: AtomicU64,
    /// Until when it is open, in nanoseconds since the origin. Written before the word.
    until: AtomicU64,
    origin: Instant,
    machine: Mutex<Machine>,
    /// Whether each record wants the time, and each call its duration.
    reads_clock: bool,
    times: bool,
    pauses: bool,
    name: Arc<str>,
    observer: Option<Arc<Observer>>,
}

/// That a call is refused, and for how many nanoseconds, in one word: it is moved with every future.
#[derive(Clone, Copy, Debug)]
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

// ===== impl CircuitBreaker =====

impl CircuitBreaker {
    /// A circuit that is closed.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let Policy {
            rules,
            name,
            observer,
        } = policy;
        Self {
            shared: Arc::new(Shared::new(rules, name, observer, now())),
        }
    }

    /// Where it stands. A circuit is open until the call that becomes its probe, also when its time
    /// is up.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.read(|machine| machine.phase().state())
    }

    /// The name of its [policy](Policy::name).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// When it lets a call through: zero, if it is due with the next one. `None`: it is not open, or
    /// nobody knows.
    #[must_use]
    pub fn next_probe(&self) -> Option<Duration> {
        let now = now();
        self.shared.read(|machine| machine.next_probe(now))
    }

    /// All that there is to see of it, at one moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = now();
        self.shared.read(|machine| Snapshot {
            state: machine.phase().state(),
            elapsed: now.saturating_duration_since(machine.since()),
            cause: machine.cause(),
            generation: machine.generation(),
            next_probe: machine.next_probe(now),
            consecutive_failures: machine.run(),
            rates: machine
                .rates(now)
                .map(|(rate, calls, bad)| Counts {
                    cause: rate.cause(),
                    window: rate.window,
                    calls,
                    bad,
                })
                .collect(),
            probes: match machine.phase() {
                Phase::HalfOpen(episode) => Some(Probes {
                    in_flight: episode.in_flight(),
                    succeeded: episode.succeeded,
                    failed: episode.failed,
                }),
                _ => None,
            },
        })
    }

    /// Refuses every call, until it is steered otherwise.
    pub fn force_open(&self) {
        self.shared.steer(Phase::ForcedOpen);
    }

    /// Lets every call pass and counts none, until it is steered otherwise.
    pub fn force_closed(&self) {
        self.shared.steer(Phase::ForcedClosed);
    }

    /// Lets every call pass and counts them, and only [says](CircuitEvent::WouldOpen) when it would
    /// have opened, until it is steered otherwise.
    pub fn observe_only(&self) {
        self.shared.steer(Phase::ObserveOnly);
    }

    /// Closes it, with nothing counted and nothing forced.
    pub fn reset(&self) {
        self.shared.steer(Phase::Closed);
    }

    /// Whether it can be forgotten: nobody else holds it, and nobody would miss it.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        // Whoever wants another handle while there is but one gets it from who asks here.
        Arc::strong_count(&self.shared) == 1 && self.shared.read(|machine| machine.is_idle(now))
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

// ===== impl Counts =====

impl Counts {
    /// The share of the bad ones. `None`: there are no calls.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.bad as f64 / self.calls as f64)
    }
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
        Self {
            word: AtomicU64::new(word(Tag::Pass, 0)),
            until: AtomicU64::new(0),
            origin: now,
            reads_clock: by_time || times,
            times,
            pauses: rules.throttled.is_some(),
            machine: Mutex::new(Machine::new(rules, now)),
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
        (word & Tag::MASK == Tag::Pass as u64).then(|| Ticket::new(word >> Tag::BITS, false))
    }

    /// Whether a call would be admitted. Nothing is taken.
    pub(crate) fn admits(&self, now: impl FnOnce() -> Instant) -> Result<(), Closed> {
        match tag(self.word.load(Ordering::Acquire)) {
            Tag::Pass => Ok(()),
            Tag::OpenUntil => self.is_due(now()),
            Tag::Ask => {
                let now = now();
                self.read(|machine| machine.admits(now))
            }
            Tag::Refuse => Err(Closed(None)),
        }
    }

    /// How a call would be refused now, if it would.
    #[cold]
    pub(crate) fn shut(&self) -> Option<Shut> {
        self.admits(now).err().map(Shut::from)
    }

    /// Admits a call, or not.
    pub(crate) fn admit(
        &self,
        now: impl FnOnce() -> Instant,
    ) -> (Result<Ticket, Closed>, Option<Change>) {
        if let Some(ticket) = self.pass() {
            return (Ok(ticket), None);
        }
        let tag = tag(self.word.load(Ordering::Acquire));
        if tag == Tag::Refuse {
            return (Err(Closed(None)), None);
        }
        let now = now();
        if tag == Tag::OpenUntil
            && let Err(closed) = self.is_due(now)
        {
            return (Err(closed), None);
        }
        self.write(|machine| machine.admit(now))
    }

    /// Of a circuit that is open.
    fn is_due(&self, now: Instant) -> Result<(), Closed> {
        // It belongs to the word that was read before, or to a later one: then there is another
        // reason to refuse, or none that matters to who asked earlier.
        let until = self.until.load(Ordering::Relaxed);
        if until == NEVER {
            return Err(Closed(None));
        }
        match until.saturating_sub(self.since_origin(now)) {
            0 => Ok(()),
            left => Err(Closed(Some(Duration::from_nanos(left)))),
        }
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
        if self.is_stale(ticket) {
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
            // Most calls end here.
            let news = machine.count(failed, took, time)?;
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
        self.word.load(Ordering::Relaxed) >> Tag::BITS != ticket.generation()
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

    fn publish(&self, machine: &Machine) {
        let tag = match machine.phase() {
            Phase::Closed | Phase::ForcedClosed | Phase::ObserveOnly => Tag::Pass,
            Phase::Open { until, .. } => {
                let until = until.map(|until| nanos(until.saturating_duration_since(self.origin)));
                self.until.store(until.unwrap_or(NEVER), Ordering::Relaxed);
                Tag::OpenUntil
            }
            Phase::HalfOpen(_) => Tag::Ask,
            Phase::ForcedOpen => Tag::Refuse,
        };
        self.word
            .store(word(tag, machine.generation()), Ordering::Release);
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

const fn word(tag: Tag, generation: u64) -> u64 {
    generation << Tag::BITS | tag as u64
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
    fn from(closed: Closed) -> Self {
        // A wait of nothing is no reason to refuse, and is not met here.
        let wait = closed.0.and_then(|wait| NonZeroU64::new(nanos(wait)));
        Self(wait.unwrap_or(Self::UNKNOWN))
    }
}
