//! The endpoints of a failover, and what is known of each.

use std::{
    collections::HashSet,
    error::Error,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::time;

use crate::{
    Endpoint, Info,
    cool::Cool,
    hash::{GOLDEN, mix},
    load::{Load, Stamp},
};

/// The most endpoints that one failover has.
pub const MAX_ENDPOINTS: usize = 128;

/// The longest name of an endpoint, in bytes.
pub const MAX_NAME: usize = 64;

/// Endpoints that nobody can choose among, or a change that would make them so.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Endpoint, EndpointsError, Failover};
///
/// let twice = [Endpoint::new("east", ()), Endpoint::new("east", ())];
/// let error = Failover::over(Plain, twice).unwrap_err();
/// assert_eq!(error, EndpointsError::Twice { name: "east".into() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointsError {
    /// There is none, or would be none any more.
    Empty,
    /// More than [`MAX_ENDPOINTS`].
    TooMany,
    /// Two of one name.
    Twice {
        /// The name.
        name: Arc<str>,
    },
    /// A name that is empty, longer than [`MAX_NAME`] bytes, or has control characters.
    Name {
        /// What was found, or its beginning.
        found: Box<str>,
    },
    /// No endpoint has this name.
    Unknown {
        /// The name.
        name: Box<str>,
    },
}

/// The endpoints at one time. Calls keep to the set that they began with.
pub(crate) struct Set<S> {
    pub(crate) version: u64,
    pub(crate) members: Box<[Arc<Member>]>,
    pub(crate) services: Box<[S]>,
}

/// What is known of an endpoint; the same in every set that it is in.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) info: Info,
    /// Zero also once it was removed.
    weight: AtomicU32,
    pub(crate) cool: Cool,
    pub(crate) load: Load,
    /// Whether a health check goes on.
    pub(crate) checked: AtomicBool,
}

/// What all clones of a failover share.
pub(crate) struct Shared<S> {
    version: AtomicU64,
    set: Mutex<Arc<Set<S>>>,
    pub(crate) draws: Draws,
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

// ===== impl EndpointsError =====

impl fmt::Display for EndpointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("found no endpoints, expected at least one"),
            Self::TooMany => write!(f, "found more than {MAX_ENDPOINTS} endpoints"),
            Self::Twice { name } => write!(f, "found two endpoints of the name {name:?}"),
            Self::Name { found } => write!(
                f,
                "found the name {found:?}, expected 1 to {MAX_NAME} bytes without control characters"
            ),
            Self::Unknown { name } => write!(f, "found no endpoint of the name {name:?}"),
        }
    }
}

impl Error for EndpointsError {}

// ===== impl Set =====

impl<S> Set<S> {
    pub(crate) fn new(
        endpoints: impl IntoIterator<Item = Endpoint<S>>,
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
            members.push(Arc::new(Member::new(info)));
            services.push(service);
        }
        if members.is_empty() {
            return Err(EndpointsError::Empty);
        }
        Ok(Self {
            version: 0,
            members: members.into(),
            services: services.into(),
        })
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
    fn new(info: Info) -> Self {
        Self {
            weight: AtomicU32::new(info.weight),
            info,
            cool: Cool::default(),
            load: Load::default(),
            checked: AtomicBool::new(false),
        }
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(crate) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }
}

// ===== impl Shared =====

impl<S> Shared<S> {
    pub(crate) fn new(set: &Arc<Set<S>>) -> Self {
        Self {
            version: AtomicU64::new(set.version),
            set: Mutex::new(Arc::clone(set)),
            draws: Draws::new(fastrand::u64(..)),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) -> Arc<Set<S>> {
        Arc::clone(&self.set.lock().unwrap_or_else(PoisonError::into_inner))
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
            members.push(Arc::new(Member::new(info)));
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
        *set = Arc::new(Set {
            version,
            members: members.into(),
            services: services.into(),
        });
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
