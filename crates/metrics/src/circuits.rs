//! Where circuits stand: each has a gauge.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use metrics::{Gauge, Label};

use crate::{handles, names::BREAKER_STATE, table::is_name};

/// Every circuit that was told of, and no more than there may be.
#[derive(Default)]
pub(crate) struct Circuits {
    recorder: usize,
    known: HashMap<Place, Circuit>,
}

/// Its endpoint, if it has one, and its name.
pub(crate) type Place = (Option<Arc<str>>, Arc<str>);

struct Circuit {
    /// The number of its last change.
    generation: u64,
    state: f64,
    gauge: Gauge,
}

/// A breaker's own names for its states, each in the place of the number that shows it.
const STATES: [&str; 6] = [
    "closed",
    "half-open",
    "open",
    "forced open",
    "forced closed",
    "observe only",
];

const CLOSED: f64 = 0.0;

// ===== impl Circuits =====

impl Circuits {
    /// So many are shown: one gauge cannot stand for many circuits, so those beyond have none.
    pub(crate) const MAX: usize = 1024;

    /// There is a circuit, which is closed unless it was told of before.
    pub(crate) fn exists(&mut self, place: Place) {
        self.shown_to(handles::recorder());
        self.circuit(place);
    }

    /// A circuit changed. The events of two threads may come in another order. The first change is
    /// that of a circuit made anew, where there was one of this name before: a stack that was built
    /// again, or a key that had been forgotten.
    pub(crate) fn changed(&mut self, place: Place, state: f64, generation: u64) {
        self.shown_to(handles::recorder());
        if let Some(circuit) = self.circuit(place)
            && (generation >= circuit.generation || generation == 1)
        {
            circuit.generation = generation;
            circuit.state = state;
            circuit.gauge.set(state);
        }
    }

    /// To a recorder that knows none of them, all are told.
    pub(crate) fn shown_to(&mut self, recorder: usize) {
        if std::mem::replace(&mut self.recorder, recorder) == recorder {
            return;
        }
        handles::describe();
        for (place, circuit) in &mut self.known {
            circuit.gauge = gauge(place);
            circuit.gauge.set(circuit.state);
        }
    }

    fn circuit(&mut self, place: Place) -> Option<&mut Circuit> {
        let has_room = self.known.len() < Self::MAX && is_fit(&place);
        match self.known.entry(place) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if !has_room => None,
            Entry::Vacant(new) => {
                let gauge = gauge(new.key());
                gauge.set(CLOSED);
                Some(new.insert(Circuit {
                    generation: 0,
                    state: CLOSED,
                    gauge,
                }))
            }
        }
    }
}

/// Whether its names can be labels. A circuit without a name has none.
fn is_fit((endpoint, name): &Place) -> bool {
    let fit = |name: &str| name.is_empty() || is_name(name);
    fit(name) && endpoint.as_deref().is_none_or(fit)
}

/// The number that shows a state of this name.
pub(crate) fn state_of(name: &str) -> Option<f64> {
    let number = STATES.iter().position(|state| *state == name)?;
    Some(number as f64)
}

fn gauge((endpoint, name): &Place) -> Gauge {
    let each = [("endpoint", endpoint.as_ref()), ("circuit", Some(name))];
    let labels = each.into_iter().filter_map(|(label, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(Label::new(label, Arc::clone(value)))
    });
    handles::gauge(BREAKER_STATE, labels.collect())
}
