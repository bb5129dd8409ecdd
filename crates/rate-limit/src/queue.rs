//! Who waits, in the order in which they came.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    task::{Context, Waker},
};

use crate::Cost;

/// A line for each key of which a call waits.
pub(crate) struct Queues<K> {
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

// ===== impl Queues =====

impl<K> Default for Queues<K> {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            lines: Mutex::new(Lines {
                next: 0,
                of: HashMap::new(),
            }),
        }
    }
}

impl<K: Hash + Eq + Clone> Queues<K> {
    /// What those who wait for this key cost together, if there are any.
    pub(crate) fn ahead(&self, key: &K) -> Option<Cost> {
        if self.waiting.load(Relaxed) == 0 {
            return None;
        }
        let lines = self.lock();
        Some(sum(lines.of.get(key)?.iter()))
    }

    /// Joins the line, unless it holds as many as may wait. How many are ahead.
    pub(crate) fn join(&self, key: &K, cost: Cost, most: usize) -> Option<(Place, usize)> {
        let joined = {
            let mut lines = self.lock();
            let number = lines.next;
            lines.next += 1;
            let waiter = Waiter::new(number, cost);
            let ahead = match lines.of.get_mut(key) {
                Some(line) if line.len() >= most => return None,
                Some(line) => {
                    line.push_back(waiter);
                    line.len() - 1
                }
                None => {
                    lines.of.insert(key.clone(), VecDeque::from([waiter]));
                    0
                }
            };
            self.waiting.fetch_add(1, Relaxed);
            (Place(number), ahead)
        };
        // Who settles next sees this one, or this one sees what was settled when it looks again.
        fence(SeqCst);
        Some(joined)
    }

    /// Whose turn it is, and from now on whom to wake.
    pub(crate) fn look(&self, key: &K, place: Place, cx: &Context<'_>) -> Turn {
        let mut lines = self.lock();
        let line = lines.of.get_mut(key).expect("a line that has a place");
        let at = find(line, place).expect("a place that was not left");
        let waiter = &mut line[at];
        match &mut waiter.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        match at {
            0 => Turn::First {
                called: std::mem::take(&mut waiter.called),
            },
            _ => Turn::Behind {
                ahead: sum(line.iter().take(at)),
            },
        }
    }

    /// Leaves the line; if that was the first, the next one is called.
    pub(crate) fn leave(&self, key: &K, place: Place) {
        let woken = {
            let mut lines = self.lock();
            let Some(line) = lines.of.get_mut(key) else {
                return;
            };
            let Some(at) = find(line, place) else { return };
            line.remove(at);
            self.waiting.fetch_sub(1, Relaxed);
            if line.is_empty() {
                lines.of.remove(key);
                return;
            }
            if at == 0 { line[0].call() } else { None }
        };
        // Without the lock: a waker may do anything.
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// More is left for this key than was known.
    pub(crate) fn call(&self, key: &K) {
        fence(SeqCst);
        if self.waiting.load(Relaxed) == 0 {
            return;
        }
        let woken = {
            let mut lines = self.lock();
            let first = lines.of.get_mut(key).and_then(VecDeque::front_mut);
            first.and_then(Waiter::call)
        };
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines<K>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
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
