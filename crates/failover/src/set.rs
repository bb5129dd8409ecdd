//! The endpoints of a failover, and what is known of each.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::time;

use crate::{
    Endpoint, EndpointsError, Info,
    cool::{Cool, Uneasy},
    hash::{GOLDEN, hash, mix},
    load::{Load, Stamp},
};

/// The most endpoints that one failover has.
pub const MAX_ENDPOINTS: usize = 128;

/// The longest name of an endpoint, in bytes.
pub const MAX_NAME: usize = 64;

/// The endpoints at one time. Calls keep to the set that they began with.
pub(crate) struct Set<S> {
    pub(crate) version: u64,
    /// A bit for each.
    pub(crate) all: u128,
    pub(crate) members: Arc<[Arc<Member>]>,
    pub(crate) services: Arc<[S]>,
}

/// What is known of an endpoint; the same in every set that it is in.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) draw: Draw,
    pub(crate) info: Info,
    pub(crate) cool: Cool,
    pub(crate) load: Load,
    /// Whether a health check goes on.
    pub(crate) checked: AtomicBool,
}

/// What one is drawn by: side by side, for who looks at many.
#[derive(Debug)]
pub(crate) struct Draw {
    /// Of the name.
    pub(crate) hash: u64,
    /// Zero also once it was removed.
    weight: AtomicU32,
}

/// What all clones of a failover share.
pub(crate) struct Shared<S> {
    version: AtomicU64,
    set: Mutex<Set<S>>,
    pub(crate) draws: Draws,
    pub(crate) uneasy: Arc<Uneasy>,
}

/// Numbers by which endpoints are chosen.
#[derive(Debug)]
pub(crate) struct Draws {
    seed: AtomicU64,
    spread: AtomicU64,
    chance: AtomicU64,
    /// From which times are counted.
    epoch: Instant,
}

// ===== impl Set =====

impl<S> Set<S> {
    pub(crate) fn new(
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
        uneasy: &Arc<Uneasy>,
    ) -> Result<Self, EndpointsError> {
        let (mut members, mut services) = (Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for Endpoint { info, service } in endpoints {
            if members.len() == MAX_ENDPOINTS {
                return Err(EndpointsError::TooMany);
            }
            check_name(&info.name)?;
            if !names.insert(Arc::clone(&info.name)) {
                return Err(EndpointsError::Twice { name: info.name });
            }
            members.push(Arc::new(Member::new(info, uneasy)));
            services.push(service);
        }
        if members.is_empty() {
            return Err(EndpointsError::Empty);
        }
        Ok(Self::of(0, members, services))
    }

    /// There is at least one, and no more than may be.
    fn of(version: u64, members: Vec<Arc<Member>>, services: Vec<S>) -> Self {
        Self {
            version,
            all: u128::MAX >> (MAX_ENDPOINTS - members.len()),
            members: members.into(),
            services: services.into(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Result<usize, EndpointsError> {
        let mut members = self.members.iter();
        members
            .position(|member| &*member.info.name == name)
            .ok_or_else(|| EndpointsError::Unknown {
                name: beginning(name),
            })
    }
}

impl<S> Clone for Set<S> {
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            all: self.all,
            members: Arc::clone(&self.members),
            services: Arc::clone(&self.services),
        }
    }
}

fn check_name(name: &str) -> Result<(), EndpointsError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(EndpointsError::Name {
            found: beginning(name),
        });
    }
    Ok(())
}

fn beginning(name: &str) -> Box<str> {
    name.chars().take(MAX_NAME).collect()
}

// ===== impl Member =====

impl Member {
    fn new(info: Info, uneasy: &Arc<Uneasy>) -> Self {
        if info.weight == 0 {
            uneasy.one_more();
        }
        Self {
            draw: Draw {
                hash: hash(info.name.as_bytes()),
                weight: AtomicU32::new(info.weight),
            },
            info,
            cool: Cool::new(Arc::clone(uneasy)),
            load: Load::default(),
            checked: AtomicBool::new(false),
        }
    }

    pub(crate) fn weight(&self) -> u32 {
        self.draw.weight.load(Ordering::Relaxed)
    }

    pub(crate) fn set_weight(&self, weight: u32) {
        let before = self.draw.weight.swap(weight, Ordering::Relaxed);
        match (before, weight) {
            (0, 0) => {}
            (0, _) => self.cool.uneasy().one_less(),
            (_, 0) => self.cool.uneasy().one_more(),
            _ => {}
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // As if it had never been without.
        self.set_weight(1);
    }
}

// ===== impl Shared =====

impl<S> Shared<S> {
    pub(crate) fn new(set: &Set<S>, uneasy: Arc<Uneasy>) -> Self {
        Self {
            version: AtomicU64::new(set.version),
            set: Mutex::new(set.clone()),
            draws: Draws::new(fastrand::u64(..)),
            uneasy,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) -> Set<S> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.clone()
    }

    pub(crate) fn set_weight(&self, name: &str, weight: u32) -> Result<(), EndpointsError> {
        // Under the lock: one that is removed meanwhile would have a weight again.
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.members[set.find(name)?].set_weight(weight);
        Ok(())
    }
}

impl<S: Clone> Shared<S> {
    pub(crate) fn add(&self, endpoint: Endpoint<S>) -> Result<(), EndpointsError> {
        let Endpoint { info, service } = endpoint;
        check_name(&info.name)?;
        self.change(|members, services| {
            if members.len() == MAX_ENDPOINTS {
                return Err(EndpointsError::TooMany);
            }
            if members.iter().any(|member| member.info.name == info.name) {
                return Err(EndpointsError::Twice { name: info.name });
            }
            members.push(Arc::new(Member::new(info, &self.uneasy)));
            services.push(service);
            Ok(())
        })
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), EndpointsError> {
        let mut removed = None;
        self.change(|members, services| {
            let at = members.iter().position(|m| &*m.info.name == name);
            let at = at.ok_or_else(|| EndpointsError::Unknown {
                name: beginning(name),
            })?;
            if members.len() == 1 {
                return Err(EndpointsError::Empty);
            }
            removed = Some(members.remove(at));
            services.remove(at);
            Ok(())
        })?;
        // Calls that are under way do not go there any more; by now they can find out who is there
        // instead.
        if let Some(removed) = removed {
            removed.set_weight(0);
        }
        Ok(())
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Arc<Member>>, &mut Vec<S>) -> Result<(), EndpointsError>,
    ) -> Result<(), EndpointsError> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut members, mut services) = (set.members.to_vec(), set.services.to_vec());
        change(&mut members, &mut services)?;
        let version = set.version + 1;
        *set = Set::of(version, members, services);
        self.version.store(version, Ordering::Release);
        Ok(())
    }
}

// ===== impl Draws =====

impl Draws {
    fn new(seed: u64) -> Self {
        Self {
            seed: AtomicU64::new(seed),
            spread: AtomicU64::new(0),
            chance: AtomicU64::new(0),
            epoch: now(),
        }
    }

    pub(crate) fn stamp(&self, now: Instant) -> Stamp {
        Stamp::new(self.epoch, now)
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    /// The next of a sequence that fills 0..2^64 evenly from its beginning: multiples of the golden
    /// ratio (Weyl; Knuth, The Art of Computer Programming 3, 6.4).
    pub(crate) fn spread(&self) -> u64 {
        let number = self.spread.fetch_add(1, Ordering::Relaxed);
        self.seed
            .load(Ordering::Relaxed)
            .wrapping_add(number.wrapping_mul(GOLDEN))
    }

    /// One that says nothing of the next.
    pub(crate) fn chance(&self) -> u64 {
        let number = self.chance.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.load(Ordering::Relaxed);
        mix(mix(seed ^ GOLDEN).wrapping_add(number.wrapping_mul(GOLDEN)))
    }
}

#[inline]
pub(crate) fn now() -> Instant {
    time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        thread,
        time::Duration,
    };

    use super::{Set, Shared, now};
    use crate::{Endpoint, cool::CoolDown};

    fn shared() -> Shared<()> {
        let uneasy = Arc::default();
        let endpoints = ["a", "b", "c"].map(|name| Endpoint::new(name, ()));
        Shared::new(&Set::new(endpoints, &uneasy).unwrap(), uneasy)
    }

    #[test]
    fn nobody_is_looked_at_once_all_is_well_again() {
        let shared = shared();
        assert!(shared.uneasy.is_none());
        let [a, b, c] = [0, 1, 2].map(|index| Arc::clone(&shared.set().members[index]));
        // Without weight, more than once, and with one again.
        a.set_weight(0);
        a.set_weight(0);
        assert!(!shared.uneasy.is_none());
        a.set_weight(7);
        a.set_weight(1);
        assert!(shared.uneasy.is_none());
        // Troubled, until somebody sees that it is over.
        let cool = CoolDown::default();
        b.cool.fail(now(), &cool, b.cool.episode());
        b.cool.fail(now(), &cool, b.cool.episode());
        assert!(!shared.uneasy.is_none());
        b.cool.succeed(now(), b.cool.episode());
        b.cool.standing(now() + Duration::from_secs(60), cool.ramp);
        assert!(shared.uneasy.is_none());
        // Removed, as long as calls are under way that may not go there.
        c.cool.fail(now(), &cool, c.cool.episode());
        shared.remove("c").unwrap();
        assert!(!shared.uneasy.is_none());
        drop(c);
        assert!(shared.uneasy.is_none());
        // Added without weight.
        shared.add(Endpoint::new("d", ()).weight(0)).unwrap();
        assert!(!shared.uneasy.is_none());
        shared.remove("d").unwrap();
        assert!(shared.uneasy.is_none());
        assert_eq!(shared.set().all, 0b11);
    }
    #[test]
    fn f5_one_that_is_removed_while_it_is_given_a_weight_stays_without() {
        for _ in 0..5_000 {
            let shared = shared();
            let b = Arc::clone(&shared.set().members[1]);
            let barrier = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    let _ = shared.set_weight("b", 5);
                });
                barrier.wait();
                shared.remove("b").unwrap();
            });
            assert_eq!(b.weight(), 0);
        }
    }
}
