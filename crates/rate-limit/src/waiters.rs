//! Who waits, in the order in which they came.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    task::{Context, Waker},
};

use crate::Cost;

/// The calls of this process that wait for what a [`Store`](crate::Store) keeps: for each key a
/// line, in the order in which they came.
///
/// Clones are one. A store whose levels change by other hands than those of its layer keeps one,
/// gives it to every layer that asks ([`Store::waiters`](crate::Store::waiters)), and
/// [calls](Waiters::call) it: the first in line then looks again at once. A
/// [`Limiter`](crate::Limiter) does so.
///
/// ```
/// use buttress_rate_limit::Waiters;
///
/// let waiters = Waiters::default();
/// // What was taken of this key elsewhere has come back.
/// waiters.call(&"tenant");
/// ```
pub struct Waiters<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    /// So that whoever does not wait need not lock.
    waiting: AtomicUsize,
    lines: Mutex<Lines<K>>,
}

struct Lines<K> {
    next: u64,
    of: HashMap<K, VecDeque<Waiter>>,
}

struct Waiter {
    number: u64,
    cost: Cost,
    /// Something has changed since it last looked.
    called: bool,
    waker: Option<Waker>,
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

/// What comes of joining a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Joined {
    /// There, with so many ahead.
    At(Place, usize),
    /// As many wait as may, who cost so much together.
    Full(Cost),
}

/// What a waiter sees when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Others come first, who cost so much together.
    Behind { ahead: Cost },
    /// It is the first.
    First {
        /// Something has changed since it last looked.
        called: bool,
    },
}

// ===== impl Waiters =====

impl<K: Hash + Eq> Waiters<K> {
    /// More is left for this key than was known: wakes the first in its line.
    pub fn call(&self, key: &K) {
        if self.is_empty() {
            return;
        }
        let woken = {
            let mut lines = self.lock();
            let first = lines.of.get_mut(key).and_then(VecDeque::front_mut);
            first.and_then(Waiter::call)
        };
        // Without the lock: a waker may do anything.
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// More may be left for any key: wakes the first in every line.
    pub fn call_all(&self) {
        if self.is_empty() {
            return;
        }
        let woken: Vec<Waker> = {
            let mut lines = self.lock();
            let firsts = lines.of.values_mut().filter_map(VecDeque::front_mut);
            firsts.filter_map(Waiter::call).collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// What those who wait for this key cost together, if there are any.
    #[inline]
    pub(crate) fn ahead(&self, key: &K) -> Option<Cost> {
        if self.shared.waiting.load(Relaxed) == 0 {
            return None;
        }
        self.ahead_of(key)
    }

    #[cold]
    fn ahead_of(&self, key: &K) -> Option<Cost> {
        let lines = self.lock();
        Some(sum(lines.of.get(key)?.iter()))
    }

    /// Joins the line, unless it holds as many as may wait.
    pub(crate) fn join(&self, key: &K, cost: Cost, most: usize) -> Joined
    where
        K: Clone,
    {
        let joined = {
            let mut lines = self.lock();
            let number = lines.next;
            lines.next += 1;
            let waiter = Waiter::new(number, cost);
            let ahead = match lines.of.get_mut(key) {
                Some(line) if line.len() >= most => return Joined::Full(sum(line.iter())),
                Some(line) => {
                    line.push_back(waiter);
                    line.len() - 1
                }
                None => {
                    lines.of.insert(key.clone(), VecDeque::from([waiter]));
                    0
                }
            };
            self.shared.waiting.fetch_add(1, Relaxed);
            Joined::At(Place(number), ahead)
        };
        // Who settles next sees this one, or this one sees what was settled when it looks again.
        fence(SeqCst);
        joined
    }

    /// Whose turn it is, and from now on whom to wake.
    pub(crate) fn look(&self, key: &K, place: Place, cx: &Context<'_>) -> Turn {
        let mut lines = self.lock();
        let line = lines.of.get_mut(key).expect("a line that has a place");
        let at = find(line, place).expect("a place that was not left");
        let waiter = &mut line[at];
        let before = match &mut waiter.waker {
            Some(same) if same.will_wake(cx.waker()) => None,
            other => other.replace(cx.waker().clone()),
        };
        let turn = match at {
            0 => Turn::First {
                called: std::mem::take(&mut waiter.called),
            },
            _ => Turn::Behind {
                ahead: sum(line.iter().take(at)),
            },
        };
        drop(lines);
        // Without the lock: it may own another that waits here, which goes with it.
        drop(before);
        turn
    }

    /// Leaves the line; if that was the first, the next one is called.
    pub(crate) fn leave(&self, key: &K, place: Place) {
        let (gone, woken) = {
            let mut lines = self.lock();
            let Some(line) = lines.of.get_mut(key) else {
                return;
            };
            let Some(at) = find(line, place) else { return };
            let waiter = line.remove(at);
            self.shared.waiting.fetch_sub(1, Relaxed);
            let next = line.front_mut().filter(|_| at == 0);
            let woken = next.and_then(Waiter::call);
            let empty = line.is_empty();
            let line = empty.then(|| lines.of.remove_entry(key));
            ((waiter, line), woken)
        };
        if let Some(waker) = woken {
            waker.wake();
        }
        // Without the lock, as above.
        drop(gone);
    }

    /// Whether nobody waits who could not see what the caller has changed before.
    fn is_empty(&self) -> bool {
        fence(SeqCst);
        self.shared.waiting.load(Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Lines<K>> {
        let lines = self.shared.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                waiting: AtomicUsize::new(0),
                lines: Mutex::new(Lines {
                    next: 0,
                    of: HashMap::new(),
                }),
            }),
        }
    }
}

impl<K> Clone for Waiters<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K> fmt::Debug for Waiters<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the keys: they may be secrets.
        f.debug_struct("Waiters")
            .field("waiting", &self.shared.waiting)
            .finish_non_exhaustive()
    }
}

fn sum<'a>(waiters: impl Iterator<Item = &'a Waiter>) -> Cost {
    waiters.fold(Cost::NONE, |sum, waiter| sum.plus(waiter.cost))
}

fn find(line: &VecDeque<Waiter>, place: Place) -> Option<usize> {
    line.binary_search_by_key(&place.0, |waiter| waiter.number)
        .ok()
}

// ===== impl Waiter =====

impl Waiter {
    const fn new(number: u64, cost: Cost) -> Self {
        Self {
            number,
            cost,
            // What was settled before it joined called nobody.
            called: true,
            waker: None,
        }
    }

    fn call(&mut self) -> Option<Waker> {
        self.called = true;
        self.waker.take()
    }
}
