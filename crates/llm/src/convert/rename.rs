use std::{borrow::Cow, fmt, sync::Arc};

/// What the model is called where the request goes.
#[derive(Clone, Default)]
pub(super) enum Rename {
    /// As the caller calls it.
    #[default]
    No,
    Always(Arc<str>),
    By(Arc<Names>),
}

type Names = dyn Fn(&str) -> Option<String> + Send + Sync;

// ===== impl Rename =====

impl Rename {
    /// The other name of a model, if it has one.
    pub(super) fn of(&self, asked: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::No => None,
            Self::Always(name) => Some(Cow::Borrowed(name)),
            Self::By(names) => names(asked).map(Cow::Owned),
        }
    }

    pub(super) const fn is_no(&self) -> bool {
        matches!(self, Self::No)
    }
}

impl fmt::Debug for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("No"),
            Self::Always(name) => f.debug_tuple("Always").field(name).finish(),
            Self::By(_) => f.write_str("By"),
        }
    }
}
