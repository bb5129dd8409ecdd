//! How a circuit decides. Pure: it is told what ended and what time it is.
//!
//! Each change begins a new generation. A call carries the generation that admitted it, and what
//! comes of it later changes nothing in another one: neither a success from before the trip, nor a
//! probe of an episode that is over.

mod ticket;

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::{
    Cause, State,
    gauge::Gauge,
    policy::{Rate, Rules},
};

pub(crate) use self::ticket::Ticket;

#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    phase: Phase,
    generation: u64,
    /// When this generation began, and why.
    since: Instant,
    cause: Option<Cause>,
    /// One for each rate of the rules.
    gauges: Box<[Gauge]>,
    /// So many failed, one after another.
    run: u32,
    /// So many episodes of probes failed since it was last closed.
    relapses: u32,
    would_open: bool,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    Closed,
    Open {
        /// `None`: a time that no clock reaches.
        until: Option<Instant>,
        then: Then,
    },
    HalfOpen(Episode),
    ForcedOpen,
    ForcedClosed,
    ObserveOnly,
}

/// What an open circuit comes to when its time is up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Probe,
    /// It was asked to pause, and nothing was wrong with it.
    Close,
}

/// Probes, from the first one to the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    /// Those under way, and those that said something. The others gave their places back.
    pub(crate) taken: u32,
    /// Those that go on without a place, and still are to say something.
    pub(crate) going_on: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    /// If nothing is heard of any until then, they are lost.
    pub(crate) lost: Option<Instant>,
    /// From then on, each of them has had the time of a probe.
    pub(crate) long: Option<Instant>,
}

/// That it was not, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed(pub(crate) Option<Duration>);

/// What a call said of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Well,
    Badly,
    Pause(Duration),
    Nothing,
}

/// What counting a call led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A condition holds.
    Reached(Cause),
    /// None does any more.
    NoMore,
}

/// A change that was made, for the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    State {
        from: State,
        to: State,
        cause: Cause,
        wait: Option<Duration>,
        generation: u64,
    },
    WouldOpen {
        cause: Cause,
    },
}

// ===== impl Machine =====

impl Machine {
    pub(crate) fn new(rules: Rules, now: Instant) -> Self {
        let minimum = rules.minimum.get();
        let gauges = rules.rates.iter();
        let gauges = gauges.map(|rate| Gauge::new(rate, minimum, now));
        Self {
            gauges: gauges.collect(),
            phase: Phase::Closed,
            generation: 0,
            since: now,
            cause: None,
            run: 0,
            relapses: 0,
            would_open: false,
            rng: Rng::with_seed(rules.seed.unwrap_or_else(|| fastrand::u64(..))),
            rules,
        }
    }

    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    pub(crate) const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    pub(crate) const fn run(&self) -> u32 {
        self.run
    }

    /// Whether a call that went well, and was not slow, would change nothing.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        match self.phase {
            Phase::Closed | Phase::ObserveOnly => {
                // If it would have opened, something is bad still, or it was a run: then it says when
                // that is over.
                self.run == 0 && !self.would_open && self.gauges.iter().all(Gauge::is_calm)
            }
            Phase::ForcedClosed => true,
            Phase::Open { .. } | Phase::HalfOpen(_) | Phase::ForcedOpen => false,
        }
    }

    /// Whether it opens when the endpoint asks to be left alone.
    pub(crate) const fn pauses(&self) -> bool {
        self.rules.throttled.is_some()
    }

    /// When it lets a call through, if it is open and anybody knows.
    pub(crate) fn next_probe(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until, .. } => Some(until?.saturating_duration_since(now)),
            _ => None,
        }
    }

    /// What each rate of the rules has in its window now.
    pub(crate) fn rates(&mut self, now: Instant) -> impl Iterator<Item = (Rate, u64, u64)> {
        let rates = self.rules.rates.iter().zip(&mut self.gauges);
        rates.map(move |(rate, gauge)| {
            gauge.slide(now);
            let (total, bad) = gauge.counts();
            (*rate, total, bad)
        })
    }

    /// Whether a call would be admitted now.
    pub(crate) fn admits(&self, now: Instant) -> Result<(), Closed> {
        match self.phase {
            Phase::Closed | Phase::ForcedClosed | Phase::ObserveOnly => Ok(()),
            Phase::Open { until, .. } => match until {
                Some(until) if until <= now => Ok(()),
                until => Err(Closed(until.map(|until| until - now))),
            },
            Phase::HalfOpen(episode) => {
                let free = episode.taken < self.rules.probes.get();
                let lost = episode.lost.is_some_and(|lost| lost <= now);
                if free || lost {
                    Ok(())
                } else {
                    // Nobody knows when a probe ends.
                    Err(Closed(None))
                }
            }
            Phase::ForcedOpen => Err(Closed(None)),
        }
    }

    /// A call wants to be made.
    pub(crate) fn admit(&mut self, now: Instant) -> (Result<Ticket, Closed>, Option<Change>) {
        if let Err(closed) = self.admits(now) {
            return (Err(closed), None);
        }
        let change = match self.phase {
            Phase::Open {
                then: Then::Probe, ..
            } => Some(self.probe(Cause::Waited, now)),
            Phase::Open {
                then: Then::Close, ..
            } => Some(self.go(Phase::Closed, Cause::Waited, None, now)),
            Phase::HalfOpen(episode) if episode.taken >= self.rules.probes.get() => {
                Some(self.probe(Cause::ProbesLost, now))
            }
            _ => None,
        };
        let mut probe = false;
        if let Phase::HalfOpen(episode) = &mut self.phase {
            probe = true;
            episode.taken += 1;
            episode.lost = now.checked_add(self.rules.probe_timeout);
            episode.long = episode.lost;
        }
        (Ok(Ticket::new(self.generation, probe)), change)
    }

    /// Something came of a probe that has a place and is still under way: what its ticket is then.
    /// One that takes longer than a probe may gives its place away, and keeps its say.
    pub(crate) fn alive(&mut self, ticket: Ticket, now: Instant) -> Ticket {
        if ticket.generation() == self.generation
            && let Phase::HalfOpen(episode) = &mut self.phase
        {
            episode.lost = now.checked_add(self.rules.probe_timeout);
            // No probe was let through since then: it is no younger.
            if episode.long.is_some_and(|long| long <= now) {
                episode.taken -= 1;
                episode.going_on += 1;
                return ticket.without_place();
            }
        }
        ticket
    }

    /// A call is over, which took so many nanoseconds if anybody wants to know. `now` is asked
    /// where a window or a change needs it.
    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        said: Said,
        took: u64,
        now: impl Fn() -> Instant,
    ) -> Option<Change> {
        if self.counts(ticket) {
            let failed = match said {
                Said::Well => false,
                Said::Badly => true,
                Said::Pause(hint) => return self.pause(hint, now()),
                Said::Nothing => return None,
            };
            let news = self.count(failed, took, &now)?;
            return self.trip(news, now);
        }
        match &self.phase {
            Phase::HalfOpen(episode) if ticket.generation() == self.generation => {
                self.judge(*episode, ticket, said, took, now())
            }
            _ => None,
        }
    }

    /// Whether what such a call says is counted.
    #[inline]
    pub(crate) const fn counts(&self, ticket: Ticket) -> bool {
        ticket.generation() == self.generation
            && matches!(self.phase, Phase::Closed | Phase::ObserveOnly)
    }

    /// Counts a call that went well or failed. `None`: there is nothing more to it.
    #[inline]
    pub(crate) fn count(
        &mut self,
        failed: bool,
        took: u64,
        now: impl Fn() -> Instant,
    ) -> Option<News> {
        self.run = if failed {
            self.run.saturating_add(1)
        } else {
            0
        };
        let mut cause = None;
        if self.rules.run.is_some_and(|run| run.get() <= self.run) {
            cause = Some(Cause::ConsecutiveFailures);
        }
        for gauge in &mut self.gauges {
            gauge.record(failed, took, &now);
            if cause.is_none() && gauge.reached() {
                cause = Some(gauge.cause());
            }
        }
        match cause {
            Some(cause) => Some(News::Reached(cause)),
            None if self.would_open => Some(News::NoMore),
            None => None,
        }
    }

    /// What comes of what was counted.
    #[cold]
    pub(crate) fn trip(&mut self, news: News, now: impl Fn() -> Instant) -> Option<Change> {
        let News::Reached(cause) = news else {
            self.would_open = false;
            return None;
        };
        if let Phase::Closed = self.phase {
            return Some(self.open(cause, now()));
        }
        let before = std::mem::replace(&mut self.would_open, true);
        (!before).then_some(Change::WouldOpen { cause })
    }

    /// A probe is over.
    fn judge(
        &mut self,
        mut episode: Episode,
        ticket: Ticket,
        said: Said,
        took: u64,
        now: Instant,
    ) -> Option<Change> {
        if !ticket.has_place() {
            // Who says something has a place until it is decided, and who does not gives it back.
            episode.going_on -= 1;
            episode.taken += 1;
        }
        let slow = self.gauges.iter().any(|gauge| gauge.is_slow(took));
        match said {
            Said::Well if !slow => episode.succeeded += 1,
            Said::Well | Said::Badly => episode.failed += 1,
            Said::Nothing | Said::Pause(_) => episode.taken -= 1,
        }
        episode.lost = now.checked_add(self.rules.probe_timeout);
        self.phase = Phase::HalfOpen(episode);
        if let Said::Pause(hint) = said {
            return self.pause(hint, now);
        }
        let needed = self.rules.needed();
        if episode.succeeded >= needed {
            self.relapses = 0;
            self.forget();
            return Some(self.go(Phase::Closed, Cause::Recovered, None, now));
        }
        if episode.failed > self.rules.probes.get() - needed {
            self.relapses = self.relapses.saturating_add(1);
            return Some(self.open(Cause::ProbesFailed, now));
        }
        None
    }

    /// The endpoint asks to be left alone for so long.
    fn pause(&mut self, hint: Duration, now: Instant) -> Option<Change> {
        let wait = hint.min(self.rules.throttled?);
        let then = match self.phase {
            Phase::Closed => Then::Close,
            Phase::HalfOpen(_) => Then::Probe,
            _ => return None,
        };
        Some(self.close_until(wait, then, Cause::Throttled, now))
    }

    fn open(&mut self, cause: Cause, now: Instant) -> Change {
        let wait = self.rules.wait.draw(self.relapses, &mut self.rng);
        self.close_until(wait, Then::Probe, cause, now)
    }

    fn close_until(&mut self, wait: Duration, then: Then, cause: Cause, now: Instant) -> Change {
        let until = now.checked_add(wait);
        let phase = Phase::Open { until, then };
        self.go(phase, cause, until.map(|_| wait), now)
    }

    fn probe(&mut self, cause: Cause, now: Instant) -> Change {
        let episode = Episode {
            taken: 0,
            going_on: 0,
            succeeded: 0,
            failed: 0,
            lost: None,
            long: None,
        };
        self.go(Phase::HalfOpen(episode), cause, None, now)
    }

    /// Takes it where somebody wants it, with nothing counted. `None`: it is forced to that already.
    pub(crate) fn steer(&mut self, to: Phase, now: Instant) -> Option<Change> {
        let (from, to_state) = (self.phase.state(), to.state());
        if from == to_state && from != State::Closed {
            return None;
        }
        self.relapses = 0;
        self.forget();
        Some(self.go(to, Cause::Steered, None, now))
    }

    fn forget(&mut self) {
        self.run = 0;
        for gauge in &mut self.gauges {
            gauge.clear();
        }
    }

    fn go(&mut self, phase: Phase, cause: Cause, wait: Option<Duration>, now: Instant) -> Change {
        let from = self.phase.state();
        self.phase = phase;
        self.generation += 1;
        self.since = now;
        self.cause = Some(cause);
        self.would_open = false;
        Change::State {
            from,
            to: phase.state(),
            cause,
            wait,
            generation: self.generation,
        }
    }

    /// Whether nobody would miss it: it is closed, or it has been ready to probe for as long again
    /// as it waited, and nobody came.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let over = match self.phase {
            Phase::Closed => return true,
            Phase::Open { until, .. } => until,
            Phase::HalfOpen(episode) => episode.lost,
            Phase::ForcedOpen | Phase::ForcedClosed | Phase::ObserveOnly => return false,
        };
        over.is_some_and(|over| {
            let waited = over.saturating_duration_since(self.since);
            now.checked_duration_since(over)
                .is_some_and(|idle| idle >= waited)
        })
    }
}

// ===== impl Phase =====

impl Phase {
    pub(crate) const fn state(&self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen(_) => State::HalfOpen,
            Self::ForcedOpen => State::ForcedOpen,
            Self::ForcedClosed => State::ForcedClosed,
            Self::ObserveOnly => State::ObserveOnly,
        }
    }
}

// ===== impl Episode =====

impl Episode {
    pub(crate) const fn in_flight(&self) -> u32 {
        self.taken - self.succeeded - self.failed + self.going_on
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod model;
