use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use crate::{Cause, CircuitEvent, Ratio, Wait, Window};

/// When a circuit opens, how long it waits, and what makes it close again.
///
/// It begins with one condition, and takes on others: the first that holds opens the circuit.
///
/// | | default |
/// |---|---|
/// | conditions | half of the last 100 calls failed |
/// | [`minimum_calls`](Policy::minimum_calls) | 20 |
/// | [`wait`](Policy::wait) | 5 s, doubling up to 60 s, less up to a fifth |
/// | [`probes`](Policy::probes) | 1 |
/// | [`recovery`](Policy::recovery) | all of them |
/// | [`probe_timeout`](Policy::probe_timeout) | 60 s |
/// | [`open_on_throttled`](Policy::open_on_throttled) | no |
/// | [`name`](Policy::name) | none |
/// | [`seed`](Policy::seed) | chance |
/// | [`on_event`](Policy::on_event) | nobody listens |
///
/// A call failed if its class says that the endpoint is in [bad health](buttress_core::Health), and
/// went well if it says the contrary. All others are not counted: whoever is throttled, refused or
/// gone says nothing of the endpoint.
///
/// # Examples
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use buttress_circuit_breaker::{Policy, Ratio, Wait, Window};
///
/// const fn count(count: u32) -> NonZeroU32 {
///     NonZeroU32::new(count).unwrap()
/// }
///
/// let policy = Policy::failure_rate(Ratio::percent::<50>(), Window::secs::<30>())
///     .or_consecutive_failures(const { count(10) })
///     .or_slow_rate(Ratio::percent::<80>(), Duration::from_secs(20), Window::calls::<50>())
///     .minimum_calls(const { count(10) })
///     .wait(Wait::fixed(Duration::from_secs(10)))
///     .probes(const { count(3) });
/// ```
#[derive(Clone)]
#[must_use]
pub struct Policy {
    pub(crate) rules: Rules,
    pub(crate) name: Arc<str>,
    pub(crate) observer: Option<Arc<Observer>>,
}

pub(crate) type Observer = dyn Fn(&CircuitEvent<'_>) + Send + Sync;

/// What the machine goes by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) rates: Vec<Rate>,
    pub(crate) run: Option<NonZeroU32>,
    pub(crate) minimum: NonZeroU32,
    pub(crate) wait: Wait,
    pub(crate) probes: NonZeroU32,
    pub(crate) recovery: Ratio,
    pub(crate) probe_timeout: Duration,
    pub(crate) throttled: Option<Duration>,
    pub(crate) seed: Option<u64>,
}

/// A share of bad calls that opens the circuit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) ratio: Ratio,
    pub(crate) window: Window,
    /// It counts calls that took longer than this, and not those that failed.
    pub(crate) slow: Option<Duration>,
}

// ===== impl Policy =====

impl Policy {
    /// Opens when so large a share of the calls in `window` failed.
    pub fn failure_rate(ratio: Ratio, window: Window) -> Self {
        Self::none().or_failure_rate(ratio, window)
    }

    /// Opens when so many calls failed, one after another.
    pub fn consecutive_failures(calls: NonZeroU32) -> Self {
        Self::none().or_consecutive_failures(calls)
    }

    /// Opens when so large a share of the calls in `window` took longer than `limit`: see
    /// [`or_slow_rate`](Self::or_slow_rate).
    pub fn slow_rate(ratio: Ratio, limit: Duration, window: Window) -> Self {
        Self::none().or_slow_rate(ratio, limit, window)
    }

    /// Opens also when so large a share of the calls in `window` failed.
    pub fn or_failure_rate(mut self, ratio: Ratio, window: Window) -> Self {
        self.rules.rates.push(Rate {
            ratio,
            window,
            slow: None,
        });
        self
    }

    /// Opens also when so many calls failed, one after another. The last one of these conditions is
    /// kept.
    pub fn or_consecutive_failures(mut self, calls: NonZeroU32) -> Self {
        self.rules.run = Some(calls);
        self
    }

    /// Opens also when so large a share of the calls in `window` took longer than `limit`.
    ///
    /// A streamed call took as long as its first content did, and any other as long as it lasted,
    /// from `call` on; failed ones count as well. A probe that was too slow has failed.
    pub fn or_slow_rate(mut self, ratio: Ratio, limit: Duration, window: Window) -> Self {
        self.rules.rates.push(Rate {
            ratio,
            window,
            slow: Some(limit),
        });
        self
    }

    /// A rate says nothing before there are so many calls in its window, or before the window is
    /// full, where it holds fewer. Default: 20.
    ///
    /// Consecutive failures are their own minimum.
    pub fn minimum_calls(mut self, calls: NonZeroU32) -> Self {
        self.rules.minimum = calls;
        self
    }

    /// How long it is open before it probes. Default: [`Wait::default`].
    pub fn wait(mut self, wait: Wait) -> Self {
        self.rules.wait = wait;
        self
    }

    /// How many calls are let through to see whether the endpoint is back. Default: 1.
    ///
    /// No more than these are under way at once, and no more are judged before it is decided. (For
    /// streams that go on for long see [`probe_timeout`](Self::probe_timeout).)
    pub fn probes(mut self, probes: NonZeroU32) -> Self {
        self.rules.probes = probes;
        self
    }

    /// How large a share of the probes has to go well. Default: all of them.
    ///
    /// It is decided as soon as the probes that are still under way cannot change it.
    pub fn recovery(mut self, share: Ratio) -> Self {
        self.rules.recovery = share;
        self
    }

    /// How long a probe may take. Default: 60 s. With zero, every call is let through while the circuit
    /// is half-open.
    ///
    /// Probes of which nothing was heard for so long are lost: as many new ones are let through, and the
    /// old ones do not count any more. It is for probes that vanish. One that is dropped frees its place
    /// at once, and one that hangs should be ended by a timeout inside, and be a failure.
    ///
    /// A stream that has gone on for so long, and goes on, gives its place to another call. It counts
    /// still when it ends, if nothing was decided until then: shorter calls may close the circuit
    /// meanwhile, and where all are long, the first that ends does. So besides the
    /// [`probes`](Self::probes) only streams are under way that an endpoint delivers, and in each such time
    /// no more of them are added than there are probes.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.rules.probe_timeout = timeout;
        self
    }

    /// Opens when the endpoint says itself for how long to leave it alone, with a
    /// [`Throttled`](buttress_core::Class::Throttled) and a hint: until then, and `cap` at most.
    /// Default: it does not.
    ///
    /// It then goes on as before, with all that it had counted. Without a hint, nothing happens.
    pub fn open_on_throttled(mut self, cap: Duration) -> Self {
        self.rules.throttled = Some(cap);
        self
    }

    /// A name for its events: of the endpoint. Default: none.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Draws jitter from this seed. Default: another one for each circuit.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rules.seed = Some(seed);
        self
    }

    /// Calls `observer` with every [`CircuitEvent`], in the task or thread that brought it about,
    /// once nothing is locked. A second observer takes the place of the first. Default: none.
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&CircuitEvent<'_>) + Send + Sync + 'static,
    {
        self.observer = Some(Arc::new(observer));
        self
    }

    fn none() -> Self {
        const TWENTY: NonZeroU32 = NonZeroU32::new(20).unwrap();
        Self {
            rules: Rules {
                rates: Vec::new(),
                run: None,
                minimum: TWENTY,
                wait: Wait::default(),
                probes: NonZeroU32::MIN,
                recovery: Ratio::percent::<100>(),
                probe_timeout: Duration::from_secs(60),
                throttled: None,
                seed: None,
            },
            name: "".into(),
            observer: None,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::failure_rate(Ratio::percent::<50>(), Window::calls::<100>())
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

// ===== impl Rules =====

impl Rules {
    /// Whether anything wants to know how long calls take.
    pub(crate) fn times(&self) -> bool {
        self.rates.iter().any(|rate| rate.slow.is_some())
    }

    /// How many probes have to go well.
    pub(crate) fn needed(&self) -> u32 {
        let probes = u64::from(self.probes.get());
        let part = probes * u64::from(self.recovery.part());
        // No more than there are probes: a ratio is at most 1.
        part.div_ceil(u64::from(self.recovery.whole())) as u32
    }
}

// ===== impl Rate =====

impl Rate {
    pub(crate) const fn cause(&self) -> Cause {
        match self.slow {
            Some(_) => Cause::SlowRate,
            None => Cause::FailureRate,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::Policy;
    use crate::Ratio;

    #[test]
    fn so_many_probes_are_needed_as_make_up_the_share() {
        for (probes, percent, needed) in [(1, 1, 1), (3, 100, 3), (3, 50, 2), (10, 70, 7)] {
            let policy = Policy::default()
                .probes(NonZeroU32::new(probes).unwrap())
                .recovery(Ratio::new(percent, 100).unwrap());
            assert_eq!(policy.rules.needed(), needed, "{probes} {percent}");
        }
        let all = Policy::default().probes(NonZeroU32::MAX);
        assert_eq!(all.rules.needed(), u32::MAX);
    }
}
