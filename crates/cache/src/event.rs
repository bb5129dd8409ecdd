use std::time::Duration;

use buttress_core::{CacheStatus, Class, Event, Fact, Outcome};

/// What a cache did, as the observer of [`CacheLayer::on_event`](crate::CacheLayer::on_event) sees it.
///
/// # Examples
///
/// ```
/// use buttress_cache::{CacheEvent, CacheLayer, Keyed};
/// use buttress_core::Plain;
///
/// # use buttress_core::Outcome;
/// let layer = CacheLayer::<_, _, (String, Outcome)>::new(Plain, |ask: &String| Keyed::of(ask))
///     .on_event(|event| match event {
///         CacheEvent::Served { status, .. } => println!("{status}"),
///         _ => {}
///     });
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CacheEvent {
    /// A reply was delivered. Each call is seen once: by this, or by one of the next three.
    #[non_exhaustive]
    Served {
        /// How the cache was used.
        status: CacheStatus,
        /// How long ago the reply was made.
        age: Duration,
    },
    /// Only what is kept was wanted, and nothing was.
    #[non_exhaustive]
    NotCached {},
    /// A call ended in an error. Seen by each who waited for it.
    #[non_exhaustive]
    Failed {
        /// What the error says.
        class: Class,
        /// It was given to this caller, and not as a refusal.
        leads: bool,
    },
    /// The caller went away, or something panicked, before there was a reply.
    #[non_exhaustive]
    Dropped {},
    /// A reply is kept from now on.
    #[non_exhaustive]
    Stored {
        /// How much it weighs, in bytes, what the cache needs for it included.
        bytes: u64,
    },
    /// A refresh is over. Mostly nobody else is told what it used. A caller that came meanwhile, and for
    /// whom what was kept did not serve, has joined it; it may have been told what the reply used, as
    /// one who pays.
    #[non_exhaustive]
    Refreshed {
        /// How it went.
        outcome: Outcome,
    },
    /// The second level failed, had something corrupt, or took too long. Removals are no layer's, and
    /// are seen in the [statistics](crate::Statistics::level_failures) alone.
    #[non_exhaustive]
    LevelFailed {
        /// What was wanted of it: `get` or `put`.
        wanted: &'static str,
    },
}

// ===== impl CacheEvent =====

impl Event for CacheEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Served { .. } => "cache.served",
            Self::NotCached {} => "cache.not_cached",
            Self::Failed { .. } => "cache.failed",
            Self::Dropped {} => "cache.dropped",
            Self::Stored { .. } => "cache.stored",
            Self::Refreshed { .. } => "cache.refreshed",
            Self::LevelFailed { .. } => "cache.level_failed",
        }
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        match self {
            Self::Served { status, age } => {
                each("status", Fact::Name(status.as_str()));
                each("age", Fact::Time(*age));
            }
            Self::NotCached {} | Self::Dropped {} => {}
            Self::Failed { class, leads } => {
                each("class", Fact::Class(*class));
                each("leads", Fact::Flag(*leads));
            }
            Self::Stored { bytes } => each("bytes", Fact::Count(*bytes)),
            Self::Refreshed { outcome } => each("class", Fact::Class(outcome.class)),
            Self::LevelFailed { wanted } => each("wanted", Fact::Name(wanted)),
        }
    }
}
