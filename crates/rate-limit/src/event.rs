use std::time::Duration;

use buttress_core::{Event, Fact, Outcome};

use crate::{Cost, Limited};

/// What happened to a call, as the observer of
/// [`RateLimitLayer::on_event`](crate::RateLimitLayer::on_event) sees it.
///
/// Of each call exactly one of `Limited`, `Settled` and `Left` is seen, last.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_core::Plain;
/// use buttress_rate_limit::{Quota, Quotas, RateLimitEvent, RateLimitLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let minute = Quota::per_minute(NonZeroU32::new(60).unwrap());
/// let layer = RateLimitLayer::new(Plain, Quotas::requests(minute)).on_event(|event| match event {
///     RateLimitEvent::Limited { limited, .. } => println!("refused: {limited}"),
///     RateLimitEvent::Settled { reserved, used, .. } => println!("{used:?} of {reserved:?}"),
///     _ => {}
/// });
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum RateLimitEvent<'a> {
    /// The call begins to wait.
    #[non_exhaustive]
    Queued {
        /// What it costs.
        cost: Cost,
        /// How many calls of its key wait before it.
        ahead: usize,
        /// How long it will be, as far as is known.
        wait: Duration,
    },
    /// The cost was taken. The inner service has not been asked yet.
    #[non_exhaustive]
    Admitted {
        /// What was taken.
        cost: Cost,
        /// How long it waited.
        waited: Duration,
    },
    /// The call is refused.
    #[non_exhaustive]
    Limited {
        /// What it would have cost.
        cost: Cost,
        /// Why, and when to come back.
        limited: &'a Limited,
        /// How long it waited before.
        waited: Duration,
    },
    /// The call is over, to the end of its response, and settled.
    #[non_exhaustive]
    Settled {
        /// What was taken at the beginning.
        reserved: Cost,
        /// What it used: what is charged in the end, but for a debt beyond
        /// [`longest_debt`](crate::Limiter::longest_debt).
        used: Cost,
        /// How it ended.
        outcome: &'a Outcome,
    },
    /// The caller went away before anything was taken.
    #[non_exhaustive]
    Left {
        /// What it would have cost.
        cost: Cost,
        /// How long it waited.
        waited: Duration,
    },
}

// ===== impl RateLimitEvent =====

impl Event for RateLimitEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "rate_limit.queued",
            Self::Admitted { .. } => "rate_limit.admitted",
            Self::Limited { .. } => "rate_limit.limited",
            Self::Settled { .. } => "rate_limit.settled",
            Self::Left { .. } => "rate_limit.left",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        let cost = |cost: &Cost, each: &mut dyn FnMut(&'static str, Fact<'_>)| {
            each("requests", Fact::Count(cost.requests));
            each("input_tokens", Fact::Count(cost.input));
            each("output_tokens", Fact::Count(cost.output));
        };
        match self {
            Self::Queued {
                cost: taken,
                ahead,
                wait,
            } => {
                cost(taken, each);
                each("ahead", Fact::Count(*ahead as u64));
                each("wait", Fact::Time(*wait));
            }
            Self::Admitted {
                cost: taken,
                waited,
            }
            | Self::Left {
                cost: taken,
                waited,
            } => {
                cost(taken, each);
                each("waited", Fact::Time(*waited));
            }
            Self::Limited {
                cost: taken,
                limited,
                waited,
            } => {
                cost(taken, each);
                each("reason", Fact::Reason(limited.reason()));
                each("by", Fact::Name(limited.by().as_str()));
                if let Some(unit) = limited.unit() {
                    each("unit", Fact::Name(unit.as_str()));
                }
                if let Some(wait) = limited.wait() {
                    each("wait", Fact::Time(wait));
                }
                each("waited", Fact::Time(*waited));
            }
            Self::Settled {
                reserved,
                used,
                outcome,
            } => {
                cost(used, each);
                each("reserved_input_tokens", Fact::Count(reserved.input));
                each("reserved_output_tokens", Fact::Count(reserved.output));
                each("class", Fact::Class(outcome.class));
            }
        }
    }
}
