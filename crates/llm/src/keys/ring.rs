use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use buttress_http::retry_after;

use super::{
    Key, Keys,
    bench::{self, Bench, Turn},
};

/// The keys of a layer, and which of them are benched. Without a lock, and without a look at the
/// clock while none is.
#[derive(Debug)]
pub(super) struct Ring {
    seats: Box<[Seat]>,
    /// Where the next call begins to look, if they take turns.
    next: AtomicUsize,
    /// What times are counted from.
    since: OnceLock<Instant>,
}

#[derive(Debug)]
struct Seat {
    key: Key,
    bench: Bench,
}

/// How keys are chosen and benched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) in_turn: bool,
    pub(super) bench: Duration,
    pub(super) longest: Duration,
}

/// The key of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    place: usize,
    turn: Turn,
}

/// A key was benched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Benched {
    pub(super) time: Duration,
    pub(super) denials: u32,
}

// ===== impl Ring =====

impl Ring {
    pub(super) fn new(keys: Keys) -> Self {
        let seats = keys.into_inner().into_iter().map(|key| Seat {
            key,
            bench: Bench::new(),
        });
        Self::of(seats.collect())
    }

    pub(super) fn empty() -> Self {
        Self::of(Box::default())
    }

    fn of(seats: Box<[Seat]>) -> Self {
        Self {
            seats,
            next: AtomicUsize::new(0),
            since: OnceLock::new(),
        }
    }

    pub(super) fn key(&self, chosen: Chosen) -> &Key {
        &self.seats[chosen.place].key
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.seats.iter().map(|seat| &seat.key)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Panics if it is empty.
    pub(super) fn choose(&self, rules: &Rules, now: impl Fn() -> Instant) -> Chosen {
        let count = self.seats.len();
        let first = if rules.in_turn && count > 1 {
            self.next.fetch_add(1, Ordering::Relaxed) % count
        } else {
            0
        };
        let mut clock = None;
        for place in (first..count).chain(0..first) {
            let bench = &self.seats[place].bench;
            let state = bench.state();
            let (mut at, mut lease) = (0, 0);
            if state.is_benched() {
                let now = *clock.get_or_insert_with(&now);
                (at, lease) = (self.floor(now), self.ceil(now, rules.bench));
            }
            if let Some(turn) = bench.take(state, at, lease) {
                return Chosen { place, turn };
            }
        }
        let until = |place: &usize| self.seats[*place].bench.state().until();
        let place = (0..count).min_by_key(until).unwrap_or(0);
        let turn = self.seats[place].bench.force();
        Chosen { place, turn }
    }

    /// The key was denied. `None`: that is no news.
    pub(super) fn deny(
        &self,
        chosen: Chosen,
        hint: Option<Duration>,
        rules: &Rules,
        now: Instant,
    ) -> Option<Benched> {
        let time = |denials| {
            let hint = hint.unwrap_or_default().min(retry_after::MAX);
            bench::time(rules.bench, rules.longest, denials).max(hint)
        };
        let bench = &self.seats[chosen.place].bench;
        let denials = bench.deny(chosen.turn, |denials| self.ceil(now, time(denials)))?;
        let time = time(denials);
        Some(Benched { time, denials })
    }

    /// The key was accepted. Whether that is news.
    pub(super) fn accept(&self, chosen: &mut Chosen) -> bool {
        let bench = &self.seats[chosen.place].bench;
        bench.accept(&mut chosen.turn)
    }

    /// The call says nothing of the key.
    pub(super) fn give_back(&self, chosen: Chosen) {
        self.seats[chosen.place].bench.give_back(chosen.turn);
    }

    /// Whether a call that began now could have another key than this one.
    pub(super) fn has_another(&self, than: Chosen, now: Instant) -> bool {
        let now = self.floor(now);
        let mut seats = self.seats.iter().enumerate();
        seats.any(|(place, seat)| place != than.place && seat.bench.state().until() <= now)
    }

    /// Whole milliseconds, the first of which is 1: 0 is no time.
    fn floor(&self, now: Instant) -> u64 {
        let since = self.since.get_or_init(|| now);
        millis(now.saturating_duration_since(*since)).saturating_add(1)
    }

    /// The time after `now`, and never `now` itself.
    fn ceil(&self, now: Instant, after: Duration) -> u64 {
        let since = self.since.get_or_init(|| now);
        let elapsed = now.saturating_duration_since(*since);
        let up = Duration::from_nanos(999_999);
        let after = after.max(Duration::from_millis(1));
        millis(elapsed.saturating_add(after).saturating_add(up)).saturating_add(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// ===== impl Chosen =====

impl Chosen {
    /// The key is benched, and so are all others.
    pub(super) fn is_forced(self) -> bool {
        self.turn.is_forced()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::{Duration, Instant},
    };

    use super::{Benched, Chosen, Ring, Rules};
    use crate::{Key, Keys, Secret};

    const RULES: Rules = Rules {
        in_turn: false,
        bench: Duration::from_secs(60),
        longest: Duration::from_secs(3600),
    };

    fn ring(count: usize) -> Ring {
        let key = |n: usize| Key::named(format!("{n}"), Secret::new(format!("sk-{n}")).unwrap());
        Ring::new(Keys::new((0..count).map(|n| key(n).unwrap())).unwrap())
    }

    /// A clock that stands.
    fn anchor() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    struct At<'a>(&'a Ring, Rules, Instant);

    impl At<'_> {
        fn after(&self, seconds: u64) -> Self {
            Self(self.0, self.1, self.2 + Duration::from_secs(seconds))
        }

        fn choose(&self) -> Chosen {
            self.0.choose(&self.1, || self.2)
        }

        fn id(&self) -> String {
            let chosen = self.choose();
            self.0.give_back(chosen);
            self.0.key(chosen).id().to_owned()
        }

        fn deny(&self, chosen: Chosen) -> Option<Benched> {
            self.0.deny(chosen, None, &self.1, self.2)
        }
    }

    #[test]
    fn the_first_is_used_until_it_is_denied_and_again_when_its_bench_is_over() {
        let ring = ring(3);
        let at = At(&ring, RULES, anchor());
        assert_eq!([at.id(), at.id()], ["0", "0"]);
        let benched = at.deny(at.choose()).unwrap();
        assert_eq!((benched.time, benched.denials), (RULES.bench, 1));
        assert_eq!([at.id(), at.id()], ["1", "1"], "and only that one");
        assert_eq!(at.after(59).id(), "1");
        let later = at.after(60);
        let trial = later.choose();
        assert_eq!(ring.key(trial).id(), "0");
        assert_eq!(later.id(), "1", "one call tries it");
        assert_eq!(later.deny(trial).unwrap().time, 2 * RULES.bench);
        assert_eq!(at.after(179).id(), "1");
        assert_eq!(at.after(180).id(), "0");
    }

    #[test]
    fn those_that_take_turns_pass_over_who_is_benched() {
        let ring = ring(3);
        let rules = Rules {
            in_turn: true,
            ..RULES
        };
        let at = At(&ring, rules, anchor());
        assert_eq!([at.id(), at.id(), at.id(), at.id()], ["0", "1", "2", "0"]);
        let one = at.choose();
        assert!(at.deny(one).is_some() && ring.key(one).id() == "1");
        assert_eq!([at.id(), at.id(), at.id(), at.id()], ["2", "0", "2", "2"]);
    }

    #[test]
    fn if_all_are_benched_the_one_that_is_first_back_is_used() {
        let ring = ring(3);
        let at = At(&ring, RULES, anchor());
        let first = at.choose();
        ring.deny(first, Some(Duration::from_secs(90)), &RULES, at.2);
        let second = at.choose();
        assert!(ring.has_another(second, at.2));
        at.deny(second);
        assert!(!at.choose().is_forced());
        let third = at.after(1).choose();
        at.after(1).deny(third);
        assert!(!ring.has_another(third, at.2));
        assert!(at.choose().is_forced());
        assert_eq!(at.after(59).id(), "1");
        assert!(ring.has_another(first, at.2 + Duration::from_secs(60)));
    }

    #[test]
    fn a_key_is_no_other_than_itself() {
        let ring = ring(1);
        let at = At(&ring, RULES, anchor());
        let (early, late) = (at.choose(), at.choose());
        at.deny(late);
        assert!(ring.accept(&mut at.choose()), "it was forced");
        assert_eq!(at.deny(early), None);
        assert!(!ring.has_another(early, at.2), "though it is free by now");
    }

    #[test]
    fn a_hint_is_waited_for_up_to_a_day() {
        for (hint, expected) in [(1, 60), (61, 61), (86_400, 86_400), (u64::MAX, 86_400)] {
            let ring = ring(1);
            let at = At(&ring, RULES, anchor());
            let hint = Some(Duration::from_secs(hint));
            let benched = ring.deny(at.choose(), hint, &RULES, at.2).unwrap();
            assert_eq!(benched.time, Duration::from_secs(expected));
            assert!(at.after(expected - 1).choose().is_forced());
            assert!(!at.after(expected).choose().is_forced());
        }
    }

    #[test]
    fn a_bench_of_nothing_ends_after_this_moment() {
        let ring = ring(2);
        let rules = Rules {
            bench: Duration::ZERO,
            ..RULES
        };
        let at = At(&ring, rules, anchor());
        at.deny(at.choose());
        assert_eq!(at.id(), "1");
        assert_eq!(At(&ring, rules, at.2 + Duration::from_millis(1)).id(), "0");
        let forever = Rules {
            bench: Duration::MAX,
            longest: Duration::MAX,
            ..RULES
        };
        let at = At(&ring, forever, at.2 + Duration::from_secs(1));
        at.deny(at.choose());
        assert_eq!(at.after(1 << 30).id(), "1");
    }

    #[test]
    fn threads_bench_a_key_once_and_one_of_them_tries_it() {
        let ring = ring(2);
        let at = At(&ring, RULES, anchor());
        for round in 0..200 {
            // A bench is at most an hour, and each round an hour later.
            let at = at.after(round * 3601);
            let (news, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let chosen = at.choose();
                        if ring.key(chosen).id() == "0" {
                            used.fetch_add(1, Ordering::Relaxed);
                            let benched = at.deny(chosen).is_some();
                            news.fetch_add(benched.into(), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(news.into_inner(), 1);
            assert!(round == 0 || used.into_inner() == 1);
        }
    }
}
