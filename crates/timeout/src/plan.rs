//! What one call is allowed.

use std::time::Duration;

use buttress_core::{Class, Reason, Refused};
use tokio::time::Instant;

use crate::{Limits, Phase, Throughput, TimeoutEvent, layer::Settings, span::Span};

/// A layer inside ends so long before the deadline that it was handed, so that it can still say of
/// the endpoint what it knows. Timers count milliseconds, and whoever set the deadline may be
/// woken by another thread.
const MOMENT: Duration = Duration::from_millis(5);

/// Whoever looks so much later than the timer was not waiting, or could not: the process was
/// stopped, or its threads were busy. Timers are late by themselves, but less.
pub(crate) const AWAY: Span = Span::new(Duration::from_millis(5));

/// Timers are no finer.
pub(crate) const TICK: Span = Span::new(Duration::from_millis(1));

/// The most that such a look adds to the limit of a call. What waits in a socket is read in less.
const GRACE: Span = Span::new(Duration::from_millis(50));

/// The limits of one call, from when it was called. It is moved with the call, and so it is small:
/// what follows from it is reckoned when it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Nothing if there are no limits.
    called: Option<Instant>,
    pub(crate) limits: Limits,
    /// The moment before the deadline that the request carried.
    deadline: Span,
    pub(crate) throughput: Option<Throughput>,
    /// Which phases the caller asked for, too short to say anything: bits, by [`Phase`].
    neutral: u8,
    /// Pings restart `idle`.
    pub(crate) pings: bool,
}

/// A limit that has run out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) phase: Phase,
    limit: Duration,
    neutral: bool,
}

/// The deadline that a request carries leaves no time to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expired;

// ===== impl Plan =====

impl Plan {
    /// The limits of the layer, as far as the request does not ask for others, from now on.
    // Where it is not inlined, moving it costs more than making it.
    #[inline(always)]
    pub(crate) fn new(
        settings: &Settings,
        asked: &Limits,
        carried: Option<Instant>,
    ) -> Result<Self, Expired> {
        let mut plan = Self {
            called: None,
            limits: settings.limits,
            deadline: Span::NEVER,
            throughput: settings.throughput,
            neutral: 0,
            pings: settings.pings,
        };
        if *asked != Limits::new() {
            plan.ask(settings, asked);
        }
        if plan.goes_on() || plan.limits.headers.ends() || carried.is_some() {
            let now = Instant::now();
            plan.called = Some(now);
            if let Some(carried) = carried {
                plan.end_before(carried, now, settings.min_wait)?;
            }
        }
        Ok(plan)
    }

    /// What a request gets of what it asks for.
    fn ask(&mut self, settings: &Settings, asked: &Limits) {
        let most = &settings.most;
        let mut neutral = 0;
        let mut ask = |phase, limit: &mut Span, asked: Span, most: Span| {
            if !asked.is_set() {
                return;
            }
            let own = *limit;
            // What is not set is the longest.
            *limit = asked.min(if most.is_set() && own.is_set() {
                own.max(most)
            } else {
                own.min(most)
            });
            if *limit < own && *limit < settings.min_wait {
                neutral |= bit(phase);
            }
        };
        let Limits {
            total,
            attempt,
            headers,
            first_content,
            idle,
            silence,
        } = &mut self.limits;
        ask(Phase::Total, total, asked.total, most.total);
        ask(Phase::Attempt, attempt, asked.attempt, most.attempt);
        ask(Phase::Headers, headers, asked.headers, most.headers);
        ask(
            Phase::FirstContent,
            first_content,
            asked.first_content,
            most.first_content,
        );
        ask(Phase::Idle, idle, asked.idle, most.idle);
        ask(Phase::Silence, silence, asked.silence, most.silence);
        self.neutral = neutral;
    }

    fn end_before(
        &mut self,
        deadline: Instant,
        now: Instant,
        min_wait: Span,
    ) -> Result<(), Expired> {
        let left = deadline.saturating_duration_since(now);
        if left <= MOMENT {
            return Err(Expired);
        }
        self.deadline = Span::new(left - MOMENT);
        if Span::new(left) < min_wait {
            self.neutral |= bit(Phase::Deadline);
        }
        Ok(())
    }

    /// What the layers inside are told, if it is earlier than what they are told already.
    #[inline]
    pub(crate) fn deadline(&self, carried: Option<Instant>) -> Option<Instant> {
        let total = self.at(self.limits.total)?;
        carried
            .is_none_or(|carried| total < carried)
            .then_some(total)
    }

    /// So long after the call, if there are limits, and if it comes.
    pub(crate) fn at(&self, time: Span) -> Option<Instant> {
        let called = self.called.filter(|_| time.ends())?;
        Some(called + time.duration())
    }

    /// How long after the call.
    pub(crate) fn since(&self, now: Instant) -> Span {
        let called = self.called.unwrap_or(now);
        Span::new(now.saturating_duration_since(called))
    }

    /// Which limit ends the call, its body included, and when.
    pub(crate) fn end(&self) -> (Span, Phase) {
        let ends = [
            (self.limits.total, Phase::Total),
            (self.deadline, Phase::Deadline),
            (self.limits.attempt, Phase::Attempt),
        ];
        earliest(ends)
    }

    /// Which limit ends the wait for the response, and when.
    pub(crate) fn head(&self) -> (Span, Phase) {
        let ends = [
            self.end(),
            (self.limits.headers, Phase::Headers),
            (self.limits.first_content, Phase::FirstContent),
        ];
        earliest(ends)
    }

    /// Until when a call goes on whose limit was found to have run out only `now`, though it was to
    /// be looked at when it was `due`; `None` if it ends. Where that is late, what has arrived may
    /// have had no turn yet: timers are served before sockets.
    pub(crate) fn grace(&self, limit: Span, due: Span, now: Span) -> Option<Span> {
        if limit.is_zero() || now.since(due) <= AWAY {
            return None;
        }
        let grace = limit.eighth().min(GRACE);
        if !self.deadline.ends() {
            return Some(now.plus(grace.max(TICK)));
        }
        // Whoever set the deadline does the same by a clock that is a moment behind. If the call
        // went on here and ended there, nothing could be said of the endpoint.
        let moment = Span::new(MOMENT);
        let end = now.plus(grace.since(moment).max(TICK));
        if now < self.deadline {
            Some(end.min(self.deadline))
        } else {
            (now.since(self.deadline) > AWAY.plus(moment)).then_some(end)
        }
    }

    /// Whether anything is left to do once the response is there.
    #[inline]
    pub(crate) fn goes_on(&self) -> bool {
        let Limits {
            total,
            attempt,
            headers: _,
            first_content,
            idle,
            silence,
        } = self.limits;
        let times = [total, attempt, first_content, idle, silence, self.deadline];
        times.iter().any(|time| time.ends()) || self.throughput.is_some()
    }

    /// That this one ran out.
    pub(crate) fn cut(&self, phase: Phase) -> Cut {
        let limit = match phase {
            Phase::Total => self.limits.total,
            Phase::Deadline => self.deadline,
            Phase::Attempt => self.limits.attempt,
            Phase::Headers => self.limits.headers,
            Phase::FirstContent => self.limits.first_content,
            Phase::Idle => self.limits.idle,
            Phase::Silence => self.limits.silence,
            Phase::Throughput => self.throughput.map_or(Span::UNSET, Throughput::window),
        };
        Cut {
            phase,
            limit: limit.duration(),
            neutral: self.neutral & bit(phase) != 0,
        }
    }
}

const fn bit(phase: Phase) -> u8 {
    1 << phase as u8
}

fn earliest<const N: usize>(ends: [(Span, Phase); N]) -> (Span, Phase) {
    let mut first = (Span::NEVER, Phase::Total);
    for end in ends {
        if end.0 < first.0 {
            first = end;
        }
    }
    first
}

// ===== impl Cut =====

impl Cut {
    /// The refusal of a call that had, or had not, delivered content.
    pub(crate) const fn refused(&self, content: bool) -> Refused {
        let class = match (self.neutral, content) {
            (true, _) => Class::Cancelled,
            (false, true) => Class::Interrupted,
            (false, false) => Class::Unavailable,
        };
        Refused::new(self.phase.reason()).with_class(class)
    }

    pub(crate) const fn event<'a>(&self, refused: &'a Refused) -> TimeoutEvent<'a> {
        TimeoutEvent::Elapsed {
            phase: self.phase,
            limit: self.limit,
            refused,
        }
    }
}

// ===== impl Expired =====

impl Expired {
    /// Nothing was sent.
    pub(crate) const REFUSED: Refused =
        Refused::new(Reason::TotalTimeout).with_class(Class::Refused);
}
