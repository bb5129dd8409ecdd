//! What one line of the table measures.

use std::fmt;

/// A piece of work that is done again and again.
pub(crate) struct Row {
    pub(crate) name: String,
    /// So many allocations may it take, if that is promised.
    pub(crate) bound: Option<u64>,
    /// What passes through, in bytes and in events, if that is what it is about.
    pub(crate) passes: Option<(usize, usize)>,
    /// Another thread is in its way, and it may have to wait for that.
    pub(crate) waits: bool,
    make: Box<dyn Fn() -> Work>,
}

/// Rows that are compared with the first of them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// Does the work so many times.
pub(crate) type Work = Box<dyn FnMut(u64)>;

// ===== impl Row =====

impl Row {
    /// `make` builds what the work needs, outside of what is measured.
    pub(crate) fn new<W: FnMut() + 'static>(
        name: impl Into<String>,
        make: impl Fn() -> W + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            bound: None,
            passes: None,
            waits: false,
            make: Box::new(move || {
                let mut work = make();
                Box::new(move |times| (0..times).for_each(|_| work()))
            }),
        }
    }

    pub(crate) fn at_most(mut self, allocations: u64) -> Self {
        self.bound = Some(allocations);
        self
    }

    /// A peer's: nothing is promised.
    pub(crate) fn unbounded(mut self) -> Self {
        self.bound = None;
        self
    }

    pub(crate) fn passing(mut self, bytes: usize, events: usize) -> Self {
        self.passes = Some((bytes, events));
        self
    }

    pub(crate) fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    pub(crate) fn make(&self) -> Work {
        (self.make)()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.name).finish()
    }
}
