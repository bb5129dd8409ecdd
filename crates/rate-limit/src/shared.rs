//! What the clones of a limiter share: its settings, who waits, and where the state of each key is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Cost, Hold, Key, Limited, Quotas, Waiters,
    algorithm::Algorithm,
    plans::Plans,
    quotas::Plan,
    state::{Denial, State},
    table::Table,
};

pub(crate) struct Shared<K, A: Algorithm> {
    pub(crate) settings: Settings<K>,
    pub(crate) waiters: Waiters<K>,
    base: Instant,
    plans: Plans,
    /// Held while the quotas of everybody change, so that no key misses one.
    changing: Mutex<()>,
    keys: Keys<K, A>,
}

pub(crate) struct Settings<K> {
    pub(crate) max_keys: usize,
    pub(crate) longest_hold: Duration,
    pub(crate) longest_debt: Duration,
    pub(crate) quotas_for: Option<Arc<QuotasFor<K>>>,
    pub(crate) quotas: Quotas,
    /// The key, where there is but one.
    pub(crate) only: Option<K>,
}

pub(crate) type QuotasFor<K> = dyn Fn(&K) -> Option<Quotas> + Send + Sync;

/// Where the state of a key is.
pub(crate) enum Found<'a, K, A: Algorithm> {
    First(&'a State<K, A>),
    Other(Arc<State<K, A>>),
    None,
}

enum Keys<K, A: Algorithm> {
    One(One<K, A>),
    Many(Table<K, A>),
}

struct One<K, A: Algorithm> {
    first: State<K, A>,
    /// What has taken its place, once its quotas were changed.
    latest: RwLock<Option<Arc<State<K, A>>>>,
}

// ===== impl Shared =====

impl<K: Key, A: Algorithm> Shared<K, A> {
    pub(crate) fn new(settings: Settings<K>) -> Self {
        let plans = Plans::new(settings.quotas.clone());
        let keys = match &settings.only {
            Some(key) => Keys::One(One {
                first: State::new(key.clone(), plans.default()),
                latest: RwLock::new(None),
            }),
            None => Keys::Many(Table::new(settings.max_keys)),
        };
        Self {
            settings,
            waiters: Waiters::default(),
            base: Instant::now(),
            plans,
            changing: Mutex::new(()),
            keys,
        }
    }

    /// Takes from all quotas of the key, if nothing is in the way. `None`: nothing was taken.
    #[inline(always)]
    pub(crate) fn try_take(&self, key: &K, cost: &Cost) -> Option<Hold<K, A>> {
        let clock = || self.now();
        match &self.keys {
            Keys::One(one) => {
                let taken = one.first.try_take(cost, clock)?;
                Some(Hold { taken, state: None })
            }
            Keys::Many(table) => {
                let state = table.find(key)?;
                let taken = state.try_take(cost, clock)?;
                let state = Some(state);
                Some(Hold { taken, state })
            }
        }
    }

    /// Takes from all quotas of the key, or from none.
    ///
    /// After [`try_take`](Self::try_take), it reads the clock again: a thread that was held up after
    /// it had read it is not refused for that.
    #[cold]
    pub(crate) fn take(&self, key: &K, cost: &Cost) -> Result<Hold<K, A>, Limited> {
        let (now, clock) = (self.now(), || self.now());
        let mut state = match &self.keys {
            Keys::One(one) => match one.first.take(now, cost, &clock) {
                Ok(taken) => return Ok(Hold { taken, state: None }),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => one.latest(),
            },
            Keys::Many(table) => self.state(table, key, now)?,
        };
        loop {
            match state.take(now, cost, &clock) {
                Ok(taken) => {
                    let state = Some(state);
                    return Ok(Hold { taken, state });
                }
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => state = state.latest(),
            }
        }
    }

    /// Whether the cost would be taken, after so much else.
    pub(crate) fn peek(&self, key: &K, cost: &Cost, ahead: Cost) -> Result<(), Limited> {
        let now = self.now();
        let mut state = match self.find(key) {
            Found::First(first) => match first.peek(now, cost, ahead) {
                Ok(()) => return Ok(()),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => first.latest(),
            },
            Found::Other(state) => state,
            Found::None => self.unused(key),
        };
        loop {
            match state.peek(now, cost, ahead) {
                Ok(()) => return Ok(()),
                Err(Denial::Limited(limited)) => return Err(limited),
                Err(Denial::Closed) => state = state.latest(),
            }
        }
    }

    pub(crate) fn find(&self, key: &K) -> Found<'_, K, A> {
        match &self.keys {
            Keys::One(one) => match one.changed() {
                Some(latest) => Found::Other(latest),
                None => Found::First(&one.first),
            },
            Keys::Many(table) => table.find(key).map_or(Found::None, Found::Other),
        }
    }

    /// What the state of a key would be that is not known.
    pub(crate) fn unused(&self, key: &K) -> Arc<State<K, A>> {
        let plan = self.plan_of_its_own(key);
        let plan = plan.unwrap_or_else(|| self.plans.default());
        Arc::new(State::new(key.clone(), plan))
    }

    /// Does something with the state of a key, which is made if there is room.
    pub(crate) fn with(&self, key: &K, f: impl FnOnce(&State<K, A>)) {
        match &self.keys {
            Keys::One(one) => f(&one.first),
            Keys::Many(table) => {
                if let Ok(state) = self.state(table, key, self.now()) {
                    f(&state);
                }
            }
        }
    }

    /// Changes the quotas of all keys that have those of everybody.
    pub(crate) fn set_quotas(&self, quotas: Quotas) {
        let plan = Arc::new(Plan::new(quotas));
        let _changing = self.changing();
        let old = self.plans.replace_default(&plan);
        match &self.keys {
            Keys::One(one) => one.change(&plan, self.now()),
            Keys::Many(table) => {
                for state in table.all() {
                    if Arc::ptr_eq(state.plan(), &old) {
                        self.change(table, &state, &plan);
                    }
                }
            }
        }
    }

    /// Changes the quotas of one key.
    pub(crate) fn set_quotas_of(&self, key: &K, quotas: Quotas) -> Result<(), Limited> {
        let plan = self.plans.shared(quotas);
        match &self.keys {
            Keys::One(one) => one.change(&plan, self.now()),
            Keys::Many(table) => {
                let state = table.get(key, self.now(), |_| Arc::clone(&plan))?;
                if !Arc::ptr_eq(state.plan(), &plan) {
                    self.change(table, &state, &plan);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn keys(&self) -> usize {
        match &self.keys {
            Keys::One(_) => 1,
            Keys::Many(table) => table.len(),
        }
    }

    /// Finds the state of a key, or makes it.
    fn state(&self, table: &Table<K, A>, key: &K, now: u64) -> Result<Arc<State<K, A>>, Limited> {
        let mut everybodys = None;
        let state = table.get(key, now, |key| {
            let of_its_own = self.plan_of_its_own(key);
            of_its_own.unwrap_or_else(|| {
                let plan = self.plans.default();
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
        if Arc::ptr_eq(state.plan(), &self.plans.default()) {
            return;
        }
        let _changing = self.changing();
        self.change(table, state, &self.plans.default());
    }

    fn change(&self, table: &Table<K, A>, state: &Arc<State<K, A>>, plan: &Arc<Plan>) {
        if let Some(new) = state.replace(Arc::clone(plan), self.now()) {
            table.replace(state, new);
        }
    }

    fn plan_of_its_own(&self, key: &K) -> Option<Arc<Plan>> {
        let quotas = self.settings.quotas_for.as_ref()?(key)?;
        Some(self.plans.shared(quotas))
    }
}

impl<K, A: Algorithm> Shared<K, A> {
    /// Nanoseconds since the beginning; a clock that goes back stands still.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.base);
        since.as_nanos() as u64
    }

    /// For how long a provider is believed who says so.
    pub(crate) fn hold(&self, time: Duration) -> u64 {
        nanoseconds(time.min(self.settings.longest_hold))
    }

    /// Settles what was taken to what was used. Whether anything went back.
    pub(crate) fn settle(&self, hold: &Hold<K, A>, reserved: &Cost, used: &Cost) -> bool {
        let longest_debt = nanoseconds(self.settings.longest_debt);
        let clock = || self.now();
        self.held(hold)
            .settle(&hold.taken, reserved, used, longest_debt, &clock)
    }

    /// What of a key a call holds.
    pub(crate) fn held<'a>(&'a self, hold: &'a Hold<K, A>) -> &'a State<K, A> {
        match (&hold.state, &self.keys) {
            (Some(state), _) => state,
            (None, Keys::One(one)) => &one.first,
            // Only the one state is held without being named.
            (None, Keys::Many(_)) => unreachable!("a hold of another limiter"),
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
    pub(crate) const fn new(quotas: Quotas, only: Option<K>) -> Self {
        Self {
            max_keys: 100_000,
            longest_hold: Duration::from_secs(5 * 60),
            longest_debt: Duration::from_secs(60 * 60),
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
            longest_debt: self.longest_debt,
            quotas_for: self.quotas_for.clone(),
            quotas: self.quotas.clone(),
            only: self.only.clone(),
        }
    }
}
