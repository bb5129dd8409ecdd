use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};

use buttress_core::{Money, Usage};

use crate::{
    CallRecord, Labels, Place,
    table::{OTHER, Owned, is_name},
};

/// How a layer is configured.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) fixed: Owned,
    pub(crate) max_models: NonZeroUsize,
    pub(crate) models: Option<Arc<[Arc<str>]>>,
    pub(crate) per_chunk: bool,
    pub(crate) price: Option<Arc<Price>>,
    pub(crate) on_call: Option<Arc<OnCall>>,
    /// Whether requests carry anything. Found out with the first.
    pub(crate) carries: OnceLock<bool>,
}

type Price = dyn Fn(&Labels<'_>, &Usage) -> Option<Money> + Send + Sync;
type OnCall = dyn Fn(&CallRecord<'_>) + Send + Sync;

// ===== impl Settings =====

impl Settings {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            fixed: Owned {
                operation: Some("chat".into()),
                ..Owned::default()
            },
            max_models: const { NonZeroUsize::new(100).unwrap() },
            models: None,
            per_chunk: false,
            price: None,
            on_call: None,
            carries: OnceLock::new(),
        }
    }
}

/// A name that is given once: what cannot be a label is `other` here, too.
pub(crate) fn fixed(name: &str) -> Option<Arc<str>> {
    let fit = is_name(name);
    Some(if fit { name.into() } else { OTHER.into() })
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("place", &self.place)
            .field("labels", &self.fixed)
            .field("max_models", &self.max_models)
            .field("per_chunk", &self.per_chunk)
            .finish_non_exhaustive()
    }
}
