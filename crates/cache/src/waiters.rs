//! Who is to be woken.

use std::task::Waker;

/// The wakers of those who wait for one flight. Whoever waits has a place.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    places: Vec<Option<Waker>>,
    vacant: Vec<usize>,
    // The first, without an allocation: most flights have one.
    first: Option<Waker>,
    first_taken: bool,
}

/// Those who are to be woken.
#[derive(Default)]
pub(crate) struct Asleep {
    first: Option<Waker>,
    others: Vec<Waker>,
}

/// Where one of them is registered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    First,
    At(usize),
}

// ===== impl Waiters =====

impl Waiters {
    /// Wakes this one from now on, until it is woken. The waker before it is to be dropped where no
    /// lock is held: it may own what is waiting here.
    #[must_use]
    pub(crate) fn register(&mut self, place: &mut Option<Place>, waker: &Waker) -> Option<Waker> {
        let at = *place.get_or_insert_with(|| self.vacant());
        match self.at(at) {
            Some(same) if same.will_wake(waker) => None,
            other => other.replace(waker.clone()),
        }
    }

    /// Who has this place is not to be woken.
    #[must_use]
    pub(crate) fn sleeps(&mut self, place: Option<Place>) -> Option<Waker> {
        self.at(place?).take()
    }

    #[must_use]
    pub(crate) fn leave(&mut self, place: Option<Place>) -> Option<Waker> {
        let place = place?;
        let old = self.at(place).take();
        match place {
            Place::First => self.first_taken = false,
            Place::At(at) => self.vacant.push(at),
        }
        old
    }

    /// Those to wake now, where no lock is held.
    #[must_use]
    pub(crate) fn take(&mut self) -> Asleep {
        let others = self.places.iter_mut().filter_map(Option::take);
        Asleep {
            first: self.first.take(),
            others: others.collect(),
        }
    }

    fn at(&mut self, place: Place) -> &mut Option<Waker> {
        match place {
            Place::First => &mut self.first,
            Place::At(at) => &mut self.places[at],
        }
    }

    fn vacant(&mut self) -> Place {
        if !self.first_taken {
            self.first_taken = true;
            return Place::First;
        }
        Place::At(self.vacant.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        }))
    }
}

// ===== impl Asleep =====

impl Asleep {
    pub(crate) fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
        }
        for other in self.others {
            other.wake();
        }
    }
}
