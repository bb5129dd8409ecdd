use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Whether one key is benched, until when, and how often it was denied in a row: in one word, so
/// that a call that knows how it went changes it only if nobody did since the call began.
#[derive(Debug)]
pub(super) struct Bench(AtomicU64);

/// What a [`Bench`] is at one time. From the highest bit: until when, in milliseconds, 0 if it is
/// not benched; the denials in a row; a count of its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

/// A call's claim on a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// What the bench was when the key was chosen.
    state: State,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It was not benched.
    Free,
    /// Its bench was over, and this call tries it.
    Trial,
    /// It was benched, and so were all others.
    Forced,
}

const CHANGES: u32 = 18;
const DENIALS: u32 = 6;
/// 34 years.
const UNTIL: u64 = (1 << (64 - CHANGES - DENIALS)) - 1;
const MOST_DENIALS: u32 = (1 << DENIALS) - 1;

// ===== impl Bench =====

impl Bench {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn state(&self) -> State {
        State(self.0.load(Ordering::Acquire))
    }

    /// A turn with a key that is `state`, if it is free, or if this call is the one to try it at
    /// `now`, until `lease`.
    pub(super) fn take(&self, state: State, now: u64, lease: u64) -> Option<Turn> {
        if !state.is_benched() {
            let way = Way::Free;
            return Some(Turn { state, way });
        }
        if state.until() > now {
            return None;
        }
        let trial = state.next(lease.max(now + 1), state.denials());
        self.change(state, trial).then_some(Turn {
            state: trial,
            way: Way::Trial,
        })
    }

    /// A turn whatever the key is.
    pub(super) fn force(&self) -> Turn {
        let state = self.state();
        let way = if state.is_benched() {
            Way::Forced
        } else {
            Way::Free
        };
        Turn { state, way }
    }

    /// The key was denied. If that is news, it is benched until what `until` says for so many
    /// denials, which are returned.
    pub(super) fn deny(&self, turn: Turn, until: impl FnOnce(u32) -> u64) -> Option<u32> {
        if turn.is_forced() {
            return None;
        }
        let denials = (turn.state.denials() + 1).min(MOST_DENIALS);
        let benched = turn.state.next(until(denials), denials);
        self.change(turn.state, benched).then_some(denials)
    }

    /// The key was accepted. Whether that is news; the turn is then as of a free key.
    pub(super) fn accept(&self, turn: &mut Turn) -> bool {
        let free = turn.state.next(0, 0);
        let news = turn.state.is_benched() && self.change(turn.state, free);
        if news {
            *turn = Turn {
                state: free,
                way: Way::Free,
            };
        }
        news
    }

    /// The call says nothing of the key.
    pub(super) fn give_back(&self, turn: Turn) {
        if turn.way == Way::Trial {
            // Over since ever: the next call tries.
            let over = turn.state.next(1, turn.state.denials());
            self.change(turn.state, over);
        }
    }

    fn change(&self, from: State, to: State) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        (self.0.compare_exchange(from.0, to.0, success, failure)).is_ok()
    }
}

// ===== impl State =====

impl State {
    pub(super) const fn is_benched(self) -> bool {
        self.until() != 0
    }

    pub(super) const fn until(self) -> u64 {
        self.0 >> (CHANGES + DENIALS)
    }

    const fn denials(self) -> u32 {
        (self.0 >> CHANGES) as u32 & MOST_DENIALS
    }

    fn next(self, until: u64, denials: u32) -> Self {
        let changes = self.0.wrapping_add(1) & ((1 << CHANGES) - 1);
        Self(until.min(UNTIL) << (CHANGES + DENIALS) | u64::from(denials) << CHANGES | changes)
    }
}

// ===== impl Turn =====

impl Turn {
    pub(super) fn is_forced(self) -> bool {
        self.way == Way::Forced
    }
}

/// `base`, twice as long for each further denial, up to `cap`.
pub(super) fn time(base: Duration, cap: Duration, denials: u32) -> Duration {
    let factor = 1_u32.checked_shl(denials.saturating_sub(1));
    let time = factor.and_then(|factor| base.checked_mul(factor));
    time.unwrap_or(cap).min(cap)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bench, MOST_DENIALS, UNTIL, time};

    fn take(bench: &Bench, now: u64) -> Option<super::Turn> {
        bench.take(bench.state(), now, now + 60)
    }

    #[test]
    fn a_hundred_denials_at_once_are_one() {
        let bench = Bench::new();
        let turns: Vec<_> = (0..100).map(|_| take(&bench, 1).unwrap()).collect();
        let news = turns
            .iter()
            .filter_map(|turn| bench.deny(*turn, |n| 10 * u64::from(n)));
        assert!(news.eq([1]));
        assert_eq!(bench.state().until(), 10);
    }

    #[test]
    fn what_began_before_the_last_news_says_nothing() {
        let bench = Bench::new();
        let mut early = take(&bench, 1).unwrap();
        let late = take(&bench, 1).unwrap();
        bench.deny(late, |_| 10);
        assert!(!bench.accept(&mut early), "it was sent before the denial");
        assert!(bench.state().is_benched());
        let mut trial = take(&bench, 10).unwrap();
        assert!(bench.accept(&mut trial));
        assert_eq!(
            bench.deny(early, |_| 99),
            None,
            "the key has changed twice since"
        );
        assert_eq!(
            bench.deny(trial, |_| 99),
            Some(1),
            "accepted, and denied in the stream"
        );
    }

    #[test]
    fn one_call_tries_a_key_whose_bench_is_over() {
        let bench = Bench::new();
        bench.deny(take(&bench, 1).unwrap(), |_| 10);
        assert!(take(&bench, 9).is_none());
        let trial = take(&bench, 10).unwrap();
        assert!(take(&bench, 10).is_none(), "another one is at it");
        bench.give_back(trial);
        let trial = take(&bench, 10).unwrap();
        assert_eq!(
            bench.deny(trial, |denials| u64::from(denials) * 100),
            Some(2)
        );
        assert_eq!(bench.state().until(), 200);
        assert!(take(&bench, 199).is_none());
        let lost = take(&bench, 200).unwrap();
        let next = take(&bench, 260).expect("the lease is over");
        bench.give_back(lost);
        assert!(take(&bench, 260).is_none(), "the next one is at it");
        assert_eq!(bench.deny(next, |_| 300), Some(3));
    }

    #[test]
    fn a_forced_call_frees_a_key_and_never_benches_it_longer() {
        let bench = Bench::new();
        assert!(!bench.force().is_forced());
        bench.deny(take(&bench, 1).unwrap(), |_| 10);
        let mut forced = bench.force();
        assert!(forced.is_forced());
        assert_eq!(bench.deny(forced, |_| 99), None);
        bench.give_back(forced);
        assert_eq!(bench.state().until(), 10);
        assert!(bench.accept(&mut forced));
        assert!(!bench.state().is_benched());
    }

    #[test]
    fn nothing_overflows() {
        let bench = Bench::new();
        for n in 1..=100 {
            let turn = take(&bench, UNTIL).unwrap();
            assert_eq!(bench.deny(turn, |_| u64::MAX), Some(n.min(MOST_DENIALS)));
        }
        for _ in 0..1 << 19 {
            assert!(bench.accept(&mut bench.force()));
            bench.deny(take(&bench, 1).unwrap(), |_| 10);
        }
        assert_eq!((bench.state().until(), bench.state().denials()), (10, 1));
    }

    #[test]
    fn the_bench_grows_to_its_cap() {
        let (base, cap) = (Duration::from_secs(60), Duration::from_secs(3600));
        let seconds = |denials| time(base, cap, denials).as_secs();
        let grown: Vec<_> = (1..=8).map(seconds).collect();
        assert_eq!(grown, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(seconds(MOST_DENIALS), 3600);
        assert_eq!(time(Duration::MAX, Duration::MAX, 63), Duration::MAX);
        assert_eq!(time(Duration::ZERO, cap, 5), Duration::ZERO);
    }
}
