//! front page
mod call;
mod future;
mod handles;
mod labels;
mod layer;
mod names;
mod observer;
mod record;
mod rules;
mod series;
mod service;
mod settings;
mod span;
mod table;
mod traceparent;

pub use self::{
    future::ResponseFuture,
    handles::describe,
    labels::{Describe, Labels, Undescribed},
    layer::{MetricsLayer, Place},
    names::{CHUNK_SECONDS, Kind, METRICS, Metric, SECONDS, TOKENS},
    observer::Observer,
    record::{CallRecord, log},
    service::MetricsService,
    traceparent::{Traceparent, TraceparentError},
};
