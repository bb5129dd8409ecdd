//! What the file says of the layers.

use std::{
    fmt::Display,
    num::{NonZeroU32, NonZeroU64},
    ops::Range,
    time::Duration,
};

use buttress_circuit_breaker::{self as breaker, Window};
use buttress_failover::{MAX_ENDPOINTS, Next};
use buttress_rate_limit::{Quotas, Rate, Unit};
use buttress_retry::{Backoff, Budget, Exponential, Ratio};
use toml::Spanned;

use super::{
    Breaker, Cache, Failover, Limit, Retry, Strategy, Timeouts,
    check::Check,
    fields::Text,
    file::{
        BreakerSection, CacheSection, FailoverSection, LimitSection, RetrySection, RouteEntry,
        TimeoutsSection,
    },
    units::Time,
};
use crate::pattern::Pattern;

/// More of them on one endpoint help nobody.
const MOST_ATTEMPTS: u32 = 10;

impl Cache {
    pub(super) fn of(section: &CacheSection) -> Self {
        let time = |time: Option<Time>| time.map(|time| time.0);
        Self {
            max_bytes: section.max.map_or(64 << 20, |size| size.0 as u64),
            fresh: time(section.fresh).unwrap_or(Duration::from_secs(300)),
            stale_while_revalidate: time(section.stale_while_revalidate).unwrap_or_default(),
            stale_if_error: time(section.stale_if_error).unwrap_or_default(),
            sampled: section.sampled.unwrap_or(false),
            tools: section.tools.unwrap_or(false),
            heed: section.heed.unwrap_or(true),
        }
    }
}

impl Check<'_> {
    pub(super) fn failover(&mut self, section: &FailoverSection) -> Failover {
        let default = Failover::default();
        let attempts = section.attempts.as_ref().and_then(|attempts| {
            let found = *attempts.get_ref();
            let most = MAX_ENDPOINTS as u32;
            let read = NonZeroU32::new(found).filter(|found| found.get() <= most);
            if read.is_none() {
                let what = format!("found {found} attempts, expected 1 to {most}");
                self.fault(&attempts.span(), what);
            }
            read
        });
        let time = |time: &Option<Spanned<Time>>| time.as_ref().map(|time| time.get_ref().0);
        let cool_down = time(&section.cool_down);
        let longest = time(&section.longest_cool_down);
        if let (Some(place), Some(cool_down)) = (&section.cool_down, cool_down)
            && let longest = longest.unwrap_or(default.longest_cool_down)
            && cool_down > longest
        {
            let what = format!(
                "found a cool_down of {cool_down:?}, expected at most longest_cool_down, which is {longest:?}"
            );
            self.fault(&place.span(), what);
        }
        let cool_down = cool_down.unwrap_or(default.cool_down);
        Failover {
            attempts: attempts.unwrap_or(default.attempts),
            cool_down,
            longest_cool_down: longest.unwrap_or(default.longest_cool_down).max(cool_down),
        }
    }

    /// How a route chooses among its endpoints.
    pub(super) fn strategy(&mut self, entry: &RouteEntry) -> Strategy {
        let strategies = [
            ("ordered", Strategy::Ordered),
            ("weighted", Strategy::Weighted),
            ("least-loaded", Strategy::LeastLoaded),
            ("by-caller", Strategy::ByCaller),
        ];
        self.one_of("strategy", entry.strategy.as_ref(), &strategies)
    }

    /// Where a route goes on with what an endpoint cannot serve.
    pub(super) fn unfit(&mut self, entry: &RouteEntry) -> Next {
        let nexts = [
            ("nowhere", Next::Nowhere),
            ("any", Next::Any),
            ("larger-context", Next::LargerContext),
        ];
        self.one_of("unfit", entry.unfit.as_ref(), &nexts)
    }

    /// How often an endpoint of a route is asked whether it works again, and for which model.
    pub(super) fn health(
        &mut self,
        entry: &RouteEntry,
        model: &Pattern,
    ) -> Option<(Duration, String)> {
        let every = entry.check.as_ref()?;
        let listed = entry.endpoints.as_ref();
        if listed.is_some_and(|listed| listed.get_ref().len() == 1) {
            let what = "found check for an only endpoint, which is never left alone; expected none";
            self.fault(&every.span(), what.to_owned());
            return None;
        }
        let renamed = entry.rename.as_ref().map(|rename| rename.get_ref().clone());
        let name = renamed.or_else(|| model.is_exact().then(|| model.as_str().to_owned()));
        if name.is_none() {
            let what = format!(
                "found check for {:?}, expected the name of one model, here or as `rename`: it is what is asked for",
                model.as_str()
            );
            self.fault(&every.span(), what);
        }
        Some((every.get_ref().0, name?))
    }

    /// One of these words; without one, the first.
    fn one_of<T: Copy>(&mut self, key: &str, found: Option<&Text>, known: &[(&str, T)]) -> T {
        if let Some(text) = found {
            let found = text.get_ref();
            if let Some((_, value)) = known.iter().find(|(name, _)| name == found) {
                return *value;
            }
            let names: Vec<_> = known
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            let what = format!(
                "found {key} {found:?}, expected one of {}",
                names.join(", ")
            );
            self.fault(&text.span(), what);
        }
        known[0].1
    }

    /// The share of each of a route's endpoints.
    pub(super) fn weights(&mut self, entry: &RouteEntry, strategy: Strategy) -> Vec<u32> {
        let count = entry
            .endpoints
            .as_ref()
            .map_or(0, |listed| listed.get_ref().len());
        let Some(weights) = &entry.weights else {
            if let (Strategy::Weighted, Some(text)) = (strategy, &entry.strategy) {
                let what = format!(
                    "found strategy \"weighted\" and no weights, expected {count}: one for each endpoint"
                );
                self.fault(&text.span(), what);
            }
            return vec![1; count];
        };
        let found = weights.get_ref();
        if found.len() != count {
            let what = format!(
                "found {} weights, expected {count}: one for each endpoint",
                found.len()
            );
            self.fault(&weights.span(), what);
        }
        if found.iter().all(|weight| *weight == 0) {
            let what = "found no weight above 0, expected at least one".to_owned();
            self.fault(&weights.span(), what);
        }
        if strategy == Strategy::Ordered {
            let what = "found weights, expected none where endpoints are asked in their order; or a strategy such as \"weighted\"".to_owned();
            self.fault(&weights.span(), what);
        }
        found.clone()
    }

    /// What an endpoint says of its retries, over what the file says for all.
    pub(super) fn retry(&mut self, own: &RetrySection, all: &RetrySection) -> Retry {
        Retry {
            attempts: self.attempts(own, all),
            backoff: self.backoff(own, all),
            budget: self.budget(own, all),
        }
    }

    fn attempts(&mut self, own: &RetrySection, all: &RetrySection) -> NonZeroU32 {
        const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();
        let Some(attempts) = own.attempts.as_ref().or(all.attempts.as_ref()) else {
            return THREE;
        };
        let found = *attempts.get_ref();
        match NonZeroU32::new(found).filter(|found| found.get() <= MOST_ATTEMPTS) {
            Some(attempts) => attempts,
            None => {
                let what = format!(
                    "found {found} attempts, expected 1 (each call is sent once) to {MOST_ATTEMPTS}"
                );
                self.fault(&attempts.span(), what);
                THREE
            }
        }
    }

    fn backoff(&mut self, own: &RetrySection, all: &RetrySection) -> Exponential {
        let default = Exponential::default();
        let base = own.base.as_ref().or(all.base.as_ref());
        let cap = own.cap.as_ref().or(all.cap.as_ref());
        let Some(place) = cap.or(base) else {
            return default;
        };
        let base = base.map_or(default.base(), |time| time.get_ref().0);
        let cap = cap.map_or(default.cap(), |time| time.get_ref().0);
        match Exponential::new(base, cap) {
            Ok(backoff) => backoff,
            Err(error) => {
                self.fault(&place.span(), error.to_string());
                default
            }
        }
    }

    fn budget(&mut self, own: &RetrySection, all: &RetrySection) -> Budget {
        let reserve = own.reserve.or(all.reserve);
        let budget = match own.budget.as_ref().or(all.budget.as_ref()) {
            None => Budget::default(),
            Some(ratio) => match Ratio::try_from(*ratio.get_ref()) {
                Ok(ratio) => Budget::new(ratio),
                Err(error) => {
                    self.fault(&ratio.span(), error.to_string());
                    Budget::default()
                }
            },
        };
        match reserve {
            Some(reserve) => budget.reserve(reserve),
            None => budget,
        }
    }

    /// What an endpoint says of its circuit breaker, over what the file says for all.
    pub(super) fn breaker(
        &mut self,
        own: &BreakerSection,
        all: &BreakerSection,
    ) -> Option<Breaker> {
        let default = Breaker::default();
        let time = |own: &Option<Spanned<Time>>, all: &Option<Spanned<Time>>| {
            let time = own.as_ref().or(all.as_ref());
            time.map(|time| (time.get_ref().0, time.span()))
        };
        let failure_rate = own.failure_rate.as_ref().or(all.failure_rate.as_ref());
        let failure_rate = failure_rate.and_then(|ratio| {
            let read = breaker::Ratio::try_from(*ratio.get_ref());
            self.good(&ratio.span(), read)
        });
        let minimum_calls = own.minimum_calls.as_ref().or(all.minimum_calls.as_ref());
        let minimum_calls = minimum_calls.and_then(|calls| self.some("minimum_calls", calls));
        let probes = own.probes.as_ref().or(all.probes.as_ref());
        let probes = probes.and_then(|probes| self.some("probes", probes));
        let wait = time(&own.wait, &all.wait);
        let longest = time(&own.longest_wait, &all.longest_wait).map(|(time, _)| time);
        let longest = longest.unwrap_or(default.longest_wait);
        if let Some((wait, at)) = &wait
            && *wait > longest
        {
            let what = format!(
                "found a wait of {wait:?}, expected at most longest_wait, which is {longest:?}"
            );
            self.fault(at, what);
        }
        let breaker = Breaker {
            failure_rate: failure_rate.unwrap_or(default.failure_rate),
            window: self
                .window(own)
                .or_else(|| self.window(all))
                .unwrap_or(default.window),
            minimum_calls: minimum_calls.unwrap_or(default.minimum_calls),
            wait: wait.map_or(default.wait, |(wait, _)| wait),
            longest_wait: longest,
            probes: probes.unwrap_or(default.probes),
        };
        own.enabled
            .or(all.enabled)
            .unwrap_or(true)
            .then_some(breaker)
    }

    /// The calls that are looked back at, or the time.
    fn window(&mut self, section: &BreakerSection) -> Option<Window> {
        match (&section.calls, &section.time) {
            (Some(_), Some(time)) => {
                let what = "found `time` beside `calls`, expected one of them".to_owned();
                self.fault(&time.span(), what);
                None
            }
            (Some(calls), None) => self.good(&calls.span(), Window::last_calls(*calls.get_ref())),
            (None, Some(time)) => self.good(&time.span(), Window::last(time.get_ref().0)),
            (None, None) => None,
        }
    }

    /// What was read, or why it is wrong.
    fn good<T, E: Display>(&mut self, at: &Range<usize>, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.fault(at, error.to_string())).ok()
    }

    /// A number that is not 0.
    fn some(&mut self, key: &str, number: &Spanned<u32>) -> Option<NonZeroU32> {
        let some = NonZeroU32::new(*number.get_ref());
        if some.is_none() {
            self.fault(
                &number.span(),
                format!("found {key} of 0, expected at least 1"),
            );
        }
        some
    }

    /// How much may be asked for. What an endpoint's provider admits in a minute is never exceeded in
    /// any minute (`mirrors`); a caller gets a minute's worth at once.
    pub(super) fn limit(&mut self, section: &LimitSection, mirrors: bool) -> Limit {
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(86_400);
        let asked = [
            (&section.requests_per_minute, Unit::Requests, MINUTE),
            (&section.requests_per_day, Unit::Requests, DAY),
            (&section.tokens_per_minute, Unit::Tokens, MINUTE),
            (&section.tokens_per_day, Unit::Tokens, DAY),
            (&section.input_tokens_per_minute, Unit::InputTokens, MINUTE),
            (
                &section.output_tokens_per_minute,
                Unit::OutputTokens,
                MINUTE,
            ),
        ];
        let mut limit = Limit::default();
        for (number, unit, period) in asked {
            let Some(number) = number else { continue };
            let most = *number.get_ref();
            // Half of it at once: what a single call may cost, and what comes back in the minute.
            let rate = match NonZeroU64::new(most) {
                Some(_) if mirrors && period == MINUTE => Rate::mirroring_with(most, most / 2),
                Some(most) => Rate::new(most, period),
                None => Rate::mirroring(0),
            };
            let Some(rate) = self.good(&number.span(), rate) else {
                continue;
            };
            limit.tokens |= unit != Unit::Requests;
            limit.quotas = Some(limit.quotas.unwrap_or(Quotas::none()).and(unit, rate));
        }
        limit.wait = section.wait.as_ref().map(|wait| wait.get_ref().0);
        if let Some(wait) = &section.wait {
            let what = match (&limit.quotas, mirrors) {
                (_, false) => {
                    "found `wait` of a caller, expected it of an endpoint alone: a caller over its limit is refused"
                }
                (None, true) => {
                    "found `wait` and no limit, expected one such as `tokens_per_minute`"
                }
                (Some(_), true) => return limit,
            };
            self.fault(&wait.span(), what.to_owned());
        }
        limit
    }

    /// What an endpoint says of its timeouts, over what the file says for all.
    pub(super) fn timeouts(&mut self, own: &TimeoutsSection, all: &TimeoutsSection) -> Timeouts {
        if let Some(total) = &own.total {
            let what = "found `total` of one endpoint, expected it below `[timeouts]`: it is that of a call, whichever endpoints it goes to";
            self.fault(&total.span(), what.to_owned());
        }
        let default = Timeouts::default();
        Timeouts {
            total: all
                .total
                .as_ref()
                .map_or(default.total, |time| time.get_ref().0),
            attempt: own
                .attempt
                .or(all.attempt)
                .map_or(default.attempt, |time| Some(time.0)),
            first_content: (own.first_content.or(all.first_content))
                .map_or(default.first_content, |time| Some(time.0)),
            idle: own
                .idle
                .or(all.idle)
                .map_or(default.idle, |time| Some(time.0)),
            silence: own
                .silence
                .or(all.silence)
                .map_or(default.silence, |time| Some(time.0)),
        }
    }
}
