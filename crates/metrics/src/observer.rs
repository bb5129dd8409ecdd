use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use buttress_core::{Event, Fact};
use hashbrown::{DefaultHashBuilder, HashTable};
use metrics::{Counter, Histogram, Label};

use crate::{
    circuits::{self, Circuits},
    handles,
    rules::{self, CHANGED, Rule},
    table::{OTHER, is_name},
};

/// Counts what other layers tell of themselves.
///
/// It sees any [`Event`], so that the layers need not be known here: give each layer's setter a
/// closure that passes its events on. What it makes of them is in the [list of
/// metrics](crate::METRICS); an event that it does not know is counted by its name, in
/// `buttress.events`.
///
/// The names in an event (a circuit, an endpoint) become labels, [so
/// many](Observer::MAX_NAMES) different ones for each label at most, and `other` beyond. Nor are there
/// more than [so many](Observer::MAX_SETS) label sets of them in all: an event that would make another
/// is counted with `other` in the place of all it says. Of circuits, 1024 are shown.
///
/// Clones count together.
///
/// # Examples
///
/// ```
/// use buttress_core::{Class, Event, Fact};
/// use buttress_metrics::Observer;
///
/// struct Again(Class);
///
/// impl Event for Again {
///     fn name(&self) -> &'static str {
///         "retry.again"
///     }
///
///     fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
///         each("class", Fact::Class(self.0));
///     }
/// }
///
/// let observer = Observer::new().endpoint("east");
/// // What a layer's `on_event` takes:
/// let on_event = move |event: &Again| observer.see(event);
/// on_event(&Again(Class::Throttled)); // buttress.retries{endpoint="east", class="throttled"}
/// ```
#[derive(Clone, Debug, Default)]
pub struct Observer {
    endpoint: Option<Arc<str>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    hasher: DefaultHashBuilder,
    found: RwLock<Found>,
    circuits: Mutex<Circuits>,
}

#[derive(Default)]
struct Found {
    recorder: usize,
    series: HashTable<Series>,
    names: HashMap<&'static str, Vec<Arc<str>>>,
}

/// Labels as they are shown.
type Shown = [(&'static str, Arc<str>)];

/// The handles of events with the same labels.
struct Series {
    hash: u64,
    labels: Vec<(&'static str, Arc<str>)>,
    name: &'static str,
    count: Counter,
    time: Histogram,
}

// ===== impl Observer =====

impl Observer {
    /// How many different names each label takes.
    pub const MAX_NAMES: usize = 128;

    /// How many different label sets there are at most, of all metrics together, but for those in which
    /// all is `other`.
    pub const MAX_SETS: usize = 1024;

    /// An observer of layers that belong to no endpoint, or name it themselves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An observer of the layers of this endpoint, which counts together with this one: what it sees
    /// has the label `endpoint`, unless the event says another.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Self {
        Self {
            endpoint: Some(name.into()),
            seen: Arc::clone(&self.seen),
        }
    }

    /// There is a circuit of this name: where it stands is shown from now on, as closed until an event
    /// tells of a change. Without this there is no series of it before it has changed for the first
    /// time, and nobody can tell a circuit that is closed from one that is gone.
    ///
    /// Where another recorder is installed later, that one learns of all circuits with the next event of
    /// any layer.
    ///
    /// ```
    /// use buttress_metrics::Observer;
    ///
    /// let observer = Observer::new().endpoint("east");
    /// observer.circuit("east"); // buttress.breaker.state{endpoint="east", circuit="east"} 0
    /// // Policy::default().name("east").on_event(move |event| observer.see(event))
    /// ```
    pub fn circuit(&self, name: &str) {
        self.circuits().exists((self.endpoint.clone(), name.into()));
    }

    /// Something happened in a layer.
    pub fn see<E: Event + ?Sized>(&self, event: &E) {
        let (rule, also) = rules::of(event.name());
        for rule in [Some(rule), also].into_iter().flatten() {
            self.count(&rule, &|each| event.facts(each));
        }
        if event.name() == CHANGED {
            self.changed(&|each| event.facts(each));
        }
    }

    fn count(&self, rule: &Rule, facts: &Facts<'_>) {
        let time = rule.time.and_then(|(name, _)| time(facts, name));
        let recorder = handles::recorder();
        {
            let found = self
                .seen
                .found
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if found.recorder == recorder
                && let Some(series) = found.find(self.hash(rule, facts), rule, self, facts)
            {
                return series.happened(time);
            }
        }
        self.seldom(rule, facts, recorder, time);
    }

    #[cold]
    fn seldom(&self, rule: &Rule, facts: &Facts<'_>, recorder: usize, time: Option<Duration>) {
        let mut found = self
            .seen
            .found
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if found.recorder != recorder {
            handles::describe();
            *found = Found {
                recorder,
                ..Found::default()
            };
            self.circuits().shown_to(recorder);
        }
        let mut labels = Vec::new();
        self.labels(rule, facts, &mut |name, value| {
            labels.push((name, found.name(name, value)));
        });
        let mut hash = self.hash_of(rule, &labels);
        if found.series.len() >= Self::MAX_SETS && found.known(hash, rule, &labels).is_none() {
            for (_, value) in &mut labels {
                *value = OTHER.into();
            }
            hash = self.hash_of(rule, &labels);
        }
        if let Some(series) = found.known(hash, rule, &labels) {
            return series.happened(time);
        }
        let series = Series::new(rule, hash, labels);
        series.happened(time);
        found
            .series
            .insert_unique(hash, series, |series| series.hash);
    }

    /// The state of a circuit.
    fn changed(&self, facts: &Facts<'_>) {
        let (mut circuit, mut generation, mut state) = (None, 0, None);
        facts(&mut |name, fact| match (name, fact) {
            ("circuit", Fact::Name(name)) => circuit = Some(Arc::from(name)),
            ("to", Fact::Name(to)) => state = circuits::state_of(to),
            ("generation", Fact::Count(count)) => generation = count,
            _ => {}
        });
        if let (Some(circuit), Some(state)) = (circuit, state) {
            let place = (self.endpoint.clone(), circuit);
            self.circuits().changed(place, state, generation);
        }
    }

    fn circuits(&self) -> MutexGuard<'_, Circuits> {
        let circuits = self.seen.circuits.lock();
        circuits.unwrap_or_else(PoisonError::into_inner)
    }

    /// The labels of an event, in a fixed order.
    fn labels(&self, rule: &Rule, facts: &Facts<'_>, each: &mut dyn FnMut(&'static str, &str)) {
        let mut named = false;
        facts(&mut |name, fact| {
            if !rule.labels.contains(&name) {
                return;
            }
            named |= name == "endpoint";
            match fact {
                Fact::Name("") => {}
                Fact::Name(value) => each(name, value),
                Fact::Class(class) => each(name, class.as_str()),
                Fact::Reason(reason) => each(name, reason.as_str()),
                Fact::Flag(true) => each(name, "true"),
                Fact::Flag(false) => each(name, "false"),
                _ => {}
            }
        });
        if let Some((name, value)) = rule.also {
            each(name, value);
        }
        if let Some(endpoint) = &self.endpoint
            && !named
        {
            each("endpoint", endpoint);
        }
    }

    fn hash(&self, rule: &Rule, facts: &Facts<'_>) -> u64 {
        let mut hasher = self.seen.hasher.build_hasher();
        rule.name().hash(&mut hasher);
        self.labels(rule, facts, &mut |name, value| {
            (name, value).hash(&mut hasher)
        });
        hasher.finish()
    }

    fn hash_of(&self, rule: &Rule, labels: &Shown) -> u64 {
        let mut hasher = self.seen.hasher.build_hasher();
        rule.name().hash(&mut hasher);
        for (name, value) in labels {
            (*name, &**value).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Shows every fact of an event.
type Facts<'a> = dyn Fn(&mut dyn FnMut(&'static str, Fact<'_>)) + 'a;

fn time(facts: &Facts<'_>, wanted: &str) -> Option<Duration> {
    let mut found = None;
    facts(&mut |name, fact| {
        if let Fact::Time(time) = fact
            && name == wanted
        {
            found = Some(time);
        }
    });
    found
}

// ===== impl Rule =====

impl Rule {
    /// What tells the series of one rule from those of others.
    fn name(&self) -> &'static str {
        self.count
            .or(self.time.map(|(_, name)| name))
            .unwrap_or_default()
    }
}

// ===== impl Found =====

impl Found {
    fn find(
        &self,
        hash: u64,
        rule: &Rule,
        observer: &Observer,
        facts: &Facts<'_>,
    ) -> Option<&Series> {
        self.series.find(hash, |series| {
            let mut rest = series.labels.iter();
            let mut same = series.name == rule.name();
            observer.labels(rule, facts, &mut |name, value| {
                let next = rest.next();
                same &=
                    next.is_some_and(|(known, as_known)| *known == name && **as_known == *value);
            });
            same && rest.next().is_none()
        })
    }

    /// The series of labels that are within their bounds.
    fn known(&self, hash: u64, rule: &Rule, labels: &Shown) -> Option<&Series> {
        self.series.find(hash, |series| {
            series.name == rule.name() && *series.labels == *labels
        })
    }

    /// A name within the bound of its label.
    fn name(&mut self, label: &'static str, value: &str) -> Arc<str> {
        let names = self.names.entry(label).or_default();
        if let Some(known) = names.iter().find(|known| ***known == *value) {
            return Arc::clone(known);
        }
        if !is_name(value) || names.len() >= Observer::MAX_NAMES {
            return OTHER.into();
        }
        let name: Arc<str> = value.into();
        names.push(Arc::clone(&name));
        name
    }
}

// ===== impl Series =====

impl Series {
    fn new(rule: &Rule, hash: u64, labels: Vec<(&'static str, Arc<str>)>) -> Self {
        let shown = || {
            let each = labels.iter();
            each.map(|(name, value)| Label::new(*name, Arc::clone(value)))
                .collect()
        };
        let count = rule.count.map(|name| handles::counter(name, shown()));
        let time = rule.time.map(|(_, name)| handles::histogram(name, shown()));
        Self {
            hash,
            name: rule.name(),
            count: count.unwrap_or(Counter::noop()),
            time: time.unwrap_or(Histogram::noop()),
            labels,
        }
    }

    fn happened(&self, time: Option<Duration>) {
        self.count.increment(1);
        if let Some(time) = time {
            self.time.record(time.as_secs_f64());
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Seen")
            .field("series", &found.series.len())
            .finish_non_exhaustive()
    }
}
