//! The cell under loom: taking, settling and closing in every order in which threads can do it, as
//! far as the memory model goes.

use std::{num::NonZeroU32, sync::Arc};

use loom::{
    sync::{Mutex, atomic::Ordering::SeqCst},
    thread::{self, JoinHandle},
};

use super::{Gcra, Refunds};
use crate::{
    Rate,
    algorithm::{Cell, Mark, No},
    rate::Ticks,
    sync::model,
};

const SECOND: u64 = 1_000_000_000;

/// One unit a second, so many at once, of one key; and a clock that all share.
struct Rig {
    ticks: Ticks,
    cell: Gcra,
    /// As the key locks it.
    notes: Mutex<Refunds>,
    clock: loom::sync::atomic::AtomicU64,
}

// ===== impl Rig =====

impl Rig {
    fn new(burst: u64) -> Arc<Self> {
        let rate = Rate::per_second(NonZeroU32::MIN).allow_burst(burst.try_into().unwrap());
        Arc::new(Self {
            ticks: Ticks::new(rate),
            cell: Gcra::new(),
            notes: Mutex::new(Refunds::default()),
            clock: loom::sync::atomic::AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        self.clock.load(SeqCst)
    }

    fn pass(&self, time: u64) {
        self.clock.fetch_add(time, SeqCst);
    }

    fn take(&self, units: u64) -> Result<Mark, No> {
        self.cell.take(&self.ticks, self.now(), units)
    }

    fn give_back(&self, mark: Mark, units: u64) -> bool {
        let mut notes = self.notes.lock().unwrap();
        let clock = || self.now();
        self.cell
            .give_back(&self.ticks, &clock, &mut notes, mark, units)
    }

    fn charge(&self, units: u64) -> bool {
        self.cell.charge(&self.ticks, self.now(), units).is_ok()
    }

    fn used(&self) -> u64 {
        self.cell.used(&self.ticks, self.now())
    }

    fn close(&self) -> u64 {
        let _notes = self.notes.lock().unwrap();
        self.cell.close(&self.ticks, self.now())
    }

    /// On another thread.
    fn spawn<T: 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + 'static,
    ) -> JoinHandle<T> {
        let rig = Arc::clone(self);
        thread::spawn(move || work(&rig))
    }
}

#[test]
fn l1_of_three_that_come_at_once_two_fit() {
    model(|| {
        let rig = Rig::new(2);
        let come = |rig: &Rig| u64::from(rig.take(1).is_ok());
        let (one, other) = (rig.spawn(come), rig.spawn(come));
        let admitted = come(&rig) + one.join().unwrap() + other.join().unwrap();
        assert_eq!((admitted, rig.used()), (2, 2));
        assert_eq!(rig.take(1), Err(No::Wait(SECOND)));
    });
}

#[test]
fn l6_what_one_gives_back_while_another_takes_is_back_whole() {
    model(|| {
        let rig = Rig::new(3);
        let mark = rig.take(2).unwrap();
        let gives = rig.spawn(move |rig| rig.give_back(mark, 2));
        let small = u64::from(rig.take(1).is_ok());
        let large = 2 * u64::from(rig.take(2).is_ok());
        assert!(gives.join().unwrap());
        let charged = small + large;
        assert_eq!((small, rig.used()), (1, charged));
        // What is left fits, and no more.
        assert!(charged == 3 || rig.take(3 - charged).is_ok());
        assert_eq!(rig.take(1), Err(No::Wait(SECOND)));
    });
}

#[test]
fn l1_two_that_take_and_give_back_never_give_back_more_than_they_took() {
    model(|| {
        let rig = Rig::new(3);
        let keeps = rig.take(1).unwrap();
        // Takes two, and of these uses one.
        let uses = |rig: &Rig| match rig.take(2) {
            Ok(mark) => {
                rig.give_back(mark, 1);
                1
            }
            Err(_) => 0,
        };
        let other = rig.spawn(uses);
        let charged = 1 + uses(&rig) + other.join().unwrap();
        let used = rig.used();
        // One that took while the other settled may keep a little of its refund.
        assert!(charged <= used && used <= 3, "{used} of {charged}");
        rig.give_back(keeps, 1);
        assert!(charged - 1 <= rig.used());
    });
}

#[test]
fn l1_one_that_takes_while_an_earlier_one_gives_back_does_not_take_its_place_for_a_later() {
    model(|| {
        let rig = Rig::new(8);
        let (first, second) = (rig.take(2).unwrap(), rig.take(3).unwrap());
        let gives = rig.spawn(move |rig| rig.give_back(first, 2));
        let third = rig.take(1).unwrap();
        assert!(gives.join().unwrap() && rig.give_back(second, 3));
        // Now the third is the first in the queue, and a second later it has drained.
        rig.take(4).unwrap();
        rig.pass(SECOND);
        assert!(!rig.give_back(third, 1));
        assert_eq!(rig.used(), 4);
    });
}

#[test]
fn l6_debts_add_up_with_what_is_taken_and_given_back() {
    model(|| {
        let rig = Rig::new(2);
        let mark = rig.take(2).unwrap();
        let owes = rig.spawn(|rig| rig.charge(3));
        let gives = rig.spawn(move |rig| rig.give_back(mark, 1));
        assert!(rig.take(2).is_err());
        assert!(owes.join().unwrap() && gives.join().unwrap());
        assert_eq!(rig.used(), 4);
        assert_eq!(rig.take(1), Err(No::Wait(3 * SECOND)));
    });
}

#[test]
fn l1_while_time_passes_no_more_is_charged_than_has_come() {
    model(|| {
        let rig = Rig::new(1);
        let mark = rig.take(1).unwrap();
        // What has drained by then is not given back as well.
        let gives = rig.spawn(move |rig| rig.give_back(mark, 1));
        let early = u64::from(rig.take(1).is_ok());
        rig.pass(SECOND);
        let late = u64::from(rig.take(1).is_ok());
        let gave = u64::from(gives.join().unwrap());
        let charged = 1 - gave + early + late;
        assert!(charged <= 2, "{charged} in a second");
        assert_eq!(rig.used(), late);
        assert_eq!(late, 1, "one has come, whatever went back");
    });
}

#[test]
fn l6_who_takes_nothing_while_a_debt_comes_is_before_it_or_waits_for_it() {
    model(|| {
        let rig = Rig::new(1);
        let mark = rig.take(1).unwrap();
        let none = |rig: &Rig| rig.cell.peek(&rig.ticks, rig.now(), 0);
        assert_eq!(none(&rig), Ok(()), "full is no debt");
        let owes = rig.spawn(|rig| assert!(rig.charge(1)));
        let gives = rig.spawn(move |rig| rig.give_back(mark, 1));
        let during = none(&rig);
        assert!(matches!(during, Ok(()) | Err(No::Wait(SECOND))));
        owes.join().unwrap();
        let gave = gives.join().unwrap();
        let wait = if gave { Ok(()) } else { Err(No::Wait(SECOND)) };
        assert_eq!(none(&rig), wait);
        rig.pass(SECOND);
        assert_eq!(none(&rig), Ok(()));
    });
}

#[test]
fn l11_what_is_taken_before_a_cell_is_closed_is_known_to_who_closes_it() {
    model(|| {
        let rig = Rig::new(3);
        let mark = rig.take(1).unwrap();
        let comes = rig.spawn(|rig| match rig.take(1) {
            Ok(_) => 1,
            Err(no) => {
                assert_eq!(no, No::Closed);
                0
            }
        });
        let gives = rig.spawn(move |rig| u64::from(rig.give_back(mark, 1)));
        let used = rig.close();
        let (taken, given) = (comes.join().unwrap(), gives.join().unwrap());
        assert_eq!(used, 1 + taken - given);
        assert_eq!(rig.take(1), Err(No::Closed));
        assert!(!rig.charge(1));
    });
}
