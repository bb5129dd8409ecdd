use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use buttress_core::Limits;

use crate::{
    Algorithm, Cost, Gcra, Hold, Limited, Quotas, Reservation, Standing, Store, Unit, Waiters,
    shared::{Found, Settings, Shared},
    state::State,
};

/// Levels of quotas, by key, in this process; and the handle to them.
///
/// A [`RateLimitLayer`](crate::RateLimitLayer) takes one, or makes one of [`Quotas`]. Clones share
/// the levels, so that layers can share one limiter, and whatever else wants to know: admission,
/// metrics, a batch job that reserves before it calls.
///
/// | | default |
/// |---|---|
/// | [`max_keys`](Limiter::max_keys) | 100 000 |
/// | [`quotas_for`](Limiter::quotas_for) | the same quotas for all keys |
/// | [`longest_hold`](Limiter::longest_hold) | 5 minutes |
/// | [`longest_debt`](Limiter::longest_debt) | an hour |
///
/// # Keys
///
/// A key is whatever partitions the quotas: a tenant, an API key, a model, an address; `()` where
/// all calls share them. A key is made when it is first used, and forgotten only when room is
/// needed and all of its quotas are full again, no provider holds it back and no call of it is
/// under way: to forget it then changes nothing. Where no key can be forgotten, new ones are
/// limited by [`LimitedBy::Keys`](crate::LimitedBy::Keys) until one can.
///
/// # Time
///
/// It counts from when it is made, for 2⁵⁸ ns: nine years. Then time stands still for it, and nothing
/// comes back any more.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Cost, Limiter, Quota, Quotas, Unit};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let minute = Quota::per_minute(NonZeroU32::new(1_000).unwrap());
/// let limiter = Limiter::keyed(Quotas::tokens(minute));
///
/// // Room for a batch, which used less in the end.
/// let reservation = limiter.reserve(&"tenant", Cost::tokens(300, 200)).unwrap();
/// assert_eq!(limiter.remaining(&"tenant", Unit::Tokens), Some(500));
/// reservation.settle(Cost::tokens(300, 50));
/// assert_eq!(limiter.remaining(&"tenant", Unit::Tokens), Some(650));
/// assert!(limiter.check(&"tenant", Cost::tokens(700, 0)).is_err());
/// # }
/// ```
pub struct Limiter<K = (), A: Algorithm = Gcra> {
    pub(crate) shared: Arc<Shared<K, A>>,
}

/// What a key has to be: anything that can be hashed, compared and kept.
///
/// Implemented by all such types. One that allocates when it is cloned, such as a `String`, does so
/// when the key is first seen; `Arc<str>` or a number does not.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

// ===== impl Limiter =====

impl Limiter {
    /// The same levels for all calls.
    #[must_use]
    pub fn new(quotas: Quotas) -> Self {
        Self::build(Settings::new(quotas, Some(())))
    }
}

impl<K: Key> Limiter<K> {
    /// Levels for each key.
    #[must_use]
    pub fn keyed(quotas: Quotas) -> Self {
        Self::build(Settings::new(quotas, None))
    }
}

impl<K: Key, A: Algorithm> Limiter<K, A> {
    /// Counts by another [`Algorithm`]. Default: [`Gcra`].
    ///
    /// This and the other settings make a limiter of which nothing is used; clones that were made
    /// before stay what they were.
    #[must_use]
    pub fn counting<B: Algorithm>(self) -> Limiter<K, B> {
        Limiter::build(self.shared.settings.clone())
    }

    /// How many keys there are at most, to the nearest multiple below of a power of two up to 64.
    /// Default: 100 000. A key of two quotas takes about 150 bytes and what the key itself points
    /// to.
    #[must_use]
    pub fn max_keys(self, keys: NonZeroUsize) -> Self {
        let mut settings = self.shared.settings.clone();
        settings.max_keys = keys.get();
        Self::build(settings)
    }

    /// Asks for the quotas of a key when it is first seen, or seen again after it was forgotten.
    /// `None`: those of everybody. Default: those of everybody.
    ///
    /// To change them later: [`set_quotas_of`](Self::set_quotas_of).
    #[must_use]
    pub fn quotas_for<F>(self, quotas: F) -> Self
    where
        F: Fn(&K) -> Option<Quotas> + Send + Sync + 'static,
    {
        let mut settings = self.shared.settings.clone();
        settings.quotas_for = Some(Arc::new(quotas));
        Self::build(settings)
    }

    /// For how long a provider can hold a key back: the longest pause, and the longest reset that is
    /// believed. Default: 5 minutes. With zero, providers are not listened to.
    #[must_use]
    pub fn longest_hold(self, time: Duration) -> Self {
        let mut settings = self.shared.settings.clone();
        settings.longest_hold = time;
        Self::build(settings)
    }

    /// For how long the debt of one call can hold a key back, or for as long as a whole burst takes
    /// to come back, if that is longer. Default: an hour.
    ///
    /// What a call is said to have used is charged exactly, also where it is more than the burst, and
    /// later calls wait until it is paid. But what is said can be wrong: a provider that counts to
    /// 2⁶⁴ would close the key for all time. What is beyond this is taken as such an error, and is
    /// not charged. [`Settled`](crate::RateLimitEvent::Settled) tells what was said.
    #[must_use]
    pub fn longest_debt(self, time: Duration) -> Self {
        let mut settings = self.shared.settings.clone();
        settings.longest_debt = time;
        Self::build(settings)
    }

    /// Whether a call of this cost would be admitted now. Takes nothing.
    ///
    /// # Errors
    ///
    /// [`Limited`], with when to come back.
    pub fn check(&self, key: &K, cost: Cost) -> Result<(), Limited> {
        self.shared.peek(key, &cost, Cost::NONE)
    }

    /// Takes the cost for work that is not a call of the layer, until it is settled. It takes what is
    /// there, also where calls wait.
    ///
    /// # Errors
    ///
    /// [`Limited`], with when to come back.
    pub fn reserve(&self, key: &K, cost: Cost) -> Result<Reservation<K, A>, Limited> {
        let hold = self.shared.take(key, &cost)?;
        Ok(Reservation::new(self.clone(), cost, hold))
    }

    /// How many of a unit would be admitted now: of several quotas of it, what the least allows.
    /// `None`: there is no such quota.
    #[must_use]
    pub fn remaining(&self, key: &K, unit: Unit) -> Option<u64> {
        let standing = self.standing(key);
        let of = standing.iter().filter(|standing| standing.unit == unit);
        of.map(|standing| standing.remaining).min()
    }

    /// How the quotas of a key stand, in their order. A key that is not known is not made.
    #[must_use]
    pub fn standing(&self, key: &K) -> Vec<Standing> {
        let now = self.shared.now();
        let standing = |state: &State<K, A>| {
            let all = state.standing(now).into_iter().zip(&state.plan().quotas);
            all.map(|((unit, remaining, full_in), (_, ticks))| Standing {
                unit,
                rate: *ticks.rate(),
                remaining,
                full_in: Duration::from_nanos(full_in),
            })
            .collect()
        };
        match self.shared.find(key) {
            Found::First(state) => standing(state),
            Found::Other(state) => standing(&state),
            Found::None => standing(&self.shared.unused(key)),
        }
    }

    /// Admits nothing more of this key for so long, at most [`longest_hold`](Self::longest_hold).
    /// The layer does so by itself when a call was throttled with a hint. Where there is no room for
    /// the key, nothing is kept of it.
    pub fn pause(&self, key: &K, time: Duration) {
        let (now, time) = (self.shared.now(), self.shared.hold(time));
        self.shared.with(key, |state| state.pause(now, time));
    }

    /// Ends a pause of this key now. What its quotas and its provider say still holds. A key that is
    /// not known is not made.
    pub fn resume(&self, key: &K) {
        match self.shared.find(key) {
            Found::First(state) => state.resume(),
            Found::Other(state) => state.resume(),
            Found::None => return,
        }
        self.shared.waiters.call(key);
    }

    /// Keeps this key to what a provider says remains: tighter than its quotas, never looser, for
    /// each unit of which there is a quota, until the reset that the provider gave, at most
    /// [`longest_hold`](Self::longest_hold). A reset that has passed says nothing.
    ///
    /// Where the provider says of how much, as much more is admitted as comes back evenly until the
    /// reset; where it does not, no more than remains.
    pub fn tighten(&self, key: &K, limits: &Limits) {
        let now = self.shared.now();
        let longest = self.shared.hold(Duration::MAX);
        self.shared
            .with(key, |state| state.tighten(now, limits, longest));
    }

    /// Changes the quotas of all keys that have those of everybody, from now on. What was consumed
    /// stays: so many units used of the old quota are used of the new. What calls reserved that are
    /// under way then is charged, and only what they use beyond it still counts.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.shared.set_quotas(quotas);
        self.shared.waiters.call_all();
    }

    /// Changes the quotas of one key, as [`set_quotas`](Self::set_quotas) does. Where the key may
    /// be forgotten, [`quotas_for`](Self::quotas_for) has to know them too.
    ///
    /// # Errors
    ///
    /// [`Limited`], where there is no room for the key.
    pub fn set_quotas_of(&self, key: &K, quotas: Quotas) -> Result<(), Limited> {
        self.shared.set_quotas_of(key, quotas)?;
        self.shared.waiters.call(key);
        Ok(())
    }

    /// How many keys are kept now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.keys()
    }

    /// The same quotas and settings, for another kind of key.
    pub(crate) fn rekeyed<L: Key>(&self) -> Limiter<L, A> {
        let settings = &self.shared.settings;
        Limiter::build(Settings {
            max_keys: settings.max_keys,
            longest_hold: settings.longest_hold,
            longest_debt: settings.longest_debt,
            quotas_for: None,
            quotas: settings.quotas.clone(),
            only: None,
        })
    }

    fn build(settings: Settings<K>) -> Self {
        Self {
            shared: Arc::new(Shared::new(settings)),
        }
    }
}

impl<K: Key, A: Algorithm> Store<K> for Limiter<K, A> {
    type Hold = Hold<K, A>;
    type Take = Ready<Result<Hold<K, A>, Limited>>;
    type Peek = Ready<Result<(), Limited>>;

    #[inline(always)]
    fn try_take(&self, key: &K, cost: &Cost) -> Option<Hold<K, A>> {
        self.shared.try_take(key, cost)
    }

    fn take_now(&self, key: &K, cost: Cost) -> Option<Result<Hold<K, A>, Limited>> {
        Some(self.shared.take(key, &cost))
    }

    fn take(&self, key: &K, cost: Cost) -> Self::Take {
        ready(self.shared.take(key, &cost))
    }

    fn peek(&self, key: &K, cost: Cost, ahead: Cost) -> Self::Peek {
        ready(self.shared.peek(key, &cost, ahead))
    }

    fn key<'a>(&'a self, hold: &'a Hold<K, A>) -> &'a K {
        &self.shared.held(hold).key
    }

    fn settle(&self, hold: &Hold<K, A>, reserved: Cost, used: Cost) -> bool {
        self.shared.settle(hold, &reserved, &used)
    }

    fn pause(&self, hold: &Hold<K, A>, time: Duration) {
        let (now, time) = (self.shared.now(), self.shared.hold(time));
        self.shared.held(hold).pause(now, time);
    }

    fn tighten(&self, hold: &Hold<K, A>, limits: &Limits) {
        let now = self.shared.now();
        let longest = self.shared.hold(Duration::MAX);
        self.shared.held(hold).tighten(now, limits, longest);
    }

    fn waiters(&self) -> Waiters<K> {
        self.shared.waiters.clone()
    }
}

impl From<Quotas> for Limiter {
    fn from(quotas: Quotas) -> Self {
        Self::new(quotas)
    }
}

impl<K, A: Algorithm> Clone for Limiter<K, A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K, A: Algorithm> fmt::Debug for Limiter<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("Limiter")
            .field("quotas", &settings.quotas)
            .field("max_keys", &settings.max_keys)
            .field("longest_hold", &settings.longest_hold)
            .field("longest_debt", &settings.longest_debt)
            .finish_non_exhaustive()
    }
}
