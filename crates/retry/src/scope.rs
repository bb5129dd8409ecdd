//! Finds a retry around this one where requests carry nothing that could say so.

use std::{any::type_name, cell::Cell};

/// While a retry calls in, on this thread: of requests of this type.
///
/// Only while it *calls*: a future that is polled may well call another stack, with a request of
/// its own. And only for the same type, since a stack that is called from within a `call` is as
/// likely to be another one. Where requests carry their [`CallInfo`](buttress_core::CallInfo), that
/// says it exactly, and this is not asked.
pub(crate) struct Scope {
    before: Option<&'static str>,
}

thread_local! {
    // The name, since an id would ask for `'static`. Two types of one name are taken for one.
    static RETRIED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

impl Scope {
    /// Lasts until it is dropped.
    pub(crate) fn enter<Req>() -> Self {
        Self {
            before: RETRIED.replace(Some(type_name::<Req>())),
        }
    }

    pub(crate) fn entered<Req>() -> bool {
        RETRIED.get().is_some_and(|name| name == type_name::<Req>())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        RETRIED.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn a_scope_is_of_one_type_and_gives_way_to_the_one_around_it() {
        assert!(!Scope::entered::<u32>());
        let outer = Scope::enter::<u32>();
        assert!(Scope::entered::<u32>() && !Scope::entered::<u64>());
        let inner = Scope::enter::<u64>();
        assert!(Scope::entered::<u64>() && !Scope::entered::<u32>());
        drop(inner);
        assert!(Scope::entered::<u32>());
        drop(outer);
        assert!(!Scope::entered::<u32>());
    }
}
