//! Handles of the facade, asked for once.

use std::ptr;

use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, with_recorder,
};

use crate::names::{Kind, METRICS};

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

pub(crate) fn counter(name: &'static str, labels: Vec<Label>) -> Counter {
    let key = Key::from_parts(name, labels);
    with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
}

pub(crate) fn gauge(name: &'static str, labels: Vec<Label>) -> Gauge {
    let key = Key::from_parts(name, labels);
    with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
}

pub(crate) fn histogram(name: &'static str, labels: Vec<Label>) -> Histogram {
    let key = Key::from_parts(name, labels);
    with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
}

/// Which recorder is installed: handles that another one gave are asked for anew. Before any is,
/// the facade has one that does nothing, and that is another.
#[inline]
pub(crate) fn recorder() -> usize {
    with_recorder(|recorder| ptr::from_ref(recorder).cast::<()>().addr())
}

/// Tells the recorder that is installed what every metric of this crate is, and its unit.
///
/// Layers and observers do it by themselves when they first meet a recorder.
///
/// ```
/// buttress_metrics::describe();
/// ```
pub fn describe() {
    with_recorder(describe_to);
}

fn describe_to(recorder: &dyn Recorder) {
    for metric in METRICS {
        let (name, help) = (metric.name.into(), SharedString::const_str(metric.help));
        let unit = Some(metric.unit);
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }
}
