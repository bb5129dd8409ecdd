use std::{
    fmt,
    future::{Ready, ready},
    hash::Hash,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use buttress_core::Limits;
use tokio::time::Instant;

use crate::{
    Algorithm, Cost, Gcra, Limited, Quotas, Rate, Store, Unit,
    quotas::Plan,
    state::{Denial, State, Taken},
    table::Table,
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
///
/// # Keys
///
/// A key is whatever partitions the quotas: a tenant, an API key, a model, an address; `()` where
/// all calls share them. A key is made when it is first used, and forgotten only when room is
/// needed and all of its quotas are full again, no provider holds it back and no call of it is
/// under way: to forget it then changes nothing. Where no key can be forgotten, new ones are
/// limited by [`LimitedBy::Keys`](crate::LimitedBy::Keys) until one can.
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
    shared: Arc<Shared<K, A>>,
}

/// What a call took from a [`Limiter`], for its layer.
pub struct Hold<K, A: Algorithm = Gcra> {
    taken: Taken,
    /// `None`: of the only one.
    state: Option<Arc<State<K, A>>>,
}

/// What [`Limiter::reserve`] took. Dropped, it goes back, as far as it has not become free by
/// itself.
#[must_use = "dropped, it goes back"]
pub struct Reservation<K = (), A: Algorithm = Gcra> {
    limiter: Limiter<K, A>,
    cost: Cost,
    hold: Option<Hold<K, A>>,
}

/// How one quota of a key stands.
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Limiter, Quota, Quotas, Unit};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let minute = Quota::per_minute(NonZeroU32::new(60).unwrap());
/// let limiter = Limiter::new(Quotas::requests(minute));
/// let standing = &limiter.standing(&())[0];
/// assert_eq!((standing.unit, standing.remaining), (Unit::Requests, 60));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What it counts.
    pub unit: Unit,
    /// The quota.
    pub rate: Rate,
    /// How many units would be admitted now. None while the key is paused.
    pub remaining: u64,
    /// From now, when it is full again if nothing more is taken.
    pub full_in: Duration,
}

struct Shared<K, A: Algorithm> {
    settings: Settings<K>,
    base: Instant,
    plans: Mutex<Plans>,
    /// Held while the quotas of everybody change, so that no key misses one.
    changing: Mutex<()>,
    keys: Keys<K, A>,
}

struct Settings<K> {
    max_keys: usize,
    longest_hold: Duration,
    quotas_for: Option<Arc<QuotasFor<K>>>,
    quotas: Quotas,
    /// The key, where there is but one.
    only: Option<K>,
}

type QuotasFor<K> = dyn Fn(&K) -> Option<Quotas> + Send + Sync;

enum Keys<K, A: Algorithm> {
    One(Box<One<K, A>>),
    Many(Table<K, A>),
}

struct One<K, A: Algorithm> {
    first: State<K, A>,
    /// What has taken its place, once its quotas were changed.
    latest: RwLock<Option<Arc<State<K, A>>>>,
}

/// The plans that are in use, so that keys of the same quotas share one.
struct Plans {
    default: Arc<Plan>,
    others: Vec<Arc<Plan>>,
}

/// So many different quotas are shared by keys that have the same; more are kept by each key.
const SHARED_PLANS: usize = 64;

/// So many nanoseconds later, a clock that was read is read again before a refusal.
const HELD_UP: u64 = 1_000;

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

    /// Whether a call of this cost would be admitted now. Takes nothing.
    ///
    /// # Errors
    ///
    /// [`Limited`], with when to come back.
    pub fn check(&self, key: &K, cost: Cost) -> Result<(), Limited> {
        self.peek_now(key, cost, Cost::NONE)
    }

    /// Takes the cost for work that is not a call of the layer, until it is settled.
    ///
    /// # Errors
    ///
    /// [`Limited`], with when to come back.
    pub fn reserve(&self, key: &K, cost: Cost) -> Result<Reservation<K, A>, Limited> {
        let hold = self.try_take(key, cost)?;
        Ok(Reservation {
            limiter: self.clone(),
            cost,
            hold: Some(hold),
        })
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
            Found::None => standing(&State::new(key.clone(), self.shared.plan(key))),
        }
    }

    /// Admits nothing more of this key for so long, at most [`longest_hold`](Self::longest_hold).
    /// The layer does so by itself when a call was throttled with a hint.
    pub fn pause(&self, key: &K, time: Duration) {
        let (now, time) = (self.shared.now(), self.shared.hold(time));
        self.with(key, |state| state.pause(now, time));
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
        self.with(key, |state| state.tighten(now, limits, longest));
    }

    /// Changes the quotas of all keys that have those of everybody, from now on. What was consumed
    /// stays: so many units used of the old quota are used of the new. What calls reserved that are
    /// under way then is charged, and only what they use beyond it still counts.
    pub fn set_quotas(&self, quotas: Quotas) {
        let plan = Arc::new(Plan::new(quotas));
        let _changing = self.shared.changing();
        let old = {
            let mut plans = self.shared.plans();
            std::mem::replace(&mut plans.default, Arc::clone(&plan))
        };
        match &self.shared.keys {
            Keys::One(one) => one.change(&plan, self.shared.now()),
            Keys::Many(table) => {
                for state in table.all() {
                    if Arc::ptr_eq(state.plan(), &old) {
                        self.change(table, &state, &plan);
                    }
                }
            }
        }
    }

    /// Changes the quotas of one key, as [`set_quotas`](Self::set_quotas) does. Where the key may
    /// be forgotten, [`quotas_for`](Self::quotas_for) has to know them too.
    ///
    /// # Errors
    ///
    /// [`Limited`], where there is no room for the key.
    pub fn set_quotas_of(&self, key: &K, quotas: Quotas) -> Result<(), Limited> {
        let plan = self.shared.shared_plan(quotas);
        match &self.shared.keys {
            Keys::One(one) => one.change(&plan, self.shared.now()),
            Keys::Many(table) => {
                let now = self.shared.now();
                let state = table.get(key, now, |_| Arc::clone(&plan))?;
                if !Arc::ptr_eq(state.plan(), &plan) {
                    self.change(table, &state, &plan);
                }
            }
        }
        Ok(())
    }

    /// How many keys are kept now.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &self.shared.keys {
            Keys::One(_) => 1,
            Keys::Many(table) => table.len(),
        }
    }

    /// The same quotas and settings, for another kind of key.
    pub(crate) fn rekeyed<L: Key>(&self) -> Limiter<L, A> {
        let settings = &self.shared.settings;
        Limiter::build(Settings {
            max_keys: settings.max_keys,
            longest_hold: settings.longest_hold,
            quotas_for: None,
            quotas: settings.quotas.clone(),
            only: None,
        })
    }

    fn build(settings: Settings<K>) -> Self {
        let default = Arc::new(Plan::new(settings.quotas.clone()));
        let keys = match &settings.only {
            Some(key) => Keys::One(Box::new(One {
                first: State::new(key.clone(), Arc::clone(&default)),
                latest: RwLock::new(None),
            })),
            None => Keys::Many(Table::new(settings.max_keys)),
        };
        Self {
            shared: Arc::new(Shared {
                keys,
                settings,
                changing: Mutex::new(()),
                base: Instant::now(),
                plans: Mutex::new(Plans {
                    default,
                    others: Vec::new(),
                }),
            }),
        }
    }

    #[inline]
    fn try_take(&self, key: &K, cost: Cost) -> Result<Hold<K, A>, Limited> {
        let shared = &*self.shared;
        let now = shared.now();
        let hold = |taken, state| Hold { taken, state };
        if let Keys::One(one) = &shared.keys
            && let Some(taken) = one.first.take_one(now, &cost)
        {
            return Ok(hold(taken, None));
        }
        let answer = self.try_take_any(key, cost, now);
        if let Err(limited) = &answer
            && limited.wait().is_some()
        {
            // A thread that was held up after it had read the clock is not refused for that.
            let again = shared.now();
            if again - now.min(again) > HELD_UP {
                return self.try_take_any(key, cost, again);
            }
        }
        answer
    }

    fn try_take_any(&self, key: &K, cost: Cost, now: u64) -> Result<Hold<K, A>, Limited> {
        let shared = &*self.shared;
        let hold = |taken, state| Hold { taken, state };
        let mut state = match &shared.keys {
            Keys::One(one) => match one.first.take(now, cost, &|| shared.now()) {
                Ok(taken) => return Ok(hold(taken, None)),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => one.latest(),
            },
            Keys::Many(table) => self.state(table, key, now)?,
        };
        loop {
            match state.take(now, cost, &|| shared.now()) {
                Ok(taken) => return Ok(hold(taken, Some(state))),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => state = state.latest(),
            }
        }
    }

    fn peek_now(&self, key: &K, cost: Cost, ahead: Cost) -> Result<(), Limited> {
        let shared = &*self.shared;
        let now = shared.now();
        let mut state = match shared.find(key) {
            Found::First(first) => match first.peek(now, &cost, ahead) {
                Ok(()) => return Ok(()),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => first.latest(),
            },
            Found::Other(state) => state,
            Found::None => Arc::new(State::new(key.clone(), shared.plan(key))),
        };
        loop {
            match state.peek(now, &cost, ahead) {
                Ok(()) => return Ok(()),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => state = state.latest(),
            }
        }
    }

    /// Does something with the state of a key, which is made if there is room.
    fn with(&self, key: &K, f: impl FnOnce(&State<K, A>)) {
        let shared = &*self.shared;
        match &shared.keys {
            Keys::One(one) => f(&one.first),
            Keys::Many(table) => {
                if let Ok(state) = self.state(table, key, shared.now()) {
                    f(&state);
                }
            }
        }
    }

    /// Finds the state of a key, or makes it.
    fn state(&self, table: &Table<K, A>, key: &K, now: u64) -> Result<Arc<State<K, A>>, Limited> {
        let shared = &*self.shared;
        let mut everybodys = None;
        let state = table.get(key, now, |key| {
            let of_its_own = shared.plan_of_its_own(key);
            of_its_own.unwrap_or_else(|| {
                let plan = Arc::clone(&shared.plans().default);
                everybodys = Some(Arc::clone(&plan));
                plan
            })
        })?;
        if everybodys.is_some_and(|plan| Arc::ptr_eq(state.plan(), &plan)) {
            self.catch_up(table, &state);
        }
        Ok(state)
    }

    /// The quotas of everybody may have changed after they were asked for, and before the state
    /// that has them was there to be changed.
    #[cold]
    fn catch_up(&self, table: &Table<K, A>, state: &Arc<State<K, A>>) {
        let latest = |plans: &Plans| Arc::ptr_eq(state.plan(), &plans.default);
        if latest(&self.shared.plans()) {
            return;
        }
        let _changing = self.shared.changing();
        let default = Arc::clone(&self.shared.plans().default);
        self.change(table, state, &default);
    }

    fn change(&self, table: &Table<K, A>, state: &Arc<State<K, A>>, plan: &Arc<Plan>) {
        if let Some(new) = state.replace(Arc::clone(plan), self.shared.now()) {
            table.replace(state, new);
        }
    }
}

impl<K, A: Algorithm> Limiter<K, A> {
    /// What of a key a call holds.
    fn held<'a>(&'a self, hold: &'a Hold<K, A>) -> &'a State<K, A> {
        match (&hold.state, &self.shared.keys) {
            (Some(state), _) => state,
            (None, Keys::One(one)) => &one.first,
            // Only the one state is held without being named.
            (None, Keys::Many(_)) => unreachable!("a hold of another limiter"),
        }
    }
}

impl<K: Key, A: Algorithm> Store<K> for Limiter<K, A> {
    type Hold = Hold<K, A>;
    type Take = Ready<Result<Hold<K, A>, Limited>>;
    type Peek = Ready<Result<(), Limited>>;

    fn take_now(&self, key: &K, cost: Cost) -> Option<Result<Hold<K, A>, Limited>> {
        Some(self.try_take(key, cost))
    }

    fn take(&self, key: &K, cost: Cost) -> Self::Take {
        ready(self.try_take(key, cost))
    }

    fn peek(&self, key: &K, cost: Cost, ahead: Cost) -> Self::Peek {
        ready(self.peek_now(key, cost, ahead))
    }

    fn key<'a>(&'a self, hold: &'a Hold<K, A>) -> &'a K {
        &self.held(hold).key
    }

    fn settle(&self, hold: &Hold<K, A>, reserved: Cost, used: Cost) -> bool {
        let clock = || self.shared.now();
        self.held(hold)
            .settle(&hold.taken, &reserved, &used, &clock)
    }

    fn pause(&self, hold: &Hold<K, A>, time: Duration) {
        let (now, time) = (self.shared.now(), self.shared.hold(time));
        self.held(hold).pause(now, time);
    }

    fn tighten(&self, hold: &Hold<K, A>, limits: &Limits) {
        let now = self.shared.now();
        let longest = self.shared.hold(Duration::MAX);
        self.held(hold).tighten(now, limits, longest);
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
            .finish_non_exhaustive()
    }
}

// ===== impl Hold =====

impl<K, A: Algorithm> fmt::Debug for Hold<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

// ===== impl Reservation =====

impl<K: Key, A: Algorithm> Reservation<K, A> {
    /// What was taken.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Charges what was taken.
    pub fn keep(self) {
        let cost = self.cost();
        self.settle(cost);
    }

    /// Settles it to what was used: what was not goes back, what is more becomes a debt.
    pub fn settle(mut self, used: Cost) {
        self.end(used);
    }
}

impl<K, A: Algorithm> Reservation<K, A> {
    fn end(&mut self, used: Cost) {
        if let Some(hold) = self.hold.take() {
            let shared = &self.limiter.shared;
            let held = self.limiter.held(&hold);
            held.settle(&hold.taken, &self.cost, &used, &|| shared.now());
        }
    }
}

impl<K, A: Algorithm> Drop for Reservation<K, A> {
    fn drop(&mut self) {
        self.end(Cost::NONE);
    }
}

impl<K, A: Algorithm> fmt::Debug for Reservation<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

// ===== impl Shared =====

/// Where the state of a key is.
enum Found<'a, K, A: Algorithm> {
    First(&'a State<K, A>),
    Other(Arc<State<K, A>>),
    None,
}

impl<K, A: Algorithm> Shared<K, A> {
    /// Nanoseconds since the beginning; a clock that goes back stands still.
    #[inline]
    fn now(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.base);
        since.as_nanos() as u64
    }

    fn hold(&self, time: Duration) -> u64 {
        let time = time.min(self.settings.longest_hold).as_nanos();
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    fn plans(&self) -> std::sync::MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plan of these quotas, the one that other keys have if there is one.
    fn shared_plan(&self, quotas: Quotas) -> Arc<Plan> {
        let mut plans = self.plans();
        let known = plans.others.iter().find(|plan| plan.source == quotas);
        if let Some(plan) = known {
            return Arc::clone(plan);
        }
        let plan = Arc::new(Plan::new(quotas));
        if plans.others.len() == SHARED_PLANS {
            plans.others.retain(|plan| Arc::strong_count(plan) > 1);
        }
        if plans.others.len() < SHARED_PLANS {
            plans.others.push(Arc::clone(&plan));
        }
        plan
    }
}

impl<K: Key, A: Algorithm> Shared<K, A> {
    fn plan(&self, key: &K) -> Arc<Plan> {
        let plan = self.plan_of_its_own(key);
        plan.unwrap_or_else(|| Arc::clone(&self.plans().default))
    }

    fn plan_of_its_own(&self, key: &K) -> Option<Arc<Plan>> {
        let quotas = self.settings.quotas_for.as_ref()?(key)?;
        Some(self.shared_plan(quotas))
    }

    fn find(&self, key: &K) -> Found<'_, K, A> {
        match &self.keys {
            Keys::One(one) => match one.changed() {
                Some(latest) => Found::Other(latest),
                None => Found::First(&one.first),
            },
            Keys::Many(table) => table.find(key).map_or(Found::None, Found::Other),
        }
    }
}

// ===== impl One =====

impl<K: Key, A: Algorithm> One<K, A> {
    fn changed(&self) -> Option<Arc<State<K, A>>> {
        let latest = self.latest.read();
        latest.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn latest(&self) -> Arc<State<K, A>> {
        // A change that is under way has closed the cells, and not yet come here.
        self.changed().unwrap_or_else(|| self.first.latest())
    }

    fn change(&self, plan: &Arc<Plan>, now: u64) {
        let latest = self.latest.write();
        let mut latest = latest.unwrap_or_else(PoisonError::into_inner);
        let new = match &*latest {
            Some(state) => state.replace(Arc::clone(plan), now),
            None => self.first.replace(Arc::clone(plan), now),
        };
        if let Some(new) = new {
            self.first.follow(&new);
            *latest = Some(new);
        }
    }
}

// ===== impl Settings =====

impl<K> Settings<K> {
    const fn new(quotas: Quotas, only: Option<K>) -> Self {
        Self {
            max_keys: 100_000,
            longest_hold: Duration::from_secs(5 * 60),
            quotas_for: None,
            quotas,
            only,
        }
    }
}

impl<K: Clone> Clone for Settings<K> {
    fn clone(&self) -> Self {
        Self {
            max_keys: self.max_keys,
            longest_hold: self.longest_hold,
            quotas_for: self.quotas_for.clone(),
            quotas: self.quotas.clone(),
            only: self.only.clone(),
        }
    }
}
