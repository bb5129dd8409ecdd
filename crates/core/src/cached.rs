use std::{fmt, time::Duration};

/// Where a reply came from, as seen by a cache: evidence on a delivered response.
///
/// [`Track::set_cached`](crate::Track::set_cached) puts it there.
///
/// ```
/// use std::time::Duration;
/// use buttress_core::{CacheStatus, Cached};
///
/// let cached = Cached::new(CacheStatus::Hit).with_age(Duration::from_secs(12));
/// assert_eq!((cached.status.as_str(), cached.age.as_secs()), ("hit", 12));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cached {
    /// How the cache was used.
    pub status: CacheStatus,
    /// How long ago the reply was made. Zero for one that comes from the upstream now.
    pub age: Duration,
}

/// How a cache was used for a reply.
///
/// ```
/// assert_eq!(buttress_core::CacheStatus::Coalesced.to_string(), "coalesced");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheStatus {
    /// It was kept, and is fresh.
    Hit,
    /// The upstream was called for it.
    Miss,
    /// It was kept, and is past its time.
    Stale,
    /// The upstream had been called already, for somebody else who asked the same.
    Coalesced,
    /// The cache was left out.
    Bypass,
}

// ===== impl Cached =====

impl Cached {
    /// So used, of no age.
    #[must_use]
    pub const fn new(status: CacheStatus) -> Self {
        Self {
            status,
            age: Duration::ZERO,
        }
    }

    /// The same, of a reply made so long ago.
    #[must_use]
    pub const fn with_age(self, age: Duration) -> Self {
        Self { age, ..self }
    }
}

// ===== impl CacheStatus =====

impl CacheStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Hit,
        Self::Miss,
        Self::Stale,
        Self::Coalesced,
        Self::Bypass,
    ];

    /// Its name: `hit`, `miss`, `stale`, `coalesced` or `bypass`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Coalesced => "coalesced",
            Self::Bypass => "bypass",
        }
    }

    /// Whether no upstream was called for this caller's sake.
    #[must_use]
    pub const fn is_saved(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Coalesced)
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
