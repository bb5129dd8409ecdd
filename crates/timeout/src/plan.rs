//! What one call is allowed.

use std::time::Duration;

use buttress_core::{Class, Reason, Refused};
use tokio::time::Instant;

use crate::{Limits, Phase, Throughput, TimeoutEvent, layer::Settings, span::Span};

/// A layer inside ends so long before the deadline that it was handed, so that it can still say of
/// the endpoint what it knows. Timers count milliseconds, and whoever set the deadline may be
/// woken by another thread.
const MOMENT: Duration = Duration::from_millis(5);

/// The limits of one call, from when it was called. It is moved with the call, and so it is small:
/// what follows from it is reckoned when it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    called: Instant,
    pub(crate) limits: Limits,
    /// The moment before the deadline that the request carried.
    deadline: Span,
    pub(crate) throughput: Option<Throughput>,
    /// Pings restart `idle`.
    pub(crate) pings: bool,
    /// Which phases the caller asked for, too short to say anything: bits, by [`Phase`].
    neutral: u8,
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
    /// The limits of the layer, as far as the request does not ask for others, from now on. `None`
    /// if there are none.
    #[inline]
    pub(crate) fn new(
        settings: &Settings,
        asked: &Limits,
        carried: Option<Instant>,
    ) -> Result<Option<Self>, Expired> {
        let mut neutral = 0;
        let limits = settings.allow(asked, &mut neutral);
        if limits == Limits::new() && carried.is_none() && settings.throughput.is_none() {
            return Ok(None);
        }
        let called = Instant::now();
        let mut deadline = Span::NEVER;
        if let Some(carried) = carried {
            let left = carried.saturating_duration_since(called);
            if left <= MOMENT {
                return Err(Expired);
            }
            deadline = Span::new(left - MOMENT);
            if Span::new(left) < settings.min_wait {
                neutral |= bit(Phase::Deadline);
            }
        }
        Ok(Some(Self {
            called,
            limits,
            deadline,
            throughput: settings.throughput,
            pings: settings.pings,
            neutral,
        }))
    }

    /// What the layers inside are told, if it is earlier than what they are told already.
    #[inline]
    pub(crate) fn deadline(&self, carried: Option<Instant>) -> Option<Instant> {
        let total = self.limits.total;
        if !total.ends() {
            return None;
        }
        let total = self.at(total);
        carried
            .is_none_or(|carried| total < carried)
            .then_some(total)
    }

    /// So long after the call.
    pub(crate) fn at(&self, time: Span) -> Instant {
        self.called + time.duration()
    }

    /// How long after the call.
    pub(crate) fn since(&self, now: Instant) -> Span {
        Span::new(now.saturating_duration_since(self.called))
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

// ===== impl Settings =====

impl Settings {
    /// What a request gets of what it asks for, and which of it is too short to say anything.
    #[inline]
    fn allow(&self, asked: &Limits, neutral: &mut u8) -> Limits {
        let (own, most) = (&self.limits, &self.most);
        let mut allow = |phase, own: Span, asked: Span, most: Span| {
            if !asked.is_set() {
                return own;
            }
            let bound = if most.is_set() && own.is_set() {
                own.max(most)
            } else {
                own.or(most)
            };
            // Unset is the longest.
            let limit = asked.min(bound);
            if limit < own && limit < self.min_wait {
                *neutral |= bit(phase);
            }
            limit
        };
        Limits {
            total: allow(Phase::Total, own.total, asked.total, most.total),
            attempt: allow(Phase::Attempt, own.attempt, asked.attempt, most.attempt),
            headers: allow(Phase::Headers, own.headers, asked.headers, most.headers),
            first_content: allow(
                Phase::FirstContent,
                own.first_content,
                asked.first_content,
                most.first_content,
            ),
            idle: allow(Phase::Idle, own.idle, asked.idle, most.idle),
            silence: allow(Phase::Silence, own.silence, asked.silence, most.silence),
        }
    }
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
