//! The last things that happened in the layers, for the page.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buttress_core::{Event, Fact};
use tokio::time::Instant;

/// Remembers the last events. What goes well leaves nothing here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<VecDeque<Entry>>>);

#[derive(Debug)]
struct Entry {
    at: Instant,
    endpoint: Arc<str>,
    what: String,
}

/// How many are remembered.
const BOUND: usize = 50;

// ===== impl Journal =====

impl Journal {
    /// Something happened at this endpoint: its name, and its facts.
    pub(crate) fn note(&self, endpoint: &Arc<str>, event: &dyn Event) {
        let mut what = event.name().to_owned();
        event.facts(&mut |name, fact| {
            let fact = match fact {
                Fact::Time(time) => Fact::Time(to_the_millisecond(time)),
                other => other,
            };
            // Writing to a `String` does not fail.
            let _ = write!(what, " {name}={fact}");
        });
        let entry = Entry {
            at: Instant::now(),
            endpoint: endpoint.clone(),
            what,
        };
        let mut entries = self.entries();
        if entries.len() == BOUND {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The last events, the newest first: how long ago, at which endpoint, and what.
    pub(crate) fn last(&self) -> Vec<(Duration, Arc<str>, String)> {
        let entries = self.entries();
        let told = entries.iter().rev();
        told.map(|entry| {
            (
                entry.at.elapsed(),
                entry.endpoint.clone(),
                entry.what.clone(),
            )
        })
        .collect()
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As exact as anybody reads it.
fn to_the_millisecond(time: Duration) -> Duration {
    match u64::try_from(time.as_millis()) {
        Ok(millis) if millis > 0 => Duration::from_millis(millis),
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use buttress_core::{Event, Fact};

    use super::{BOUND, Journal};

    struct Happened(u64);

    impl Event for Happened {
        fn name(&self) -> &'static str {
            "it.happened"
        }

        fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
            each("number", Fact::Count(self.0));
        }
    }

    #[tokio::test]
    async fn the_last_events_are_remembered_and_the_oldest_go() {
        let (journal, endpoint) = (Journal::default(), Arc::from("up"));
        for number in 0..BOUND as u64 + 3 {
            journal.note(&endpoint, &Happened(number));
        }
        let last = journal.last();
        assert_eq!(last.len(), BOUND);
        assert_eq!((&*last[0].1, &*last[0].2), ("up", "it.happened number=52"));
        assert_eq!(last[BOUND - 1].2, "it.happened number=3");
    }
}
