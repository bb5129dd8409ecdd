//! What one call is allowed, as instants.

use std::time::Duration;

use buttress_core::{Class, Reason, Refused};
use tokio::time::Instant;

use crate::{Limits, Phase, Throughput, TimeoutEvent, layer::Settings};

/// A layer inside ends so long before the deadline that it was handed, so that it can still say of
/// the endpoint what it knows. Timers count milliseconds, and whoever set the deadline may be
/// woken by another thread.
pub(crate) const MOMENT: Duration = Duration::from_millis(5);

/// No timer counts further, and tokio caps its own there: about 30 years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// When a call is cut, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// It, its body included, ends then.
    pub(crate) end: Option<Alarm>,
    /// Its first content is there by then.
    pub(crate) first: Option<Alarm>,
    /// Its response is there by then.
    pub(crate) head: Option<Alarm>,
    pub(crate) idle: Option<Cut>,
    pub(crate) silence: Option<Cut>,
    pub(crate) throughput: Option<Throughput>,
    /// Pings restart `idle`.
    pub(crate) pings: bool,
    /// `idle` begins with the first content, which has a limit of its own.
    pub(crate) idle_later: bool,
    /// What the layers inside are told, if that is news.
    pub(crate) deadline: Option<Instant>,
}

/// A time, and what happens then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    pub(crate) at: Instant,
    pub(crate) cut: Cut,
}

/// A limit, and what it says of the endpoint when it runs out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) phase: Phase,
    pub(crate) limit: Duration,
    /// The caller asked for it, and it is too short to say anything.
    pub(crate) neutral: bool,
}

/// The deadline that a request carries leaves no time to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expired;

/// `limit` from then on, if a timer counts so far.
pub(crate) fn after(then: Instant, limit: Duration) -> Option<Instant> {
    if limit < FAR {
        then.checked_add(limit)
    } else {
        None
    }
}

// ===== impl Plan =====

impl Plan {
    /// The limits of the layer, as far as the request does not ask for others, from now on.
    #[inline]
    pub(crate) fn new(
        settings: &Settings,
        asked: &Limits,
        carried: Option<Instant>,
    ) -> Result<Self, Expired> {
        let (own, most) = (&settings.limits, &settings.most);
        let allow = |phase, own, asked, most| settings.allow(phase, own, asked, most);
        let total = allow(Phase::Total, own.total, asked.total, most.total);
        let attempt = allow(Phase::Attempt, own.attempt, asked.attempt, most.attempt);
        let headers = allow(Phase::Headers, own.headers, asked.headers, most.headers);
        let first = allow(
            Phase::FirstContent,
            own.first_content,
            asked.first_content,
            most.first_content,
        );
        let mut plan = Self {
            end: None,
            first: None,
            head: None,
            idle: allow(Phase::Idle, own.idle, asked.idle, most.idle),
            silence: allow(Phase::Silence, own.silence, asked.silence, most.silence),
            throughput: settings.throughput,
            pings: settings.pings,
            idle_later: first.is_some(),
            deadline: None,
        };
        let counted = total.is_some() || attempt.is_some() || headers.is_some() || first.is_some();
        if !counted && carried.is_none() {
            return Ok(plan);
        }
        let now = Instant::now();
        let alarm = |cut: Option<Cut>| {
            let cut = cut?;
            let at = after(now, cut.limit)?;
            Some(Alarm { at, cut })
        };
        let total = alarm(total);
        if let Some(total) = &total
            && carried.is_none_or(|carried| total.at < carried)
        {
            plan.deadline = Some(total.at);
        }
        let deadline = match carried {
            Some(carried) => Some(settings.before(carried, now)?),
            None => None,
        };
        plan.end = earliest([total, deadline, alarm(attempt)]);
        plan.first = alarm(first);
        plan.head = earliest([plan.end, plan.first, alarm(headers)]);
        Ok(plan)
    }

    /// Whether anything is left to do once the response is there.
    pub(crate) const fn goes_on(&self) -> bool {
        self.end.is_some()
            || self.first.is_some()
            || self.idle.is_some()
            || self.silence.is_some()
            || self.throughput.is_some()
    }
}

fn earliest<const N: usize>(alarms: [Option<Alarm>; N]) -> Option<Alarm> {
    alarms.into_iter().flatten().min_by_key(|alarm| alarm.at)
}

// ===== impl Settings =====

impl Settings {
    /// What a request gets of one limit: what it asks for, but not more than it may.
    #[inline]
    fn allow(
        &self,
        phase: Phase,
        own: Option<Duration>,
        asked: Option<Duration>,
        most: Option<Duration>,
    ) -> Option<Cut> {
        let limit = match (asked, own.max(most)) {
            (None, _) => own?,
            (Some(asked), None) => asked,
            (Some(asked), Some(bound)) => asked.min(bound),
        };
        let shortened = asked.is_some() && own.is_none_or(|own| limit < own);
        Some(Cut {
            phase,
            limit,
            neutral: shortened && limit < self.min_wait,
        })
    }

    /// The end of a call whose caller stops waiting at `deadline`.
    fn before(&self, deadline: Instant, now: Instant) -> Result<Alarm, Expired> {
        let left = deadline.saturating_duration_since(now);
        if left <= MOMENT {
            return Err(Expired);
        }
        Ok(Alarm {
            at: deadline - MOMENT,
            cut: Cut {
                phase: Phase::Deadline,
                limit: left - MOMENT,
                neutral: left < self.min_wait,
            },
        })
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

impl Expired {
    /// Nothing was sent.
    pub(crate) const REFUSED: Refused =
        Refused::new(Reason::TotalTimeout).with_class(Class::Refused);
}
