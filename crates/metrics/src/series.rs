use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use buttress_core::{Class, Finish, Money, Reason, Usage};
use metrics::{Counter, Histogram, Label};

use crate::{handles, names::Names};

/// The handles of one label set, for the ends of its calls. Each is asked for when it is first used.
#[derive(Debug)]
pub(crate) struct Series {
    names: &'static Names,
    labels: Vec<Label>,
    /// The model that answered, as it is labelled.
    pub(crate) response_model: Option<Arc<str>>,
    calls: [OnceLock<Counter>; CLASSES],
    // By class and reason: few, and seldom.
    refused: Mutex<Vec<(Class, Reason, Counter)>>,
    durations: [OnceLock<Histogram>; CLASSES],
    // By what they are, whether estimated, whether unbilled.
    tokens: [OnceLock<Histogram>; 8],
    details: [OnceLock<Counter>; 3],
    finishes: [OnceLock<Counter>; Finish::ALL.len()],
    first_chunk: OnceLock<Histogram>,
    chunk: OnceLock<Histogram>,
    per_token: OnceLock<Histogram>,
    cost: OnceLock<Counter>,
    unpriced: OnceLock<Counter>,
}

const CLASSES: usize = Class::ALL.len();

// ===== impl Series =====

impl Series {
    pub(crate) fn new(
        names: &'static Names,
        labels: Vec<Label>,
        response_model: Option<Arc<str>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            names,
            labels,
            response_model,
            calls: Default::default(),
            refused: Mutex::default(),
            durations: Default::default(),
            tokens: Default::default(),
            details: Default::default(),
            finishes: Default::default(),
            first_chunk: OnceLock::new(),
            chunk: OnceLock::new(),
            per_token: OnceLock::new(),
            cost: OnceLock::new(),
            unpriced: OnceLock::new(),
        })
    }

    /// One more of this class, and of this reason if one is known.
    #[inline]
    pub(crate) fn call(&self, class: Class, reason: Option<Reason>) {
        let slot = match reason {
            None => self.calls.get(class as usize),
            Some(_) => None,
        };
        match slot {
            Some(slot) => slot
                .get_or_init(|| self.counter(self.names.calls, [label("class", class.as_str())]))
                .increment(1),
            None => self.refused(class, reason),
        }
    }

    #[cold]
    fn refused(&self, class: Class, reason: Option<Reason>) {
        let of = label("class", class.as_str());
        let Some(reason) = reason else {
            // A class that is younger than this crate.
            return self.counter(self.names.calls, [of]).increment(1);
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused
            .iter()
            .position(|(of, by, _)| (*of, *by) == (class, reason));
        let at = known.unwrap_or_else(|| {
            let labels = [of, label("reason", reason.as_str())];
            refused.push((class, reason, self.counter(self.names.calls, labels)));
            refused.len() - 1
        });
        refused[at].2.increment(1);
    }

    #[inline]
    pub(crate) fn took(&self, class: Class, seconds: f64) {
        match self.durations.get(class as usize) {
            Some(slot) => slot.get_or_init(|| self.duration(class)).record(seconds),
            None => self.duration(class).record(seconds),
        }
    }

    #[cold]
    fn duration(&self, class: Class) -> Histogram {
        let error = (class != Class::Success).then(|| label("error.type", class.as_str()));
        self.histogram(self.names.duration, error)
    }

    #[inline]
    pub(crate) fn used(&self, usage: &Usage) {
        self.tokens(0, usage).record(usage.input as f64);
        self.tokens(1, usage).record(usage.output as f64);
        if (usage.cached_input | usage.cache_write | usage.reasoning) != 0 {
            self.details(usage);
        }
    }

    #[inline]
    fn tokens(&self, output: usize, usage: &Usage) -> &Histogram {
        let (estimated, unbilled) = (!usage.exact, !usage.billed);
        let at = output << 2 | usize::from(estimated) << 1 | usize::from(unbilled);
        self.tokens[at].get_or_init(|| {
            let mut labels = vec![label("gen_ai.token.type", ["input", "output"][output])];
            if estimated {
                labels.push(label("estimated", "true"));
            }
            if unbilled {
                labels.push(label("unbilled", "true"));
            }
            self.histogram(self.names.tokens, labels)
        })
    }

    #[cold]
    fn details(&self, usage: &Usage) {
        let each = [
            ("cached_input", usage.cached_input),
            ("cache_write", usage.cache_write),
            ("reasoning", usage.reasoning),
        ];
        for (slot, (name, count)) in self.details.iter().zip(each) {
            if count > 0 {
                slot.get_or_init(|| {
                    self.counter(self.names.details, [label("gen_ai.token.type", name)])
                })
                .increment(count);
            }
        }
    }

    #[inline]
    pub(crate) fn finished(&self, finish: Finish) {
        let make = || {
            let name = label("finish", finish.name());
            self.counter(self.names.finishes, [name])
        };
        match self.finishes.get(finish as usize) {
            Some(slot) => slot.get_or_init(make).increment(1),
            // One that is younger than this crate.
            None => make().increment(1),
        }
    }

    pub(crate) fn first_chunk(&self, seconds: f64) {
        self.first_chunk
            .get_or_init(|| self.histogram(self.names.first_chunk, []))
            .record(seconds);
    }

    #[inline]
    pub(crate) fn chunk(&self, seconds: f64) {
        self.chunk
            .get_or_init(|| self.histogram(self.names.chunk, []))
            .record(seconds);
    }

    pub(crate) fn per_token(&self, seconds: f64) {
        self.per_token
            .get_or_init(|| self.histogram(self.names.per_token, []))
            .record(seconds);
    }

    #[inline]
    pub(crate) fn cost(&self, cost: Money) {
        self.cost
            .get_or_init(|| self.counter(self.names.cost, []))
            // A counter of the facade holds 18 million units of a currency, and then begins anew.
            .increment(cost.pico() as u64);
    }

    /// Whether a cost was known before.
    pub(crate) fn has_cost(&self) -> bool {
        self.cost.get().is_some()
    }

    pub(crate) fn unpriced(&self) {
        self.unpriced
            .get_or_init(|| self.counter(self.names.unpriced, []))
            .increment(1);
    }

    #[cold]
    fn counter(&self, name: &'static str, more: impl IntoIterator<Item = Label>) -> Counter {
        handles::counter(name, self.labels(more))
    }

    #[cold]
    fn histogram(&self, name: &'static str, more: impl IntoIterator<Item = Label>) -> Histogram {
        handles::histogram(name, self.labels(more))
    }

    fn labels(&self, more: impl IntoIterator<Item = Label>) -> Vec<Label> {
        self.labels.iter().cloned().chain(more).collect()
    }
}

fn label(name: &'static str, value: &'static str) -> Label {
    Label::from_static_parts(name, value)
}
